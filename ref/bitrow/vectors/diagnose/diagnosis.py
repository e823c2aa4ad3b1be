"""Which single mistake explains a design's words? (SPEC.md F, Q, M, D, B, A as alternatives)

Each guess recomputes the tap from the golden inputs with one thing done otherwise. It is judged by how
many of the differing words it gives exactly, and by whether it spoils words that agree.
Standard library, numpy and the scalar oracle only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bitrow.errors import BitrowError
from bitrow.vectors.case import Case
from bitrow.vectors.diagnose import faulty, geometry, misread, races, recomputed, sequences, where
from bitrow.vectors.diagnose import rounding_points as steps
from bitrow.vectors.diagnose.scene import UNKNOWN, Guess, Scene
from bitrow.vectors.files.dump import Dump

_NAMED = 4
_PLENTY = 12  # words that one guess explains: faults that are costly to compute are then not tried
_CLOSE = 0.9  # of the differing words, to be called close


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
    """Where words differ at one tap, and the guesses, best first: those that explain everything, or the nearest."""

    mismatches: int
    guesses: int
    verdicts: tuple[Verdict, ...]
    where: tuple[str, ...] = ()

    @property
    def explained(self) -> bool:
        """Whether some single guess explains every word that was tried."""
        return any(verdict.complete for verdict in self.verdicts)

    @property
    def closest(self) -> Verdict | None:
        """The guess that comes nearest: it explains nine tenths at least, and spoils less than it explains."""
        return next((verdict for verdict in self.verdicts if _close(verdict)), None)

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
            shown = others if len(others) == _NAMED else others[: _NAMED - 1]  # one name is as short as a count
            also = f"; so would {'; '.join(v.name for v in shown)}" if others else ""
            more = f"; and {len(others) - len(shown)} more" if len(others) > len(shown) else ""
            return f"would match with {first.name}: explains {part} differing words{tried}{also}{more}"
        text = f"no single hypothesis of {self.guesses} explains it"
        best = self.closest
        if best is None:
            return text
        spoiled = f", and would spoil {best.spoiled} that agree" if best.spoiled else ""
        share = f"{best.explained} of {best.tried} differing words"
        return f"{text}; the closest, {best.name}, explains {share}{spoiled}"

    def to_json(self) -> dict[str, Any]:
        """The diagnosis as a JSON object."""
        return {
            "text": str(self),
            "where": list(self.where),
            "mismatches": self.mismatches,
            "hypotheses": self.guesses,
            "explained": self.explained,
            "verdicts": [{**asdict(verdict), "complete": verdict.complete} for verdict in self.verdicts],
        }


def _judge(scene: Scene, guess: Guess) -> Verdict | None:
    """How a guess fares, None where it does not apply or changes nothing."""
    try:
        if guess.screen is not None:
            screened = _fare(scene, guess.name, guess.screen())
            if screened is None or not _close(screened):
                return None
        return _fare(scene, guess.name, guess.predict())
    except BitrowError:
        return None  # the oracle refuses that configuration


def _close(verdict: Verdict) -> bool:
    """Whether a guess may be called close."""
    return verdict.explained >= _CLOSE * verdict.tried and verdict.spoiled < verdict.explained


def _fare(scene: Scene, name: str, predicted: np.ndarray | None) -> Verdict | None:
    """How predicted words fare; None where there are none, or they explain nothing."""
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
    return Verdict(name, explained, int(tried.sum()), spoiled)


def _guesses(scene: Scene) -> Iterator[Guess]:
    yield from steps.local_guesses(scene)
    yield from recomputed.guesses(scene)
    yield from steps.upstream_guesses(scene)
    yield from geometry.guesses(scene)
    yield from misread.guesses(scene)
    yield from races.guesses(scene)
    yield from sequences.guesses(scene)


def _try(scene: Scene, guesses: Iterable[Guess], verdicts: list[Verdict]) -> int:
    """Add the verdict of each guess that explains something; how many guesses there were."""
    count = 0
    for guess in guesses:
        count += 1
        verdict = _judge(scene, guess)
        if verdict is not None:
            verdicts.append(verdict)
    return count


def diagnose(case: Case, tap: str, dump: Dump, agreed: Iterable[str] = ()) -> Diagnosis:
    """What single mistake would give a design's words of `tap`, all inputs being golden.

    `agreed` names other taps that the design dumped rightly: a guess that would change one of them is none.
    """
    scene = Scene(case, tap, dump, agreed)
    if not scene.mismatches:
        return Diagnosis(0, 0, ())
    verdicts: list[Verdict] = []
    count = _try(scene, _guesses(scene), verdicts)
    plenty = any(verdict.complete and verdict.tried >= _PLENTY for verdict in verdicts)
    if not (plenty and faulty.costly(scene)):
        count += _try(scene, faulty.guesses(scene), verdicts)
    # sorting is stable: among equals the simplest, which comes first, stays first
    overflows = where.all_out_of_range(scene)

    def rank(verdict: Verdict) -> tuple[bool, int, bool]:
        worth = -verdict.tried if verdict.complete else verdict.spoiled - verdict.explained
        return not verdict.complete, worth, overflows and not verdict.name.startswith("overflow")

    verdicts.sort(key=rank)
    return Diagnosis(scene.mismatches, count, tuple(verdicts[:8]), where.where(scene))
