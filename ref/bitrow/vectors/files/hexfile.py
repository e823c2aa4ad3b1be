"""Hex files as `$readmemh` reads and `$writememh` writes them (SPEC.md V2).

Standard library and numpy only. Everything is vectorised: ten million words take a few seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bitrow.contract.encoding import Encoding
from bitrow.errors import BitrowError
from bitrow.reading import HEX, opened, size_of

CHUNK_WORDS = 1 << 19
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_NOT_HEX = 0xFF
_VALUES = np.full(256, _NOT_HEX, np.uint8)
_VALUES[_DIGITS] = np.arange(16)
ANY_CASE = _VALUES.copy()
ANY_CASE[np.frombuffer(b"ABCDEF", np.uint8)] = np.arange(10, 16)
_LINE_FEED = 10
_LOWER_HEX = re.compile(rb"[0-9a-f]+")


def file_words(data: np.ndarray, encoding: Encoding) -> np.ndarray:
    """The words of integer bit views: uint32, two's complement of `encoding.word_bits`, same shape."""
    mask = np.uint32((1 << encoding.word_bits) - 1)
    return data.astype(np.int64).astype(np.uint32) & mask


def from_file_words(words: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Inverse of `file_words`: integer bit views of `encoding.dtype`, sign extended where it is signed."""
    if not encoding.signed:
        return words.astype(encoding.dtype)
    sign = np.int64(1) << (encoding.word_bits - 1)
    return ((words.astype(np.int64) ^ sign) - sign).astype(encoding.dtype)


def hex_chunks(data: np.ndarray, encoding: Encoding) -> Iterator[bytes]:
    """The hex file of `data` in pieces of at most `CHUNK_WORDS` lines, elements in row-major order."""
    digits = encoding.hex_digits
    flat = data.reshape(-1)
    for start in range(0, flat.size, CHUNK_WORDS):
        words = file_words(flat[start : start + CHUNK_WORDS], encoding)
        lines = np.full((words.size, digits + 1), _LINE_FEED, np.uint8)
        for place in range(digits):
            lines[:, digits - 1 - place] = _DIGITS[(words >> np.uint32(4 * place)) & np.uint32(15)]
        yield lines.tobytes()


def parse_block(block: bytes, digits: int, values: np.ndarray) -> np.ndarray | None:
    """Words of whole lines of exactly `digits` hex digits, or None where a line is anything else."""
    lines = np.frombuffer(block, np.uint8).reshape(-1, digits + 1)
    nibbles = values[lines[:, :digits]]
    if (lines[:, digits] != _LINE_FEED).any() or (nibbles == _NOT_HEX).any():
        return None
    words = np.zeros(len(lines), np.uint32)
    for place in range(digits):
        words = words << np.uint32(4) | nibbles[:, place]
    return words


def _line_error(tail: bytes, first_line: int, digits: int, where: str) -> BitrowError:
    """The error that names the first line of `tail` that is not a word."""
    *lines, unfinished = tail.split(b"\n")
    expected = f"expected {digits} lower-case hex digits"
    for number, line in enumerate(lines, first_line):
        text = line[:40].decode("ascii", "backslashreplace")
        if not line:
            return BitrowError(f"{where} line {number}: found an empty line, {expected}")
        if not _LOWER_HEX.fullmatch(line):
            return BitrowError(f"{where} line {number}: found the non-hex word {text!r}, {expected}")
        if len(line) != digits:
            kind = "over-wide" if len(line) > digits else "short"
            return BitrowError(f"{where} line {number}: found the {kind} word {text!r}, {expected}")
    number = first_line + len(lines)
    text = unfinished[:40].decode("ascii", "backslashreplace")
    return BitrowError(f"{where} line {number}: found a file truncated after {text!r}, expected a whole line")


def read_hex(path: Path, encoding: Encoding, count: int, where: str) -> np.ndarray:
    """Read a strict hex file (SPEC.md V2): exactly `count` words, as uint32 of shape [count].

    Raises:
        BitrowError: naming `where` and the line: a word too short, too wide or not hex, a wrong count, a file
            that ends in mid-line, a word with bits above `encoding.bits`, no regular file.
    """
    digits = encoding.hex_digits
    done = 0
    with opened(path, HEX, where, most=HEX.most + count * (digits + 1)) as stream:
        words = np.empty(min(count, size_of(stream) // (digits + 1) + 1), np.uint32)  # a forged count takes no memory
        while block := stream.read(CHUNK_WORDS * (digits + 1)):
            whole, rest = divmod(len(block), digits + 1)
            parsed = parse_block(block[: whole * (digits + 1)], digits, _VALUES)
            if parsed is None:
                raise _line_error(block, done + 1, digits, where)
            if done + whole <= len(words):
                words[done : done + whole] = parsed
            done += whole
            if rest:
                raise _line_error(block[whole * (digits + 1) :], done + 1, digits, where)
    if done != count:
        raise BitrowError(f"{where}: found {done} words, expected {count}")
    spare = 4 * digits - encoding.word_bits  # bits of the first digit that a word does not have
    over = np.flatnonzero(words >> np.uint32(encoding.word_bits)) if spare else np.empty(0, np.int64)
    if over.size:
        word = int(words[over[0]])
        raise BitrowError(
            f"{where} line {over[0] + 1}: found {word:0{digits}x}, expected {encoding.word_bits} bits"
        )
    return words
