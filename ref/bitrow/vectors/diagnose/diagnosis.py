"""Which single mistake explains a design's words? (SPEC.md F, Q, M, D, B, A as alternatives)

Each guess recomputes the tap from the golden inputs with one thing done otherwise. It is judged by how
many of the differing words it gives exactly, and by whether it spoils words that agree.
Standard library, numpy and the scalar oracle only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from bitrow.errors import BitrowError
from bitrow.vectors.case import Case
from bitrow.vectors.diagnose import misread, recomputed
from bitrow.vectors.diagnose import rounding_points as steps
from bitrow.vectors.diagnose.scene import UNKNOWN, Guess, Scene
from bitrow.vectors.files.dump import Dump

_NAMED = 3


@dataclass(frozen=True)
class Verdict:
    """A guess gives `explained` of `tried` differing words exactly, and would change `spoiled` that agree."""

    name: str
    explained: int
    tried: int
    spoiled: int

    @property
    def complete(self) -> bool:
        return self.explained == self.tried and not self.spoiled


@dataclass(frozen=True)
class Diagnosis:
    """The guesses at one tap, best first: those that explain everything, or the closest ones."""

    mismatches: int
    guesses: int
    verdicts: tuple[Verdict, ...]

    @property
    def explained(self) -> bool:
        """Whether some single guess explains every word that was tried."""
        return any(verdict.complete for verdict in self.verdicts)

    def __str__(self) -> str:
        if not self.mismatches:
            return "every differing word is undriven: nothing to compare"
        complete = [verdict for verdict in self.verdicts if verdict.complete]
        if complete:
            first, *others = complete
            part = (
                f"all {first.tried}"
                if first.tried == self.mismatches
                else f"{first.tried} of {self.mismatches}"
            )
            tried = "" if first.tried == self.mismatches else " (as many as were tried)"
            also = f"; so would {'; '.join(v.name for v in others[: _NAMED - 1])}" if others else ""
            more = f"; and {len(others) - _NAMED + 1} more" if len(others) >= _NAMED else ""
            return f"would match with {first.name}: explains {part} differing words{tried}{also}{more}"
        text = f"no single hypothesis of {self.guesses} explains it"
        if not self.verdicts:
            return text
        best = self.verdicts[0]
        spoiled = f", and would spoil {best.spoiled} that agree" if best.spoiled else ""
        share = f"{best.explained} of {best.tried} differing words"
        return f"{text}; the closest, {best.name}, explains {share}{spoiled}"

    def to_json(self) -> dict[str, Any]:
        """The diagnosis as a JSON object."""
        return {
            "text": str(self),
            "mismatches": self.mismatches,
            "hypotheses": self.guesses,
            "explained": self.explained,
            "verdicts": [{**asdict(verdict), "complete": verdict.complete} for verdict in self.verdicts],
        }


def _judge(scene: Scene, guess: Guess) -> Verdict | None:
    """How a guess fares, None where it does not apply or changes nothing."""
    try:
        predicted = guess.predict()
    except BitrowError:
        return None  # the oracle refuses that configuration
    if predicted is None:
        return None
    words = predicted.reshape(-1)
    known = (words != UNKNOWN) & scene.driven
    differs = scene.found != scene.expected
    tried = known & differs
    explained = int((tried & (words == scene.found)).sum())
    if not explained:
        return None
    spoiled = int((known & ~differs & (words != scene.found)).sum())
    return Verdict(guess.name, explained, int(tried.sum()), spoiled)


def _guesses(scene: Scene) -> Iterator[Guess]:
    yield from steps.local_guesses(scene)
    yield from recomputed.guesses(scene)
    yield from steps.upstream_guesses(scene)
    yield from misread.guesses(scene)


def diagnose(case: Case, tap: str, dump: Dump) -> Diagnosis:
    """What single mistake would give a design's words of `tap`, all inputs being golden."""
    scene = Scene(case, tap, dump)
    if not scene.mismatches:
        return Diagnosis(0, 0, ())
    verdicts: list[Verdict] = []
    count = 0
    for guess in _guesses(scene):
        count += 1
        verdict = _judge(scene, guess)
        if verdict is not None:
            verdicts.append(verdict)
    # sorting is stable: among equals the simplest, which comes first, stays first
    verdicts.sort(key=lambda v: (not v.complete, -v.tried if v.complete else v.spoiled - v.explained))
    return Diagnosis(scene.mismatches, count, tuple(verdicts[:8]))
