"""Optimizers and schedules of a trainer by name: optax's, with its own defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optax

from bitrow.errors import BitrowError

_WARM = 0.1  # of all updates, under `warmup`
_MOMENTUM = 0.9

Rate = Any  # a number, or optax's schedule
_OPTIMIZERS: dict[str, Callable[[Rate], optax.GradientTransformation]] = {
    "adam": optax.adam,
    "adamw": optax.adamw,
    "momentum": lambda rate: optax.sgd(rate, momentum=_MOMENTUM),
    "sgd": optax.sgd,
}
_SCHEDULES: dict[str, Callable[[float, int], optax.Schedule]] = {
    "constant": lambda rate, updates: optax.constant_schedule(rate),
    "cosine": optax.cosine_decay_schedule,
    "linear": lambda rate, updates: optax.linear_schedule(rate, 0.0, updates),
    "warmup": lambda rate, updates: optax.warmup_cosine_decay_schedule(
        0.0, rate, max(1, round(_WARM * updates)), max(2, updates)
    ),
}
OPTIMIZERS, SCHEDULES = tuple(_OPTIMIZERS), tuple(_SCHEDULES)
# What a trained number's optimizer keeps beside it, in float32 numbers.
STATE = {"adam": 2, "adamw": 2, "momentum": 1, "sgd": 0}
# Multiplications and additions of its update; Adam's square root and division are not among them.
OPERATIONS = {"adam": (8, 4), "adamw": (9, 5), "momentum": (2, 2), "sgd": (1, 1)}


def check(optimizer: str, schedule: str, accumulate: int) -> None:
    """Refuse a name that is none, and no batch to an update. Raises: BitrowError."""
    for what, name, known in (("optimizer", optimizer, OPTIMIZERS), ("schedule", schedule, SCHEDULES)):
        if name not in known:
            raise BitrowError(f"{what}: found {name!r}, expected {', '.join(known)}")
    if accumulate < 1:
        raise BitrowError(f"accumulate: found {accumulate}, expected 1 or more batches to an update")


def make(
    optimizer: str, schedule: str, rate: float, steps: int, accumulate: int,
    around: Callable[[optax.GradientTransformation], optax.GradientTransformation] = lambda made: made,
) -> optax.GradientTransformation:  # fmt: skip
    """The optimizer for so many steps, of which `accumulate` make an update of their mean gradient.

    `around` makes of the optimizer what sees that mean.

    Raises:
        BitrowError: as `check`.
    """
    check(optimizer, schedule, accumulate)
    made = around(_OPTIMIZERS[optimizer](_SCHEDULES[schedule](rate, max(1, steps // accumulate))))
    return made if accumulate == 1 else optax.MultiSteps(made, accumulate).gradient_transformation()
