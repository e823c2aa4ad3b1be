"""A grid of transfer runs: policies by numerics by seeds, each pretrained, transferred and measured.

A run's figures lie in `runs/POLICY/NUMERICS/seedN/`; the grid's in `results.json` and `results.csv`. Every file
appears whole or not at all, and a run that was cut off goes on from its last checkpoint with the same bits.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax

from bitrow import asides, float_model, lookup, terminal, zoo
from bitrow.calibrate import LeastSquares
from bitrow.errors import BitrowError
from bitrow.files import read_json, write_csv, write_json, write_text
from bitrow.graph import Network, ending_in
from bitrow.reading import MODEL, read_bytes
from bitrow.transfer import checkpoint, kept, policies, pretrain, processes, source, sparse, tables
from bitrow.transfer.augment import Augmentation, usual
from bitrow.transfer.data import Transfer
from bitrow.transfer.kept import Run
from bitrow.transfer.numerics import Numerics, parse, with_gradient
from bitrow.transfer.tables import Cell
from bitrow.transfer.training import Recipe, Replay, State, Trainer, check_batch

CHECKPOINT_SECONDS = 15.0
RATES = {"full": 3e-3}  # learning rates that are not the usual one, by policy
RATE = 1e-2
PLAN = "plan.json"
PLOTS = ("svg", "png", "pdf")
_TRAINING = ("optimizer", "learning_rate", "schedule", "accumulate", "replay")


@dataclass(frozen=True)
class ExperimentPlan:
    """What to run. `width` scales the network's channels; `power_of_two` chooses such scales only.

    `learning_rate` None is the policy's usual one; `accumulate` batches make an update. `model_file`: a float32
    safetensors model in place of pretraining, whose head may have any classes. `replay`: the share of source images in
    each batch. `output`: which of a model's outputs trains, by default the first.

    Raises:
        BitrowError: no seeds, an unknown policy or numerics, or one twice, a batch that is no power of two, no epoch.
    """

    policies: tuple[str, ...] = policies.NAMES
    numerics: tuple[str, ...] = ("float32", "simulated", "bit_accurate")
    seeds: int = 3
    network: str = "resnet8"
    width: float = 0.5
    epochs: int = 20
    pretrain_epochs: int = 30
    tune_epochs: int = 15
    batch: int = 32
    power_of_two: bool = False
    model_file: Path | None = None
    optimizer: str = "adam"
    learning_rate: float | None = None
    schedule: str = "cosine"
    accumulate: int = 1
    replay: float = 0.0
    plots: tuple[str, ...] = PLOTS[:1]
    output: str | None = None

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise BitrowError(f"seeds: found {self.seeds}, expected 1 or more")
        for policy in self.policies:
            policies.parse(policy)
        for name in self.numerics:
            parse(name)
        for name, given in (("policy", self.policies), ("numerics", self.numerics)):
            twice = [one for number, one in enumerate(given) if one in given[:number]]
            if twice:
                raise BitrowError(f"{name}: found {twice[0]} twice, expected each once")
        for kind in self.plots:
            if kind not in PLOTS:
                raise BitrowError(f"plots: found {kind!r}, expected {', '.join(PLOTS)}")
        self.recipe("", 0)

    def recipe(self, policy: str, seed: int, loss_scale: float = 1.0, how: Augmentation | None = None) -> Recipe:
        """How a run of the plan is trained. Raises: BitrowError as `Recipe`."""
        rate = self.learning_rate
        if rate is None:
            rate = min(RATES.get(part, RATE) for part in policy.split("+"))
        return Recipe(
            self.batch, rate, self.epochs, seed, loss_scale, self.power_of_two, how, self.optimizer, self.schedule,
            self.accumulate, self.replay,
        )  # fmt: skip


RunDone = Callable[[str], None]


@dataclass(frozen=True)
class RunSettings:
    """How a grid is run: the folder of its results, whether to continue those there, and what else changes no bit.

    Without `out` nothing is written. `jobs` cells run at a time, in threads, by default one for each processor; one
    where there are several devices, whose collective operations must keep their order. A run is checkpointed after an
    epoch every `checkpoint_seconds`, by default 15.
    """

    out: Path | None = None
    resume: bool = False
    jobs: int | None = None
    checkpoint_seconds: float | None = None


def run(
    plan: ExperimentPlan, data: Transfer, settings: RunSettings, advance: RunDone,
    ready: Callable[[], object] = lambda: None,
) -> list[Cell]:  # fmt: skip
    """Run the grid; `advance` is called with a run's name after it.

    `ready` is asked once all that is cheap has been checked, and may refuse the machine.

    Raises:
        BitrowError: a plan that cannot be, before anything is written; results of another plan in `out`, or of this
            one without `resume`, or another run at work there; what cannot be written.
    """
    identity, out = _identity(plan, data), settings.out
    every = CHECKPOINT_SECONDS if settings.checkpoint_seconds is None else settings.checkpoint_seconds
    grid = _Grid(plan, data, out, identity, advance, every)
    ready()
    with contextlib.ExitStack() as held:
        if out is not None:
            processes.agree(_open, out, identity, settings.resume, held)
        return _run(grid, settings.jobs or os.cpu_count() or 1)


def _run(grid: _Grid, jobs: int) -> list[Cell]:
    plan, out = grid.plan, grid.out
    names = [(policy, numerics) for policy in plan.policies for numerics in plan.numerics]
    with concurrent.futures.ThreadPoolExecutor(jobs if jax.device_count() == 1 else 1) as pool:
        try:
            list(pool.map(grid.pretrain, range(plan.seeds)))
            cells = list(pool.map(lambda name: grid.cell(*name), names))
        except BaseException:
            grid.stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    if out is not None:
        processes.agree(_write, out, grid, cells)
    return cells


class _Grid:
    """The runs of a plan, and what they share."""

    def __init__(
        self, plan: ExperimentPlan, data: Transfer, out: Path | None, identity: dict[str, Any], advance: RunDone,
        every: float,
    ) -> None:  # fmt: skip
        self.plan, self.data, self.out, self.identity, self.advance = plan, data, out, identity, advance
        self.every = every
        self.network = check(plan, data)
        self.model = None if plan.model_file is None else checkpoint.load_float(
            plan.model_file, self.network, any_head=True
        )
        self.pretrained: dict[int, pretrain.Pretrained] = {}
        self.stopped = threading.Event()
        self.timings: dict[tuple[str, str, int], kept.RunTime] = {}

    def pretrain(self, seed: int) -> None:
        """Make the network that the seed's runs begin with."""
        self.pretrained[seed] = pretrained(self.plan, self.network, self.data, seed, self.model)

    def cell(self, policy: str, numerics: str) -> Cell:
        """Every seed of a policy in a numerics, one after another: they share compiled programs."""
        runs = []
        for seed in range(self.plan.seeds):
            runs.append(self._run(policy, numerics, seed))
            self.advance(f"{policy} {numerics} seed {seed}")
        return Cell(policy, numerics, tuple(runs))

    def _folder(self, policy: str, numerics: str, seed: int) -> Path | None:
        return None if self.out is None else self.out / "runs" / policy / numerics / f"seed{seed}"

    def _run(self, policy: str, numerics: str, seed: int) -> Run:
        """A run that was finished before, verified, or else one trained now."""
        if self.stopped.is_set():
            raise BitrowError("training: stopped")
        data, saved, folder = self.data, None, self._folder(policy, numerics, seed)
        trainer = make_trainer(self.plan, data, self.pretrained[seed], policy, numerics, seed)
        known = source.task(data, self.pretrained[seed], parse(numerics))
        if folder is not None:
            which = {"policy": policy, "numerics": numerics, "seed": seed}
            saved = checkpoint.Checkpoints(folder / "checkpoints", self.identity | which)
            found = kept.told(folder, policy, numerics, seed, self.plan.epochs)
            if found is not None:
                done = kept.verify(folder, found, trainer, data, known)
                self.timings[policy, numerics, seed] = processes.agree(kept.timing, folder, self.plan.epochs)
                processes.agree(saved.clear)  # a run that was killed when it had just ended has them still
                return done
        seen, begun = Seen(), time.monotonic()
        state, rows = train(trainer, data, saved, self.every, self.stopped, seen)
        timing = self.timings[policy, numerics, seed] = kept.RunTime(seen.epochs, time.monotonic() - begun)
        if seen.silent and processes.leads():
            told = ", ".join(f"{name} in {count}" for name, count in seen.silent.items())
            steps = trainer.program.steps * self.plan.epochs
            terminal.say(f"{policy} {numerics} seed {seed}: found gradient codes that are all zero: {told} of {steps} "
                         "steps")  # fmt: skip
        done = kept.finish((policy, numerics, seed), trainer, state, rows, known)
        if folder is not None and saved is not None:
            processes.agree(kept.keep, folder, done, state, saved, timing)
        return done


