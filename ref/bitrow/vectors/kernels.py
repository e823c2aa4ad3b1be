"""The kernels' side of the registry: each operation by name, on typed arrays, every tap recorded (SPEC.md
V5)."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from bitrow.config import BatchNormConfig, ConvConfig, Statistics
from bitrow.formats import FloatMode, Fxp
from bitrow.layers import activation, batch_norm, conv, linear, pool, residual
from bitrow.layers.conv import ConvParams
from bitrow.ops import fp16, fxp, lfsr

Arrays = dict[str, Any]
Kernel = Callable[[Any, Arrays, Arrays], Any]


def compute(name: str, config: Any, arrays: Arrays) -> dict[str, Array]:
    """Taps and outputs of operation `name`, under SPEC.md's names.

    Raises:
        BitrowError: what the layer refuses.
    """
    if name.startswith("network."):
        # not at the top: networks build on this module
        networks = importlib.import_module("bitrow.vectors.networks")
        return networks.kernel(name.removeprefix("network."), arrays)
    taps: dict[str, Array] = {}
    KERNELS[name](config, {key: _ready(value) for key, value in arrays.items()}, taps)
    return taps


def _ready(value: Any) -> Any:
    return value if isinstance(value, tuple) else jnp.asarray(value)


def _unit(function: Callable[..., Array], names: str) -> Kernel:
    def run(config: FloatMode, arrays: Arrays, taps: Arrays) -> None:
        taps["y"] = function(*(arrays[name] for name in names.split()), config)

    return run


def _quantize(config: ConvConfig, arrays: Arrays, taps: Arrays) -> None:
    def tap(name: str, value: Array) -> None:
        taps["x_code" if name == "code" else name] = value

    x, inverse, fmt = arrays["x"], arrays["x_inv_scale"], config.x_format
    if "words" in arrays:
        fxp.quantize_stochastic(x, inverse, arrays["words"], fmt, config.mode, tap)
    else:
        fxp.quantize(x, inverse, fmt, config.mode, tap)


def _dequantize(config: ConvConfig, arrays: Arrays, taps: Arrays) -> None:
    bound = -config.accumulator.min
    fxp.dequantize(arrays["acc"], arrays["scale"], bound, config.dequantize, config.mode, taps.__setitem__)


def _pack(fmt: Fxp, arrays: Arrays, taps: Arrays) -> None:
    code = arrays["code"]
    rows = code.reshape(*code.shape[:2], -1)
    taps["packed"] = fxp.pack(rows) if fmt.bits <= 4 else rows.astype(jnp.uint8)


def _lfsr(config: Any, arrays: Arrays, taps: Arrays) -> None:
    count = _sizes(arrays["count"])[0]
    taps["words"] = jax.vmap(lambda start: lfsr.words(arrays["seed"], start, (count,)))(arrays["start"])


def _sizes(value: Any) -> tuple[int, ...]:
    """Shapes, which must be concrete while tracing."""
    return value if isinstance(value, tuple) else tuple(int(size) for size in value.reshape(-1))


def _params(arrays: Arrays) -> ConvParams:
    one = jnp.float16(1)  # what this direction does not read
    return ConvParams(
        weight_code=arrays["weight_code"],
        x_inv_scale=arrays.get("x_inv_scale", one),
        scale=arrays.get("scale", one),
        w_scale=arrays.get("w_scale", one),
        dy_inv_scale=arrays.get("dy_inv_scale", one),
        dx_scale=arrays.get("dx_scale"),
        bias=arrays.get("bias"),
        seed=arrays.get("seed", jnp.uint16(1)),
    )


def _conv_forward(config: ConvConfig, arrays: Arrays, taps: Arrays) -> None:
    conv.forward(config, _params(arrays), arrays["x"], taps.__setitem__)


def _conv_backward(config: ConvConfig, arrays: Arrays, taps: Arrays) -> None:
    conv.backward(config, _params(arrays), arrays["mask"], arrays["dy"], taps.__setitem__)


def _norm_forward(config: BatchNormConfig, arrays: Arrays, taps: Arrays) -> None:
    if config.statistics is Statistics.BATCH:
        params = batch_norm.BatchParams(arrays["gamma"], arrays["beta"], arrays["eps"])
        batch_norm.forward_batch(config, params, arrays["y"], taps.__setitem__)
    else:
        frozen = batch_norm.FrozenParams(arrays["a"], arrays["b"])
        batch_norm.forward_frozen(config, frozen, arrays["y"], taps.__setitem__)


def _norm_backward(config: BatchNormConfig, arrays: Arrays, taps: Arrays) -> None:
    if config.statistics is Statistics.FROZEN:
        frozen = batch_norm.FrozenParams(arrays["a"], arrays["a"])
        batch_norm.backward_frozen(config, frozen, arrays["dz"], taps.__setitem__)
        return
    mean, r, a = (_bits(arrays[name]) for name in ("mean", "r", "a"))
    saved = batch_norm.BatchSaved(arrays["y"], mean, r, a, arrays["a16"])
    batch_norm.backward_batch(config, saved, arrays["dz"], taps.__setitem__)


def _bits(value: Array) -> Array:
    """Words of a statistic as the layer keeps them: uint32, whatever the accumulator's format."""
    width = jnp.uint16 if value.dtype == jnp.float16 else jnp.uint32
    return jax.lax.bitcast_convert_type(value, width).astype(jnp.uint32)


