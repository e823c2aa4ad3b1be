"""Small sets of class images, in every kind of file that the transfer experiments read."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bitrow.errors import BitrowError
from bitrow.transfer import data

CLASSES = ("ant", "bee", "cat", "dog", "eel")


def pixels_of(shape: tuple[int, ...] = (5, 6, 4, 7, 3), seed: int = 3) -> np.ndarray:
    """[class, image, h, w, c]"""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def png_of(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(stream, "PNG")
    return stream.getvalue()


def fill(root: Path, pixels: np.ndarray, names: tuple[str, ...] = CLASSES) -> Path:
    for name, images in zip(names, pixels, strict=True):
        (root / name).mkdir(parents=True)
        for place, image in enumerate(images):
            (root / name / f"{place:02}.png").write_bytes(png_of(image))
    return root


def zip_of(target: Path, root: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, prefix + file.relative_to(root).as_posix())
    return target


def idx_of(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def flat(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return pixels.reshape(-1, *pixels.shape[2:]), np.repeat(np.arange(len(pixels), dtype=np.uint8), pixels.shape[1])


def same(found: data.Transfer, expected: data.Transfer) -> None:
    assert (found.mean, found.std) == (expected.mean, expected.std)
    for task, other in ((found.source, expected.source), (found.target, expected.target)):
        for part, twin in ((task.train, other.train), (task.test, other.test)):
            np.testing.assert_array_equal(part.x.view(np.uint32), twin.x.view(np.uint32))
            np.testing.assert_array_equal(part.y, twin.y)


def raises(words: str, *args: object, **kwargs: object) -> None:
    with pytest.raises(BitrowError) as caught:
        data.load(*args, **kwargs)  # type: ignore[arg-type]
    message = str(caught.value)
    assert words in message and "\n" not in message, message
    assert "expected" in message or "cannot be read" in message, message