def check(plan: ExperimentPlan, data: Transfer, devices: int | None = None) -> Network:
    """The network that the plan trains on the source task; every value of the plan is tried on it.

    Raises:
        BitrowError: what a run of the plan would be refused for, on so many devices, by default all.
    """
    if not data.source.classes and plan.model_file is None:
        raise BitrowError("--target-only: found no --model, expected one, for there is nothing to pretrain on")
    if plan.replay and not data.source.classes:
        raise BitrowError(f"--replay: found a share of {plan.replay:g} and no source images, expected some")
    network = network_of(plan, data)
    transferred = pretrain.new_head(network, len(data.target.classes))
    for policy in plan.policies:
        policies.trained(transferred, policies.parse(policy), ())
        if policies.parse(policy).budget:
            sparse.check_budget(transferred, policies.parse(policy).budget)
    for name in plan.numerics:
        arithmetic = parse(name)
        if arithmetic.numerics is not Numerics.FLOAT32:
            with_gradient(transferred, arithmetic.gradient)
    check_batch(plan.recipe("", 0), len(data.target.train.y), devices or jax.device_count())
    for name, least in (("pretrain_epochs", 0), ("tune_epochs", 0)):
        if getattr(plan, name) < least:
            raise BitrowError(f"{name}: found {getattr(plan, name)}, expected {least} or more")
    return network


