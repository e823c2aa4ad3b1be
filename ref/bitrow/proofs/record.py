"""Counterexamples of false claims as lines of the corpus of directed vectors (`vectors/found.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bitrow.config import ConvConfig
from bitrow.formats import Accumulator, Dequantize, FloatMode, Fxp, Overflow, Rounding
from bitrow.vectors import found, operations
from bitrow.vectors.operations import Operation
from bitrow.vectors.problem import Problem

FORMATS = tuple(Fxp(bits, signed, narrow) for bits in range(2, 9) for signed in (True, False)
                for narrow in (False, *([True] if signed else [])))  # fmt: skip


def _mode(text: str) -> FloatMode:
    """Inverse of `finding.mode_text`."""
    rounding, overflow, *rest = text.split("/")
    return FloatMode(Rounding(rounding), Overflow(overflow), flush=bool(rest))


def _config(operation: str, said: Mapping[str, str]) -> Any:
    mode = _mode(said["mode"]) if "mode" in said else FloatMode()
    if operation == "fxp.quantize":
        return ConvConfig(x_format={repr(fmt): fmt for fmt in FORMATS}[said["format"]], mode=mode)
    if operation == "fxp.dequantize":
        bits = min(max(int(said["acc_bound"]).bit_length() + 1, 8), 32)
        return ConvConfig(accumulator=Accumulator(bits), dequantize=Dequantize(said["method"]), mode=mode)
    return mode


def _words(operation: Operation, config: Any, name: str, text: str) -> np.ndarray:
    encoding = operation.encoding(name, config)
    word = np.array(int(text, 16), f"u{encoding.dtype.itemsize}").view(encoding.dtype)
    axes = len(operation.line(name).axes) if name in operation.inputs else 0
    return word.reshape([1] * axes)


def problem(row: Mapping[str, Any]) -> Problem | None:
    """The counterexample of a false claim, a row of the report, as a problem; None where no operation has it."""
    said = {operand["name"]: operand["word"] for operand in row["counterexample"]["operands"]}
    name = row["claim"]
    if name not in operations.NAMES:
        return None
    config = _config(name, said)
    operation = operations.find(name, config)
    names = {"x": next(iter(operation.inputs))} if len(operation.inputs) == 1 else {}
    given = {names.get(given, given): text for given, text in said.items()}
    wanted = [*operation.inputs, *operation.parameters]
    if not set(wanted) <= set(given):
        return None
    words = {given_name: _words(operation, config, given_name, given[given_name]) for given_name in wanted}
    return Problem(f"{found.PREFIX}{_label(name, words)}", operation, config, words)


def _label(name: str, words: Mapping[str, np.ndarray]) -> str:
    digits = "_".join(f"{int(word.reshape(-1)[0]) & (1 << 8 * word.itemsize) - 1:x}" for word in words.values())
    return f"{name.replace('.', '_')}_{digits}"


def append(rows: Sequence[Mapping[str, Any]], path: Path) -> list[str]:
    """Add the counterexample of every false claim of a report to a file of records; in words, what became of each.

    Raises:
        BitrowError: the file cannot be read or written.
    """
    said, lines = [], []
    for row in rows:
        if row["counterexample"] is None:
            continue
        made = problem(row)
        if made is None:
            said.append(f"{row['claim']}: not recorded: its counterexample is no case of an operation")
            continue
        shown = row["counterexample"]
        lines.append(found.line(made, f"bitrow prove claims {row['claim']}", f"the kernel gave {shown['found']}"))
        said.append(f"{row['claim']}: recorded in {path} as {made.name}")
    if lines:
        found.add(lines, path)
    return said
