"""The kernel of each operation of the contract, on typed arrays, with taps or without (SPEC.md V5)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from bitrow import contract
from bitrow.config import BatchNormConfig, ConvConfig
from bitrow.contract.exceptions import FLAGGED
from bitrow.contract.operation import Operation
from bitrow.contract.operations import OPERATIONS
from bitrow.contract.units import UNITS
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode, Fxp
from bitrow.layers import batch_norm, conv, hard_sigmoid, linear, pool, residual, sigmoid
from bitrow.layers.conv import ConvParams
from bitrow.layers.layer import Upstream
from bitrow.layers.table import LAYERS
from bitrow.ops import flags, fp16, fxp, lfsr
from bitrow.ops.tap import Tap, no_tap, renamed
from bitrow.vectors.judge import networks
from bitrow.vectors.network_pass import WholePass

Arrays = dict[str, Any]
JudgedKernel = Callable[[Any, Arrays, Tap], dict[str, Array]]  # returns the outputs


def compute(operation: Operation, config: Any, arrays: Mapping[str, Any], tapped: bool = True) -> dict[str, Array]:
    """Outputs of an operation by its JAX kernel, under SPEC.md's names; taps, too, unless it is run without, as users
    run it. Typed arrays (`operations.to_arrays`); jittable but for `Operation.static`.

    Raises:
        BitrowError: what the layer refuses.
    """
    if isinstance(operation, WholePass):
        return networks.kernel(operation.model, dict(arrays))
    taps: dict[str, Array] = {}
    given = {key: _ready(value) for key, value in arrays.items()}
    outputs = kernel(operation)(config, given, taps.__setitem__ if tapped else no_tap)
    return taps | outputs


def kernel(operation: Operation) -> JudgedKernel:
    """The kernel of an operation: its row of `KERNELS`, or its layer's own passes."""
    return KERNELS[operation] if operation in KERNELS else functools.partial(_of_layer, operation)


def _plain(operation: Operation) -> bool:
    """An operation of maps alone, so that its layer's passes are all there is to run."""
    outputs = len(operation.gradients) or 1
    return operation.configured_by in LAYERS and not operation.parameters and len(operation.outputs) == outputs


def _of_layer(operation: Operation, config: Any, arrays: Arrays, tap: Tap) -> Arrays:
    """A layer without parameters: forward on its maps, or backward on what its forward pass keeps of them."""
    kept = [arrays[name] for name in operation.inputs if name in operation.kept]
    maps = [arrays[name] for name in operation.inputs if name not in operation.kept]
    if not operation.name.endswith(".backward"):
        return {operation.result: LAYERS[type(config)].forward(config, None, maps, tap)[0]}
    saved = LAYERS[type(config)].forward(config, None, kept, no_tap)[1] if kept else None
    h, w, c = (kept or maps)[0].shape[1:]
    up = Upstream(None, saved, maps[0], (h, w, c), tap, 0)
    names = operation.gradients or (operation.result,)
    return dict(zip(names, LAYERS[type(config)].backward(config, up).inputs, strict=True))


def _ready(value: Any) -> Any:
    return value if isinstance(value, tuple) else jnp.asarray(value)


def _unit(function: Callable[..., Array], names: str) -> JudgedKernel:
    def run(config: FloatMode, arrays: Arrays, tap: Tap) -> Arrays:
        return {"y": function(*(arrays[name] for name in names.split()), config)}

    return run


def _flagged(operation: Operation) -> JudgedKernel:
    """The function of `ops.flags` that has the operation's name."""
    function = getattr(flags, operation.name.removeprefix("flags."))
    names = (*operation.inputs, *operation.parameters)
    return lambda config, arrays, tap: function(*(arrays[name] for name in names), config)._asdict()


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


def _norm_frozen(config: BatchNormConfig, arrays: Arrays, tap: Tap) -> Arrays:
    frozen = batch_norm.FrozenParams(arrays["a"], arrays["b"])
    return {"z": batch_norm.forward_frozen(config, frozen, arrays["y"], tap)}


def _norm_frozen_backward(config: BatchNormConfig, arrays: Arrays, tap: Tap) -> Arrays:
    frozen = batch_norm.FrozenParams(arrays["a"], arrays["a"])
    return {"dy": batch_norm.backward_frozen(config, frozen, arrays["dz"], tap)}