def network_of(plan: ExperimentPlan, data: Transfer) -> Network:
    """The plan's network for the data's images and its first task's classes; of a model, its layers with a new head.

    Raises:
        BitrowError: neither a named network nor a model; layers that do not fit the images.
    """
    classes = len(data.first.classes)
    if plan.network in zoo.NETWORKS:
        if plan.output is not None:
            raise BitrowError(f"--output: found {plan.output!r} of {plan.network}, expected it of a model alone")
        return zoo.build(plan.network, data.input_shape, classes, plan.width)
    network = lookup.find_network(plan.network)
    network = ending_in(network, plan.output or network.output)
    try:
        return pretrain.new_head(replace(network, input_shape=data.input_shape), classes)
    except BitrowError as error:
        raise BitrowError(f"{plan.network} on images of {'x'.join(map(str, data.input_shape))}: {error}") from None


def make_trainer(
    plan: ExperimentPlan, data: Transfer, found: pretrain.Pretrained, policy: str, numerics: str, seed: int,
    devices: list[jax.Device] | None = None,
) -> Trainer:  # fmt: skip
    """The trainer of one run of a plan, of the network that `found` is."""
    arithmetic, chosen = parse(numerics), policies.parse(policy)
    module, loss_scale = pretrain.ready(found, data.target, arithmetic, seed, LeastSquares(plan.power_of_two))
    policies.prepare(module, chosen, seed, plan.power_of_two)
    if chosen.budget:
        sparse.apply(module, data.target.train, chosen.budget)
    known = source.task(data, found, arithmetic) if plan.replay else None
    replay = None
    if known is not None:
        source.widen(module, known)
        replay = Replay(data.source.train, len(data.target.classes))
    recipe = plan.recipe(policy, seed, loss_scale, usual(data.input_shape))
    return Trainer(module, chosen, recipe, data.target.train, devices, replay)


