"""IDX files, MNIST's format, gzipped or not: big-endian sizes, then the data, row-major."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np

from bitrow.errors import BitrowError
from bitrow.images.raw import Raw, check_bytes, check_layout, names_of
from bitrow.reading import IDX, check_unfolded, opened, size_of
from bitrow.reading.archives import reason, take

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_TEST_WORDS = ("t10k", "test")
_GZIP = b"\x1f\x8b"


class _Pair(NamedTuple):
    images: Path
    labels: Path


def is_idx(path: Path) -> bool:
    """The name is that of an IDX file of images, as MNIST's `train-images-idx3-ubyte.gz`."""
    return path.is_file() and "images" in path.name and "idx" in path.name


def read_idx(path: Path) -> Raw:
    """A folder of IDX files, or one file of images with its labels beside it.

    Files whose name has `t10k` or `test` are the test part. Labels have the name of their images with
    `labels` for `images` (and idx1 for idx3 or idx4).

    Raises:
        BitrowError: naming the file: no labels beside it, not IDX, truncated, too long, corrupt, counts that
            differ, more than 4 GiB, several files of one part.
    """
    files = sorted(file for file in path.iterdir() if is_idx(file)) if path.is_dir() else [path]
    parts = {test: [file for file in files if _is_test(file) == test] for test in (False, True)}
    if not parts[False] and path.is_dir():
        raise BitrowError(
            f"data {path}: found images to test only ({files[0].name}), expected images to learn from"
        )
    for found in parts.values():
        if len(found) > 1:
            raise BitrowError(
                f"data {path}: found {found[0].name} and {found[1].name}, expected one file for each part"
            )
    order = parts[False] + parts[True]
    pieces = [_read_pair(_Pair(file, _labels_of(file))) for file in order]
    if len({x.shape[1:] for x, _ in pieces}) > 1:
        sizes = " and ".join("x".join(map(str, x.shape[1:])) for x, _ in pieces)
        raise BitrowError(f"data {path}: found images of {sizes} in its parts, expected one size")
    classes, y = names_of(np.concatenate([y for _, y in pieces]))
    test = np.concatenate(
        [np.full(len(y), _is_test(file)) for file, (_, y) in zip(order, pieces, strict=True)]
    )
    return Raw(
        classes, np.concatenate([x for x, _ in pieces]), y, test if parts[True] and parts[False] else None
    )


def _is_test(file: Path) -> bool:
    return any(word in file.name for word in _TEST_WORDS)


def _labels_of(images: Path) -> Path:
    name = images.name.replace("images", "labels")
    for wide in ("idx3", "idx4"):
        name = name.replace(wide, "idx1")
    stem = name.removesuffix(".gz")
    for candidate in (name, stem, f"{stem}.gz"):
        if (images.parent / candidate).is_file():
            return images.parent / candidate
    raise BitrowError(f"data {images}: found no labels beside it, expected {name}")


def _read_pair(pair: _Pair) -> tuple[np.ndarray, np.ndarray]:
    x, y = _read_array(pair.images), _read_array(pair.labels)
    if x.ndim not in (3, 4) or x.dtype != np.uint8:
        raise BitrowError(
            f"data {pair.images}: found {x.dtype}{list(x.shape)}, expected bytes [n, h, w] or [n, h, w, c]"
        )
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise BitrowError(f"data {pair.labels}: found {y.dtype}{list(y.shape)}, expected integers [n]")
    if len(x) != len(y):
        raise BitrowError(
            f"data {pair.labels}: found {len(y)} labels, expected {len(x)}, as many as {pair.images.name}"
        )
    if x.size == 0:
        raise BitrowError(f"data {pair.images}: found no images, expected some")
    check_layout(f"data {pair.images}", x)
    return x if x.ndim == 4 else x[..., None], y.astype(np.int64)


def _read_array(path: Path) -> np.ndarray:
    with opened(path, IDX, f"data {path}") as file:
        folded = file.read(2) == _GZIP
        file.seek(0)
        stream = gzip.GzipFile(fileobj=file) if folded else file
        try:
            return _parse(path, cast(IO[bytes], stream), size_of(file))
        except (OSError, zlib.error) as error:
            found = f"a corrupt or unreadable file ({reason(error)})"
            raise BitrowError(f"data {path}: found {found}, expected IDX") from None


def _parse(path: Path, stream: IO[bytes], stored: int) -> np.ndarray:
    """The array of a stream whose file has `stored` bytes."""
    magic = take(stream, 4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or not 1 <= magic[3] <= 4:
        raise BitrowError(
            f"data {path}: found first bytes {magic.hex() or 'none'}, expected IDX's 0000, a type, 1 to 4 sizes"
        )
    dtype, sizes = np.dtype(_TYPES[magic[2]]), take(stream, 4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise BitrowError(
            f"data {path}: found a header of {4 + len(sizes)} bytes, expected {4 + 4 * magic[3]}"
        )
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
    rows, columns, channels = (*shape[1:], 1, 1, 1)[:3]
    check_bytes(f"data {path}", shape[0], (rows, columns, channels), dtype.itemsize)
    expected = math.prod(shape) * dtype.itemsize
    check_unfolded(expected, stored, f"data {path}")
    content = take(stream, expected + 1)
    if len(content) != expected:
        found = f"more than {expected:,}" if len(content) > expected else f"{len(content):,}"
        wanted = f"{expected:,} for {'x'.join(map(str, shape))} {dtype.name}"
        raise BitrowError(f"data {path}: found {found} bytes of data, expected {wanted}")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))
