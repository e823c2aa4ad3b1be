"""Which port of a design is which word of the contract, and what the others are while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bitrow.errors import BitrowError
from bitrow.proofs.rtl.btor import CircuitNode
from bitrow.proofs.rtl.units import RtlContract, UnitPort
from bitrow.proofs.rtl.yosys import Design, DesignPort


@dataclass(frozen=True)
class RtlTiming:
    """How a unit with registers runs: the clock's port, cycles from an input to its output, the reset's port and the
    value that it has while the unit is at work. Without a clock the unit is combinational."""

    clock: str = ""
    latency: int = 0
    reset: str = ""
    idle: int = 0

    def __post_init__(self) -> None:
        if self.clock and self.latency < 1:
            raise BitrowError(f"--latency: found {self.latency} with --clock {self.clock}, expected 1 or more cycles")
        for option, given in (("--latency", self.latency), ("--reset", self.reset)):
            if given and not self.clock:
                raise BitrowError(f"{option}: found {given} without --clock, expected the clock's port")


@dataclass(frozen=True)
class Binding:
    """A design held against a contract.

    `driven` has the design's input port of each input of the contract, `observed` the output port in whose word of
    cycle 0 an input is seen; `compared` the output port of each output and tap.
    """

    design: Design
    contract: RtlContract
    driven: Mapping[str, str]
    observed: Mapping[str, str]
    compared: Mapping[str, str]
    constant: Mapping[str, int]
    timing: RtlTiming = RtlTiming()

    def port(self, name: str) -> UnitPort:
        """A word of the contract by name."""
        contract = self.contract
        return next(each for each in (*contract.inputs, *contract.outputs, *contract.taps) if each.name == name)

    @property
    def results(self) -> list[UnitPort]:
        """What is compared, taps first: later words come from them."""
        return [port for port in (*self.contract.taps, *self.contract.outputs) if port.name in self.compared]

    def fixed(self, cycle: int, node: CircuitNode) -> int | str | None:
        """What an input of the design is: a number, a word of the contract by name, or None: anything."""
        if node.operation == "input" and node.name in self.constant:
            return self.constant[node.name]
        if node.operation == "input" and cycle == 0:
            return next((name for name, port in self.driven.items() if port == node.name), None)
        return None


@dataclass
class _Binder:
    design: Design
    contract: RtlContract
    given: Mapping[str, str]
    timing: RtlTiming
    driven: dict[str, str] = field(default_factory=dict)
    observed: dict[str, str] = field(default_factory=dict)
    compared: dict[str, str] = field(default_factory=dict)

    @property
    def _where(self) -> str:
        return f"module {self.design.source.top}"

    def _listed(self, direction: str) -> str:
        ports = [port for port in self.design.ports.values() if port.direction == direction]
        return " ".join(f"{port.name}[{port.bits}]" for port in ports) or "none"

    def port(self, word: UnitPort, name: str, expected: str) -> DesignPort:
        found = self.design.ports.get(name)
        if found is None:
            raise BitrowError(f"{self._where}: found no port {name} for {word.name}, expected one of its "
                              f"{expected}s: {self._listed(expected)}; --port {word.name}=PORT names it")  # fmt: skip
        if found.bits != word.bits:
            raise BitrowError(f"{self._where} port {name}: found {found.bits} bits, expected {word.bits} for "
                              f"{word.name} of {self.contract.name}")  # fmt: skip
        return found

    def input(self, word: UnitPort) -> None:
        found = self.port(word, self.given.get(word.name, word.name), "input")
        if found.direction == "input":
            self.driven[word.name] = found.name
        elif found.direction == "output" and self.timing.clock:
            self.observed[word.name] = found.name
        else:
            self._direction(word, found, "an input, or with --clock an output that shows a register")

    def output(self, word: UnitPort, optional: bool) -> None:
        name = self.given.get(word.name, word.name)
        asked = word.name in self.given
        if not name or (optional and not asked and name not in self.design.ports):
            return
        found = self.port(word, name, "output")
        if found.direction != "output":
            self._direction(word, found, "an output")
        self.compared[word.name] = found.name

    def _direction(self, word: UnitPort, found: DesignPort, expected: str) -> None:
        raise BitrowError(f"{self._where} port {found.name}: found an {found.direction} for {word.name} of "
                          f"{self.contract.name}, expected {expected}")  # fmt: skip


def _constants(design: Design, ties: Mapping[str, int], timing: RtlTiming) -> dict[str, int]:
    found = dict(ties)
    for option, name, value in (("--clock", timing.clock, 0), ("--reset", timing.reset, timing.idle)):
        if name:
            found[name] = value
            _one_bit(design, option, name)
    for name, value in ties.items():
        port = design.ports.get(name)
        if port is None or port.direction != "input":
            raise BitrowError(f"--tie: found {name}, expected an input of module {design.source.top}")
        if not 0 <= value < 1 << port.bits:
            raise BitrowError(f"--tie {name}: found {value}, expected a number of {port.bits} bits")
    return found


def _one_bit(design: Design, option: str, name: str) -> None:
    port = design.ports.get(name)
    if port is None or port.direction != "input" or port.bits != 1:
        found = "no such port" if port is None else f"an {port.direction} of {port.bits} bits"
        raise BitrowError(f"{option} {name}: found {found} of module {design.source.top}, expected an input of one bit")


def _check_state(design: Design, binding: Binding) -> None:
    """Refuse registers that nobody clocks, or that two clocks or edges do."""
    roots = [design.circuit.outputs[port] for port in (*binding.compared.values(), *binding.observed.values())]
    timing, top = binding.timing, design.source.top
    if not timing.clock:
        if design.registers and design.circuit.registers(roots):
            first = design.registers[0]
            found = f"{len(design.registers)} registers, the first at {first.line or first.cell}"
            raise BitrowError(f"module {top}: found {found}, expected none; --clock and --latency say how it runs")
        return
    for register in design.registers:
        if register.clock != timing.clock:
            of_none = f"of kind {register.cell}, which no port clocks"
            found = f"clocked by {register.clock}" if register.clock else of_none
            raise BitrowError(f"module {top}: found a register at {register.line} {found}, "
                              f"expected all clocked by {timing.clock}")  # fmt: skip
    if len({register.rising for register in design.registers}) > 1:
        raise BitrowError(f"module {top}: found registers of both edges of {timing.clock}, expected one edge")


def bind(
    design: Design,
    contract: RtlContract,
    ports: Mapping[str, str] = {},
    ties: Mapping[str, int] = {},
    timing: RtlTiming = RtlTiming(),
) -> Binding:
    """Match ports with the contract's words by name; `ports` names those that are called otherwise ("": not compared).

    Raises:
        BitrowError: naming the port: missing, of another width or direction, without a meaning; registers of a unit
            that is said to be combinational, or of several clocks.
    """
    words = [port.name for port in (*contract.inputs, *contract.outputs, *contract.taps)]
    for name in ports:
        if name not in words:
            raise BitrowError(f"--port: found {name!r}, expected one of {', '.join(words)} of {contract.name}")
    binder = _Binder(design, contract, ports, timing)
    for word in contract.inputs:
        binder.input(word)
    for place, word in enumerate((*contract.outputs, *contract.taps)):
        binder.output(word, place >= len(contract.outputs))
    if not any(word.name in binder.compared for word in contract.outputs):
        raise BitrowError(f"--port: found no output of {contract.name} to compare, expected one")
    constant = _constants(design, ties, timing)
    for port in design.ports.values():
        if port.direction == "inout":
            raise BitrowError(
                f"module {design.source.top} port {port.name}: found an inout, expected inputs and outputs"
            )
        if port.direction == "input" and port.name not in (*binder.driven.values(), *constant):
            raise BitrowError(f"module {design.source.top}: found an input {port.name} that no word of {contract.name} "
                              f"is, expected --port NAME={port.name} or --tie {port.name}=VALUE")  # fmt: skip
    binding = Binding(design, contract, binder.driven, binder.observed, binder.compared, constant, timing)
    _check_state(design, binding)
    return binding
