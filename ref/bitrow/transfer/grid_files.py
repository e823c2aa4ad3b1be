"""The files of a grid of transfer runs: whose they are, and the tables and plots at its end."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bitrow import asides, zoo
from bitrow.errors import BitrowError
from bitrow.files import read_json, write_csv, write_json, write_text
from bitrow.reading import MODEL, read_bytes
from bitrow.transfer import tables
from bitrow.transfer.data import Transfer
from bitrow.transfer.experiment import ExperimentPlan, network_of
from bitrow.transfer.kept import RunName, RunTime
from bitrow.transfer.tables import Cell

PLAN = "plan.json"
_TRAINING = ("optimizer", "learning_rate", "schedule", "accumulate", "replay")


def identity_of(plan: ExperimentPlan, data: Transfer) -> dict[str, Any]:
    """What two runs must share to be one: the plan but for its lists, and the data's bits."""
    total = hashlib.sha256()
    for task in (data.source, data.target):
        for images in (task.train, task.test):
            total.update(images.x.tobytes() + images.y.tobytes())
    model = None
    if plan.model_file is not None and plan.model_file.is_file():
        model = hashlib.sha256(read_bytes(plan.model_file, MODEL)).hexdigest()
    named = ("network", "width", "epochs", "pretrain_epochs", "tune_epochs", "batch", "power_of_two", *_TRAINING)
    identity = {name: getattr(plan, name) for name in named} | {"data": total.hexdigest(), "model": model}
    if plan.network not in zoo.NETWORKS:  # a file's name says nothing of its layers
        identity["network"] = hashlib.sha256(repr(network_of(plan, data)).encode()).hexdigest()
    return identity


def claim(out: Path, identity: dict[str, Any], resume: bool, held: contextlib.ExitStack) -> None:
    """Take the folder for this run, until `held` closes, and write the plan there, or compare it with the one there."""
    plan_file = out / PLAN
    if os.path.lexists(out) and not out.is_dir():
        raise BitrowError(f"{out}: found something there, expected an empty folder or none")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BitrowError(f"{plan_file}: cannot be written: {error.strerror or error}") from None
    held.enter_context(asides.alone_in(out))
    begun = [path for path in out.iterdir() if path.name != PLAN and not asides.is_own_name(path.name, PLAN)]
    if plan_file.exists() and (resume or begun):
        if not resume:
            raise BitrowError(f"{out}: found results there, expected none; --resume continues them")
        before = read_json(plan_file)
        if not isinstance(before, dict) or set(before) != set(identity):
            raise BitrowError(f"{plan_file}: found other keys, expected {', '.join(identity)}")
        for key, value in identity.items():
            if before[key] != value or type(before[key]) is not type(value):
                raise BitrowError(f"{plan_file}: found {key} {before[key]!s:.60}, expected {value!s:.60}")
        return
    if begun:
        raise BitrowError(f"{out}: found something there, expected an empty folder or none")
    write_json(plan_file, identity)


class GridOf(NamedTuple):
    """What the figures of a grid are of."""

    plan: ExperimentPlan
    data: Transfer
    identity: dict[str, Any]


def write(out: Path, grid: GridOf, cells: list[Cell], timings: Mapping[RunName, RunTime]) -> None:
    """Every table and plot of a grid that has ended. Raises: BitrowError as `files.whole`."""
    plan, data, identity = grid
    shared = {"network": plan.network, "width": plan.width, "epochs": plan.epochs,
              "images": len(data.target.train.y), "test_images": len(data.target.test.y)}  # fmt: skip
    rows = [
        {"policy": c.policy, "numerics": c.numerics, "accuracy_mean": c.mean, "accuracy_spread": c.spread,
         "source_before": c.source_before, "source_accuracy": c.source_accuracy, "seeds": len(c.runs)}
        | shared | {key: value for key, value in c.cost.items() if key != "policy"}
        for c in cells
    ]  # fmt: skip
    spent = [{"seconds": sum(timings[run.name].seconds for run in cell.runs)} for cell in cells]
    write_csv(out / "results.csv", [row | more for row, more in zip(rows, spent, strict=True)])
    found = tables.differences(cells)
    if found:
        write_csv(out / "differences.csv", [one.as_dict() for one in found])
    title = tables.title(len(cells[0].runs), len(data.target.test.y))
    write_text(out / "results.md", tables.markdown(cells, title))
    write_text(out / "results.tex", tables.latex(cells, title))
    told = ("seed", "policy", "numerics", "accuracy", "source_before", "source_accuracy", "digest")
    runs = [{name: getattr(run, name) for name in told}
             for cell in cells for run in cell.runs]  # fmt: skip
    taken = [{"policy": policy, "numerics": numerics, "seed": seed} | timing._asdict()
             for (policy, numerics, seed), timing in sorted(timings.items())]  # fmt: skip
    write_csv(out / "timings.csv", taken)
    write_json(out / "results.json", {"plan": identity, "cells": rows, "runs": runs})
    _plot(out, cells, plan.plots)


def _plot(out: Path, cells: list[Cell], kinds: Sequence[str]) -> None:
    from bitrow.transfer.plots import LearningCurve, OutcomePoint, accuracy_memory, policy_panels

    panels: dict[str, list[LearningCurve]] = {}
    for cell in cells:
        loss, right = ([[row[key] for row in run.rows] for run in cell.runs] for key in ("loss", "test_accuracy"))
        panels.setdefault(cell.policy, []).append(LearningCurve(cell.numerics, loss, right))
    points = [OutcomePoint(c.policy, c.numerics, c.accuracy, c.cost["saved_kib"]) for c in cells]
    for kind in kinds:
        policy_panels(panels, out / f"learning_curves.{kind}")
        accuracy_memory(points, out / f"accuracy_memory.{kind}")
