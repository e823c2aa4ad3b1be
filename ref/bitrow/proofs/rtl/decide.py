"""How a unit is decided: a few inputs tried, then solvers, then every input run."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bitrow.contract.encoding import Kind
from bitrow.errors import BitrowError
from bitrow.proofs.rtl import alignment, exhaustive, question, solvers
from bitrow.proofs.rtl.binding import Binding
from bitrow.proofs.rtl.question import UnitTerms
from bitrow.proofs.rtl.trial import RtlTrial, attempt, smallest
from bitrow.proofs.rtl.units import UnitPort, word
from bitrow.proofs.rtl.verdict import PROVED, REFUTED, UNDECIDED, RtlVerdict

METHODS = ("auto", "solver", "exhaustive")
Say = Callable[[str], None]
_TRIED = 1000  # inputs that are tried first
_SPECIAL = (
    0x0000,
    0x8000,
    0x0001,
    0x03FF,
    0x0400,
    0x3C00,
    0xBC00,
    0x3BFF,
    0x7BFF,
    0xFBFF,
    0x7C00,
    0xFC00,
    0x7E00,
    0xFE01,
)


@dataclass(frozen=True)
class RtlLimits:
    """`seconds` of each question to the solvers; the method; `any_nan`: every NaN is as good as the canonical one."""

    seconds: float = 300.0
    method: str = "auto"
    any_nan: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise BitrowError(f"--method: found {self.method!r}, expected one of {', '.join(METHODS)}")


@dataclass
class _Run:
    binding: Binding
    limits: RtlLimits
    say: Say
    tell: Say
    start: float = field(default_factory=time.monotonic)

    def verdict(
        self, verdict: str, method: str, solver: str = "", trial: RtlTrial | None = None, why: str = ""
    ) -> RtlVerdict:
        shown = None if trial is None else smallest(self.binding, trial)
        return RtlVerdict(verdict, method, time.monotonic() - self.start, solver, shown, why)

    # a few inputs
    def tried(self) -> RtlVerdict | None:
        draw = random.Random(1)
        for _ in range(_TRIED):
            words = {port.name: _drawn(port, draw) for port in self.binding.contract.inputs}
            trial = attempt(self.binding, words, _Drawn(draw), self.limits.any_nan)
            if trial is not None and trial.differing(self.binding):
                return self.verdict(REFUTED, "trial", trial=trial)
        return None

    # solvers
    def asked(self, terms: UnitTerms, cut: bool) -> RtlVerdict | None:
        """Every result equal, taps first; with `cut` later results from taps that are one word. None: no verdict."""
        taps = [port for port in self.binding.results if port in self.binding.contract.taps]
        outputs = [port for port in self.binding.results if port not in taps]
        solver = ""
        proved: list[UnitPort] = []
        for ports in (*([tap] for tap in taps), outputs):
            rest = question.without(terms, proved) if cut else terms
            answer = self._answer(rest, ports)
            if answer is None:
                return None
            if answer.verdict == "sat":
                return self._refuted(answer) or self._pinned(answer, proved, ports)
            solver = answer.solver
            proved += ports if cut and ports is not outputs else []
        return self.verdict(PROVED, "solver", solver)

    def _answer(self, terms: UnitTerms, ports: Sequence[UnitPort]) -> solvers.SolverAnswer | None:
        """One question, whole, and where it takes too long in cases, unless all inputs can be run instead."""
        formulas = [*terms.given, terms.differs(ports, self.limits.any_nan)]
        answer = solvers.decide(question.text(formulas), self.limits.seconds)
        if answer.verdict != "unknown":
            return answer
        if self.limits.method == "auto" and not exhaustive.possible(self.binding):
            return None
        for place, (name, case) in enumerate(cases := list(_cases(self.binding)), 1):
            self.say(f"case {place} of {len(cases)}: {name}")
            answer = solvers.decide(question.text([*formulas, case]), self.limits.seconds)
            if answer.verdict != "unsat":
                break
        return None if answer.verdict == "unknown" else answer

    def parted(self) -> RtlVerdict | None:
        """A product and a sum, by how far they lie apart; None: no such unit, or no verdict."""
        if any(port in self.binding.contract.taps for port in self.binding.results):
            return None  # a product that is shown is proved by itself, and the sum from there
        solver = ""
        for part in alignment.parts(self.binding):
            self.say(part.name)
            answer = self._part(part)
            if answer.verdict != "unsat":
                return self._refuted(answer) if answer.verdict == "sat" else None
            solver = answer.solver
        return self.verdict(PROVED, "solver", solver) if solver else None

    def _part(self, part: alignment.ProofPart) -> solvers.SolverAnswer:
        """One part, whole, and where it takes too long by the exponent of its addend."""
        formulas = [*part.terms.given, part.terms.differs(self.binding.results, self.limits.any_nan)]
        answer = solvers.decide(question.text(formulas), self.limits.seconds)
        for case in part.by_addend if answer.verdict == "unknown" else ():
            answer = solvers.decide(question.text([*formulas, case]), self.limits.seconds)
            if answer.verdict != "unsat":
                break
        return answer

    def _refuted(self, answer: solvers.SolverAnswer) -> RtlVerdict | None:
        """The model, tried: None where it is none of the unit's, since something in the question was free."""
        trial = attempt(self.binding, answer.model, answer.model, self.limits.any_nan)
        if trial is None or not trial.differing(self.binding):
            return None
        return self.verdict(REFUTED, "solver", answer.solver, trial)

    def _pinned(
        self, answer: solvers.SolverAnswer, proved: Sequence[UnitPort], ports: Sequence[UnitPort]
    ) -> RtlVerdict | None:
        """An input that gives the taps of a model: None where none is found."""
        if not proved:
            return None
        terms = question.exact(self.binding)
        pinned = question.pinned(terms, proved, answer.model)
        found = solvers.decide(question.text([*terms.given, *pinned, terms.differs(ports, self.limits.any_nan)]),
                               self.limits.seconds)  # fmt: skip
        return self._refuted(found) if found.verdict == "sat" else None

    def solved(self) -> RtlVerdict | None:
        solvers.installed()
        self.say("solver")
        found = self.parted()
        if found is not None:
            return found
        terms = question.shared(self.binding)
        if terms is not None:
            found = self.asked(terms, cut=not self.limits.any_nan)
            if found is not None:
                return found
            self.say("solver, with the products as they are")
        return self.asked(question.exact(self.binding), cut=False)

    # every input
    def ran(self) -> RtlVerdict:
        self.say("compiling")
        with exhaustive.compiled(self.binding, self.limits.any_nan) as unit:
            self.tell(f"{unit.points:,} inputs to run, about {unit.seconds():.0f} s")
            found = unit.run(self.say)
        if found.words is None:
            return self.verdict(PROVED, "exhaustive", "verilator")
        trial = attempt(self.binding, found.words, {}, self.limits.any_nan)
        if trial is None or not trial.differing(self.binding):
            raise BitrowError(f"verilator: found words {found.words} that differ, expected the netlist to differ, too: "
                              "yosys and verilator read the unit differently")  # fmt: skip
        return self.verdict(REFUTED, "exhaustive", "verilator", trial)


