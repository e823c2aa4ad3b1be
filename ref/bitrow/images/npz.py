"""Images and labels in an npz file, under the names that Keras, MedMNIST and others give them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from bitrow.errors import BitrowError
from bitrow.images.raw import MAX_BYTES, Raw, check_layout, names_of
from bitrow.reading import archives

_PAIRS: tuple[tuple[str, ...], ...] = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("images", "labels"),
    ("x", "y"),
    ("data", "target"),
)
_CLASSES = "classes"


class _Archive(NamedTuple):
    path: Path
    arrays: dict[str, np.ndarray]


def read_npz(path: Path) -> Raw:
    """Arrays x_train, y_train and maybe x_test, y_test (or train_images, ...; images, labels; x, y; data, target).

    Images are bytes or finite floats, [n,h,w] or [n,h,w,c]; labels are integers or strings, [n] or [n,1]. A
    string array `classes` names integer labels from 0 up.

    Raises:
        BitrowError: naming the file: not an npz, corrupt or truncated, no such arrays, arrays of another
            shape or type, channels that come first, numbers beyond float32, labels below 0, counts that differ, more
            than 4 GiB, or more than a hundred times what is stored.
    """
    found = _Archive(path, _arrays(path))
    for names in _PAIRS:
        if names[0] in found.arrays and names[1] in found.arrays:
            break
    else:
        known = "; ".join(", ".join(pair[:2]) for pair in _PAIRS)
        raise BitrowError(
            f"data {path}: found arrays {', '.join(found.arrays) or 'none'}, expected a pair of {known}"
        )
    parts = [_pair(found, *names[:2])]
    if len(names) == 4 and names[2] in found.arrays and names[3] in found.arrays:
        parts.append(_pair(found, *names[2:]))
    if len({(x.shape[1:], x.dtype) for x, _ in parts}) > 1:
        raise BitrowError(
            f"data {path}: found {names[0]} of {parts[0][0].dtype}{list(parts[0][0].shape)} and {names[2]} of "
            f"{parts[1][0].dtype}{list(parts[1][0].shape)}, expected one size and type"
        )
    classes, y = _named(found, np.concatenate([y for _, y in parts]))
    test = np.repeat([False, True][: len(parts)], [len(y) for _, y in parts]) if len(parts) == 2 else None
    return Raw(classes, np.concatenate([x for x, _ in parts]), y, test)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of names that mean something."""
    wanted = {name for pair in _PAIRS for name in pair} | {_CLASSES}
    return archives.read_npz(path, f"data {path}", MAX_BYTES, wanted)


def read_unlabelled(path: Path) -> np.ndarray:
    """The images of an npz file as `read_npz` reads it, u8 or f32 [n,h,w,c], whether or not it has labels.

    Raises:
        BitrowError: as `read_npz`.
    """
    found, names = _Archive(path, _arrays(path)), [pair[0] for pair in _PAIRS]
    name = next((name for name in names if name in found.arrays), None)
    if name is None:
        raise BitrowError(f"data {path}: found none of its arrays, expected one of {', '.join(names)}")
    return _images(found, name)


def _images(found: _Archive, images: str) -> np.ndarray:
    x = found.arrays[images]
    if x.ndim not in (3, 4) or not (x.dtype == np.uint8 or x.dtype.kind == "f") or x.size == 0:
        raise BitrowError(
            f"data {found.path} {images}: found {x.dtype}{list(x.shape)}, "
            f"expected some images, uint8 or float, [n, h, w] or [n, h, w, c]"
        )
    check_layout(f"data {found.path} {images}", x)
    if x.dtype.kind == "f":
        _check_finite(f"data {found.path} {images}", x)
    x = x if x.dtype == np.uint8 else x.astype(np.float32)
    return x if x.ndim == 4 else x[..., None]


def _pair(found: _Archive, images: str, labels: str) -> tuple[np.ndarray, np.ndarray]:
    x, y = _images(found, images), found.arrays[labels]
    if y.dtype.kind not in "iuU" or y.shape not in ((len(x),), (len(x), 1)):
        raise BitrowError(
            f"data {found.path} {labels}: found {y.dtype}{list(y.shape)}, expected integers or strings [{len(x)}]"
        )
    if y.dtype.kind == "i" and y.min(initial=0) < 0:
        raise BitrowError(f"data {found.path} {labels}: found label {y.min()}, expected labels from 0")
    if y.dtype.kind == "u":
        if y.max(initial=0) > np.iinfo(np.int64).max:
            raise BitrowError(f"data {found.path} {labels}: found label {y.max()}, expected labels below 2^63")
        y = y.astype(np.int64)
    return x, y.reshape(-1)


def _check_finite(where: str, x: np.ndarray) -> None:
    if not np.isfinite(x).all():
        raise BitrowError(f"{where}: found infinities or NaNs, expected finite numbers")
    largest = max(abs(float(x.min())), abs(float(x.max())))
    if not largest <= float(np.finfo(np.float32).max):
        raise BitrowError(f"{where}: found {largest:.3g}, expected numbers within float32")


def _named(found: _Archive, labels: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    names = found.arrays.get(_CLASSES)
    if names is None or labels.dtype.kind == "U":
        return names_of(labels)
    values = np.unique(labels)
    if names.dtype.kind != "U" or names.ndim != 1 or values[0] < 0 or values[-1] >= len(names):
        raise BitrowError(
            f"data {found.path} {_CLASSES}: found {names.dtype}{list(names.shape)}, "
            f"expected a string for each label from {values[0]} to {values[-1]}"
        )
    return tuple(str(names[value]) for value in values), np.searchsorted(values, labels).astype(np.int32)
