"""A loss scale inside the module: gradients of the output are multiplied by a power of two on their way in, and those
of parameters and inputs divided by it on their way out.

The scales of output gradients (SPEC.md F8) are calibrated for images whose losses are summed. The mean of a batch has
gradients as many times smaller as the batch is large, and their codes are all zero; so they are brought to the scales
here, and the scales stay as they are. All of it is the host's, and exact: powers of two in float32.
"""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from bitrow import typed
from bitrow.calibrate import LOSS_SCALE_MAX
from bitrow.errors import BitrowError
from bitrow.transfer import ordered
from bitrow.transfer.conv_module import CalibrationConstant, GradientState, Probe

_OTHERS = nnx.Not(nnx.Any(nnx.Param, Probe, GradientState, CalibrationConstant))
_MANTISSA, _BIAS = 23, 127  # of float32


class LossScaling(enum.Enum):
    """How the power of two follows the loss.

    DYNAMIC chooses it in every backward pass, from the largest magnitude of the output's gradient: any loss trains, a
    mean, a sum or a weighted one, and one that becomes small, too. STATIC takes the loss for a mean over the first
    axis, and multiplies by the scale and the power of two nearest to that axis's length.
    """

    STATIC = "static"
    DYNAMIC = "dynamic"


@dataclass(frozen=True)
class LossScale:
    """`value` is calibration's loss scale, a power of two from 1 to 2^15: gradients of the output up to 1 in magnitude,
    multiplied by it, fit the scales of output gradients. Under DYNAMIC the largest comes to lie in [value/2, value).

    Raises:
        BitrowError: another value.
    """

    value: float = 1.0
    scaling: LossScaling = LossScaling.DYNAMIC

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "loss scale")
        if not (1 <= self.value <= LOSS_SCALE_MAX and math.frexp(self.value)[0] == 0.5):
            raise BitrowError(f"loss scale: found {self.value:g}, expected a power of two from 1 to {LOSS_SCALE_MAX:g}")


def call(how: LossScale, module: nnx.Module, run: Callable[..., Any], *inputs: Array) -> Any:
    """`run(module, *inputs)` as float32, differentiable in the module's parameters and float inputs under `how`.

    Several results, as a dict of outputs by name, share one power of two. Variables other than parameters that `run`
    changes are changed in `module`.
    """
    graph, params, rest = nnx.split(module, nnx.Param, ...)  # type: ignore[misc]
    leaves, tree = jax.tree.flatten(params)
    entered = [_enter(leaf) for leaf in leaves]
    given = [_enter(x) if jnp.issubdtype(x.dtype, jnp.floating) else (x, None) for x in inputs]
    copy = nnx.merge(graph, jax.tree.unflatten(tree, [value for value, _ in entered]), rest, copy=True)
    before = _others(copy)
    y = run(copy, *(value for value, _ in given))
    changed = [(path, new) for path, new in nnx.to_flat_state(nnx.state(copy, _OTHERS))
               if new.get_value() is not before.get(path)]  # fmt: skip
    if changed:  # as running statistics are
        nnx.update(module, nnx.from_flat_state(changed))
    tokens = [token for _, token in [*entered, *given] if token is not None]
    results, kind = jax.tree.flatten(y)
    return jax.tree.unflatten(kind, _leave(how, results, tokens))


def _others(module: nnx.Module) -> dict[Any, Any]:
    """The values of the variables that a call may change."""
    return {path: each.get_value() for path, each in nnx.to_flat_state(nnx.state(module, _OTHERS))}


@jax.custom_vjp
def _enter(value: Array) -> tuple[Array, Array]:
    """The value, and a zero whose "gradient" is what the value's must be multiplied by."""
    return value, jnp.zeros((), jnp.float32)


def _entered(value: Array) -> tuple[tuple[Array, Array], None]:
    return _enter(value), None


def _multiplied(saved: None, given: tuple[Array, Array]) -> tuple[Array]:
    return (host_multiplied(*given),)


_enter.defvjp(_entered, _multiplied)


@jax.jit
def host_multiplied(gradient: Array, factor: Array) -> Array:
    """The gradient times a power of two, rounded to its own type."""
    return _as_type(gradient.astype(jnp.float32) * factor, gradient.dtype)


def _as_type(value: Array, kind: Any) -> Array:
    return ordered.half(value) if kind == jnp.float16 else value.astype(kind)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _leave(how: LossScale, results: list[Array], tokens: list[Array]) -> list[Array]:
    return [y.astype(jnp.float32) for y in results]


def _left(how: LossScale, results: list[Array], tokens: list[Array]) -> tuple[list[Array], Any]:
    kinds = [jnp.zeros((0,), y.dtype) for y in results]
    return _leave(how, results, tokens), (kinds, [None] * len(tokens))


def _scaled(how: LossScale, saved: Any, gradients: list[Array]) -> tuple[list[Array], list[Array]]:
    kinds, tokens = saved
    scale, inverse = host_scale(how, *gradients)
    scaled = [_as_type(dy * scale, kind.dtype) for dy, kind in zip(gradients, kinds, strict=True)]
    return scaled, [inverse] * len(tokens)


_leave.defvjp(_left, _scaled)


@functools.partial(jax.jit, static_argnums=0)
def host_scale(how: LossScale, *gradients: Array) -> tuple[Array, Array]:
    """The power of two f32[] for outputs' gradients f32[n, ...], and its inverse.

    1 where they are all zero, or one is not finite.
    """
    exponent = round(math.log2(how.value))
    if how.scaling is LossScaling.STATIC:
        power = jnp.int32(exponent + round(math.log2(max(1, gradients[0].shape[0]))))
    else:
        words = [jnp.max(lax.bitcast_convert_type(dy, jnp.int32) & 0x7FFFFFFF, initial=0) for dy in gradients]
        word = functools.reduce(jnp.maximum, words)
        field = word >> _MANTISSA
        known = (field > 0) & (field < 0xFF)
        power = jnp.where(known, exponent - 1 - (field - _BIAS), 0)
    power = jnp.clip(power, 1 - _BIAS, _BIAS - 1)
    return _power_of_two(power), _power_of_two(-power)


def _power_of_two(power: Array) -> Array:
    return lax.bitcast_convert_type((power + _BIAS) << _MANTISSA, jnp.float32)


