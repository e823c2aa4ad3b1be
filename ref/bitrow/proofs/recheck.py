"""Recorded verdicts asked again: what a file of results says is computed once more, in part, before it is believed.

Of each claim its recorded counterexample or, where it has none, one chunk, drawn anew each time. One forged chunk among
n recorded ones is found with probability 1/n, a claim forged as a whole always.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from bitrow.errors import BitrowError
from bitrow.executors.team import Team
from bitrow.proofs import runner
from bitrow.proofs.claim import Claim, Outcome
from bitrow.proofs.results import Done, Job, Results


def choose(results: Results) -> list[Job]:
    """The recorded chunks to compute again."""
    chosen = []
    for claim, chunks in results.done.items():
        false = [index for index, done in chunks.items() if done.outcome.counterexample is not None]
        chosen += [Job(claim, index) for index in false or [random.SystemRandom().choice(sorted(chunks))]]
    return chosen


def recheck(
    claims: Mapping[str, Claim], results: Results, where: str, team: Team,
    advance: Callable[[Job], None] = lambda job: None,
) -> None:  # fmt: skip
    """Compute the chosen chunks of `results`, read from the file `where`, again.

    Raises:
        BitrowError: one has another outcome than is recorded.
    """

    def compare(job: Job, done: Done, machine: str) -> None:
        recorded = results.done[job.claim][job.chunk].outcome
        if done.outcome != recorded:
            raise BitrowError(f"{where}: found {job.claim} chunk {job.chunk} recorded as {_said(recorded)}, expected "
                              f"{_said(done.outcome)} as it is computed here")  # fmt: skip
        advance(job)

    runner.run_jobs(claims, results.effort, choose(results), team, compare)


def _said(outcome: Outcome) -> str:
    false = outcome.counterexample
    verdict = "holds" if false is None else f"false, found {false.found:.40}, expected {false.expected:.40}"
    note = f", {outcome.note:.60}" if outcome.note else ""
    return f"{verdict} ({outcome.cases} cases, digest {outcome.digest[:12] or 'none'}{note})"
