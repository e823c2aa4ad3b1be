"""Runs a program one scalar at a time: the oracle (SPEC.md V5).

Words are integer bit views: uint16 FP16 and LFSR words, uint32 FP32, int8 or uint8 codes, int32 integers, uint8 masks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bitrow.contract import arithmetic, placement, sequences, sums, windows
from bitrow.contract.encoding import FORMATS
from bitrow.contract.frame import Frame, Result, single, together
from bitrow.contract.program import Line
from bitrow.errors import BitrowError
from bitrow.oracle.arrays import Row, Words, map_words, need

if TYPE_CHECKING:
    from bitrow.contract.operation import Operation

# What is no line of single words, by name.
STRUCTURES = sums.SUMS | windows.WINDOWS | sequences.SEQUENCES | placement.PLACEMENT
KNOWN = frozenset((*arithmetic.ROUNDED, *arithmetic.EXACT, *arithmetic.SETTLED, *arithmetic.FLAGGED, *STRUCTURES))


def run(operation: Operation, config: Any, given: Mapping[str, Any], rows: Iterable[Row] | None = None) -> Words:
    """Every tap and output of an operation, in the order of its lines; of the rows given, if it works by rows.

    With `rows`, the two axes of a map's rows become one: those rows of the result's map, and of the map that it is
    made from the rows that they read.

    Raises:
        BitrowError: an input that is missing or no integers, shapes that do not fit, rows of an operation that does
            not work by rows.
    """
    if rows is not None and not operation.by_rows:
        raise BitrowError(f"{operation.name}: found rows, expected none for an operation that does not work by rows")
    names = [name for name in given if operation.takes(name)]
    words = dict(zip(names, need(dict(given), *names), strict=True))
    lines = operation.active(config, words)
    need(words, *operation.reads(config, words))
    operation.check(config, words)
    frame = Frame(operation, config, words)
    frame.place(rows)
    out: Words = {}
    for line in lines:
        taps, value = computed(frame, line)
        frame.known[line.name] = value
        if line.role is not None:
            out |= {name: frame.apart(tap, line.axes) if rows is None else tap for name, tap in taps.items()}
    return out


def computed(frame: Frame, line: Line) -> Result:
    """The taps of a line, and the value that later lines read."""
    values = [frame.read(name) for name in line.operands]
    axes = together(line.axes)
    if line.op in STRUCTURES:
        return STRUCTURES[line.op](frame, line, axes, *values)
    if line.op in arithmetic.SETTLED:
        function = arithmetic.settled(line, frame.config)
    elif line.op in arithmetic.FLAGGED:
        function = arithmetic.flagged(line, [value.format for value in values], frame.config)
    else:
        function = arithmetic.rounded(line, [value.format for value in values], frame.config)
    dtype = FORMATS[line.format](frame.config).dtype.type
    return single(line, axes, map_words(function, dtype, *(value.along(axes) for value in values)))
