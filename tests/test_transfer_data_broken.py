"""Arguments, folders and files of images that cannot be taken are refused in one line."""

from __future__ import annotations

import gzip
import io
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bitrow.transfer import data
from image_samples import CLASSES, fill, flat, idx_of, pixels_of, raises, zip_of


def test_refused_arguments(tmp_path: Path) -> None:
    root = fill(tmp_path, pixels_of())
    raises("found nothing there", tmp_path / "absent")
    raises("found 0x8x1", root, (0, 8, 1))
    raises("found 8x8x2", root, (8, 8, 2))
    raises("found 9999x8x1", root, (9999, 8, 1))
    raises("found class 'fox'", root, source=["fox", "ant"])
    raises("found 1 classes", root, source=1)
    raises("found 4 classes, expected 2 to 3", root, source=4)
    raises("found 1.0", root, test_share=1.0)
    raises("limit", root, limit=1)
    raises("File name too long", "x" * 5000)
    (tmp_path / "x.bin").write_bytes(b"?")
    raises("unknown kind", tmp_path / "x.bin")


Break = Callable[[Path], object]
BROKEN: dict[str, tuple[Break, str]] = {
    "empty folder": (lambda root: [file.unlink() for file in root.rglob("*.png")], "found no images"),
    "empty class": (lambda root: [file.unlink() for file in root.glob("bee/*")], "class folder bee"),
    "two classes": (lambda root: _remove(root, "[b-d]*"), "found 2 classes (ant, eel)"),
    "one class": (lambda root: _remove(root, "[b-e]*"), "found 1 class (ant)"),
    "no image": (lambda root: (root / "bee" / "notes.txt").write_text("?"), "bee/notes.txt, not an image"),
    "text as image": (lambda root: (root / "bee" / "01.png").write_text("?"), "bee/01.png: found a corrupt image"),
    "empty image": (lambda root: (root / "bee" / "01.png").write_bytes(b""), "bee/01.png: found a corrupt image"),
    "cut image": (lambda root: _cut(root / "bee" / "01.png", 60), "bee/01.png: found a corrupt image"),
    "16 bits": (
        lambda root: Image.fromarray(np.zeros((4, 7), np.uint16)).save(root / "bee" / "01.png"),
        "bee/01.png: found pixels of mode I;16",
    ),
    "outside": (lambda root: _copy(root / "bee" / "01.png", root / "01.png"), "found image 01.png"),
    "too deep": (lambda root: _copy(root / "bee" / "01.png", root / "bee" / "more" / "01.png"), "bee/more/01.png"),
    "huge header": (lambda root: _huge(root / "bee" / "01.png"), "bee/01.png: found an image of 5000x6000"),
}


def _remove(root: Path, pattern: str) -> None:
    for folder in root.glob(pattern):
        shutil.rmtree(folder)


def _cut(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])


def _copy(file: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(file.read_bytes())


def _huge(file: Path) -> None:
    head = b"IHDR" + struct.pack(">IIBBBBB", 6000, 5000, 8, 2, 0, 0, 0)
    rest = file.read_bytes()[33:]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + rest)


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("case", BROKEN)
def test_broken_folders_are_one_line(tmp_path: Path, case: str, kind: str) -> None:
    spoil, words = BROKEN[case]
    root = fill(tmp_path / "data", pixels_of())
    spoil(root)
    if kind == "zip":
        root = zip_of(tmp_path / "data.zip", root)
    raises(words, root)


def test_class_of_one_image(tmp_path: Path) -> None:
    root = fill(tmp_path, pixels_of())
    for file in sorted((root / "dog").iterdir())[1:]:
        file.unlink()
    raises("found 1 image in class 'dog'", root)


def test_parts_must_have_the_same_classes(tmp_path: Path) -> None:
    fill(tmp_path / "train", pixels_of())
    fill(tmp_path / "test", pixels_of()[:4], CLASSES[:4])
    raises("found no class 'eel' in test", tmp_path)


