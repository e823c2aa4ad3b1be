"""What every reader delivers: pixels as they were stored, labels, and the part that each image belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitrow.errors import BitrowError
from bitrow.extras import extra
from bitrow.reading import allowed

Size = tuple[int, int, int]
MAX_SIDE = 4096  # rows or columns of an image
MAX_BYTES = 1 << 32  # of all images of a data set, decoded


@dataclass(frozen=True, eq=False)
class Raw:
    """Images x u8[n,h,w,c] or f32[n,h,w,c], labels y i32[n] into `classes`, and test bool[n], True where an
    image is held out, or None where the data does not say.
    """

    classes: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray
    test: np.ndarray | None


def check_size(input_shape: Size | None) -> None:
    """Refuse an image size that nothing can be converted to.

    Raises:
        BitrowError: not three whole numbers, sides outside 1 to 4096, channels other than 1 or 3.
    """
    if input_shape is None:
        return
    fits = len(input_shape) == 3 and all(isinstance(n, int | np.integer) for n in input_shape)
    if (
        not fits
        or not (1 <= min(input_shape[:2]) <= max(input_shape[:2]) <= MAX_SIDE)
        or input_shape[2] not in (1, 3)
    ):
        found = "x".join(map(str, input_shape))
        raise BitrowError(
            f"data input_shape: found {found}, expected h, w from 1 to {MAX_SIDE} and 1 or 3 channels"
        )


def check_bytes(where: str, count: int, size: Size, item: int = 1) -> None:
    """Refuse a data set that would not fit before any of it is made.

    Raises:
        BitrowError: more than 4 GiB, or than `BITROW_READ_LIMIT` allows.
    """
    total = count * item * size[0] * size[1] * size[2]
    if total > allowed(MAX_BYTES):
        raise BitrowError(
            f"{where}: found {count} images of {'x'.join(map(str, size))}, {total:,} bytes, "
            f"expected at most {allowed(MAX_BYTES):,}; ask for smaller images or fewer of each class"
        )


def check_layout(where: str, x: np.ndarray) -> None:
    """Refuse images [n,c,h,w], which would be read as images of a few rows and many channels.

    Raises:
        BitrowError: a second axis of at most 4 where the last is longer.
    """
    if x.ndim == 4 and x.shape[1] <= 4 < x.shape[3]:
        raise BitrowError(
            f"{where}: found {list(x.shape)}, which looks like [n, c, h, w], expected channels last, [n, h, w, c]"
        )


def check_classes(where: str, classes: tuple[str, ...], tasks: int = 2) -> None:
    """Refuse data that so many tasks, one or two, cannot be made of.

    Raises:
        BitrowError: fewer than two classes for each.
    """
    if len(classes) < 2 * tasks:
        raise BitrowError(
            f"data {where}: found {len(classes)} class{'es' * (len(classes) != 1)} ({', '.join(classes)}), "
            f"expected at least {2 * tasks}, two for each task"
        )


def names_of(labels: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Class names in order, and labels i32[n] into them, from the data's own labels (integers or strings)."""
    values, y = np.unique(labels, return_inverse=True)
    names = [str(value) for value in values.tolist()]
    order = sorted(range(len(names)), key=lambda i: name_key(names[i]))
    place = np.empty(len(names), np.int32)
    place[order] = np.arange(len(names), dtype=np.int32)
    return tuple(names[i] for i in order), place[y.reshape(-1)]


def name_key(name: str) -> tuple[bool, int, str]:
    """Sorts numbers as numbers, before names: 9 before 10."""
    number = name.isascii() and name.isdigit() and len(name) < 1000
    return not number, int(name) if number else 0, name


def convert(where: str, raw: Raw, input_shape: Size | None) -> Raw:
    """Images resized (bilinear) and converted between grey and colour where `input_shape` asks for it.

    Raises:
        BitrowError: channels that cannot be converted, more than 4 GiB.
    """
    found = raw.x.shape[1:]
    if input_shape is None or found == tuple(input_shape):
        return raw
    if found[2] not in (1, 3):
        raise BitrowError(f"data {where}: found images of {found[2]} channels, expected 1 or 3 to convert")
    check_bytes(f"data {where}", len(raw.x), input_shape, raw.x.dtype.itemsize)
    x = _resized(raw.x, input_shape[:2]) if found[:2] != tuple(input_shape[:2]) else raw.x
    return Raw(raw.classes, _recoloured(x, input_shape[2]), raw.y, raw.test)


def _resized(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    image = extra("transfer", "PIL.Image", "pillow")
    result = np.empty((len(x), *size, x.shape[3]), x.dtype)
    for index in range(len(x)):
        for channel in range(x.shape[3]):
            plane = image.fromarray(np.ascontiguousarray(x[index, :, :, channel]))
            result[index, :, :, channel] = plane.resize((size[1], size[0]), image.Resampling.BILINEAR)
    return result


def _recoloured(x: np.ndarray, channels: int) -> np.ndarray:
    if x.shape[3] == channels:
        return x
    if channels == 3:
        return np.repeat(x, 3, axis=3)
    if x.dtype == np.uint8:  # the weights of ITU-R 601, in integers as Pillow's
        wide = x.astype(np.uint32)
        grey = (wide[..., 0] * 19595 + wide[..., 1] * 38470 + wide[..., 2] * 7471 + 0x8000) >> 16
        return grey.astype(np.uint8)[..., None]
    return (x @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
