"""Arrays, archives and images that are broken, made to fill memory, or would be changed in reading: one line."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitrow.transfer import data
from hostile_samples import class_folders, idx_files, npz, png, refused, refuses, vector_set


def _npy(header: bytes, body: bytes = b"", version: int = 1) -> bytes:
    size = struct.pack("<H", len(header)) if version == 1 else struct.pack("<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + size + header + body


def _header(descr: str, shape: str, order: str = "False") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()


NPYS = {
    "unclosed": _npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (4, "),
    "unhashable": _npy(b"{[]: 1}\n"),
    "Python 2": _npy(_header("'|u1'", "(4L, 2L, 2L)"), bytes(16)),
    "no dictionary": _npy(b"[1]\n"),
    "no literal": _npy(b"{'descr': open('x'), 'fortran_order': False, 'shape': ()}\n"),
    "deep": _npy(b"(" * 5_000 + b")" * 5_000),
    "void": _npy(_header("'|V0'", "(4,)")),
    "empty strings": _npy(_header("'|S0'", "(4,)")),
    "empty texts": _npy(_header("'<U0'", "(4,)")),
    "records": _npy(_header("[('a', '|u1')]", "(4,)"), bytes(4)),
    "objects": _npy(_header("'|O'", "(4,)"), bytes(32)),
    "dates": _npy(_header("'<M8[s]'", "(4,)"), bytes(32)),
    "complex": _npy(_header("'<c8'", "(4,2,2)"), bytes(128)),
    "negative": _npy(_header("'|u1'", "(-1, 2, 2)"), bytes(4)),
    "bool size": _npy(_header("'|u1'", "(True, 2, 2)"), bytes(4)),
    "huge": _npy(_header("'|u1'", "(1099511627776, 2, 2)"), bytes(4)),
    "overflowing": _npy(_header("'<f8'", "(4611686018427387904, 4, 4)"), bytes(4)),
    "many digits": _npy(_header("'|u1'", f"({'9' * 5000}, 2, 2)"), bytes(4)),
    "long header": _npy(b" " * 200_000 + _header("'|u1'", "(4, 2, 2)"), bytes(16), 2),
    "another version": _npy(_header("'|u1'", "(4, 2, 2)"), bytes(16), 9),
    "NUL": _npy(b"\0" * 60),
    "escape codes": _npy(_header("'\\x1b[31m'", "(4,)")),
    "nothing": b"",
}


def _zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("header", NPYS)
def test_npy_headers_are_one_line(tmp_path: Path, header: str) -> None:
    path = _zip(tmp_path / "a.npz", {"images.npy": NPYS[header], "labels.npy": NPYS[header]})
    refuses(lambda: data.load(path), "a.npz images.npy: found")
    folder = vector_set(tmp_path / "set")
    with zipfile.ZipFile(folder / "conv" / "case.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    _zip(folder / "conv" / "case.npz", members | {"x.npy": NPYS[header]})
    refused("verify", folder, words="conv/case.npz x: found")


def _bomb(members: int = 1, size: int = 1 << 29) -> dict[str, bytes]:
    body = _npy(_header("'|u1'", f"({size >> 20}, 1024, 1024)"), bytes(size))
    return dict.fromkeys(("images.npy", "labels.npy")[:members], body)


def test_npz_bombs_are_not_unfolded(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.npz", _bomb(2, 1 << 28), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    refuses(lambda: data.load(path), "bytes unfolded from")
    content = bytearray(path.read_bytes())  # the directory says that they are small
    place = content.find(b"PK\x01\x02")
    while place >= 0:
        content[place + 24 : place + 28] = struct.pack("<I", 1000)
        place = content.find(b"PK\x01\x02", place + 1)
    path.write_bytes(content)
    refuses(lambda: data.load(path), "a.npz images.npy: found")


def test_entries_that_zipfile_unfolds_without_a_bound_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        _zip(path, {"images.npy": b"x", "labels.npy": b"x"}, method)
        refuses(lambda: data.load(path), "found an entry packed by method")


def test_a_directory_of_millions_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, 200 << 20, 0, 0)
    path.write_bytes(bytes(200 << 20) + end)
    refuses(lambda: data.load(path), "a directory of 209,715,200 bytes")


@pytest.mark.parametrize("where", range(0, 60, 3))
def test_broken_streams_are_one_line(tmp_path: Path, where: int) -> None:
    content = bytearray(npz())
    place = content.find(b"PK\x03\x04") + 60 + where
    content[place] ^= 0x5A
    (tmp_path / "a.npz").write_bytes(content)
    refuses(lambda: data.load(tmp_path / "a.npz"), "a.npz")


def test_gzip_bombs_are_not_unfolded(tmp_path: Path) -> None:
    path = idx_files(tmp_path)
    body = b"\0\0\x08\x03" + struct.pack(">III", 1 << 9, 1 << 10, 1 << 10)
    path.write_bytes(gzip.compress(body + bytes(1 << 20)))  # how much follows is not looked at
    refuses(lambda: data.load(path), "bytes unfolded from")
    path.write_bytes(gzip.compress(body[:4] + struct.pack(">III", 4, 2, 2) + bytes(1 << 26)))
    refuses(lambda: data.load(path), "found more than 16 bytes of data")


def _channels_first(path: Path) -> None:
    np.savez(path, images=np.zeros((40, 3, 32, 32), np.uint8), labels=np.arange(40) % 4)


def _far(value: float, dtype: type) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        x = np.random.default_rng(0).normal(size=(40, 4, 4)).astype(dtype)
        x[-1] = value
        np.savez(path, images=x, labels=np.repeat(np.arange(4), 10))

    return make


def _labels(labels: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.savez(path, images=np.zeros((len(labels), 4, 4), np.uint8), labels=labels)


NPZS: dict[str, tuple[Callable[[Path], None], str]] = {
    "channels first": (_channels_first, "which looks like [n, c, h, w]"),
    "beyond float32": (_far(1e300, np.float64), "found 1e+300, expected numbers within float32"),
    "beyond FP16": (_far(1e30, np.float64), "too far from the mean for FP16"),
    "NaN": (_far(float("nan"), np.float32), "infinities or NaNs"),
    "negative label": (_labels(np.array([0, 1, 2, 3, -1] * 4)), "found label -1, expected labels from 0"),
    "label beyond 63 bits": (_labels(np.array([0, 1, 2, 2**63] * 4, np.uint64)), "expected labels below 2^63"),
    "float labels": (_labels(np.array([0.0, 1, 2, 3] * 4)), "expected integers or strings"),
    "bool labels": (_labels(np.array([True, False] * 8)), "expected integers or strings"),
    "byte labels": (_labels(np.array([b"a", b"b"] * 8)), "found an array of |S1"),
}


@pytest.mark.parametrize("kind", NPZS)
def test_arrays_that_would_be_changed_are_refused(tmp_path: Path, kind: str) -> None:
    make, words = NPZS[kind]
    make(tmp_path / "a.npz")
    refuses(lambda: data.load(tmp_path / "a.npz"), words)


def test_labels_of_both_signs_stay_integers(tmp_path: Path) -> None:
    x = np.zeros((16, 4, 4), np.uint8)
    y = np.arange(16) % 4
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y.astype(np.int64), x_test=x, y_test=y.astype(np.uint64))
    found = data.load(tmp_path / "a.npz")
    assert found.source.classes + found.target.classes == ("0", "1", "2", "3")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "PPM", "TIFF", "WEBP"])
def test_no_cut_image_is_whole(tmp_path: Path, form: str) -> None:
    from PIL import Image

    from bitrow.images.decode import Decoder

    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)).save(stream, form)
    whole = stream.getvalue()
    Decoder("x", None, 1, 1).put(0, ("a",), whole)
    for size in range(len(whole)):
        refuses(lambda size=size: Decoder("x", None, 1, 1).put(0, ("a",), whole[:size]), "x/a: found")


def _chunk(kind: bytes, body: bytes) -> bytes:
    import zlib

    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _deep_png(colour: int, channels: int) -> bytes:
    import zlib

    rows = b"".join(b"\0" + bytes(range(10 * channels)) for _ in range(4))
    head = struct.pack(">IIBBBBB", 5, 4, 16, colour, 0, 0, 0)
    parts = _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


DEEP = {
    "PNG RGB": _deep_png(2, 3),
    "PNG RGBA": _deep_png(6, 4),
    "PNG grey and alpha": _deep_png(4, 2),
    "PNG grey": _deep_png(0, 1),
    "PPM": b"P6 5 4 65535\n" + bytes(range(120)),
    "PGM": b"P5 5 4 65535\n" + bytes(range(40)),
}


@pytest.mark.parametrize("kind", DEEP)
def test_channels_of_16_bits_are_refused_not_cut(tmp_path: Path, kind: str) -> None:
    refuses(lambda: data.load(class_folders(tmp_path, DEEP[kind])), "expected 8 bits for a channel")


def test_images_that_unfold_to_gigabytes_are_refused(tmp_path: Path) -> None:
    flat = png(np.zeros((4096, 4096, 3), np.uint8))
    for place in range(8):
        for label in "abcd":
            (tmp_path / label).mkdir(exist_ok=True)
            (tmp_path / label / f"{place}.png").write_bytes(flat)
    refuses(lambda: data.load(tmp_path), "bytes unfolded from")
