"""Stored images (PNG, JPEG and other kinds that Pillow reads without helpers) decoded into one array."""

from __future__ import annotations

import io
import math
import re
import warnings
from typing import Any

import numpy as np

from bitrow.errors import BitrowError
from bitrow.extras import extra
from bitrow.images.raw import MAX_SIDE, Size, check_bytes
from bitrow.reading import check_unfolded

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
_GREY, _COLOUR = {"1", "L", "LA"}, {"P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}
_ENDS = {"PNG": b"IEND\xaeB`\x82", "GIF": b"\0;"}  # their decoders do without
_DEEP = re.compile(r";16[BLN]")


def _is_deep(image: Any) -> bool:
    """Whether the decoder would cut channels of 16 bits to 8: its stored form says so, the image's mode does not."""
    forms = [part for tile in image.tile for part in (tile[3] if isinstance(tile[3], tuple) else (tile[3],))]
    return any(form > 255 if isinstance(form, int) else bool(_DEEP.search(str(form))) for form in forms)


class Decoder:
    """Images decoded one by one into one array u8[n,h,w,c], whose size the first image or the caller gives.

    `stored` is how many bytes the `count` images take as files.
    """

    def __init__(self, root: str, size: Size | None, count: int, stored: int) -> None:
        self._root, self._count = root, count
        self._library = extra("transfer", "PIL.Image", "pillow")
        self._transpose = extra("transfer", "PIL.ImageOps", "pillow").exif_transpose
        self._size = size
        self._given = size is not None
        self._first = ""
        self._stored = stored
        self._x: np.ndarray | None = None
        self._coloured = False

    def put(self, place: int, parts: tuple[str, ...], content: bytes | bytearray) -> None:
        name = f"{self._root}/{'/'.join(parts)}"
        image = self._decoded(name, content)
        if self._size is None:
            self._size, self._first = (image.height, image.width, 3), name
        height, width, channels = self._size
        if (image.height, image.width) != (height, width):
            if not self._given:
                raise BitrowError(
                    f"data {name}: found an image of {image.height}x{image.width}, expected {height}x{width} as "
                    f"{self._first}; give an input shape to resize to"
                )
            image = image.convert("RGB" if image.mode != "L" else "L")
            image = image.resize((width, height), self._library.Resampling.BILINEAR)
        self._coloured |= image.mode != "L"
        if self._x is None:
            check_bytes(f"data {self._root}", self._count, self._size)
            if not self._given:
                check_unfolded(math.prod(self._size) * self._count, self._stored, f"data {self._root}")
            self._x = np.empty((self._count, *self._size), np.uint8)
        pixels = np.asarray(image.convert("RGB" if channels == 3 else "L"))
        self._x[place] = pixels if channels == 3 else pixels[..., None]

    def images(self) -> np.ndarray:
        """All of them: grey where the caller gave no size and no image has a colour mode."""
        assert self._x is not None
        grey = not self._given and not self._coloured
        return np.ascontiguousarray(self._x[..., :1]) if grey else self._x

    def _decoded(self, name: str, content: bytes | bytearray) -> Any:
        """A Pillow image of mode L or RGB, upright, on white where it is transparent."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # notes on odd files; what matters is an error
                image = self._library.open(io.BytesIO(content), formats=_FORMATS)
                if _ENDS.get(image.format, b"") not in content:
                    raise ValueError("no end of the file")
                if image.format == "PNG":  # its decoder leaves checksums alone; this spends the image
                    image.verify()
                    image = self._library.open(io.BytesIO(content), formats=("PNG",))
                if max(image.size) > MAX_SIDE:
                    raise BitrowError(
                        f"data {name}: found an image of {image.height}x{image.width}, expected sides up to {MAX_SIDE}"
                    )
                if image.mode not in _GREY | _COLOUR or _is_deep(image):
                    deep = " of 16 bits" if _is_deep(image) and image.mode in _GREY | _COLOUR else ""
                    raise BitrowError(
                        f"data {name}: found pixels of mode {image.mode}{deep}, expected 8 bits for a channel"
                    )
                grey = image.mode in _GREY
                upright = self._transpose(image) if "exif" in image.info else image
                if upright.has_transparency_data:
                    upright = upright.convert("RGBA")
                    white = self._library.new("RGBA", upright.size, "white")
                    upright = self._library.alpha_composite(white, upright)
                return upright.convert("L" if grey else "RGB")
        except BitrowError:
            raise
        except Exception as error:  # decoders raise whatever they like on bad bytes
            reason = " ".join(str(error).split()) or type(error).__name__
            reason = "not an image that can be read" if "cannot identify" in reason else reason
            raise BitrowError(
                f"data {name}: found a corrupt image ({reason}), expected one of {', '.join(_FORMATS)}"
            ) from None
