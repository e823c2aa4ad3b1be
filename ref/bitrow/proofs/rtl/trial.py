"""One input, tried: what the unit gives, by the netlist in integers, and what the contract does, by the oracle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from bitrow.proofs.rtl import btor, units
from bitrow.proofs.rtl.binding import Binding
from bitrow.vectors.files.decode import FloatWord, float_of


def free_name(cycle: int, number: int) -> str:
    """What a free word of the design is called: an input of another cycle, a register, an undefined bit."""
    return f"free.{number}.{cycle}"


@dataclass(frozen=True)
class RtlTrial:
    """`words` are the contract's inputs as bits, `free` the design's free words; `found` and `expected` the results."""

    words: Mapping[str, int]
    free: Mapping[str, int]
    found: Mapping[str, int]
    expected: Mapping[str, int]
    any_nan: bool = False

    def differing(self, binding: Binding) -> list[str]:
        """The results that are not the contract's, an output before a tap that is wrong, too."""
        wrong = [port for port in binding.results if not self._same(port)]
        return [port.name for port in sorted(wrong, key=lambda port: port in binding.contract.taps)]

    def _same(self, port: units.UnitPort) -> bool:
        found, expected, fmt = self.found[port.name], self.expected[port.name], float_of(port.encoding)
        if self.any_nan and fmt is not None and FloatWord(fmt, expected).kind == "NaN":
            return FloatWord(fmt, found).kind == "NaN"
        return found == expected


def attempt(
    binding: Binding, words: Mapping[str, int], free: Mapping[str, int], any_nan: bool = False
) -> RtlTrial | None:
    """What comes of an input; None where it is none of the contract's, or not the one that the design shows."""
    values = {}
    for port in binding.contract.inputs:
        values[port.name] = units.value(port, words.get(port.name, 0))

    def given(cycle: int, number: int, node: btor.CircuitNode) -> int:
        fixed = binding.fixed(cycle, node)
        if fixed is None:
            return free.get(free_name(cycle, number), 0) & ((1 << node.bits) - 1)
        return words.get(fixed, 0) if isinstance(fixed, str) else fixed

    circuit = binding.design.circuit
    cycles = btor.run(circuit, btor.CircuitNumbers(), given, binding.timing.latency)
    for name, shown in binding.observed.items():
        values[name] = units.value(binding.port(name), cycles[0].value(circuit.outputs[shown]))
    for port in binding.contract.inputs:
        if not port.low <= values[port.name] <= port.high:
            return None
    known = {port.name: units.word(port, values[port.name]) for port in binding.contract.inputs}
    found = {port.name: cycles[-1].value(circuit.outputs[binding.compared[port.name]]) for port in binding.results}
    made = binding.contract.oracle(values)
    expected = {port.name: units.word(port, made[port.name]) for port in binding.results}
    return RtlTrial(known, free, found, expected, any_nan)


def smallest(binding: Binding, trial: RtlTrial) -> RtlTrial:
    """A counterexample with bits cleared, from the highest, as long as it stays one."""
    best = trial
    for kept in ({}, dict(trial.free)):
        tried = attempt(binding, best.words, kept, best.any_nan)
        if tried is not None and tried.differing(binding):
            best = tried
            break
    left = True
    while left:
        less = next(_lesser(binding, best), None)
        best, left = less or best, less is not None
    return replace(best, free={name: value for name, value in best.free.items() if value})


def _lesser(binding: Binding, trial: RtlTrial) -> Iterator[RtlTrial]:
    """Counterexamples that lack one bit of this one."""
    for port in binding.contract.inputs:
        for place in reversed(range(port.bits)) if port.name in binding.driven else ():
            if trial.words[port.name] >> place & 1:
                words = dict(trial.words) | {port.name: trial.words[port.name] & ~(1 << place)}
                tried = attempt(binding, words, trial.free, trial.any_nan)
                if tried is not None and tried.differing(binding):
                    yield tried
