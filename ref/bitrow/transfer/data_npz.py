"""Images and labels in an npz file, under the names that Keras, MedMNIST and others give them."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bitrow.errors import BitrowError
from bitrow.transfer.data_raw import MAX_BYTES, Raw, names_of

_PAIRS: tuple[tuple[str, ...], ...] = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("images", "labels"),
    ("x", "y"),
    ("data", "target"),
)
_CLASSES = "classes"


class _Set(NamedTuple):
    path: Path
    arrays: dict[str, np.ndarray]


def read_npz(path: Path) -> Raw:
    """Arrays x_train, y_train and maybe x_test, y_test (or train_images, ...; images, labels; x, y; data, target).

    Images are bytes or finite floats, [n,h,w] or [n,h,w,c]; labels are integers or strings, [n] or [n,1]. A
    string array `classes` names integer labels from 0 up.

    Raises:
        BitrowError: naming the file: not an npz, corrupt or truncated, no such arrays, arrays of another
            shape or type, counts that differ, more than 4 GiB.
    """
    found = _Set(path, _arrays(path))
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
    """The arrays of names that mean something; others are not read."""
    wanted = {name for pair in _PAIRS for name in pair} | {_CLASSES}
    try:
        with zipfile.ZipFile(path) as archive:
            members = [i for i in archive.infolist() if i.filename.removesuffix(".npy") in wanted]
            total = sum(info.file_size for info in members)
            if total > MAX_BYTES:
                raise BitrowError(
                    f"data {path}: found {total:,} bytes of arrays, expected at most {MAX_BYTES:,}"
                )
            return {info.filename.removesuffix(".npy"): _array(path, archive, info) for info in members}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise BitrowError(
            f"data {path}: found a corrupt or unreadable file ({error}), expected npz"
        ) from None


def _array(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array. The header is read and held against the size before memory is taken; no pickles."""
    where = f"data {path} {info.filename}"
    with archive.open(info) as stream:
        try:
            version = np.lib.format.read_magic(stream)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read(stream)
        except ValueError as error:
            raise BitrowError(f"{where}: found no npy header ({error}), expected one") from None
        if dtype.hasobject:
            raise BitrowError(f"{where}: found pickled objects, expected numbers or strings")
        content = stream.read(info.file_size)
    expected = math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise BitrowError(
            f"{where}: found {len(content):,} bytes of data, expected {expected:,} for {dtype}{list(shape)}"
        )
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _pair(found: _Set, images: str, labels: str) -> tuple[np.ndarray, np.ndarray]:
    x, y = found.arrays[images], found.arrays[labels]
    if x.ndim not in (3, 4) or not (x.dtype == np.uint8 or x.dtype.kind == "f") or x.size == 0:
        raise BitrowError(
            f"data {found.path} {images}: found {x.dtype}{list(x.shape)}, "
            f"expected some images, uint8 or float, [n, h, w] or [n, h, w, c]"
        )
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise BitrowError(f"data {found.path} {images}: found infinities or NaNs, expected finite numbers")
    if y.dtype.kind not in "iuU" or y.shape not in ((len(x),), (len(x), 1)):
        raise BitrowError(
            f"data {found.path} {labels}: found {y.dtype}{list(y.shape)}, expected integers or strings [{len(x)}]"
        )
    x = x if x.dtype == np.uint8 else x.astype(np.float32)
    return x if x.ndim == 4 else x[..., None], y.reshape(-1)


def _named(found: _Set, labels: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
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
