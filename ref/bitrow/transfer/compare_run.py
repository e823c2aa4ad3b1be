"""The comparisons of a plan: `compare` for each policy, gradient numerics and seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax

from bitrow.errors import BitrowError
from bitrow.files import write_json
from bitrow.transfer import checkpoint
from bitrow.transfer.compare import Comparison, compare
from bitrow.transfer.data import Transfer
from bitrow.transfer.experiment import ExperimentPlan, check, make_trainer, pretrained
from bitrow.transfer.numerics import Numerics, parse

FILE = "compare.json"


class Compared(NamedTuple):
    """A comparison and what it is of; `gradient` is named as on the command line."""

    policy: str
    gradient: str
    seed: int
    found: Comparison


def run(
    plan: ExperimentPlan, data: Transfer, out: Path | None, advance: Callable[[str], None],
    ready: Callable[[], object] = lambda: None,
) -> list[Compared]:  # fmt: skip
    """Compare the numerics over the plan's epochs; with `out`, write what was found to `compare.json` there.

    `ready` is asked once all that is cheap has been checked, and may refuse the machine.

    Raises:
        BitrowError: a plan of float32 alone, a report that cannot be written.
    """
    results = list(_each(plan, data, advance, ready))
    if out is not None:
        rows = [one._asdict() | {"found": one.found.to_json()} for one in results]
        write_json(out / FILE, {"power_of_two": plan.power_of_two, "comparisons": rows}, parents=True)
    return results


def gradients(plan: ExperimentPlan) -> list[str]:
    """The gradient numerics that the plan's names name, each once.

    Raises:
        BitrowError: float32 alone.
    """
    arithmetics = [parse(name) for name in plan.numerics]
    found = dict.fromkeys(a.suffix for a in arithmetics if a.numerics is not Numerics.FLOAT32)
    if not found:
        raise BitrowError("--compare: found numerics float32 alone, expected simulated or bit_accurate ones")
    return list(found)


def _each(
    plan: ExperimentPlan, data: Transfer, advance: Callable[[str], None], ready: Callable[[], object]
) -> Iterator[Compared]:
    names = gradients(plan)
    network = check(plan, data, devices=1)
    model = None if plan.model_file is None else checkpoint.load_float(plan.model_file, network, any_head=True)
    ready()
    for seed in range(plan.seeds):
        found = pretrained(plan, network, data, seed, model)
        for policy in plan.policies:
            for gradient in names:
                accurate, simulated = (
                    make_trainer(plan, data, found, policy, f"{kind.value}-{gradient}", seed, jax.devices()[:1])
                    for kind in (Numerics.BIT_ACCURATE, Numerics.SIMULATED)
                )
                yield Compared(policy, gradient, seed, compare(accurate, simulated, plan.epochs))
                advance(f"{policy} {gradient} seed {seed}")