def _norm_batch(config: BatchNormConfig, arrays: Arrays, tap: Tap) -> Arrays:
    params = batch_norm.BatchParams(arrays["gamma"], arrays["beta"], arrays["eps"])
    return {"z": batch_norm.forward_batch(config, params, arrays["y"], tap)[0]}


def _norm_batch_backward(config: BatchNormConfig, arrays: Arrays, tap: Tap) -> Arrays:
    mean, r, a = (_bits(arrays[name]) for name in ("mean", "r", "a"))
    saved = batch_norm.BatchSaved(arrays["y"], mean, r, a, arrays["a16"])
    dy, dgamma, dbeta = batch_norm.backward_batch(config, saved, arrays["dz"], tap)
    return {"dy": dy, "dgamma": dgamma, "dbeta": dbeta}


def _bits(value: Array) -> Array:
    """Words of a statistic as the layer keeps them: uint32, whatever the accumulator's format."""
    width = jnp.uint16 if value.dtype == jnp.float16 else jnp.uint32
    return jax.lax.bitcast_convert_type(value, width).astype(jnp.uint32)


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


def _hard_sigmoid_backward(config: Any, arrays: Arrays, tap: Tap) -> Arrays:
    return {"dx": hard_sigmoid.backward(config, hard_sigmoid.passes(arrays["y"]), arrays["dy"], tap)}


def _sigmoid_backward(config: Any, arrays: Arrays, tap: Tap) -> Arrays:
    return {"dx": sigmoid.backward(config, arrays["y"], arrays["dy"], tap)}


def _linear_forward(config: Any, arrays: Arrays, tap: Tap) -> Arrays:
    params = linear.LinearParams(arrays["weight"], arrays["bias"])
    return {"y": linear.forward(config, params, arrays["x"], tap)}


def _linear_backward(config: Any, arrays: Arrays, tap: Tap) -> Arrays:
    weight = arrays["weight"]
    params = linear.LinearParams(weight, jnp.zeros(weight.shape[1], jnp.float32))
    return {"dx": linear.backward(config, params, arrays["dy"], tap)}


def registered(kernels: Mapping[Operation, JudgedKernel]) -> Mapping[Operation, JudgedKernel]:
    """The table, if every operation of the contract has its kernel in it, or is its layer's own passes.

    Raises:
        BitrowError: naming what is missing.
    """
    for operation in OPERATIONS:
        if operation not in kernels and not _plain(operation):
            raise BitrowError(f"kernels: found none for {operation.name} ({operation.program.name}), expected one")
    return kernels


KERNELS = registered({
    UNITS["add"]: _unit(fp16.add, "a b"),
    UNITS["sub"]: _unit(fp16.sub, "a b"),
    UNITS["mul"]: _unit(fp16.mul, "a b"),
    UNITS["fma"]: _unit(fp16.fma, "a b c"),
    UNITS["div"]: _unit(fp16.div, "a b"),
    UNITS["sqrt"]: _unit(fp16.sqrt, "a"),
    UNITS["from_int32"]: _unit(fp16.from_int32, "i"),
    UNITS["from_float32"]: _unit(fp16.from_float32, "x"),
    UNITS["to_float32"]: _unit(fp16.to_float32, "a"),
    **{operation: _flagged(operation) for operation in FLAGGED.values()},
    contract.fixed_point.QUANTIZE: _quantize,
    contract.fixed_point.QUANTIZE_STOCHASTIC: _quantize,
    contract.fixed_point.DEQUANTIZE: _dequantize,
    contract.fixed_point.PACK: _pack,
    contract.fixed_point.LFSR: _lfsr,
    contract.conv.FORWARD: _conv_forward,
    contract.conv.BACKWARD: _conv_backward,
    contract.batch_norm.FORWARD_FROZEN: _norm_frozen,
    contract.batch_norm.BACKWARD_FROZEN: _norm_frozen_backward,
    contract.batch_norm.FORWARD_BATCH: _norm_batch,
    contract.batch_norm.BACKWARD_BATCH: _norm_batch_backward,
    contract.elementwise.ACCUMULATE: _accumulate,
    contract.pool.MAX_FORWARD: _max_forward,
    contract.pool.MAX_BACKWARD: _max_backward,
    contract.pool.AVG_BACKWARD: _avg_backward,
    contract.hard_sigmoid.BACKWARD: _hard_sigmoid_backward,
    contract.sigmoid.SIGMOID_BACKWARD: _sigmoid_backward,
    contract.linear.FORWARD: _linear_forward,
    contract.linear.BACKWARD: _linear_backward,
})  # fmt: skip
