"""An operation of the contract as a value: its program, and what cannot be read off its lines (SPEC.md V3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from bitrow.config.windows import Windows
from bitrow.contract import interpreter
from bitrow.contract.encoding import FORMATS, Encoding, Role
from bitrow.contract.frame import ROW_AXES, together
from bitrow.contract.program import Line, Program
from bitrow.errors import BitrowError
from bitrow.oracle.arrays import Row, Words
from bitrow.oracle.gather import Gather, Sources

Config = Any
Given = Mapping[str, np.ndarray]

_NUMBERED = re.compile(r"(.+_(?:level)?)([0-9]+)")


def _nothing(*arguments: Any) -> None:
    return None


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation: its `oracle` runs it one scalar at a time.

    `name` is that of case.json; two operations may share it and differ in `when`, as batch norm with frozen and with
    batch statistics. `configured_by` is the type of its configurations. `clauses` gives the clauses that a case of this
    configuration exercises, `order` the order of its sums in words. `conditions` decides the guards of the program's
    lines from the configuration and what is given. `by_rows`: the oracle can compute some rows of the result.
    `row_sources` lists, for each row of the result, the rows that it reads, None where a row reads itself;
    `windows` says how a pool's windows lie, `count` the n of `reciprocal`, one or one for each `oh ow`. `check`
    refuses shapes that do not fit, and reads `checked`, which no line may read. `static` names inputs that are shapes:
    a kernel reads them while it is traced. `gradients`: its outputs that are gradients of the layer's inputs, in their
    order, where there are several. `handed_back` is the gradient of each input, given its channels, where no operation
    computes it.
    """

    name: str
    program: Program
    configured_by: type
    clauses: Callable[[Config], tuple[str, ...]]
    order: Callable[[Config], str] = lambda config: "elementwise"
    conditions: Callable[[Config, Given], Mapping[str, bool]] = lambda config, given: {}
    by_rows: bool = False
    row_sources: Callable[[Config, Given], Sources | None] = _nothing
    gather: Callable[[Config, Given], Gather] = field(default=_nothing)  # type: ignore[assignment]
    windows: Callable[[Config, Given], Windows] = field(default=_nothing)  # type: ignore[assignment]
    count: Callable[[Config, Given], int | np.ndarray] = field(default=_nothing)  # type: ignore[assignment]
    check: Callable[[Config, Given], None] = _nothing
    checked: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    when: Callable[[Config], bool] = lambda config: True
    gradients: tuple[str, ...] = ()
    handed_back: Callable[[np.ndarray, tuple[int, ...]], tuple[np.ndarray, ...]] = lambda dy, channels: (
        (dy,) * len(channels)
    )

    def __post_init__(self) -> None:
        for line in self.program.lines:
            if line.op and line.op not in interpreter.KNOWN:
                raise BitrowError(f"contract {self.name} {line.name}: found the operation {line.op!r}, "
                                  f"expected one of {', '.join(sorted(interpreter.KNOWN))}")  # fmt: skip

    def __repr__(self) -> str:
        return f"<operation {self.name}: {self.program.name}>"

    # the tensors, by role and in order
    @cached_property
    def inputs(self) -> dict[str, Line]:
        return self.program.declared(Role.INPUT)

    @cached_property
    def parameters(self) -> dict[str, Line]:
        return self.program.declared(Role.PARAMETER)

    @cached_property
    def taps(self) -> dict[str, Line]:
        return self.program.declared(Role.TAP)

    @cached_property
    def outputs(self) -> dict[str, Line]:
        return self.program.declared(Role.OUTPUT)

    @property
    def result(self) -> str:
        """The output that the next layer reads: the last one, or what a pool's index is beside."""
        return next(name for name, line in reversed(self.outputs.items()) if line.format != "index")

    @cached_property
    def _lines(self) -> dict[str, Line]:
        return self.inputs | self.parameters | self.taps | self.outputs

    def takes(self, name: str) -> bool:
        """Whether a tensor is given: an input or a parameter."""
        return name in self.inputs or name in self.parameters

    def line(self, name: str) -> Line:
        """The line of a tensor by name; a level of a tree or a numbered sum has its line's.

        Raises:
            BitrowError: the operation has no such tensor.
        """
        match = _NUMBERED.fullmatch(name)
        generic = match[1] if match and name not in self._lines else name
        if generic not in self._lines:
            raise BitrowError(f"{self.name}: found the tensor {name!r}, expected one of the operation's")
        return self._lines[generic]

    def encoding(self, name: str, config: Config) -> Encoding:
        """How the words of a tensor are read under a configuration."""
        return FORMATS[self.line(name).format](config)

    def role(self, name: str) -> Role:
        """The role of a tensor by name."""
        role = self.line(name).role
        assert role is not None
        return role

    def ordered(self, names: Iterable[str]) -> list[str]:
        """Names of tensors in the order of a case, levels of a tree by number.

        Raises:
            BitrowError: a name of no tensor.
        """
        listed = list(self._lines)

        def key(name: str) -> tuple[int, int]:
            match = _NUMBERED.fullmatch(name)
            return listed.index(self.line(name).name), int(match[2]) if match and name not in self._lines else 0

        return sorted(names, key=key)

    @cached_property
    def kept(self) -> tuple[str, ...]:
        """The inputs that the forward pass saved."""
        return tuple(name for name, line in self.inputs.items() if line.saved)

    def reads(self, config: Config, given: Given) -> frozenset[str]:
        """The inputs and parameters that the lines under a configuration, the geometry or the check read."""
        operands = {name for line in self.active(config, given) for name in line.operands}
        return frozenset(name for name in (*operands, *self.checked, *self.static) if self.takes(name))

    def active(self, config: Config, given: Given) -> tuple[Line, ...]:
        """The lines that compute something under a configuration."""
        return self.program.active(self.conditions(config, given))

    # where rows lie
    @cached_property
    def target(self) -> str:
        """The row axis of the result: that of the last line."""
        return self._rows_of(self.program.lines[-1])

    @cached_property
    def source(self) -> str:
        """The row axis that the result is made from: that of the first input."""
        return self._rows_of(self.program.lines[0])

    def _rows_of(self, line: Line) -> str:
        return next(axis for axis in together(line.axes) if axis in ROW_AXES)

    def rows(self, config: Config, given: Given) -> tuple[int, int]:
        """Images and rows of the result of an operation that works by rows."""
        frame = interpreter.Frame(self, config, dict(given))
        frame.place(None)
        return frame.counts[self.target]

    def sampled(self, config: Config, given: Given, tap: str, whole: np.ndarray, rows: list[Row]) -> np.ndarray:
        """The part of a whole tap that `oracle` returns for `rows`."""
        frame = interpreter.Frame(self, config, dict(given))
        frame.place(rows)
        for at, axis in enumerate(together(self.line(tap).axes)):
            if axis in ROW_AXES:
                chosen = frame.rows[axis]
                flat = whole.reshape(*whole.shape[:at], -1, *whole.shape[at + 2 :])
                return np.take(flat, np.array([n * frame.counts[axis][1] + h for n, h in chosen], np.intp), axis=at)
        return whole

    def map_size(self, given: Given) -> tuple[int, int]:
        """Rows and columns of the map that a pool's gradient goes to."""
        h, w = given["input_hw"].reshape(-1).tolist()
        return h, w

    def oracle(self, config: Config, given: Given, rows: Iterable[Row] | None = None) -> Words:
        """Every tap and output by the scalar oracle, as words; of `rows` of the result only, if given (SPEC.md V5).

        Raises:
            BitrowError: what `interpreter.run` refuses.
        """
        return interpreter.run(self, config, given, rows)
