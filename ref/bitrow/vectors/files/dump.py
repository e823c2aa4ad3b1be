"""What a simulator dumped: hex files as `$writememh` and benches write them, compared with golden words.

Unlike a golden hex file (SPEC.md V2), a dump may have upper case, `_`, comments, blank lines, several words
on a line, `@address` lines from any base, `0x` before every word, more or fewer digits (above a word zeros, or its
sign), words with x or z digits (those count as undriven), and the mark that some editors put before UTF-8.
Standard library and numpy only.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bitrow.contract.encoding import Encoding, Kind
from bitrow.errors import BitrowError
from bitrow.reading import HEX, read_bytes
from bitrow.vectors.files.hexfile import ANY_CASE, parse_block

# the end closes a comment, so that no search runs twice
_COMMENT = re.compile(rb"//[^\n]*|#[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_DIGITS = re.compile(rb"[0-9a-fA-F]+")
_UNKNOWN = re.compile(rb"[0-9a-fA-FxXzZ?]+")
_PREFIXED = re.compile(rb"0[xX][0-9a-fA-FxXzZ?]+")
_UNDRIVEN_ZERO = bytes.maketrans(b"xXzZ?", b"00000")
_UNDRIVEN_ONES = bytes.maketrans(b"0123456789abcdefABCDEFxXzZ?", b"0" * 22 + b"f" * 5)
_ADDRESS = re.compile(rb"@([0-9a-fA-F]{1,16})")
_SPACE = re.compile(rb"\s")
_STEP = 1 << 20  # bytes of a dump that become tokens at a time
_SURPLUS = 1 << 16  # words beyond those expected that are still counted
_WIDEST = 32  # digits of a word with its sign above
_WORD_BYTES = 64  # of a dump for each word, before it counts as too large


@dataclass(frozen=True)
class Dump:
    """Words of a dump, uint32 `[count]`, and where the design drove none (x, z, or an address skipped)."""

    words: np.ndarray
    undriven: np.ndarray


class Miscounted(BitrowError):
    """A dump of too few or too many words: `words` are those that it has, -1 where undriven."""

    def __init__(self, message: str, words: np.ndarray) -> None:
        super().__init__(message)
        self.words = words


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
            return Dump(_extended(words, encoding), np.zeros(count, bool))
    dump = _read_tokens(plain, encoding, count, where)
    return Dump(_extended(dump.words, encoding), dump.undriven)


def _extended(words: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Words with the sign of a sum that was written in its own width, not in the word's, extended."""
    spare = encoding.word_bits - encoding.bits
    if encoding.kind is not Kind.INTEGER or not encoding.signed or not spare:
        return words
    above = np.uint32(((1 << spare) - 1) << encoding.bits)
    return np.where(words >> np.uint32(encoding.bits - 1) == 1, words | above, words)


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
    prefixed = _prefixed(content, where)
    words: dict[int, int | None] = {}
    address, addressed, twice = 0, False, None
    for token in _tokens(content, where):
        jump = _ADDRESS.fullmatch(token)
        if jump:
            address, addressed = int(jump[1], 16), True
            continue
        if len(words) > count + _SURPLUS:
            break
        if address in words:
            twice = address
        words[address] = _word(token[2:] if prefixed else token, encoding, f"{where} word {address}")
        address += 1
    if twice is not None:
        raise BitrowError(f"{where}: found two words at address {twice:x}, expected one")
    return _placed(words, count, addressed, where)


