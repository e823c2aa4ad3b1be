"""Convolution weights that train as codes of their format and a scale that stays, without masters.

A weight is code * w_scale, exactly; both are short enough for float32 to hold the product. A step is made in codes: on
the gradient of the code, w_scale times that of the weight, and then rounded to a code, up or down at random so that it
is right on average: nearest, all steps below half a code would be none. Quantization-aware scaling (QAS, Lin et al.
2022, On-device training under 256 KB memory) multiplies that gradient by w_scale^-2: so a step of SGD is, on average,
what a master in real units would make, instead of w_scale^2 times as much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float16, Float32, UInt32

from bitrow.errors import BitrowError
from bitrow.formats import Fxp
from bitrow.ops import fp16
from bitrow.transfer import hashed
from bitrow.transfer.convolution import weight_codes
from bitrow.transfer.numerics import TrainedWeights


class CodeGrid(NamedTuple):
    """What a convolution's weights may be: codes of `fmt` times `w_scale`, of all or of each output channel."""

    fmt: Fxp
    w_scale: Float16[Array, "..."]


class CodeState(NamedTuple):
    """The optimizer's own state, how many updates it made, and the seed of what is drawn."""

    inner: Any
    count: UInt32[Array, ""]  # type: ignore[assignment]  # as optax calls it
    seed: UInt32[Array, ""]


def check_use(weights: TrainedWeights, policy: str, in_float: bool, coded: bool) -> None:
    """Refuse codes in float32, and under a policy that trains none. Raises: BitrowError."""
    if weights is TrainedWeights.MASTERS:
        return
    if in_float:
        raise BitrowError(f"weights: found {weights.value} in float32, expected masters: it has no codes")
    if not coded:
        found = f"weights: found {weights.value} and policy {policy}, which trains no convolution's weights"
        raise BitrowError(f"{found}, expected one that does: last_K, sparse_KIB, full")


def on_grid(weight: Float32[Array, "kh kw c_in c_out"], grid: CodeGrid) -> Float32[Array, "kh kw c_in c_out"]:
    """The value of the code that stands for each weight: nearest, ties to even, clipped."""
    code = weight_codes(weight, grid.w_scale, grid.fmt)[0]
    return code.astype(jnp.float32) * _scale(grid, weight)


def as_codes(
    optimizer: optax.GradientTransformation, grids: Mapping[str, CodeGrid], qas: bool = True, seed: int = 0
) -> optax.GradientTransformation:
    """`optimizer`, which sees the weights called in `grids` as codes; of all other parameters nothing changes.

    Parameters are called by their path, as in "layers/c1/weight". Those in `grids` lie on them (`on_grid`,
    `own_loop.keep_codes`), and what is added to them leads from one value of the grid to another. Which way a step is
    rounded is drawn by a hash of seed, update, weight and element.

    Raises:
        BitrowError: parameters none of which are in `grids`, on `init`; an `update` without parameters.
    """
    places = {name: place for place, name in enumerate(sorted(grids))}

    def init(params: Any) -> CodeState:
        names = [_name(path) for path, _ in jax.tree.leaves_with_path(params)]
        if not set(names) & set(grids):
            found, expected = (next(iter(each), "none") for each in (names, grids))
            raise BitrowError(f"codes: found parameters such as {found}, expected weights such as {expected}")
        return CodeState(optimizer.init(params), jnp.uint32(0), jnp.uint32(seed % (1 << 32)))

    def update(gradients: Any, state: CodeState, params: Any = None) -> tuple[Any, CodeState]:
        if params is None:
            raise BitrowError("codes: found an update without parameters, expected them")

        def each(change: Callable[..., Array], *trees: Any) -> Any:
            """Of a weight on a grid what `change` makes of its name and values, of others the last value."""
            return jax.tree.map_with_path(
                lambda path, *values: change(_name(path), *values) if _name(path) in grids else values[-1], *trees
            )

        def moved(name: str, weight: Array, step: Array) -> Array:
            words = hashed.words(jnp, state.seed, state.count, places[name], step.size).reshape(step.shape)
            scale = _scale(grids[name], weight)
            return rounded_step(code_of(name, weight), step, words, grids[name].fmt) * scale - weight  # exact, as W is

        def code_of(name: str, weight: Array) -> Array:
            return jnp.rint(weight / _scale(grids[name], weight))

        def of_code(name: str, gradient: Array) -> Array:
            scale = _scale(grids[name], gradient)
            return gradient / scale if qas else gradient * scale  # scale * scale^-2 is one division

        steps, inner = optimizer.update(each(of_code, gradients), state.inner, each(code_of, params))
        return each(moved, params, steps), CodeState(inner, state.count + jnp.uint32(1), state.seed)

    return optax.GradientTransformation(init, update)


def rounded_step(
    code: Float32[Array, "*s"], step: Float32[Array, "*s"], words: UInt32[Array, "*s"], fmt: Fxp
) -> Float32[Array, "*s"]:
    """`code + step` in whole codes, clipped to those of `fmt`.

    The step's size is rounded up where a word is below 2^32 times its fraction; 2^32 of them alike would have the
    step's mean, but for parts of less than 2^-32 of a code.
    """
    size = jnp.abs(step)
    whole = jnp.floor(size)
    up = words < ((size - whole) * jnp.float32(2.0**32)).astype(jnp.uint32)
    return jnp.clip(code + jnp.sign(step) * (whole + up.astype(jnp.float32)), fmt.min, fmt.max)


def _scale(grid: CodeGrid, like: Array) -> Array:
    return jnp.broadcast_to(fp16.widen(grid.w_scale), like.shape)


def _name(path: Any) -> str:
    """Of a parameter; flax's variables have theirs in a field `value`, in some calls."""
    return jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value")
