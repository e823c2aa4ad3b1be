"""The body of an operation's C function: sizes, values and loops, as its lines are printed one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bitrow.config import LayerConfig
from bitrow.contract.frame import ROW_AXES, Axes, together
from bitrow.contract.operation import Operation
from bitrow.contract.program import Line, is_number
from bitrow.errors import BitrowError
from bitrow.export.arithmetic import CElement, CTarget
from bitrow.export.configs import struct_of
from bitrow.formats import Fxp

CTwin = Callable[..., None]
_CARRIERS = {
    "16": "uint16_t",
    "32": "uint32_t",
    "host": "uint32_t",
    "int": "int32_t",
    "reg": "int32_t",
    "lfsr": "uint16_t",
}


def carrier(fmt: str, acc: int) -> str:
    """The C type that holds a word of a format: codes, masks, indices and bytes take a uint8_t."""
    return f"uint{acc}_t" if fmt == "acc" else _CARRIERS.get(fmt, "uint8_t")


def public_carrier(fmt: str) -> str:
    """The same where the accumulator's format is not known: uint16_t or uint32_t."""
    return "void" if fmt == "acc" else carrier(fmt, 0)


def axis_name(axis: str) -> str:
    """A row axis, `n h`, in a C name."""
    return axis.replace(" ", "_")


@dataclass(frozen=True)
class CValue:
    """What a line gave: a C array, its axes (a map's rows being one), its format, sizes that are its own."""

    name: str
    axes: Axes
    format: str
    sizes: dict[str, str] = field(default_factory=dict)
    count: str = ""  # of a parameter that may be one for all


@dataclass
class Body:
    """The lines of C of one operation, for accumulators of `acc` bits."""

    operation: Operation
    acc: int
    known: dict[str, CValue] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    depth: int = 1

    # text
    def put(self, *texts: str) -> None:
        """Lines of C as they are."""
        self.lines += ["    " * self.depth + text for text in texts]

    def begin(self, text: str) -> None:
        self.put(f"{text} {{")
        self.depth += 1

    def finish(self, times: int = 1) -> None:
        for _ in range(times):
            self.depth -= 1
            self.put("}")

    # formats
    @property
    def is_layer(self) -> bool:
        return issubclass(self.operation.configured_by, LayerConfig)

    @property
    def struct(self) -> str:
        return struct_of(self.operation.configured_by)

    def format_of(self, name: str) -> str:
        """A code format's C text."""
        return "config->" + f"{name}_format" if self.is_layer else "(*config)"

    @property
    def target(self) -> CTarget:
        return CTarget(self.acc, self.format_of)

    def bits(self, fmt: str) -> int:
        return int(carrier(fmt, self.acc).removeprefix("u").removeprefix("int").removesuffix("_t"))

    @property
    def coded(self) -> bool:
        return self.operation.configured_by is Fxp

    # sizes and places
    def size(self, axis: str, sizes: dict[str, str]) -> str:
        """Elements along an axis, C text."""
        return sizes.get(axis, f"s_{axis_name(axis)}")

    def product(self, axes: Iterable[str], sizes: dict[str, str]) -> str:
        return " * ".join(self.size(axis, sizes) for axis in axes) or "1"

    def place(self, value: CValue) -> str:
        """The index of a value's element at the loops' places, C text."""
        if value.count:
            return f"({value.count} == 1 ? 0 : i_{axis_name(value.axes[0])})"
        text = ""
        for axis in value.axes:
            text = (
                f"({text}) * {self.size(axis, value.sizes)} + i_{axis_name(axis)}" if text else f"i_{axis_name(axis)}"
            )
        return text or "0"

    def loops(self, axes: Sequence[str], sizes: dict[str, str]) -> int:
        """A loop over each axis, a row axis over the rows that are computed; how many there are to close."""
        for axis in axes:
            at, rows = axis_name(axis), axis in ROW_AXES and self.operation.by_rows
            first, end = (f"first_{at}", f"end_{at}") if rows else ("0", self.size(axis, sizes))
            self.begin(f"for (int64_t i_{at} = {first}; i_{at} < {end}; i_{at}++)")
        return len(axes)

    # values
    def read(self, operand: str) -> CValue:
        """An operand of a line."""
        return CValue(operand, (), "number") if is_number(operand) else self.known[operand]

    def element(self, value: CValue) -> CElement:
        """An operand at the loops' places."""
        if is_number(value.name):
            return CElement(value.name, value.format)
        return CElement(f"v_{value.name}[{self.place(value)}]", value.format)

    def make(self, line: Line, sizes: dict[str, str], axes: Axes | None = None) -> CValue:
        """Memory for a line's words; a result's own where the caller gave it."""
        value = CValue(line.name, together(line.axes) if axes is None else axes, line.format, sizes)
        kind = carrier(line.format, self.acc)
        taken = f"bw_take(&call, {self.product(value.axes, sizes)}, sizeof({kind}))"
        given = (
            f"args->{line.name} != NULL ? ({kind} *)args->{line.name} : "
            if line.name in results(self.operation)
            else ""
        )
        self.put(f"v_{line.name} = {given}{taken};")
        self.known[line.name] = value
        return value

    def shape(self, axes: Sequence[str], sizes: dict[str, str]) -> tuple[int, str]:
        """Rank and sizes of a tensor in a line's own axes, as C."""
        texts = [sizes.get(axis, "s_n_h" if axis == "row" else f"s_{axis}") for axis in axes]
        return len(axes), f"(int64_t[]){{{', '.join(texts) or '1'}}}"

    def report(self, line: Line, sizes: dict[str, str]) -> None:
        """The line's tap, where it has one."""
        if line.role is not None:
            rank, shape = self.shape(line.axes, sizes)
            self.put(f'bw_report(&call, "{line.name}", v_{line.name}, {self.bits(line.format)}, {rank}, {shape});')

    def check(self) -> None:
        """Stop where the last step could not be taken."""
        self.begin("if (call.status != BW_OK)")
        self.put("return bw_end(&call);")
        self.finish()

    def refuse(self, condition: str, status: str = "BW_BAD_SHAPE") -> None:
        """Stop where a condition holds."""
        self.begin(f"if ({condition})")
        self.put(f"call.status = {status};", "return bw_end(&call);")
        self.finish()