def _relu_backward(config: Any, arrays: Arrays, taps: Arrays) -> None:
    activation.backward(config, activation.passes(config, arrays["x"]), arrays["dy"], taps.__setitem__)


def _accumulate(mode: FloatMode, arrays: Arrays, taps: Arrays) -> None:
    residual.accumulate(list(arrays["dys"]), mode, taps.__setitem__)


def _max_backward(config: Any, arrays: Arrays, taps: Arrays) -> None:
    size = _sizes(arrays["input_hw"])
    pool.max_backward(config, arrays["index"], arrays["dy"], (size[0], size[1]), taps.__setitem__)


def _avg_backward(config: Any, arrays: Arrays, taps: Arrays) -> None:
    size = _sizes(arrays["input_hw"])
    pool.avg_backward(config, arrays["dy"], (size[0], size[1]), taps.__setitem__)


def _on_x(function: Callable[..., Any]) -> Kernel:
    """A layer of one input and no parameters."""
    return lambda config, arrays, taps: function(config, arrays["x"], taps.__setitem__)


def _linear_forward(config: Any, arrays: Arrays, taps: Arrays) -> None:
    params = linear.LinearParams(arrays["weight"], arrays["bias"])
    linear.forward(config, params, arrays["x"], taps.__setitem__)


def _linear_backward(config: Any, arrays: Arrays, taps: Arrays) -> None:
    weight = arrays["weight"]
    params = linear.LinearParams(weight, jnp.zeros(weight.shape[1], jnp.float32))
    linear.backward(config, params, arrays["dy"], taps.__setitem__)


KERNELS: dict[str, Kernel] = {
    "fp16.add": _unit(fp16.add, "a b"),
    "fp16.sub": _unit(fp16.sub, "a b"),
    "fp16.mul": _unit(fp16.mul, "a b"),
    "fp16.fma": _unit(fp16.fma, "a b c"),
    "fp16.div": _unit(fp16.div, "a b"),
    "fp16.sqrt": _unit(fp16.sqrt, "a"),
    "fp16.from_int32": _unit(fp16.from_int32, "i"),
    "fp16.from_float32": _unit(fp16.from_float32, "x"),
    "fp16.to_float32": _unit(fp16.to_float32, "a"),
    "fxp.quantize": _quantize,
    "fxp.quantize_stochastic": _quantize,
    "fxp.dequantize": _dequantize,
    "fxp.pack": _pack,
    "lfsr.words": _lfsr,
    "conv.forward": _conv_forward,
    "conv.backward": _conv_backward,
    "batch_norm.forward": _norm_forward,
    "batch_norm.backward": _norm_backward,
    "relu.forward": _on_x(activation.forward),
    "relu.backward": _relu_backward,
    "add.forward": lambda config, arrays, taps: residual.forward(
        config, arrays["x"], arrays["shortcut"], taps.__setitem__
    ),
    "gradient.accumulate": _accumulate,
    "max_pool.forward": _on_x(pool.max_forward),
    "max_pool.backward": _max_backward,
    "avg_pool.forward": _on_x(pool.avg_forward),
    "avg_pool.backward": _avg_backward,
    "linear.forward": _linear_forward,
    "linear.backward": _linear_backward,
}
