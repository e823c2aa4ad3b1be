"""What a simulator dumped: hex files as `$writememh` and benches write them, compared with golden words.

Unlike a golden hex file (SPEC.md V2), a dump may have upper case, `_`, comments, blank lines, several words
on a line, `@address` lines, more or fewer digits, words with x or z digits (those count as undriven), and the mark
that some editors put before UTF-8.
Standard library and numpy only.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bitrow.contract.encoding import Encoding
from bitrow.errors import BitrowError
from bitrow.reading import HEX, read_bytes
from bitrow.vectors.files.hexfile import ANY_CASE, parse_block

_COMMENT = re.compile(rb"//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)  # the end closes one, so that no search runs twice
_DIGITS = re.compile(rb"[0-9a-fA-F]+")
_UNKNOWN = re.compile(rb"[0-9a-fA-FxXzZ?]+")
_ADDRESS = re.compile(rb"@([0-9a-fA-F]{1,16})")
_SPACE = re.compile(rb"\s")
_STEP = 1 << 20  # bytes of a dump that become tokens at a time
_WORD_BYTES = 64  # of a dump for each word, before it counts as too large


@dataclass(frozen=True)
class Dump:
    """Words of a dump, uint32 `[count]`, and where the design drove none (x, z, or an address skipped)."""

    words: np.ndarray
    undriven: np.ndarray


def read_dump(path: Path, encoding: Encoding, count: int, where: str) -> Dump:
    """Read a dump of `count` words.

    Raises:
        BitrowError: naming `where`: a token that is no word, a word too wide, a wrong number of words, a comment that
            does not end, no regular file, more than 64 MiB (and 64 bytes for each word).
    """
    content = _content(path, where, count)
    plain = content.replace(b"\r\n", b"\n") if b"\r" in content else content
    if len(plain) == count * (encoding.hex_digits + 1):
        words = parse_block(plain, encoding.hex_digits, ANY_CASE)
        if words is not None and not (encoding.word_bits < 32 and (words >> encoding.word_bits).any()):
            return Dump(words, np.zeros(count, bool))
    return _read_tokens(plain, encoding, count, where)


def _content(path: Path, where: str, count: int = 0) -> bytes:
    kind = HEX._replace(most=max(HEX.most, _WORD_BYTES * count))
    return read_bytes(path, kind, where).removeprefix(codecs.BOM_UTF8)


def _tokens(content: bytes, where: str) -> Iterator[bytes]:
    """What stands between white space, comments and underscores left out."""

    def blank(comment: re.Match[bytes]) -> bytes:
        text = comment[0]
        if text.startswith(b"/*") and not (text.endswith(b"*/") and len(text) >= 4):
            raise BitrowError(f"{where}: found a comment that does not end, expected */")
        return b" "

    plain = _COMMENT.sub(blank, content).replace(b"_", b"")
    start = 0
    while start < len(plain):
        space = _SPACE.search(plain, start + _STEP)
        end = space.start() if space else len(plain)
        yield from plain[start:end].split()
        start = end


def _read_tokens(content: bytes, encoding: Encoding, count: int, where: str) -> Dump:
    words, undriven = np.zeros(count, np.uint32), np.ones(count, bool)
    address = seen = 0
    addressed = False
    for token in _tokens(content, where):
        jump = _ADDRESS.fullmatch(token)
        if jump:
            address, addressed = int(jump[1], 16), True
            continue
        if address >= count:
            raise BitrowError(f"{where}: found a word at address {address}, expected {count} words")
        value = _word(token, encoding, f"{where} word {address}")
        if value is not None:
            words[address], undriven[address] = value, False
        address += 1
        seen += 1
    if seen < count and not addressed:
        raise BitrowError(f"{where}: found {seen} words, expected {count}")
    return Dump(words, undriven)


def _word(token: bytes, encoding: Encoding, where: str) -> int | None:
    """The value of a token, None where any digit is x or z."""
    text = token[:40].decode("ascii", "backslashreplace")
    if _DIGITS.fullmatch(token):
        value = int(token, 16)
        if value >> encoding.word_bits:
            raise BitrowError(f"{where}: found {text!r}, expected at most {encoding.word_bits} bits")
        return value
    if _UNKNOWN.fullmatch(token):
        return None
    raise BitrowError(f"{where}: found the non-hex word {text!r}, expected {encoding.hex_digits} hex digits")


def find_dumps(folder: Path, cases: dict[str, list[str]]) -> dict[str, dict[str, Path]]:
    """The dumps below `folder` by case and tensor: CASE/TENSOR.hex or CASE.TENSOR.hex.

    `cases` names every case of the set and its tensors. Files that do not end in `.hex` are passed over.

    Raises:
        BitrowError: `folder` is none, holds no dump, or a hex file of no tensor of the set.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise BitrowError(f"{folder}: found {found}, expected the folder of a design's dumps")
    dumps: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.rglob("*.hex")):
        parts = path.relative_to(folder).with_suffix("").as_posix().replace("/", ".").split(".")
        case, tensor = (parts[0], parts[-1]) if len(parts) == 2 else ("", "")
        if case not in cases:
            expected = "CASE/TENSOR.hex or CASE.TENSOR.hex of a case of the set"
            raise BitrowError(f"{path}: found a hex file of no case, expected {expected}")
        if tensor not in cases[case]:
            raise BitrowError(
                f"{path}: found no tensor {tensor!r} in {case}, expected {', '.join(cases[case])}"
            )
        if tensor in dumps.setdefault(case, {}):
            raise BitrowError(f"{path}: found a second dump of {case} {tensor}, expected one")
        dumps[case][tensor] = path
    if not dumps:
        raise BitrowError(f"{folder}: found no hex file, expected CASE/TENSOR.hex or CASE.TENSOR.hex")
    return dumps


def count_words(path: Path, where: str) -> tuple[int, int]:
    """How many words a hex file holds, and the hex digits of the widest.

    Raises:
        BitrowError: naming `where`: the file holds no word, or a token that is none; as `read_dump`.
    """
    number = digits = 0
    for token in _tokens(_content(path, where), where):
        if token.startswith(b"@"):
            continue
        if not _UNKNOWN.fullmatch(token):
            text = token[:40].decode("ascii", "backslashreplace")
            raise BitrowError(f"{where} word {number}: found the non-hex word {text!r}, expected hex digits")
        number, digits = number + 1, max(digits, len(token))
        if digits > 8:
            raise BitrowError(f"{where} word {number - 1}: found a word of {digits} digits, expected at most 8")
    if not number:
        raise BitrowError(f"{where}: found no word, expected a file of hex words")
    return number, digits
