"""Images for calibration and checks: a picture, a folder or zip of pictures, an npz, or none, and then drawn ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bitrow.config import Shape
from bitrow.errors import BitrowError
from bitrow.reading import ARCHIVE, IMAGE, check_size, read_bytes
from bitrow.reading.archives import npy_header, opened_zip, read_npy
from bitrow.splitmix import Draw
from bitrow.transfer.data_image import Decoder
from bitrow.transfer.data_raw import MAX_BYTES, check_layout

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
_ARRAYS = ("images", "x_test", "test_images", "x_train", "train_images", "x", "data")  # in this order
_MOST_ENTRIES = 1 << 20
_DEEPEST = 6


class PixelScaling(NamedTuple):
    """How a picture's bytes become a network's input: `(byte / 255 - mean) / std`, by channel or for all."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


def drawn(shape: Shape, count: int) -> np.ndarray:
    """Images f32[count,h,w,c] of roughly normal values, the same everywhere."""
    return (Draw(1).triangle(256, (count, *shape)) / 128).astype(np.float16).astype(np.float32)


def load(path: Path, shape: Shape, most: int, scaling: PixelScaling = PixelScaling()) -> np.ndarray:
    """The first `most` images of `path`, f32[n,h,w,c] of `shape`, every value an FP16 number.

    Pictures, in order of their names, are resized and converted; floats of an npz are taken as they are.

    Raises:
        BitrowError: naming the file: no image there, one that cannot be read, arrays of another shape or type, scaling
            that does not fit the channels.
    """
    for name, values in scaling._asdict().items():
        fits = len(values) in (1, shape[2]) and all(map(np.isfinite, values))
        if not fits or (name == "std" and min(values) <= 0):
            raise BitrowError(f"images {name}: found {list(values)}, expected one number or {shape[2]}, std above 0")
    pixels = _npz(path, most) if path.suffix.lower() == ".npz" else _pictures(path, shape, most)
    if pixels.shape[1:] != shape:
        raise BitrowError(f"images {path}: found images of {list(pixels.shape[1:])}, expected {list(shape)}")
    x = pixels.astype(np.float64)
    if pixels.dtype == np.uint8:
        x = (x / 255 - np.array(scaling.mean)) / np.array(scaling.std)
    with np.errstate(over="ignore"):
        half = x.astype(np.float16)
    if not np.isfinite(half).all():
        raise BitrowError(f"images {path}: found values beyond FP16, expected finite ones up to 65504")
    return half.astype(np.float32)


class _Entry(NamedTuple):
    name: tuple[str, ...]
    size: int
    read: Callable[[], bytes | bytearray]


def _pictures(path: Path, shape: Shape, most: int) -> np.ndarray:
    if shape[2] not in (1, 3):
        raise BitrowError(f"images {path}: found pictures for {shape[2]} channels, expected 1 or 3, or an npz")
    if path.suffix.lower() == ".zip":
        with opened_zip(path, ARCHIVE, f"images {path}", "a zip") as archive:
            archive.check_unfolded(archive.entries)
            inside = {info.filename: info for info in archive.entries if _is_picture(info.filename)}
            entries = [
                _Entry((name,), info.file_size, partial(archive.read, info, f"images {path}/{name}", "an image"))
                for name, info in sorted(inside.items())[:most]
            ]
            return _decoded(path, entries, shape)
    if path.is_dir():
        found = sorted(_walk(path, ()))[:most]
        entries = [_Entry(parts, 0, partial(read_bytes, path.joinpath(*parts), IMAGE)) for parts in found]
        return _decoded(path, entries, shape)
    content = read_bytes(path, IMAGE, f"images {path}")
    return _decoded(path.parent, [_Entry((path.name,), len(content), lambda: content)], shape)


def _decoded(path: Path, entries: Sequence[_Entry], shape: Shape) -> np.ndarray:
    if not entries:
        raise BitrowError(f"images {path}: found no picture, expected one of {', '.join(SUFFIXES)}")
    decoder = Decoder(str(path), shape, len(entries), sum(entry.size for entry in entries))
    for place, entry in enumerate(entries):
        check_size(entry.size, IMAGE.most, f"images {path}/{'/'.join(entry.name)}")
        decoder.put(place, entry.name, entry.read())
    return decoder.images()


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.rpartition("/")[2].startswith(".")


def _walk(folder: Path, parts: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    try:
        with os.scandir(folder.joinpath(*parts)) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise BitrowError(f"images {folder}: cannot be read: {error.strerror or error}") from None
    if len(entries) > _MOST_ENTRIES:
        raise BitrowError(f"images {folder}: found {len(entries):,} entries, expected at most {_MOST_ENTRIES:,}")
    for entry in entries:
        inside = (*parts, entry.name)
        if entry.is_dir() and not entry.name.startswith(".") and len(inside) <= _DEEPEST:
            yield from _walk(folder, inside)
        elif _is_picture(entry.name):
            yield inside


def _npz(path: Path, most: int) -> np.ndarray:
    """The first array of a usual name."""
    where = f"images {path}"
    with opened_zip(path, ARCHIVE, where, "npz") as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.entries}
        name = next((one for one in _ARRAYS if one in members), None)
        if name is None:
            found = ", ".join(members)[:80] or "none"
            raise BitrowError(f"{where}: found arrays {found}, expected one of {', '.join(_ARRAYS)}")
        check_size(members[name].file_size, MAX_BYTES, where, "bytes of arrays")
        archive.check_unfolded([members[name]])
        with archive.entry(members[name], f"{where} {name}", "an npy array") as stream:
            x = read_npy(stream, npy_header(stream, f"{where} {name}"), f"{where} {name}")
    x = x[..., None] if x.ndim == 3 else x
    if x.ndim != 4 or not len(x) or not (x.dtype == np.uint8 or x.dtype.kind == "f"):
        found = f"{x.dtype}{list(x.shape)}"
        raise BitrowError(f"{where} {name}: found {found}, expected images, uint8 or float, [n, h, w, c]")
    check_layout(f"{where} {name}", x)
    return x[:most]
