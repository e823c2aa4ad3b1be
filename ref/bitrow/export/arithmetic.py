"""Lines of single words as C expressions: what `contract.arithmetic` does to an element (SPEC.md F2, F9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from bitrow.contract import arithmetic
from bitrow.contract.program import Line, is_number
from bitrow.errors import BitrowError
from bitrow.formats import FP16, FP32, Float
from bitrow.oracle import softfloat


class CElement(NamedTuple):
    """An operand at one place: its C text, and the format that it is read by."""

    text: str
    format: str


class CTarget(NamedTuple):
    """What an operation's C is printed for: the width of `acc`, and the C text of a code format."""

    acc: int
    format_of: Callable[[str], str]

    def width(self, fmt: str) -> int:
        """Bits of a floating-point format's words; 0 where they are no floats."""
        return self.acc if fmt == "acc" else {"16": 16, "32": 32, "host": 32}.get(fmt, 0)


def _number(text: str, wide: Float) -> str:
    """A number of a line as a word of the format that it is read in."""
    exact = softfloat.unpack(FP16, int(text, 16)) if text.startswith("0x") else softfloat.integer(int(text))
    return f"{softfloat.round_number(wide, exact):#x}u"


def _read(element: CElement, work: int, result: int, target: CTarget) -> str:
    """An operand as a word of the width that is worked in (F5, F9, B2)."""
    text, fmt = element
    if is_number(text):
        return _number(text, FP16 if work == 16 else FP32)
    width = target.width(fmt)
    if fmt == "host" and result == 16:
        text, width = f"bw_word_fp16_from_fp32(BW_NEAREST_EVEN, {text})", 16
    return text if width == work else f"bw_word_fp16_to_fp32(mode, {text})"


def rounded(line: Line, operands: Sequence[CElement], target: CTarget) -> str:
    """A line that computes exactly and rounds once.

    Raises:
        BitrowError: operands of which no kernel makes such a result.
    """
    result, op = target.width(line.format), arithmetic.EXACT.get(line.op, line.op)
    integers = [each for each in operands if not target.width(each.format) and not is_number(each.text)]
    if integers:
        return _of_integer(line, op, operands, result)
    widths = [
        result,
        *(target.width(each.format) for each in operands if each.format != "host" and not is_number(each.text)),
    ]
    work = max(widths)
    words = [_read(each, work, result, target) for each in operands]
    if op in ("sub", "negmul") and (op == "negmul" or (result, work) == (16, 32)):
        place = 0 if op == "negmul" else 1
        words[place] = f"bw_word_fp{work}_negate({words[place]})"
        op = "mul" if op == "negmul" else "add"
    if op == "convert" and (result, work) == (16, 32):
        return f"bw_word_fp16_from_fp32(mode, {words[0]})"
    if result == work and op in _WHOLE[result]:
        return f"bw_word_fp{result}_{op}({', '.join((*_MODED[result], *words))})"
    if (result, work) == (16, 32) and op in ("add", "mul"):
        return f"bw_word_fp16_{op}_fp32(mode, {', '.join(words)})"
    raise _refused(line, operands)


_MODED = {16: ("mode",), 32: ()}
_WHOLE = {
    16: ("add", "sub", "mul", "div", "sqrt", "fma", "convert"),
    32: ("add", "sub", "mul", "div", "sqrt", "convert"),
}


def _of_integer(line: Line, op: str, operands: Sequence[CElement], result: int) -> str:
    texts = [each.text for each in operands]
    if op == "convert":
        return f"bw_word_fp{result}_from_int32({', '.join((*_MODED[result], *texts))})"
    if op == "mul" and result == 16 and operands[1].format == "16":
        return f"bw_word_fp16_mul_int32(mode, {', '.join(texts)})"
    raise _refused(line, operands)


def _refused(line: Line, operands: Sequence[CElement]) -> BitrowError:
    found = ", ".join(each.format for each in operands)
    return BitrowError(
        f"C: found {line.name} : {line.format} = {line.op} of {found}, expected formats that a kernel takes"
    )


def _codes(function: str) -> Callable[[Line, Sequence[CElement], CTarget], str]:
    def text(line: Line, operands: Sequence[CElement], target: CTarget) -> str:
        fmt = target.format_of("x" if line.op == "inside" else line.format)
        return f"{function}({', '.join(each.text for each in operands)}, {fmt}.low, {fmt}.high)"

    return text


def _word(function: str) -> Callable[[Line, Sequence[CElement], CTarget], str]:
    return lambda line, operands, target: f"{function}({', '.join(each.text for each in operands)})"


def _tabled(function: str) -> Callable[[Line, Sequence[CElement], CTarget], str]:
    return lambda line, operands, target: f"{function}({operands[0].text}, config->table_bits)"


_SETTLED: dict[str, Callable[[Line, Sequence[CElement], CTarget], str]] = {
    "copy": lambda line, operands, target: operands[0].text,
    "select": lambda line, operands, target: f"bw_word_select({operands[0].text}, {operands[1].text} != 0u)",
    "positive": lambda line, operands, target: f"bw_word_fp{target.width(line.format)}_positive({operands[0].text})",
    **{op: _word(f"bw_word_{op}") for op in ("ramp", "clip1", "passes1")},
    **{op: _word(f"bw_{op}") for op in ("rising", "falling")},
    **{op: _tabled(f"bw_{op}") for op in ("table_base", "table_rise", "table_part")},
    **{op: _word(f"bw_word_{op}") for op in ("relu", "relu6", "passes", "passes6")},
    "quantize": _codes("bw_quantize"),
    "quantize_drawn": _codes("bw_quantize_drawn"),
    "inside": _codes("bw_inside"),
}


def _flags(line: Line, operands: Sequence[CElement], target: CTarget) -> str:
    """A line of flags: the function of its operands' formats."""
    op, first = line.op.removesuffix("_flags"), operands[0].format
    words = ", ".join(each.text for each in operands)
    if op in ("quantize", "drawn"):
        fmt = target.format_of("code")
        return f"bw_word_{'drawn_' if op == 'drawn' else ''}code_flags({words}, {fmt}.low, {fmt}.high)"
    if op == "widen":
        return f"bw_word_fp16_to_fp32_flags({words})"
    kinds = {"16": "", "32": "_fp32", "int": "_int32"}
    name = f"from{kinds[first]}" if op == "convert" else f"{op}{kinds[first]}"
    if name not in _RAISING:
        raise _refused(line, operands)
    return f"bw_word_fp16_{name}_flags(mode, {words})"


_RAISING = ("add", "sub", "mul", "fma", "div", "sqrt", "from_int32", "from_fp32", "add_fp32", "mul_fp32", "mul_int32")
KNOWN = frozenset((*arithmetic.ROUNDED, *arithmetic.EXACT, *_SETTLED, *arithmetic.FLAGGED))


def element(line: Line, operands: Sequence[CElement], target: CTarget) -> str:
    """The C expression of a line at one place.

    Raises:
        BitrowError: as `rounded`.
    """
    if line.op in arithmetic.FLAGGED:
        return _flags(line, operands, target)
    return _SETTLED[line.op](line, operands, target) if line.op in _SETTLED else rounded(line, operands, target)
