"""Augmentation that only moves pixels: shifts and mirror images, chosen by a hash of (seed, epoch, index).

An image's augmentation depends on nothing else, so batches, devices and the order in which images are read
change no bit. The same code runs on numpy arrays and, also inside jit, on JAX arrays, with the same result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bitrow import typed
from bitrow.errors import BitrowError
from bitrow.transfer.hashed import GOLDEN, mix, word


@dataclass(frozen=True)
class Augmentation:
    """Shifts of up to `shift` pixels in both directions, and with `flip` every other image mirrored, left to right.

    Raises:
        BitrowError: a negative shift, a field of another type.
    """

    shift: int = 1
    flip: bool = False

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "augmentation")
        if self.shift < 0:
            raise BitrowError(f"augmentation shift: found {self.shift}, expected 0 or more")


def usual(shape: tuple[int, ...]) -> Augmentation:
    """What suits images of `shape` (h, w, c): an eighth of the rows, at least a pixel; mirrored if in colour.

    Grey images are taken for writing, which has no mirror image.
    """
    h, _, c = shape
    return Augmentation(max(1, h // 8), c == 3)


def augment(
    images: Any, seed: Any, epoch: Any, *, index: Any = None, how: Augmentation | None = None
) -> Any:
    """Shift and mirror images [n,h,w,c] of any dtype; what moves in from outside is 0, the mean.

    Args:
        images: numpy or JAX array; the result is of the same kind, shape and dtype.
        seed, epoch: whole numbers from 0; inside jit, scalars of dtype uint32.
        index: each image's place in the data set, whole numbers [n]; None: 0 to n-1.
        how: None: `usual` for the shape.

    Raises:
        BitrowError: images that are not four-dimensional, an index of another length.
    """
    if images.ndim != 4:
        raise BitrowError(f"augment images: found shape {list(images.shape)}, expected [n, h, w, c]")
    n, h, w, _ = images.shape
    how = usual(images.shape[1:]) if how is None else how
    xp: Any = jnp if isinstance(images, jax.Array) else np
    index = xp.arange(n) if index is None else xp.asarray(index)
    if index.shape != (n,):
        raise BitrowError(f"augment index: found shape {list(index.shape)}, expected [{n}]")
    down, right, mirror = _draws(xp, seed, epoch, index, how)
    rows = xp.arange(h, dtype=np.int32)[None, :] + down[:, None]
    columns = xp.arange(w, dtype=np.int32)[None, :] + right[:, None]
    inside = ((rows >= 0) & (rows < h))[:, :, None] & ((columns >= 0) & (columns < w))[:, None, :]
    columns = xp.where(mirror[:, None], w - 1 - columns, columns)
    rows, columns = xp.clip(rows, 0, h - 1), xp.clip(columns, 0, w - 1)
    moved = images[xp.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return xp.where(inside[..., None], moved, xp.zeros((), images.dtype))


def _draws(xp: Any, seed: Any, epoch: Any, index: Any, how: Augmentation) -> tuple[Any, Any, Any]:
    """Shift down and right i32[n], each of -shift..shift alike, and whether to mirror, bool[n]."""
    drawn = mix(word(xp, index) * np.uint32(GOLDEN) + mix(word(xp, epoch) ^ mix(word(xp, seed))))
    span = np.uint32(2 * how.shift + 1)
    draws = [mix(drawn + np.uint32(k * GOLDEN % (1 << 32))) >> np.uint32(16) for k in (1, 2, 3)]
    down, right = ((draw * span >> np.uint32(16)).astype(np.int32) - np.int32(how.shift) for draw in draws[:2])
    return down, right, (draws[2] & np.uint32(1) == 1) & how.flip