def own_sizes(values: tuple[CValue, ...], axes: tuple[str, ...]) -> dict[str, str]:
    """Sizes that operands have of their own along a result's axes."""
    return {axis: size for value in values for axis, size in value.sizes.items() if axis in axes}


def results(operation: Operation) -> dict[str, Line]:
    """What a caller may have written to memory of its own: outputs, and taps of one tensor each along given axes."""
    axes = set(given_axes(operation))
    taps = {name: line for name, line in operation.taps.items()
            if set(line.axes) <= axes and not name.endswith(("_level", "_"))}  # fmt: skip
    return taps | operation.outputs


def given(operation: Operation) -> dict[str, Line]:
    """What a caller gives as words: inputs and parameters but sizes, which no line reads."""
    read = {name for line in operation.program.lines for name in line.operands}
    named = operation.inputs | operation.parameters
    return {name: line for name, line in named.items() if name in read or name not in operation.static}


def given_axes(operation: Operation) -> tuple[str, ...]:
    """The axes whose sizes a caller states: those of inputs, parameters and outputs."""
    lines: list[Any] = [*given(operation).values(), *operation.outputs.values()]
    return tuple(dict.fromkeys(axis for line in lines for axis in line.axes if axis != "row"))


def shared(operation: Operation) -> dict[str, Line]:
    """Parameters that are one for each element of an axis, or one for all."""
    return {
        name: line for name, line in operation.parameters.items() if len(line.axes) == 1 and name in given(operation)
    }


def names(operation: Operation) -> dict[str, Line]:
    """Every name that lines give, with the first of its lines.

    Raises:
        BitrowError: lines of a name that differ in format or axes.
    """
    found: dict[str, Line] = {}
    for line in operation.program.lines:
        if line.given:
            continue
        first = found.setdefault(line.name, line)
        if (first.format, first.axes) != (line.format, line.axes):
            raise BitrowError(f"C {operation.name} {line.name}: found two formats or axes, expected one")
    return found
