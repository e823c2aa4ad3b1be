"""Parameters of a network: which arrays every layer has, and whether their values are allowed.

What the network's runs, the model file and the synthetic networks share.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bitrow.config import ArraySpec
from bitrow.errors import BitrowError
from bitrow.graph import Network, Node, shapes, weight_shape
from bitrow.layers.table import layer
from bitrow.layers.twin import LayerParams, Site

Params = Mapping[str, LayerParams]


def params_type(node: Node) -> type[LayerParams] | None:
    """The type of the node's parameters, None where it has none."""
    return layer(node.config).params(node.config)


def site_of(network: Network, node: Node) -> Site:
    """The layer's place in the network."""
    sizes, number = shapes(network), 1 + network.nodes.index(node)
    place = (node.size, weight_shape(network, node), sizes[node.inputs[0]], sizes[node.name])
    return Site(f"{network.name} {node.name}", number, *place, last=node.name in network.outputs)


def layer_spec(network: Network, node: Node) -> dict[str, ArraySpec]:
    """The arrays of one layer by field name; a field that must be None is left out."""
    sizes = shapes(network)
    return node.config.arrays(node.size, sizes[node.inputs[0]], sizes[node.name][2])


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
    layer(node.config).check(where, node.config, params)
    for name, array in params._asdict().items():
        finite = np.isfinite(np.asarray(0.0 if array is None else array, np.float64))
        if not finite.all():
            channel = f" channel {int(np.nonzero(~finite)[-1][0])}" if finite.ndim else ""
            raise BitrowError(f"{where} {name}{channel}: found a value that is not finite, expected finite numbers")


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
