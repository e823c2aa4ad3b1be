"""What is found of a unit: proved, refuted or undecided, by which method, on which domain; and its counterexample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bitrow.contract.encoding import Kind
from bitrow.proofs.rtl import units
from bitrow.proofs.rtl.binding import Binding
from bitrow.proofs.rtl.trial import RtlTrial
from bitrow.proofs.rtl.units import UnitPort
from bitrow.vectors import found
from bitrow.vectors.files.decode import FloatWord, float_of, signed_value, value_text
from bitrow.vectors.problem import Problem

PROVED, REFUTED, UNDECIDED = "proved", "refuted", "undecided"


@dataclass(frozen=True)
class RtlVerdict:
    """`method` and `solver` say who found it: solver, exhaustive or trial; `seconds` include the reading."""

    verdict: str
    method: str
    seconds: float
    solver: str = ""
    counterexample: RtlTrial | None = None
    why: str = ""  # of an undecided one


def domain(binding: Binding) -> str:
    """What is covered, in words."""
    points = binding.contract.points
    bits = (points - 1).bit_length()
    text = f"2^{bits} inputs" if points == 1 << bits else f"{points:,} inputs"
    if not binding.timing.clock:
        return text
    cycles = f"{binding.timing.latency} cycle{'s' * (binding.timing.latency > 1)}"
    return f"{text}, {cycles}, from any state, whatever comes after"


def _text(port: UnitPort, bits: int) -> str:
    """A word in hex with what it stands for, exactly."""
    fmt = float_of(port.encoding)
    digits = -(-port.bits // 4)
    if fmt is not None:
        number = FloatWord(fmt, bits)
        kind = f", {number.kind}" if number.kind == "subnormal" else ""
        return f"0x{bits:0{digits}x} ({value_text(bits, port.encoding)}{kind})"
    value = signed_value(bits, port.bits, port.encoding.signed)
    return f"0x{bits:0{digits}x}" + (f" ({value})" if port.encoding.kind is not Kind.WORD else "")


def counterexample_lines(binding: Binding, trial: RtlTrial) -> list[str]:
    """A counterexample in words: the input, and each result that differs."""
    given = ", ".join(f"{port.name} = {_text(port, trial.words[port.name])}" for port in binding.contract.inputs)
    lines = [f"  {given}"]
    for name in trial.differing(binding):
        port = binding.port(name)
        lines.append(f"  {name}: the unit gives {_text(port, trial.found[name])}, "
                     f"the contract {_text(port, trial.expected[name])}")  # fmt: skip
    if binding.timing.clock and trial.free:
        lines.append(f"  with {len(trial.free)} words of registers and of other cycles that are not 0")
    return lines


def counterexample_json(binding: Binding, trial: RtlTrial | None) -> dict[str, Any] | None:
    """The same for `--json`."""
    if trial is None:
        return None

    def word(name: str, bits: int) -> dict[str, str]:
        port = binding.port(name)
        return {"name": name, "word": f"0x{bits:0{-(-port.bits // 4)}x}", "value": _text(port, bits)}

    inputs = [word(port.name, trial.words[port.name]) for port in binding.contract.inputs]
    results = [{"name": name, "found": word(name, trial.found[name]), "expected": word(name, trial.expected[name])}
               for name in trial.differing(binding)]  # fmt: skip
    return {"inputs": inputs, "results": results, "free": dict(trial.free)}


def report(binding: Binding, verdict: RtlVerdict, processor: str) -> dict[str, Any]:
    """The JSON report."""
    source, contract = binding.design.source, binding.contract
    return {
        "schema": "bitrow-prove-rtl-1",
        "module": source.top,
        "files": [str(path) for path in source.files],
        "defines": dict(source.defines),
        "parameters": dict(source.parameters),
        "contract": contract.name,
        "clauses": list(contract.clauses),
        "ports": {**binding.driven, **binding.observed, **binding.compared},
        "latency": binding.timing.latency,
        "verdict": verdict.verdict,
        "method": verdict.method,
        "solver": verdict.solver,
        "domain": domain(binding),
        "seconds": round(verdict.seconds, 2),
        "processor": processor,
        "why": verdict.why,
        "counterexample": counterexample_json(binding, verdict.counterexample),
    }


def record(binding: Binding, trial: RtlTrial) -> str | None:
    """The counterexample as a line of `found.jsonl`; None where no operation of the vectors has such words."""
    values = {port.name: units.value(port, trial.words[port.name]) for port in binding.contract.inputs}
    made = binding.contract.problem(values)
    if made is None:
        return None
    operation, config, given = made
    words = "_".join(f"{trial.words[port.name]:x}" for port in binding.contract.inputs)
    label = f"{binding.contract.name.replace('.', '_')}_{words}"
    name = trial.differing(binding)[0]
    why = f"module {binding.design.source.top} gave {name} = {_text(binding.port(name), trial.found[name])}"
    return found.line(Problem(f"{found.PREFIX}{label}", operation, config, given), "bitrow prove rtl", why)