class _Drawn(dict[str, int]):
    """Free words, drawn when they are first asked for."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        self._draw = draw

    def get(self, name: str, default: Any = 0) -> int:
        if name not in self:
            self[name] = self._draw.getrandbits(64)
        return self[name]


def _drawn(port: UnitPort, draw: random.Random) -> int:
    """A word of the port: of a float often a special one, or one of few bits; else an end of the domain, or any."""
    kind = draw.random()
    if port.encoding.kind is Kind.FP16 and kind < 0.5:
        simple = draw.getrandbits(1) << 15 | draw.randint(11, 20) << 10 | draw.getrandbits(3) << 7
        chosen = draw.choice(_SPECIAL) if kind < 0.25 else simple
        if port.low <= chosen <= port.high:
            return chosen
    if kind > 0.9:
        return word(port, draw.choice((port.low, port.high)))
    return word(port, draw.randint(port.low, port.high))


def _cases(binding: Binding) -> Iterator[tuple[str, Any]]:
    """Parts of the domain by the exponents of two FP16 words, which make up all of it; none of fewer words."""
    import z3

    words = question.fp16_inputs(binding)
    if len(words) < 2:
        return
    fields = [z3.ZeroExt(1, z3.Extract(14, 10, each)) for each in words[:2]]
    gap = fields[0] - fields[1]
    ends = (-31, -12, -6, -2, -1, 0, 1, 2, 3, 7, 13, 32)
    for low, high in itertools.pairwise(ends):
        name = f"exponents {low} to {high - 1} apart" if high - low > 1 else f"exponents {low} apart"
        yield name, z3.And(gap >= low, gap <= high - 1)


def _silent(text: str) -> None:
    """Nobody is told."""


def decide(binding: Binding, limits: RtlLimits = RtlLimits(), say: Say = _silent, tell: Say = _silent) -> RtlVerdict:
    """Whether the unit is its contract for every input. `say` is called with each step, `tell` with what takes long.

    Raises:
        BitrowError: what a method lacks: a solver, a simulator.
    """
    run = _Run(binding, limits, say, tell)
    found = run.tried()
    if found is not None:
        return found
    if limits.method == "exhaustive":
        return run.ran()
    found = run.solved()
    if found is not None:
        return found
    lacking = exhaustive.possible(binding)
    if limits.method == "auto" and not lacking:
        return run.ran()
    why = f"no answer within {limits.seconds:g} s"
    return run.verdict(UNDECIDED, "solver", why=f"{why}; {lacking}" if limits.method == "auto" and lacking else why)
