"""Images for calibration and checks: a user's, scaled as the network expects them, or drawn ones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bitrow.config import Shape
from bitrow.errors import BitrowError
from bitrow.images.normalise import normalised
from bitrow.images.npz import read_unlabelled
from bitrow.images.raw import check_size
from bitrow.images.tree import read_pictures
from bitrow.splitmix import Draw


class PixelScaling(NamedTuple):
    """How a picture's bytes become a network's input: `(byte / 255 - mean) / std`, by channel or for all."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


def drawn(shape: Shape, count: int) -> np.ndarray:
    """Images f32[count,h,w,c] of roughly normal values, the same everywhere."""
    return (Draw(1).triangle(256, (count, *shape)) / 128).astype(np.float16).astype(np.float32)


def load(path: Path, shape: Shape, most: int, scaling: PixelScaling = PixelScaling()) -> np.ndarray:
    """The first `most` images of a picture, a folder or zip of pictures or an npz, f32[n,h,w,c] of `shape`.

    Every value is an FP16 number. Pictures, in the order of their paths, are resized and converted, and scaled as bytes
    of an npz are; floats of an npz are taken as they are.

    Raises:
        BitrowError: naming the file: what `bitrow.images` refuses of it, images of another shape, scaling that does not
            fit the channels.
    """
    for name, values in scaling._asdict().items():
        fits = len(values) in (1, shape[2]) and all(map(math.isfinite, values))
        if not fits or (name == "std" and min(values) <= 0):
            raise BitrowError(f"images {name}: found {list(values)}, expected one number or {shape[2]}, std above 0")
    if path.suffix == ".npz":
        x = read_unlabelled(path)[:most]
    else:
        check_size(shape)
        x = read_pictures(path, shape, most)
    if x.shape[1:] != shape:
        raise BitrowError(f"images {path}: found images of {list(x.shape[1:])}, expected {list(shape)}")
    if x.dtype != np.uint8:
        return normalised(str(path), x, np.zeros(shape[2]), np.ones(shape[2]))
    mean, std = (np.broadcast_to(np.array(values), shape[2:]) * 255 for values in scaling)
    return normalised(str(path), x, mean, std)
