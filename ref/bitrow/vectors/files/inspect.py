"""What words and files of words say: the text of `bitrow inspect`.

Standard library and numpy only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bitrow.contract.encoding import FP16_WORD, FP32_WORD, Encoding, Kind, code_encoding, integer_encoding
from bitrow.errors import BitrowError
from bitrow.formats import Fxp
from bitrow.vectors.files import schema
from bitrow.vectors.files.decode import FloatWord, decimal_text, float_of, hex_float, value_text, word_text
from bitrow.vectors.files.dump import Dump, count_words, read_dump
from bitrow.vectors.files.hexfile import from_file_words

_WORD = re.compile(r"(?:0[xX]|[0-9]+'[hH])?([0-9a-fA-F_]+)")
_FORMAT = re.compile(r"(fp16|fp32|(u?)(fxp|int)([0-9]{1,2}))")
_SHOWN = 8


def parse_word(text: str) -> tuple[int, int]:
    """A word written as 0x3c01, 3c01 or 16'h3c01: its value and its number of hex digits.

    Raises:
        BitrowError: not hex, or more than 8 digits.
    """
    match = _WORD.fullmatch(text)
    digits = match[1].replace("_", "") if match else ""
    if not 1 <= len(digits) <= 8:
        raise BitrowError(
            f"{text}: found neither a file nor a word, expected 1 to 8 hex digits, as in 0x3c01"
        )
    return int(digits, 16), len(digits)


def parse_format(text: str) -> Encoding:
    """An encoding by name: fp16, fp32, fxp2..fxp8, ufxp2..ufxp8, int8..int32.

    Raises:
        BitrowError: no such format.
    """
    match = _FORMAT.fullmatch(text.lower())
    if match is None:
        raise BitrowError(f"format: found {text!r}, expected fp16, fp32, fxp4, ufxp4, int24 or the like")
    if match[3] is None:
        return FP16_WORD if match[1] == "fp16" else FP32_WORD
    bits, unsigned = int(match[4]), bool(match[2])
    if match[3] == "fxp":
        if not 2 <= bits <= 8:
            raise BitrowError(f"format: found {text!r}, expected 2 to 8 bits")
        return code_encoding(Fxp(bits, signed=not unsigned))
    if unsigned or not 8 <= bits <= 32:
        raise BitrowError(f"format: found {text!r}, expected int8 to int32")
    return integer_encoding(bits)


def default_format(digits: int) -> Encoding:
    """What words of so many hex digits usually are: codes, FP16, FP32."""
    if digits <= 2:
        return code_encoding(Fxp(4))
    return FP16_WORD if digits <= 4 else FP32_WORD


def _float_lines(word: int, encoding: Encoding) -> Iterator[str]:
    fmt = float_of(encoding)
    assert fmt is not None  # callers pass FP16 or FP32
    number = FloatWord(fmt, word)
    yield (
        f"  sign {int(number.negative)}, exponent {number.field:0{fmt.exponent_bits}b} ({number.field}, 2^"
        f"{number.exponent}), fraction {number.fraction:0{fmt.fraction_bits}b} (0x{number.fraction:x})"
    )
    yield f"  class {number.kind}"
    yield f"  value {value_text(word, encoding)}"
    if number.value is None:
        return
    yield f"  hex float {hex_float(number)}"
    yield f"  ulp {decimal_text(number.ulp)} (2^{number.exponent - fmt.fraction_bits})"
    magnitude = word & (fmt.sign_mask - 1)
    below = word - 1 if magnitude else fmt.sign_mask ^ word | 1
    for name, neighbour in (
        ("toward zero" if magnitude else "other side", below),
        ("away from zero", word + 1),
    ):
        yield f"  next {name} {word_text(neighbour, encoding)}"


def _fields_line(word: int, digits: int, encoding: Encoding) -> str:
    """Codes of at most 4 bits, a nibble each; wider ones a byte each (SPEC.md Q5).

    Raises:
        BitrowError: a nibble or byte that its code does not fill with its sign or with zeros.
    """
    step = 4 if encoding.bits <= 4 else 8
    fields = [word >> shift & ((1 << step) - 1) for shift in range(0, 4 * digits, step)]
    code = (1 << encoding.bits) - 1
    name = f"{'FXP' if encoding.signed else 'UFXP'}{encoding.bits}"
    unit = "nibbles" if step == 4 else "bytes"
    for field in fields:
        negative = encoding.signed and field >> (encoding.bits - 1) & 1
        if field & ~code not in (0, ((1 << step) - 1) & ~code if negative else 0):
            raise BitrowError(f"{field:0{step // 4}x}: found more than {encoding.bits} bits, expected a code of {name}")
    values = ", ".join(value_text(field & code, encoding) for field in fields)
    return f"as {name}: {values}" if len(fields) == 1 else f"as {name} {unit}, low first: {values}"


def word_lines(text: str, as_format: str | None = None) -> Iterator[str]:
    """What the word `text` says, as `as_format` or as what words of its width usually are.

    Raises:
        BitrowError: `text` is no word, `as_format` no format, or the word too wide for it.
    """
    word, digits = parse_word(text)
    encoding = parse_format(as_format) if as_format else default_format(digits)
    shown = f"0x{word:0{digits}x}"
    if encoding.kind is Kind.CODE:
        yield f"{shown} {_fields_line(word, digits, encoding)}"
        return
    if word >> encoding.word_bits:
        raise BitrowError(
            f"{text}: found more than {encoding.word_bits} bits, expected a word of {as_format}"
        )
    if encoding.kind is Kind.INTEGER:
        yield f"{shown} as two's complement of {encoding.bits} bits: {_integer_text(word, encoding)}"
        return
    yield f"{shown} as {encoding.kind.value.upper()}"
    yield from _float_lines(word, encoding)
    if as_format is None and digits <= 4:
        yield f"  {_fields_line(word, digits, code_encoding(Fxp(4)))}"


def _integer_text(word: int, encoding: Encoding) -> str:
    wide = Encoding(encoding.kind, encoding.word_bits, signed=True)
    return value_text(word, wide)


def _listed(path: Path) -> schema.TensorEntry | None:
    """The tensor that `path` is in a vector set, None where it is in none."""
    folder = path.resolve().parent
    if not (folder / schema.CASE_JSON).is_file():
        return None
    case = schema.read_case_json(folder.parent, folder.name)
    return next((tensor for tensor in case.tensors if schema.tensor_file(tensor.name) == path.name), None)


def _classes(dump: Dump, encoding: Encoding) -> Iterator[str]:
    words = dump.words[~dump.undriven]
    fmt = float_of(encoding)
    if fmt is not None:
        magnitude = words & np.uint32(fmt.sign_mask - 1)
        infinity, normal = fmt.infinity_bits, 1 << fmt.fraction_bits
        counts = {
            "zero": magnitude == 0,
            "subnormal": (magnitude > 0) & (magnitude < normal),
            "normal": (magnitude >= normal) & (magnitude < infinity),
            "infinity": magnitude == infinity,
            "NaN": magnitude > infinity,
            "negative": (words & np.uint32(fmt.sign_mask)) != 0,
        }
        yield "  " + ", ".join(f"{name} {int(mask.sum())}" for name, mask in counts.items())
    elif encoding.word_bits <= 4:
        counted = Counter(from_file_words(words, encoding).tolist())
        yield "  " + ", ".join(f"{value}: {counted[value]}" for value in sorted(counted))
    elif words.size:
        values = from_file_words(words, encoding)
        zeros = int((values == 0).sum())
        yield f"  from {values.min()} to {values.max()}, {zeros} zeros"


def file_lines(path: Path, as_format: str | None = None) -> Iterator[str]:
    """What a hex file holds: count, width, classes of words, and the first of them.

    Its format is `as_format`, else what the case beside it says, else what words of its width usually are.

    Raises:
        BitrowError: not a hex file, words too wide for the format, or no such format.
    """
    given = parse_format(as_format) if as_format else None
    count, digits = count_words(path, str(path))
    entry = _listed(path)
    encoding = given or (default_format(digits) if entry is None else entry.encoding)
    dump = read_dump(path, encoding, count, str(path))
    kind = "signed " if encoding.signed else ""
    yield f"{path}: {count} words of {encoding.word_bits} bits, {kind}{encoding.kind.value}"
    if entry is not None:
        shape = " x ".join(map(str, entry.shape)) or "one word"
        yield f"  {entry.role.value} {entry.name}, {shape} [{entry.layout}]"
    if dump.undriven.any():
        yield f"  undriven {int(dump.undriven.sum())}"
    yield from _classes(dump, encoding)
    shown = range(min(count, _SHOWN))
    words = ["undriven" if dump.undriven[i] else word_text(int(dump.words[i]), encoding) for i in shown]
    yield f"  first: {', '.join(words)}"


def inspect_lines(target: str, as_format: str | None = None) -> Iterator[str]:
    """The lines that `bitrow inspect TARGET` prints: of the file of that name, else of a word."""
    path = Path(target)
    if path.is_dir():
        raise BitrowError(f"{target}: found a folder, expected a hex file or a word")
    return file_lines(path, as_format) if path.exists() else word_lines(target, as_format)