def read_memory(path: Path, width: int, depth: int, where: str) -> dict[int, tuple[int, int]]:
    """A memory as `$writememh` writes it: by address its word and the bits of it that nothing drives.

    Raises:
        BitrowError: naming `where`: as `read_dump`; words of more than `width` bits, or beyond `depth`.
    """
    content = _content(path, where, depth * -(-width // 64))
    found: dict[int, tuple[int, int]] = {}
    address = 0
    for token in _tokens(content, where):
        jump = _ADDRESS.fullmatch(token)
        if jump:
            address = int(jump[1], 16)
            continue
        text = token[:80].decode("ascii", "backslashreplace")
        if not _UNKNOWN.fullmatch(token):
            raise BitrowError(f"{where} word {address}: found the non-hex word {text!r}, expected hex digits")
        if len(token) > -(-width // 4) or address >= depth or address in found:
            raise BitrowError(
                f"{where}: found {text!r} at address {address:x}, "
                f"expected a word of {width} bits at each of {depth} addresses, once"
            )
        found[address] = int(token.translate(_UNDRIVEN_ZERO), 16), int(token.translate(_UNDRIVEN_ONES), 16)
        address += 1
    return found


def _prefixed(content: bytes, where: str) -> bool:
    """Whether every word is written as 0x316e; else an x is a digit that nothing drives."""
    words = (token for token in _tokens(content, where) if not token.startswith(b"@"))
    first = next(words, b"")
    return _PREFIXED.fullmatch(first) is not None and all(_PREFIXED.fullmatch(token) for token in words)


def _placed(words: dict[int, int | None], count: int, addressed: bool, where: str) -> Dump:
    """The words by address, from the smallest address where all of them lie behind another base.

    Raises:
        Miscounted: too few words, or too many.
    """
    last = max(words, default=-1)
    base = min(words) if last >= count and len(words) == count == last - min(words) + 1 else 0
    if last - base >= count and addressed:
        raise BitrowError(f"{where}: found a word at address {last}, expected {count} words")
    if len(words) > count or (len(words) < count and not addressed):
        found = np.array([-1 if word is None else word for word in words.values()], np.int64)
        more = "more than " if len(words) > count + _SURPLUS else ""
        raise Miscounted(f"{where}: found {more}{len(words)} words, expected {count}", found)
    values, undriven = np.zeros(count, np.uint32), np.ones(count, bool)
    for address, word in words.items():
        if word is not None:
            values[address - base], undriven[address - base] = word, False
    return Dump(values, undriven)


def _word(token: bytes, encoding: Encoding, where: str) -> int | None:
    """The value of a token, None where any digit is x or z; above it zeros may stand, above a negative one ones."""
    text = token[:40].decode("ascii", "backslashreplace")
    if _DIGITS.fullmatch(token):
        value, bits = int(token, 16), encoding.word_bits
        if value >> bits:
            above = (1 << (4 * len(token) - bits)) - 1  # what stands above the word
            negative = encoding.signed and value >> (bits - 1) & 1
            if not negative or len(token) > _WIDEST or value >> bits != above:
                raise BitrowError(f"{where}: found {text!r}, expected at most {bits} bits")
            value &= (1 << bits) - 1
        return value
    if _UNKNOWN.fullmatch(token):
        return None
    raise BitrowError(f"{where}: found the non-hex word {text!r}, expected {encoding.hex_digits} hex digits")


class Unread(NamedTuple):
    """A file among the dumps that cannot be compared, and why in one line."""

    path: Path
    message: str


def unread_lines(unread: Sequence[Unread]) -> Iterator[str]:
    """The first of them and the count of the rest, or nothing."""
    if unread:
        more = f", and {len(unread) - 1} more" if len(unread) > 1 else ""
        yield f"{unread[0].message}{more}"


def find_dumps(folder: Path, cases: dict[str, list[str]]) -> tuple[dict[str, dict[str, Path]], list[Unread]]:
    """The dumps below `folder` by case and tensor, CASE/TENSOR.hex or CASE.TENSOR.hex, and the hex files that are none.

    `cases` names every case of the set and its tensors. Files that do not end in `.hex` are passed over.

    Raises:
        BitrowError: `folder` is none, or holds no hex file.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise BitrowError(f"{folder}: found {found}, expected the folder of a design's dumps")
    dumps: dict[str, dict[str, Path]] = {}
    unread: list[Unread] = []
    for path in sorted(folder.rglob("*.hex")):
        parts = path.relative_to(folder).with_suffix("").as_posix().replace("/", ".").split(".")
        case, tensor = (parts[0], parts[-1]) if len(parts) == 2 else ("", "")
        problem = _misnamed(case, tensor, cases)
        if not problem and tensor in dumps.get(case, {}):
            problem = f"found a second dump of {case} {tensor}, expected one"
        if problem:
            unread.append(Unread(path, f"{path}: {problem}"))
        else:
            dumps.setdefault(case, {})[tensor] = path
    if not dumps and not unread:
        raise BitrowError(f"{folder}: found no hex file, expected CASE/TENSOR.hex or CASE.TENSOR.hex")
    return dumps, unread


def _misnamed(case: str, tensor: str, cases: dict[str, list[str]]) -> str:
    """What is wrong with the name of a dump, "" where nothing is."""
    if case not in cases:
        return "found a hex file of no case, expected CASE/TENSOR.hex or CASE.TENSOR.hex of a case of the set"
    return "" if tensor in cases[case] else f"found no tensor {tensor!r} in {case}, expected {', '.join(cases[case])}"


def count_words(path: Path, where: str) -> tuple[int, int]:
    """How many words a hex file holds, and the hex digits of the widest.

    Raises:
        BitrowError: naming `where`: the file holds no word, or a token that is none; as `read_dump`.
    """
    number = digits = 0
    content = _content(path, where)
    prefixed = _prefixed(content, where)
    for token in _tokens(content, where):
        if token.startswith(b"@"):
            continue
        token = token[2:] if prefixed else token
        if not _UNKNOWN.fullmatch(token):
            text = token[:40].decode("ascii", "backslashreplace")
            raise BitrowError(f"{where} word {number}: found the non-hex word {text!r}, expected hex digits")
        number, digits = number + 1, max(digits, len(token))
        if digits > 8:
            raise BitrowError(f"{where} word {number - 1}: found a word of {digits} digits, expected at most 8")
    if not number:
        raise BitrowError(f"{where}: found no word, expected a file of hex words")
    return number, digits
