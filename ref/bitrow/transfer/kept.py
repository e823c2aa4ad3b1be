"""The figures of a finished run as files, and what of them is computed again before they are taken up.

`metrics.json` says what was measured, `state.safetensors` holds what it was measured of: the accuracy, the digest and
the number of epochs are those of that state, cost and identity those of the plan. The figures of earlier epochs cannot
be had again without training; of them the form alone is checked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bitrow.errors import BitrowError
from bitrow.files import read_json, write_csv, write_json
from bitrow.reading.values import parse_json
from bitrow.transfer import checkpoint, processes, source
from bitrow.transfer.accounting import account
from bitrow.transfer.accounting_float import account_float, weights_kib
from bitrow.transfer.accounting_host import coded_weights, host_cost
from bitrow.transfer.accounting_reach import reach
from bitrow.transfer.data import Transfer
from bitrow.transfer.epoch import State
from bitrow.transfer.source import SourceTask
from bitrow.transfer.training import Trainer

RunName = tuple[str, str, int]  # policy, numerics, seed
METRICS, CURVE, STATE, TIMING = "metrics.json", "metrics.csv", "state.safetensors", "timing.json"
ROW = ("epoch", "loss", "train_accuracy", "test_accuracy")


class Run(NamedTuple):
    """One finished run: its name, the accuracy on the target's test images, the final state's digest, its cost; the
    accuracy on the source's test images as the run began and ended, None where there is no source.
    """

    policy: str
    numerics: str
    seed: int
    accuracy: float
    digest: str
    rows: list[dict[str, Any]]
    cost: dict[str, Any]
    source_before: float | None = None
    source_accuracy: float | None = None

    @property
    def name(self) -> RunName:
        return self.policy, self.numerics, self.seed


def finish(
    name: RunName, trainer: Trainer, state: State, rows: list[dict[str, Any]],
    task: SourceTask | None = None,
) -> Run:  # fmt: skip
    """The figures of the run of this policy, numerics and seed that has ended in `state`."""
    policy = name[0]
    cost = costs(trainer, policy)
    known = (None, None) if task is None else source.measure(trainer, state, task)
    return Run(*name, rows[-1]["test_accuracy"], checkpoint.digest(state), rows, cost, *known)


def costs(trainer: Trainer, policy: str) -> dict[str, Any]:
    """What an image costs, flat: on the accelerator, or in float32 that on its own, and on the host."""
    network, names, in_float = trainer.network, trainer.program.trained, trainer.program.in_float
    counted = account_float if in_float else account
    found = counted(network, names, policy=policy, channels=trainer.channels)
    coded = coded_weights(reach(network, names, trainer.channels), trainer.program.coded)
    host = host_cost(found.trainable, found.host_macs, found.host_energy_uj, trainer.recipe, coded)
    machine = "float32 operations alone" if in_float else "accelerator"
    weights = weights_kib(network, names, in_float=in_float)
    return {"machine": machine} | found.as_dict() | {"weights_kib": weights} | host.as_dict()


class RunTime(NamedTuple):
    """How long the last call took that trained a run: its `epochs`, compiling included, beside what else ran then."""

    epochs: int
    seconds: float


def keep(folder: Path, done: Run, state: State, saved: checkpoint.Checkpoints, timing: RunTime) -> None:
    """Write a run that has ended, the file that says so last. Raises: BitrowError as `files.whole`."""
    checkpoint.save_state(folder / STATE, state)
    write_json(folder / TIMING, timing._asdict(), parents=True)
    write_csv(folder / CURVE, done.rows, parents=True)
    write_json(folder / METRICS, done._asdict(), parents=True)
    saved.clear()


def timing(folder: Path, epochs: int) -> RunTime:
    """Of the run of so many epochs that ended there. Raises: BitrowError, naming the file: no such time."""
    file = folder / TIMING
    found = read_json(file)
    if not isinstance(found, dict) or set(found) != set(RunTime._fields):
        raise BitrowError(f"{file}: found other keys, expected {', '.join(RunTime._fields)}")
    done, seconds = found["epochs"], found["seconds"]
    if type(done) is not int or not 0 <= done <= epochs:
        raise BitrowError(f"{file} epochs: found {done!s:.60}, expected 0 to {epochs}")
    if type(seconds) not in (int, float) or not 0 <= seconds < math.inf:
        raise BitrowError(f"{file} seconds: found {seconds!s:.60}, expected a time")
    return RunTime(done, seconds)


def is_kept(folder: Path) -> bool:
    """Whether a run ended there."""
    return (folder / METRICS).exists()


def read(folder: Path, policy: str, numerics: str, seed: int, epochs: int) -> dict[str, Any]:
    """What `metrics.json` says, in JSON's values.

    Raises:
        BitrowError: naming the file and the field: other fields or types, another run's, or not of so many epochs.
    """
    file = folder / METRICS
    found = read_json(file)
    if not isinstance(found, dict) or set(found) != set(Run._fields):
        raise BitrowError(f"{file}: found other keys, expected {', '.join(Run._fields)}")
    for name, value in (("policy", policy), ("numerics", numerics), ("seed", seed)):
        if found[name] != value or type(found[name]) is not type(value):
            raise BitrowError(f"{file} {name}: found {found[name]!s:.60}, expected {value}")
    check_rows(str(file), found["rows"], epochs)
    if found["accuracy"] != found["rows"][-1]["test_accuracy"]:
        expected = found["rows"][-1]["test_accuracy"]
        raise BitrowError(f"{file} accuracy: found {found['accuracy']!s:.60}, expected {expected}, the last epoch's")
    return found


def check_rows(where: str, rows: Any, epochs: int) -> None:
    """Refuse what is no list of the figures of the first `epochs` epochs. Raises: BitrowError, naming `where`."""
    if not isinstance(rows, list) or len(rows) != epochs:
        count = len(rows) if isinstance(rows, list) else type(rows).__name__
        raise BitrowError(f"{where} rows: found {count}, expected {epochs}, one for each epoch")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or set(row) != set(ROW) or type(row["epoch"]) is not int or row["epoch"] != number:
            raise BitrowError(f"{where} rows: found {row!s:.60}, expected {', '.join(ROW)} of epoch {number}")
        for name in ROW[1:]:
            value = row[name]
            good = type(value) in (int, float) and (name == "loss" or 0 <= value <= 1)
            if not good or (name == "loss" and value < 0 and math.isfinite(value)):
                raise BitrowError(f"{where} rows: found {name} {value!s:.60} of epoch {number}, expected its figure")


def verify(
    folder: Path, found: Mapping[str, Any], trainer: Trainer, data: Transfer, task: SourceTask | None = None
) -> Run:
    """The kept run, computed again from its state as far as that goes.

    Raises:
        BitrowError: naming the file: a state that cannot be read, or figures that are not that state's.
    """
    state = trainer.place(checkpoint.load_state(folder / STATE, trainer.start()))
    check_state(str(folder / STATE), state, trainer, len(found["rows"]))
    accuracy = trainer.accuracy(state, data.target.test)
    rows = [*found["rows"][:-1], found["rows"][-1] | {"test_accuracy": accuracy}]
    again = finish((found["policy"], found["numerics"], found["seed"]), trainer, state, rows, task)
    for name, value in parse_json(json.dumps(again._asdict()), METRICS, constants=True).items():
        if name != "rows" and found[name] != value:
            raise BitrowError(f"{folder / METRICS} {name}: found {found[name]!s:.60}, expected {value!s:.60} as "
                              f"{STATE} has it")  # fmt: skip
    return again


def check_state(where: str, state: State, trainer: Trainer, epochs: int) -> None:
    """Refuse a state whose optimizer has not made the steps of so many epochs. Raises: BitrowError, naming `where`."""
    steps = trainer.program.steps * epochs // trainer.recipe.accumulate
    for name, array in checkpoint.arrays(state).items():
        if name.endswith(".count") and np.any(array != steps):
            found = f"found a state after {int(array)} steps"
            raise BitrowError(f"{where}: {found}, expected {steps}, of {epochs} epochs")


def check_checkpoint(where: str, before: checkpoint.Checkpoint, state: State, trainer: Trainer, data: Transfer) -> None:
    """Refuse a checkpoint whose last figures are not its state's, or whose epochs cannot be. Raises: BitrowError."""
    epochs = trainer.program.recipe.epochs
    if type(before.epochs) is not int or not 1 <= before.epochs <= epochs:
        raise BitrowError(f"{where}: found a checkpoint after {before.epochs!s:.20} epochs, expected 1 to {epochs}")
    check_rows(where, before.rows, before.epochs)
    check_state(where, state, trainer, before.epochs)
    accuracy, expected = before.rows[-1]["test_accuracy"], trainer.accuracy(state, data.target.test)
    if accuracy != expected:
        raise BitrowError(f"{where}: found a checkpoint of accuracy {accuracy}, expected its state's {expected}")


def told(folder: Path, policy: str, numerics: str, seed: int, epochs: int) -> dict[str, Any] | None:
    """`read` where a run ended, None elsewhere; by the first of several processes, for all of them."""

    def look() -> dict[str, Any] | None:
        return read(folder, policy, numerics, seed, epochs) if is_kept(folder) else None

    return processes.agree(look)
