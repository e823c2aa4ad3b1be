"""Data of the transfer experiments: every kind of source gives the same bits, and bad ones give one line."""

from __future__ import annotations

import gzip
import io
import math
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import Image

from bitrow.errors import BitrowError
from bitrow.extras import extra
from bitrow.images.raw import names_of
from bitrow.images.split import Choice, hashed, hold_out, source_count
from bitrow.transfer import data
from draws import examples

CIFAR = Path(__file__).parents[2] / "shared" / "data" / "cifar10-subset.zip"
CLASSES = ("ant", "bee", "cat", "dog", "eel")


def _pixels(shape: tuple[int, ...] = (5, 6, 4, 7, 3), seed: int = 3) -> np.ndarray:
    """[class, image, h, w, c]"""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def _png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(stream, "PNG")
    return stream.getvalue()


def _fill(root: Path, pixels: np.ndarray, names: tuple[str, ...] = CLASSES) -> Path:
    for name, images in zip(names, pixels, strict=True):
        (root / name).mkdir(parents=True)
        for place, image in enumerate(images):
            (root / name / f"{place:02}.png").write_bytes(_png(image))
    return root


def _zip(target: Path, root: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, prefix + file.relative_to(root).as_posix())
    return target


def _idx(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def _flat(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return pixels.reshape(-1, *pixels.shape[2:]), np.repeat(np.arange(len(pixels), dtype=np.uint8), pixels.shape[1])


def _same(found: data.Transfer, expected: data.Transfer) -> None:
    assert (found.mean, found.std) == (expected.mean, expected.std)
    for task, other in ((found.source, expected.source), (found.target, expected.target)):
        for part, twin in ((task.train, other.train), (task.test, other.test)):
            np.testing.assert_array_equal(part.x.view(np.uint32), twin.x.view(np.uint32))
            np.testing.assert_array_equal(part.y, twin.y)


def _raises(words: str, *args: object, **kwargs: object) -> None:
    with pytest.raises(BitrowError) as caught:
        data.load(*args, **kwargs)  # type: ignore[arg-type]
    message = str(caught.value)
    assert words in message and "\n" not in message, message
    assert "expected" in message or "cannot be read" in message, message


def test_digits() -> None:
    found = data.load("digits")
    assert found.source.classes == ("0", "1", "2", "3", "4") and found.target.classes == ("5", "6", "7", "8", "9")
    assert found.input_shape == (8, 8, 1)
    from sklearn.datasets import load_digits

    labels = load_digits().target
    for task, first in ((found.source, 0), (found.target, 5)):
        for label in range(5):
            total = int((labels == first + label).sum())
            held = int((task.test.y == label).sum())
            assert held == int(0.2 * total + 0.5) and (task.train.y == label).sum() == total - held
        assert task.train.x.dtype == np.float32 and task.train.y.dtype == np.int32


def test_digits_are_not_in_both_parts() -> None:
    """Of all 1,797 digits no two are the same image, so no held-out one may be among those learnt from."""
    found = data.load("digits")
    parts = [part.x for task in (found.source, found.target) for part in (task.train, task.test)]
    every = np.concatenate(parts).reshape(-1, 64)
    assert len(every) == 1797 == len(np.unique(every, axis=0))


def test_normalisation_is_exact(tmp_path: Path) -> None:
    """SPEC.md F10: an FP16 number each, one rounding of the float64 value; mean and deviation of the source's
    training images alone, by exact rationals."""
    pixels = _pixels()
    train, test = pixels[:, :4], pixels[:, 4:]
    _fill(tmp_path / "train", train)
    _fill(tmp_path / "test", test)
    found = data.load(tmp_path, source=2)
    for c in range(3):
        values = [int(v) for v in train[:2, ..., c].reshape(-1)]
        mean = Fraction(sum(values), len(values))
        var = Fraction(sum(v * v for v in values), len(values)) - mean**2
        assert found.mean[c] == float(mean) and found.std[c] == math.sqrt(float(var))
    expected = [
        struct.unpack("<H", struct.pack("<e", (float(v) - found.mean[i % 3]) / found.std[i % 3]))[0]
        for i, v in enumerate(test[2:].reshape(-1))
    ]
    half = found.target.test.x.astype(np.float16)
    np.testing.assert_array_equal(half.view(np.uint16).reshape(-1), expected)
    np.testing.assert_array_equal(half.astype(np.float32), found.target.test.x)


def test_constant_channel_has_deviation_one(tmp_path: Path) -> None:
    pixels = _pixels()
    pixels[..., 1] = 9
    found = data.load(_fill(tmp_path, pixels))
    assert found.mean[1] == 9.0 and found.std[1] == 1.0
    assert not found.source.train.x[..., 1].any()


@pytest.mark.parametrize("layout", ["folder", "wrapped", "zip", "zip_wrapped", "idx", "idx_gz", "npz", "noise"])
def test_every_kind_gives_the_same_bits(tmp_path: Path, layout: str) -> None:
    pixels = _pixels()
    x, y = _flat(pixels)
    names: tuple[str, ...] = ("0", "1", "2", "3", "4")
    expected = data.load(_fill(tmp_path / "plain", pixels, names))
    root = tmp_path / layout
    root.mkdir()
    spec = root
    match layout:
        case "folder":
            _fill(root, pixels, names)
        case "wrapped":
            _fill(root / "a" / "b", pixels, names)
        case "zip":
            spec = _zip(root / "d.zip", tmp_path / "plain")
        case "zip_wrapped":
            spec = _zip(root / "d.zip", tmp_path / "plain", "some/")
        case "idx":
            (root / "my-images-idx4-ubyte").write_bytes(_idx(x))
            (root / "my-labels-idx1-ubyte").write_bytes(_idx(y))
        case "idx_gz":
            (root / "train-images-idx4-ubyte.gz").write_bytes(gzip.compress(_idx(x)))
            (root / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(_idx(y)))
            spec = root / "train-images-idx4-ubyte.gz"
        case "npz":
            spec = root / "d.npz"
            np.savez(spec, images=x, labels=y[:, None], other=np.arange(3))
        case "noise":
            _fill(root, pixels, names)
            (root / "README.md").write_text("about")
            (root / "0" / ".DS_Store").write_bytes(b"x")
            (root / ".git").mkdir()
    _same(data.load(spec), expected)


@pytest.mark.parametrize("kind", ["folder", "zip", "idx", "npz"])
def test_test_parts(tmp_path: Path, kind: str) -> None:
    pixels = _pixels()
    train, test = pixels[:, :4], pixels[:, 4:]
    spec = tmp_path / "data"
    spec.mkdir()
    match kind:
        case "folder":
            _fill(spec / "train", train)
            _fill(spec / "val", test[:, :1])
            _fill(spec / "test", test)
        case "zip":
            _fill(spec / "x" / "training", train)
            _fill(spec / "x" / "testing", test)
            spec = _zip(tmp_path / "d.zip", spec)
        case "idx":
            for name, part in (("train", train), ("t10k", test)):
                x, y = _flat(part)
                (spec / f"{name}-images-idx4-ubyte").write_bytes(_idx(x))
                (spec / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(_idx(y)))
        case "npz":
            (x, y), (x_test, y_test) = _flat(train), _flat(test)
            spec = tmp_path / "d.npz"
            np.savez_compressed(
                spec, train_images=x, train_labels=y, test_images=x_test, test_labels=y_test, classes=np.array(CLASSES)
            )
    found = data.load(spec, source=["bee", "dog"] if kind != "idx" else ["1", "3"])
    names = CLASSES if kind != "idx" else tuple("01234")
    assert found.source.classes == (names[1], names[3]) and found.target.classes == (names[0], names[2], names[4])
    assert len(found.source.train.x) == 8 and len(found.target.test.x) == 6
    back = np.rint(found.target.test.x * np.array(found.std) + np.array(found.mean))
    np.testing.assert_array_equal(back, test[[0, 2, 4]].reshape(-1, 4, 7, 3))
    np.testing.assert_array_equal(found.target.test.y, [0, 0, 1, 1, 2, 2])


def test_float_npz(tmp_path: Path) -> None:
    x, y = _flat(_pixels())
    np.savez(tmp_path / "a.npz", x=x[..., 0].astype(np.float64) / 256, y=np.array(CLASSES)[y])
    found = data.load(tmp_path / "a.npz")
    assert found.input_shape == (4, 7, 1) and found.source.classes == CLASSES[:3]
    learnt = found.source.train.x.astype(np.float64)
    assert abs(learnt.mean()) < 1e-3 and abs(learnt.std() - 1) < 1e-3


def test_grey_colour_and_size(tmp_path: Path) -> None:
    pixels = _pixels((4, 3, 8, 8, 1))
    root = _fill(tmp_path, pixels, ("1", "2", "10", "9"))
    found = data.load(root)
    assert found.input_shape == (8, 8, 1)
    assert found.source.classes + found.target.classes == ("1", "2", "9", "10")
    colour = data.load(root, (8, 8, 3))
    for c in range(3):
        np.testing.assert_array_equal(colour.source.train.x[..., c], found.source.train.x[..., 0])
    # bilinear halving by hand: Pillow weighs the 4 nearest of each side 1/8, 3/8, 3/8, 1/8 inside
    small = data.load(root, (4, 4, 1))
    back = np.rint(small.target.test.x[..., 0] * small.std[0] + small.mean[0])
    original = np.rint(found.target.test.x[..., 0] * found.std[0] + found.mean[0])
    weights = np.array([1, 3, 3, 1]) / 8
    across = np.floor(original[:, :, 1:5] @ weights + 0.5)
    np.testing.assert_array_equal(back[:, 1, 1], np.floor(across[:, 1:5] @ weights + 0.5))


def test_array_and_image_take_the_same_grey(tmp_path: Path) -> None:
    """An npz is made grey as Pillow makes a stored colour image grey."""
    pixels = _pixels((4, 5, 16, 16, 3))
    x, y = _flat(pixels)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    folder = _fill(tmp_path / "f", pixels, tuple("0123"))
    _same(data.load(tmp_path / "a.npz", (16, 16, 1)), data.load(folder, (16, 16, 1)))
    _same(data.load(tmp_path / "a.npz", (9, 11, 3)), data.load(folder, (9, 11, 3)))


def test_mixed_sizes_are_resized_or_refused(tmp_path: Path) -> None:
    root = _fill(tmp_path, _pixels())
    (root / "cat" / "03.png").write_bytes(_png(_pixels((5, 7, 3))))
    _raises("cat/03.png: found an image of 5x7, expected 4x7", root)
    assert data.load(root, (4, 7, 3)).input_shape == (4, 7, 3)


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    root = _fill(tmp_path, _pixels())
    upright = data.load(root, (7, 4, 3), limit=3)
    for file in root.rglob("*.png"):
        image = Image.open(file).convert("RGB")
        exif = Image.Exif()
        exif[0x0112] = 8  # stored a quarter turn to the right of how it is shown
        turned = image.transpose(Image.Transpose.ROTATE_270)
        turned.save(file, exif=exif)
    _same(data.load(root, (7, 4, 3), limit=3), upright)


def test_transparent_pixels_are_white(tmp_path: Path) -> None:
    """A picture that is drawn in its transparency alone, as icons are, does not come out black."""
    pixels = _pixels((4, 3, 5, 5, 1))
    _fill(tmp_path / "white", 255 - pixels, CLASSES[:4])
    root = _fill(tmp_path / "clear", pixels, CLASSES[:4])
    for file in root.rglob("*.png"):
        alpha = Image.open(file)
        Image.merge("LA", (Image.new("L", alpha.size), alpha)).save(file)
    _same(data.load(root), data.load(tmp_path / "white"))


def test_digits_resized_and_coloured() -> None:
    found, plain = data.load("digits", (16, 16, 3), limit=4), data.load("digits", limit=4)
    assert found.input_shape == (16, 16, 3) and len(found.source.train.x) == 20
    np.testing.assert_array_equal(found.target.test.y, plain.target.test.y)
    np.testing.assert_array_equal(found.source.train.x[..., 0], found.source.train.x[..., 2])


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(BitrowError, match=r"found no pillow, expected it installed: pip install 'bitrow\[transfer\]'"):
        extra("transfer", "bitrow.transfer.no_such_module", "pillow")


def test_limit(tmp_path: Path) -> None:
    root = _fill(tmp_path, _pixels((4, 12, 3, 3, 1)), CLASSES[:4])
    found = data.load(root, limit=2)
    for task in (found.source, found.target):
        assert np.bincount(task.train.y).tolist() == [2, 2] == np.bincount(task.test.y).tolist()
    whole = data.load(root)  # the first ones of each part, and no image changes its part
    for label in (0, 1):
        for few, many in ((found.source.train, whole.source.train), (found.target.test, whole.target.test)):
            np.testing.assert_array_equal(few.y, [0, 0, 1, 1])
            assert len(many.x[many.y == label]) >= 2


def test_the_seed_chooses_what_is_held_out() -> None:
    first, again, other = (data.load("digits", seed=seed) for seed in (0, 0, 1))
    _same(first, again)
    assert not np.array_equal(first.source.test.x, other.source.test.x)


@examples(60)
@hypothesis.given(
    counts=st.lists(st.integers(2, 40), min_size=1, max_size=6),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
)
def test_hold_out_is_stratified(counts: list[int], share: float, seed: int) -> None:
    y = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    y = y[np.argsort(hashed(seed, 99, np.arange(len(y))))]
    held = hold_out("x", tuple(map(str, range(len(counts)))), y, share, seed)
    for label, count in enumerate(counts):
        many = int(held[y == label].sum())
        assert 1 <= many < count
        assert abs(many - share * count) <= 0.5 or many in (1, count - 1)


def test_hashes_are_splitmix64() -> None:
    """The first outputs for seed 0 as published with the generator; places are looked up, not run through."""
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert hashed(0, 0, np.arange(3)).tolist() == published
    assert hashed(0, 0, np.array([2])).tolist() == published[2:]


def test_names_and_counts() -> None:
    names, y = names_of(np.array([10, 9, 2, 10]))
    assert names == ("2", "9", "10") and y.tolist() == [2, 1, 0, 2]
    assert [source_count(n, 0.6) for n in (4, 5, 10, 100)] == [2, 3, 6, 60]
    places, test = Choice(0.5, 0, 2)("x", ("a",), np.zeros(6, np.int32), np.arange(6) % 2 == 1)
    assert places.tolist() == [0, 1, 2, 3] and test.tolist() == [False, True, False, True]


def test_refused_arguments(tmp_path: Path) -> None:
    root = _fill(tmp_path, _pixels())
    _raises("found nothing there", tmp_path / "absent")
    _raises("found 0x8x1", root, (0, 8, 1))
    _raises("found 8x8x2", root, (8, 8, 2))
    _raises("found 9999x8x1", root, (9999, 8, 1))
    _raises("found class 'fox'", root, source=["fox", "ant"])
    _raises("found 1 classes", root, source=1)
    _raises("found 4 classes, expected 2 to 3", root, source=4)
    _raises("found 1.0", root, test_share=1.0)
    _raises("limit", root, limit=1)
    _raises("File name too long", "x" * 5000)
    (tmp_path / "x.bin").write_bytes(b"?")
    _raises("unknown kind", tmp_path / "x.bin")


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
    root = _fill(tmp_path / "data", _pixels())
    spoil(root)
    if kind == "zip":
        root = _zip(tmp_path / "data.zip", root)
    _raises(words, root)


def test_class_of_one_image(tmp_path: Path) -> None:
    root = _fill(tmp_path, _pixels())
    for file in sorted((root / "dog").iterdir())[1:]:
        file.unlink()
    _raises("found 1 image in class 'dog'", root)


def test_parts_must_have_the_same_classes(tmp_path: Path) -> None:
    _fill(tmp_path / "train", _pixels())
    _fill(tmp_path / "test", _pixels()[:4], CLASSES[:4])
    _raises("found no class 'eel' in test", tmp_path)


def test_zip_names_stay_inside(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("../evil/1.png", "a/../../1.png", "/abs/1.png", "c:/x/1.png", "..\\evil\\1.png"):
        with zipfile.ZipFile(folder / "a.zip", "w") as archive:
            archive.writestr(name, b"?")
        _raises("names inside the zip", folder / "a.zip")
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "a.zip"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_bombs_and_broken_zips(tmp_path: Path) -> None:
    root = _fill(tmp_path / "data", _pixels())
    target = _zip(tmp_path / "a.zip", root)
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ant/zz.png", bytes(1 << 27))
    assert target.stat().st_size < 1 << 18
    _raises("ant/zz.png: found 134,217,728 bytes", target)

    # the directory says 1,000 bytes; the entry unpacks to many more
    content = bytearray(target.read_bytes())
    place = content.rfind(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 1000)
    target.write_bytes(content)
    _raises("ant/zz.png: found a corrupt entry", target)

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
    _raises("found 18,000,000,000 bytes unfolded from", target)

    whole = _zip(tmp_path / "b.zip", root).read_bytes()
    (tmp_path / "b.zip").write_bytes(whole[: len(whole) // 2])
    _raises("b.zip: found a corrupt", tmp_path / "b.zip")
    spoiled = bytearray(whole)
    spoiled[whole.find(b"IDAT") + 6] ^= 1
    (tmp_path / "b.zip").write_bytes(spoiled)
    _raises("found a corrupt entry", tmp_path / "b.zip")

    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("a/1.png", b"?")
        archive.writestr("a/1.png", b"?")
    _raises("found two entries 'a/1.png'", tmp_path / "c.zip")


def _idx_pair(folder: Path, images: bytes, labels: bytes) -> Path:
    (folder / "train-images-idx3-ubyte").write_bytes(images)
    (folder / "train-labels-idx1-ubyte").write_bytes(labels)
    return folder


def test_broken_idx_files(tmp_path: Path) -> None:
    x, y = _flat(_pixels((5, 6, 4, 7, 1)))
    images, labels = _idx(x[..., 0]), _idx(y)
    assert data.load(_idx_pair(tmp_path, images, labels)).input_shape == (4, 7, 1)
    _raises("found 839 bytes of data, expected 840 for 30x4x7", _idx_pair(tmp_path, images[:-1], labels))
    _raises("found more than 840 bytes", _idx_pair(tmp_path, images + b"?", labels))
    _raises("found a header of 10 bytes, expected 16", _idx_pair(tmp_path, images[:10], labels))
    _raises("found first bytes 504b0304", _idx_pair(tmp_path, b"PK\x03\x04", labels))
    _raises("found first bytes none", _idx_pair(tmp_path, b"", labels))
    _raises("found 29 labels, expected 30", _idx_pair(tmp_path, images, _idx(y[:29])))
    _raises("found uint8[30], expected bytes [n, h, w]", _idx_pair(tmp_path, labels, labels))
    _raises("found uint8[30, 4, 7], expected integers", _idx_pair(tmp_path, images, images))
    _raises("found no images", _idx_pair(tmp_path, _idx(x[:0, ..., 0]), _idx(y[:0])))
    bomb = images[:4] + struct.pack(">3I", 1 << 30, 1 << 10, 1 << 10)
    _raises("found 1073741824 images of 1024x1024x1", _idx_pair(tmp_path, bomb, labels))
    packed = gzip.compress(images)
    _raises("train-images-idx3-ubyte: found", _idx_pair(tmp_path, packed[:-40], labels))
    _raises("corrupt or unreadable", _idx_pair(tmp_path, packed[:-8] + bytes(8), labels))
    _idx_pair(tmp_path, images, labels)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    _raises("found no labels beside it, expected train-labels-idx1-ubyte", tmp_path)


def test_broken_npz_files(tmp_path: Path) -> None:
    x, y = _flat(_pixels((5, 6, 4, 7, 1)))
    path = tmp_path / "a.npz"

    def write(**arrays: object) -> Path:
        np.savez(path, **arrays)  # type: ignore[arg-type]
        return path

    _raises("found arrays x, expected a pair of", write(x=x))
    _raises("found arrays none", write(z=x))
    _raises("found uint8[29], expected integers or strings [30]", write(x=x, y=y[:29]))
    _raises("found int32[30, 4, 7, 1], expected some images", write(x=x.astype(np.int32), y=y))
    _raises("found infinities or NaNs", write(x=np.where(x > 9, np.nan, x), y=y))
    _raises("found pickled objects", write(x=np.array([{}], object), y=y))
    _raises("found <U1[2], expected a string for each label from 0 to 4", write(x=x, y=y, classes=np.array(["a", "b"])))
    _raises("expected one size and type", write(x_train=x, y_train=y, x_test=x[:, 1:], y_test=y))
    whole = write(x=x, y=y).read_bytes()
    path.write_bytes(whole[:300])
    _raises("corrupt or unreadable", path)
    path.write_text("no zip")
    _raises("corrupt or unreadable", path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"not npy")
    _raises("found no npy header", path)
    with zipfile.ZipFile(path, "w") as archive:
        stream = io.BytesIO()
        np.save(stream, x)
        archive.writestr("x.npy", stream.getvalue()[:-5])
    _raises("found 835 bytes of data, expected 840", path)


@pytest.mark.skipif(not CIFAR.exists(), reason="no CIFAR-10 subset beside the repository")
def test_cifar_subset() -> None:
    found = data.load(CIFAR, limit=3)
    assert found.source.classes == ("airplane", "automobile", "bird", "cat", "deer", "dog")
    assert found.target.classes == ("frog", "horse", "ship", "truck")
    assert found.input_shape == (32, 32, 3)
    assert len(found.source.train.x) == 18 and len(found.target.test.x) == 12
