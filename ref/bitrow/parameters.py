"""Parameters of a network: which arrays every layer has, and whether their values are allowed.

What the network's runs, the model file and the synthetic networks share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bitrow.config import BatchNormConfig, ConvConfig, LinearConfig, Statistics
from bitrow.errors import BitrowError
from bitrow.formats import Gradient
from bitrow.graph import ConvSize, Network, Node, kernel_shape, linear_shape, shapes
from bitrow.host import FP16_MIN_NORMAL, check_scale
from bitrow.layers.batch_norm import BatchParams, FrozenParams
from bitrow.layers.conv import ConvParams
from bitrow.layers.linear import LinearParams
from bitrow.layers.table import layer

LayerParams = ConvParams | FrozenParams | BatchParams | LinearParams
Params = Mapping[str, LayerParams]


class ArraySpec(NamedTuple):
    """Dtype name and shape of one parameter array."""

    dtype: str
    shape: tuple[int, ...]


def params_type(node: Node) -> type[LayerParams] | None:
    """The type of the node's parameters, None where it has none."""
    return layer(node.config).params(node.config)


def layer_spec(network: Network, node: Node) -> dict[str, ArraySpec]:
    """The arrays of one layer by field name; a field that must be None is left out."""
    channels = (shapes(network)[node.name][2],)
    match node.config, node.size:
        case ConvConfig() as config, ConvSize() as size:
            per_channel = channels if size.per_channel else ()
            scalar = ArraySpec("float16", ())
            code = "int8" if config.weight_format.signed else "uint8"
            spec = {
                "weight_code": ArraySpec(code, kernel_shape(network, node)),
                "x_inv_scale": scalar,
                "scale": ArraySpec("float16", per_channel),
                "w_scale": ArraySpec("float16", per_channel),
                "dy_inv_scale": scalar,
                "seed": ArraySpec("uint16", ()),
            }
            if config.gradient is Gradient.FXP and (config.fold or not size.per_channel):
                spec["dx_scale"] = scalar
            if size.bias:
                spec["bias"] = ArraySpec("float16", channels)
            return spec
        case BatchNormConfig(statistics=Statistics.FROZEN), _:
            return {"a": ArraySpec("float16", channels), "b": ArraySpec("float16", channels)}
        case BatchNormConfig(), _:
            vector = ArraySpec("float32", channels)
            return {"gamma": vector, "beta": vector, "eps": ArraySpec("float32", ())}
        case LinearConfig(), _:
            weight = ArraySpec("float16", linear_shape(network, node))
            return {"weight": weight, "bias": ArraySpec("float32", channels)}
    return {}


def check_params(network: Network, params: Params) -> None:
    """Refuse parameters that do not fit the network; works on traced arrays, so it sees no values.

    Raises:
        BitrowError: naming network, layer and field; parameters missing, of layers that there are not, of
            another type, or an array missing, superfluous, or of another dtype or shape.
    """
    expected = {node.name: kind for node in network.nodes if (kind := params_type(node))}
    for name in params:
        if name not in expected:
            raise BitrowError(f"{network.name} {name}: found parameters, expected none under this name")
    for node in network.nodes:
        kind = params_type(node)
        if kind is None:
            continue
        found = params.get(node.name)
        if not isinstance(found, kind):
            raise BitrowError(
                f"{network.name} {node.name}: found {'nothing' if found is None else type(found).__name__}, "
                f"expected {kind.__name__}"
            )
        _check_arrays(f"{network.name} {node.name}", found._asdict(), layer_spec(network, node))


def check_values(where: str, node: Node, params: LayerParams) -> None:
    """Refuse values that the contract does not allow (SPEC.md F7, F8, D3, Q3).

    Raises:
        BitrowError: beginning with `where`; a code outside its format, a scale that is none, a seed of zero,
            a coefficient or weight that is not finite, a negative eps.
    """
    match node.config, params:
        case ConvConfig() as config, ConvParams():
            _check_conv_values(where, config, params)
        case BatchNormConfig(), BatchParams(eps=eps) if float(eps) < 0:
            raise BitrowError(f"{where} eps: found {float(eps)!r}, expected 0 or more")
    for name, array in params._asdict().items():
        finite = np.isfinite(np.asarray(0.0 if array is None else array, np.float64))
        if not finite.all():
            channel = f" channel {int(np.nonzero(~finite)[-1][0])}" if finite.ndim else ""
            raise BitrowError(f"{where} {name}{channel}: found a value that is not finite, expected finite numbers")


def _check_conv_values(where: str, config: ConvConfig, params: ConvParams) -> None:
    code, fmt = np.asarray(params.weight_code), config.weight_format
    if code.min() < fmt.min or code.max() > fmt.max:
        raise BitrowError(
            f"{where} weight_code: found {code.min()} to {code.max()}, expected {fmt.min} to {fmt.max}"
        )
    for name in ("x_inv_scale", "w_scale", "dy_inv_scale"):
        for value in np.asarray(getattr(params, name)).reshape(-1):
            check_scale(where, name, float(value))
    for name in ("scale", "dx_scale"):
        if getattr(params, name) is None:
            continue
        for value in np.asarray(getattr(params, name), np.float64).reshape(-1):
            if not FP16_MIN_NORMAL <= value < np.inf:
                raise BitrowError(f"{where} {name}: found {value!s}, expected a positive normal FP16 number")
    if int(params.seed) == 0:
        raise BitrowError(f"{where} seed: found 0, expected 1 to 65535")


def _check_arrays(where: str, arrays: dict[str, object], spec: dict[str, ArraySpec]) -> None:
    for name, array in arrays.items():
        wanted = spec.get(name)
        if array is None or wanted is None:
            if (array is None) != (wanted is None):
                what = "nothing" if array is None else "an array"
                raise BitrowError(f"{where} {name}: found {what}, expected {wanted or 'nothing'}")
            continue
        found = ArraySpec(str(getattr(array, "dtype", None)), tuple(getattr(array, "shape", ())))
        if found != wanted:
            raise BitrowError(
                f"{where} {name}: found {found.dtype}{list(found.shape)}, "
                f"expected {wanted.dtype}{list(wanted.shape)}"
            )