def _identity(plan: ExperimentPlan, data: Transfer) -> dict[str, Any]:
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


def _open(out: Path, identity: dict[str, Any], resume: bool, held: contextlib.ExitStack) -> None:
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


def pretrained(
    plan: ExperimentPlan, network: Network, data: Transfer, seed: int, model: float_model.FloatModel | None
) -> pretrain.Pretrained:
    """The network that a seed's runs begin with, trained from `model` if there is one; not tuned without a source."""
    how = usual(data.input_shape)
    first = pretrain.Fit(plan.pretrain_epochs, 4e-3, augmentation=how)
    tuning = pretrain.Fit(plan.tune_epochs if data.source.classes else 0, 1e-3, augmentation=how)
    found = pretrain.pretrain(network, data.first, seed, first, tuning, LeastSquares(plan.power_of_two), model)
    if any(parse(name).numerics is Numerics.FLOAT32 for name in plan.numerics):  # it has as many epochs as the others
        longer = pretrain.fit(network, found.model, data.first.train, replace(tuning, statistics=False), seed + 1)
        found = found._replace(model=longer)
    return found


@dataclass
class Seen:
    """What a call of `train` saw: its epochs; by convolution, the steps in which all codes of a gradient were zero."""

    epochs: int = 0
    silent: Counter[str] = field(default_factory=Counter)


def train(
    trainer: Trainer, data: Transfer, saved: checkpoint.Checkpoints | None, every: float = CHECKPOINT_SECONDS,
    stopped: threading.Event | None = None, seen: Seen | None = None,
) -> tuple[State, list[dict[str, Any]]]:
    """Train to the recipe's last epoch, from the last checkpoint if there is one; a checkpoint each `every` seconds.

    Raises:
        BitrowError: a checkpoint of another run, or one that cannot be written; `stopped` was set meanwhile.
    """
    state, rows, first = trainer.start(), [], 0
    before = saved.latest(state) if saved is not None else None
    if saved is not None and before is not None:
        first, rows, state = before.epochs, before.rows, trainer.place(before.state)
        kept.check_checkpoint(str(saved.folder), before, state, trainer, data)
    last = time.monotonic()
    for epoch in range(first, trainer.program.recipe.epochs):
        if stopped is not None and stopped.is_set():
            raise BitrowError("training: stopped")
        state, metrics = trainer.epoch(state, epoch)
        if seen is not None:
            seen.epochs += 1
            seen.silent.update(metrics.silent_layers())
        rows.append({
            "epoch": epoch + 1,
            "loss": float(metrics.loss.mean()),
            "train_accuracy": float(metrics.accuracy.mean()),
            "test_accuracy": trainer.accuracy(state, data.target.test),
        })
        if saved is not None and processes.agree(_due, last + every):
            processes.agree(saved.save, epoch + 1, state, rows)
            last = time.monotonic()
    return state, rows


def _due(moment: float) -> bool:
    return time.monotonic() >= moment


def _write(out: Path, grid: _Grid, cells: list[Cell]) -> None:
    plan, identity, data = grid.plan, grid.identity, grid.data
    shared = {"network": plan.network, "width": plan.width, "epochs": plan.epochs,
              "images": len(data.target.train.y), "test_images": len(data.target.test.y)}  # fmt: skip
    rows = [
        {"policy": c.policy, "numerics": c.numerics, "accuracy_mean": c.mean, "accuracy_spread": c.spread,
         "source_before": c.source_before, "source_accuracy": c.source_accuracy, "seeds": len(c.runs)}
        | shared | {key: value for key, value in c.cost.items() if key != "policy"}
        for c in cells
    ]  # fmt: skip
    write_csv(out / "results.csv", rows)
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
             for (policy, numerics, seed), timing in sorted(grid.timings.items())]  # fmt: skip
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
