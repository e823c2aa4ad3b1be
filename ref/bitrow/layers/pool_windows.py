"""What pools share: windows that fit, and how rows of windows meet the rows that they hold (SPEC.md A2, A3)."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float16, Shaped

from bitrow.config.windows import Window, Windows
from bitrow.doors import guard
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode
from bitrow.ops import fp16
from bitrow.ops.mac import pad_spatial


def check_window(lie: Windows, shape: tuple[int, ...]) -> None:
    down, across = lie
    if min(down.results(shape[1]), across.results(shape[2])) < 1:
        edges = (down.before, down.after, across.before, across.after)
        padding = edges[0] if len(set(edges)) == 1 else edges
        raise BitrowError(
            f"pool input: found {shape[1]}x{shape[2]} with padding {padding}, "
            f"expected at least {down.kernel}x{across.kernel}"
        )


def spread_rows(
    window: Window, rows: Shaped[Array, "n oh ow c"], height: int
) -> tuple[list[Array], list[Array]]:
    """For each kh, the window rows that meet input rows at kh, and where there is one."""
    met, present = [], []
    here = jnp.ones((1, rows.shape[1], 1, 1), bool)
    for kh in range(window.kernel):
        edges = (_placement(window, kh, rows.shape[1], height), (0, 0, 0))
        met.append(pad_spatial(rows, edges, jnp.zeros((), rows.dtype)))
        present.append(pad_spatial(here, edges, jnp.bool_(False)))
    return met, present


def _placement(window: Window, offset: int, count: int, size: int) -> tuple[int, int, int]:
    """Padding and dilation that put window i's word at input position i*S - P + offset."""
    low = offset - window.before
    return low, size - low - (count - 1) * window.stride - 1, window.stride - 1


def gathered(
    window: Window,
    gradients: Sequence[Float16[Array, "n h ow c"]],
    goes: Sequence[Bool[Array, "n h ow c"]],
    width: int,
    mode: FloatMode,
) -> Float16[Array, "n h w c"]:
    """What each input takes of the window rows that meet it at each kh: `goes`, for each place kh*KW + kw of a window,
    says whose gradient goes there.

    An input's windows in row-major order meet it at descending (kh, kw). The first dy is taken, not added to +0.
    """
    dx = seen = None
    for kh, kw in reversed(list(np.ndindex(len(gradients), window.kernel))):
        columns = ((0, 0, 0), _placement(window, kw, gradients[kh].shape[2], width))
        won = pad_spatial(goes[kh * window.kernel + kw], columns, jnp.bool_(False))
        gradient = pad_spatial(gradients[kh], columns, jnp.float16(0))
        more = fp16.canonical(gradient)
        if dx is None or seen is None:
            dx, seen = jnp.where(won, more, jnp.float16(0)), won
            continue
        more = jnp.where(seen, fp16.add(dx, gradient, mode), more)
        dx, seen = jnp.where(won, more, dx), seen | won
    assert dx is not None  # a kernel has a place
    return dx


def float_windows(lie: Windows) -> tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...]]:
    """Sizes, strides and padding of windows, as `lax.reduce_window` takes them."""
    (down, across), none = lie, (0, 0)
    padding = (none, (down.before, down.after), (across.before, across.after), none)
    return (1, down.kernel, across.kernel, 1), (1, down.stride, across.stride, 1), padding


guard(__name__)