def test_zip_names_stay_inside(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("../evil/1.png", "a/../../1.png", "/abs/1.png", "c:/x/1.png", "..\\evil\\1.png"):
        with zipfile.ZipFile(folder / "a.zip", "w") as archive:
            archive.writestr(name, b"?")
        raises("names inside the zip", folder / "a.zip")
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "a.zip"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_bombs_and_broken_zips(tmp_path: Path) -> None:
    root = fill(tmp_path / "data", pixels_of())
    target = zip_of(tmp_path / "a.zip", root)
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ant/zz.png", bytes(1 << 27))
    assert target.stat().st_size < 1 << 18
    raises("ant/zz.png: found 134,217,728 bytes", target)

    # the directory says 1,000 bytes; the entry unpacks to many more
    content = bytearray(target.read_bytes())
    place = content.rfind(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 1000)
    target.write_bytes(content)
    raises("ant/zz.png: found a corrupt entry", target)

    # every entry small enough, all of them not: 300 entries that say 60 MB each
    with zipfile.ZipFile(target, "w") as archive:
        for place in range(300):
            archive.writestr(f"ant/{place}.png", b"?")
    content = bytearray(target.read_bytes())
    place = content.find(b"PK\x01\x02")
    while place >= 0:
        content[place + 24 : place + 28] = struct.pack("<I", 60_000_000)
        place = content.find(b"PK\x01\x02", place + 4)
    target.write_bytes(content)
    raises("found 18,000,000,000 bytes unfolded from", target)

    whole = zip_of(tmp_path / "b.zip", root).read_bytes()
    (tmp_path / "b.zip").write_bytes(whole[: len(whole) // 2])
    raises("b.zip: found a corrupt", tmp_path / "b.zip")
    spoiled = bytearray(whole)
    spoiled[whole.find(b"IDAT") + 6] ^= 1
    (tmp_path / "b.zip").write_bytes(spoiled)
    raises("found a corrupt entry", tmp_path / "b.zip")

    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("a/1.png", b"?")
        archive.writestr("a/1.png", b"?")
    raises("found two entries 'a/1.png'", tmp_path / "c.zip")


def _idx_pair(folder: Path, images: bytes, labels: bytes) -> Path:
    (folder / "train-images-idx3-ubyte").write_bytes(images)
    (folder / "train-labels-idx1-ubyte").write_bytes(labels)
    return folder


def test_broken_idx_files(tmp_path: Path) -> None:
    x, y = flat(pixels_of((5, 6, 4, 7, 1)))
    images, labels = idx_of(x[..., 0]), idx_of(y)
    assert data.load(_idx_pair(tmp_path, images, labels)).input_shape == (4, 7, 1)
    raises("found 839 bytes of data, expected 840 for 30x4x7", _idx_pair(tmp_path, images[:-1], labels))
    raises("found more than 840 bytes", _idx_pair(tmp_path, images + b"?", labels))
    raises("found a header of 10 bytes, expected 16", _idx_pair(tmp_path, images[:10], labels))
    raises("found first bytes 504b0304", _idx_pair(tmp_path, b"PK\x03\x04", labels))
    raises("found first bytes none", _idx_pair(tmp_path, b"", labels))
    raises("found 29 labels, expected 30", _idx_pair(tmp_path, images, idx_of(y[:29])))
    raises("found uint8[30], expected bytes [n, h, w]", _idx_pair(tmp_path, labels, labels))
    raises("found uint8[30, 4, 7], expected integers", _idx_pair(tmp_path, images, images))
    raises("found no images", _idx_pair(tmp_path, idx_of(x[:0, ..., 0]), idx_of(y[:0])))
    bomb = images[:4] + struct.pack(">3I", 1 << 30, 1 << 10, 1 << 10)
    raises("found 1073741824 images of 1024x1024x1", _idx_pair(tmp_path, bomb, labels))
    packed = gzip.compress(images)
    raises("train-images-idx3-ubyte: found", _idx_pair(tmp_path, packed[:-40], labels))
    raises("corrupt or unreadable", _idx_pair(tmp_path, packed[:-8] + bytes(8), labels))
    _idx_pair(tmp_path, images, labels)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    raises("found no labels beside it, expected train-labels-idx1-ubyte", tmp_path)


def test_broken_npz_files(tmp_path: Path) -> None:
    x, y = flat(pixels_of((5, 6, 4, 7, 1)))
    path = tmp_path / "a.npz"

    def write(**arrays: object) -> Path:
        np.savez(path, **arrays)  # type: ignore[arg-type]
        return path

    raises("found arrays x, expected a pair of", write(x=x))
    raises("found arrays none", write(z=x))
    raises("found uint8[29], expected integers or strings [30]", write(x=x, y=y[:29]))
    raises("found int32[30, 4, 7, 1], expected some images", write(x=x.astype(np.int32), y=y))
    raises("found infinities or NaNs", write(x=np.where(x > 9, np.nan, x), y=y))
    raises("found pickled objects", write(x=np.array([{}], object), y=y))
    raises("found <U1[2], expected a string for each label from 0 to 4", write(x=x, y=y, classes=np.array(["a", "b"])))
    raises("expected one size and type", write(x_train=x, y_train=y, x_test=x[:, 1:], y_test=y))
    whole = write(x=x, y=y).read_bytes()
    path.write_bytes(whole[:300])
    raises("corrupt or unreadable", path)
    path.write_text("no zip")
    raises("corrupt or unreadable", path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"not npy")
    raises("found no npy header", path)
    with zipfile.ZipFile(path, "w") as archive:
        stream = io.BytesIO()
        np.save(stream, x)
        archive.writestr("x.npy", stream.getvalue()[:-5])
    raises("found 835 bytes of data, expected 840", path)
