"""Samples of a network from a user's images, without labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bitrow.errors import BitrowError
from bitrow.images.normalise import normalised, statistics
from bitrow.images.npz import read_unlabelled
from bitrow.images.raw import Raw, Size, check_size, convert
from bitrow.images.tree import is_picture, read_pictures


def read_samples(path: Path, input_shape: Size, limit: int) -> np.ndarray:
    """At most `limit` images f16[n,h,w,c] of `input_shape` (h, w, c), resized where they have another size.

    `path` is a picture, a folder or zip of pictures at any depth, which are taken in the order of their paths, or an
    npz file with an array `images`, `x`, `x_train`, `train_images` or `data`. Bytes are normalised to a mean of 0 and a
    deviation of 1 of each channel over the images taken; floats stay as they are, rounded once to FP16.

    Raises:
        BitrowError: one line naming the path or file: nothing there, no images, corrupt or truncated ones, others than
            8 bits a channel, floats beyond FP16, channels that cannot be converted, an extra that is not installed.
    """
    where = str(path)
    if not path.exists():
        raise BitrowError(f"data {where}: found nothing there, expected a picture, a folder, a zip or an npz file")
    if path.suffix == ".npz":
        x = read_unlabelled(path)[:limit]
        if x.shape[1:] != input_shape:
            check_size(input_shape)
            x = convert(where, Raw((), x, np.zeros(len(x), np.int32), None), input_shape).x
    elif path.is_dir() or path.suffix == ".zip" or is_picture(path.name):
        check_size(input_shape)
        x = read_pictures(path, input_shape, limit)
    else:
        raise BitrowError(f"data {where}: found a file of an unknown kind, expected a picture, a zip or an npz file")
    figures = statistics(x) if x.dtype == np.uint8 else (np.zeros(x.shape[3]), np.ones(x.shape[3]))
    return normalised(where, x, *figures).astype(np.float16)
