"""The lines of an operation as one kernel on single words, for operations that have no other lines (SPEC.md F2).

Floats are uint32 words, codes and integers int32: `export.scalars`, whose C the C model calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from bitrow.contract import arithmetic
from bitrow.contract.encoding import code_format
from bitrow.contract.operation import Operation
from bitrow.contract.program import Line, is_number
from bitrow.export.scalars import SCALARS
from bitrow.formats import FP16, FloatMode
from bitrow.oracle import softfloat

LineKernel = Callable[..., dict[str, Any]]

_SELECTS = ("relu", "relu6", "passes", "passes6", "ramp", "clip1", "passes1")
_CODES = {"quantize": ("nearest_code", 0), "inside": ("nearest_code", 1), "quantize_drawn": ("drawn_code", 0)}
_NEAREST = ("add", "sub", "mul")  # in few operations under the default mode
_WHOLE = ("add", "sub", "mul", "div", "sqrt", "fma", "convert")
KNOWN = frozenset((*_WHOLE, "widen", "copy", "select", "configured", *_SELECTS, *_CODES))


def known(operation: Operation) -> bool:
    """Whether every line is one that has a kernel of single words here."""
    computing = [line for line in operation.program.lines if line.op]
    floats = all(line.format not in ("acc", "host") for line in operation.program.lines)
    return floats and bool(computing) and all(line.op in KNOWN for line in computing)


def _scalar(name: str, mode: FloatMode | None, words: Sequence[Any]) -> Any:
    found = SCALARS[f"word_{name}"]
    return found.kernel(*words, mode) if found.moded else found.kernel(*words)


def _rounded(line: Line, words: Sequence[Any], formats: Sequence[str], mode: FloatMode) -> Any:
    """A line that rounds once to FP16, or widens to FP32 exactly."""
    op = arithmetic.EXACT.get(line.op, line.op)
    if line.format == "32":
        return _scalar("fp16_to_fp32", mode, words)
    if op == "convert":
        source = {"32": "fp16_from_fp32", "16": "fp16_convert"}.get(formats[0], "fp16_from_int32")
        return _scalar(source, mode, words)
    if formats[0] not in ("16", ""):
        return _scalar("fp16_mul_int32", mode, words)
    by_number = op == "mul" and "" in formats  # `nearest.mul` sorts its operands: no solver sees the number then
    if op in _NEAREST and mode == FloatMode() and not by_number:
        if op == "sub":
            op, words = "add", [words[0], _scalar("fp16_negate", None, words[1:])]
        return _scalar(f"fp16_{op}_nearest", None, words)
    return _scalar(f"fp16_{op}", mode, words)


def _number(text: str) -> Any:
    exact = softfloat.unpack(FP16, int(text, 16)) if text.startswith("0x") else softfloat.integer(int(text))
    return jnp.uint32(softfloat.round_number(FP16, exact))


def _settled(line: Line, words: Sequence[Any], config: Any) -> Any:
    if line.op in _CODES:
        name, place = _CODES[line.op]
        fmt = code_format("x" if line.op == "inside" else line.format, config)
        found = _scalar(name, None, [*words, jnp.int32(fmt.min), jnp.int32(fmt.max)])
        return found if name == "drawn_code" else found[place]
    return _scalar(line.op, None, words)


def _line(line: Line, words: Sequence[Any], formats: Sequence[str], config: Any) -> Any:
    if line.op == "copy":
        return words[0]
    if line.op == "configured":
        return jnp.uint32(getattr(config, line.name))
    if line.op in arithmetic.ROUNDED or line.op in arithmetic.EXACT:
        return _rounded(line, words, formats, arithmetic.mode_of(config))
    return _settled(line, words, config)


def kernel(operation: Operation, config: Any, conditions: Mapping[str, bool]) -> LineKernel:
    """The operation on one element: words by name in, its taps and outputs by name out."""
    lines = operation.program.active(conditions)
    declared = {line.name: "" if line.op == "configured" else line.format for line in operation.program.lines}

    def run(**given: Any) -> dict[str, Any]:
        words = dict(given)
        for line in lines:
            operands = [_number(name) if is_number(name) else words[name] for name in line.operands]
            formats = ["" if is_number(name) else declared[name] for name in line.operands]  # "": a number
            words[line.name] = _line(line, operands, formats, config)
        return {line.name: words[line.name] for line in lines if line.role is not None}

    return run
