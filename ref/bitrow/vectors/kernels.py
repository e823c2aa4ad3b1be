"""The kernels' side of the registry: each operation by name, on typed arrays, with taps or without (SPEC.md V5)."""

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
from bitrow.ops.tap import Tap, no_tap, renamed

Arrays = dict[str, Any]
Kernel = Callable[[Any, Arrays, Tap], dict[str, Array]]  # returns the outputs


def compute(name: str, config: Any, arrays: Arrays, tapped: bool = True) -> dict[str, Array]:
    """Outputs of operation `name`, under SPEC.md's names; taps, too, unless it is run without.

    Raises:
        BitrowError: what the layer refuses.
    """
    if name.startswith("network."):
        # not at the top: networks build on this module
        networks = importlib.import_module("bitrow.vectors.networks")
        return networks.kernel(name.removeprefix("network."), arrays)
    taps: dict[str, Array] = {}
    given = {key: _ready(value) for key, value in arrays.items()}
    outputs = KERNELS[name](config, given, taps.__setitem__ if tapped else no_tap)
    return taps | outputs


def _ready(value: Any) -> Any:
    return value if isinstance(value, tuple) else jnp.asarray(value)


def _unit(function: Callable[..., Array], names: str) -> Kernel:
    def run(config: FloatMode, arrays: Arrays, tap: Tap) -> Arrays:
        return {"y": function(*(arrays[name] for name in names.split()), config)}

    return run


def _quantize(config: ConvConfig, arrays: Arrays, tap: Tap) -> Arrays:
    tap = renamed(tap, {"code": "x_code"})
    x, inverse, fmt = arrays["x"], arrays["x_inv_scale"], config.x_format
    if "words" in arrays:
        code, mask = fxp.quantize_stochastic(x, inverse, arrays["words"], fmt, config.mode, tap)
    else:
        code, mask = fxp.quantize(x, inverse, fmt, config.mode, tap)
    return {"x_code": code, "mask": mask}


def _dequantize(config: ConvConfig, arrays: Arrays, tap: Tap) -> Arrays:
    bound = -config.accumulator.min
    return {"deq": fxp.dequantize(arrays["acc"], arrays["scale"], bound, config.dequantize, config.mode, tap)}


def _pack(fmt: Fxp, arrays: Arrays, tap: Tap) -> Arrays:
    code = arrays["code"]
    rows = code.reshape(*code.shape[:2], -1)
    return {"packed": fxp.pack(rows) if fmt.bits <= 4 else rows.astype(jnp.uint8)}


def _lfsr(config: Any, arrays: Arrays, tap: Tap) -> Arrays:
    count = _sizes(arrays["count"])[0]
    return {"words": jax.vmap(lambda start: lfsr.words(arrays["seed"], start, (count,)))(arrays["start"])}


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


def _conv_forward(config: ConvConfig, arrays: Arrays, tap: Tap) -> Arrays:
    y, mask = conv.forward(config, _params(arrays), arrays["x"], tap)
    return {"y": y, "mask": mask}


def _conv_backward(config: ConvConfig, arrays: Arrays, tap: Tap) -> Arrays:
    return {"dx": conv.backward(config, _params(arrays), arrays["mask"], arrays["dy"], tap)}


def _norm_forward(config: BatchNormConfig, arrays: Arrays, tap: Tap) -> Arrays:
    if config.statistics is Statistics.BATCH:
        params = batch_norm.BatchParams(arrays["gamma"], arrays["beta"], arrays["eps"])
        return {"z": batch_norm.forward_batch(config, params, arrays["y"], tap)[0]}
    frozen = batch_norm.FrozenParams(arrays["a"], arrays["b"])
    return {"z": batch_norm.forward_frozen(config, frozen, arrays["y"], tap)}


def _norm_backward(config: BatchNormConfig, arrays: Arrays, tap: Tap) -> Arrays:
    if config.statistics is Statistics.FROZEN:
        frozen = batch_norm.FrozenParams(arrays["a"], arrays["a"])
        return {"dy": batch_norm.backward_frozen(config, frozen, arrays["dz"], tap)}
    mean, r, a = (_bits(arrays[name]) for name in ("mean", "r", "a"))
    saved = batch_norm.BatchSaved(arrays["y"], mean, r, a, arrays["a16"])
    dy, dgamma, dbeta = batch_norm.backward_batch(config, saved, arrays["dz"], tap)
    return {"dy": dy, "dgamma": dgamma, "dbeta": dbeta}


def _bits(value: Array) -> Array:
    """Words of a statistic as the layer keeps them: uint32, whatever the accumulator's format."""
    width = jnp.uint16 if value.dtype == jnp.float16 else jnp.uint32
    return jax.lax.bitcast_convert_type(value, width).astype(jnp.uint32)


def _relu_backward(config: Any, arrays: Arrays, tap: Tap) -> Arrays:
    return {"dx": activation.backward(config, activation.passes(config, arrays["x"]), arrays["dy"], tap)}


def _add_forward(config: Any, arrays: Arrays, tap: Tap) -> Arrays:
    return {"y": residual.forward(config, arrays["x"], arrays["shortcut"], tap)}


def _accumulate(mode: FloatMode, arrays: Arrays, tap: Tap) -> Arrays:
    return {"dx": residual.accumulate(list(arrays["dys"]), mode, tap)}


def _max_forward(config: Any, arrays: Arrays, tap: Tap) -> Arrays:
    y, index = pool.max_forward(config, arrays["x"], tap)
    return {"y": y, "index": index}


def _max_backward(config: Any, arrays: Arrays, tap: Tap) -> Arrays:
    size = _sizes(arrays["input_hw"])
    return {"dx": pool.max_backward(config, arrays["index"], arrays["dy"], (size[0], size[1]), tap)}


def _avg_backward(config: Any, arrays: Arrays, tap: Tap) -> Arrays:
    size = _sizes(arrays["input_hw"])
    return {"dx": pool.avg_backward(config, arrays["dy"], (size[0], size[1]), tap)}


def _on_x(function: Callable[..., Array]) -> Kernel:
    """A layer of one input and one output, without parameters."""
    return lambda config, arrays, tap: {"y": function(config, arrays["x"], tap)}


def _linear_forward(config: Any, arrays: Arrays, tap: Tap) -> Arrays:
    params = linear.LinearParams(arrays["weight"], arrays["bias"])
    return {"y": linear.forward(config, params, arrays["x"], tap)}


def _linear_backward(config: Any, arrays: Arrays, tap: Tap) -> Arrays:
    weight = arrays["weight"]
    params = linear.LinearParams(weight, jnp.zeros(weight.shape[1], jnp.float32))
    return {"dx": linear.backward(config, params, arrays["dy"], tap)}


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
    "add.forward": _add_forward,
    "gradient.accumulate": _accumulate,
    "max_pool.forward": _max_forward,
    "max_pool.backward": _max_backward,
    "avg_pool.forward": _on_x(pool.avg_forward),
    "avg_pool.backward": _avg_backward,
    "linear.forward": _linear_forward,
    "linear.backward": _linear_backward,
}
