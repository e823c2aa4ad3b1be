"""The plan of an experiment, and one run of it: pretrained, transferred, from checkpoint to checkpoint.

A run that was cut off goes on from its last checkpoint with the same bits.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax

from bitrow import float_model, lookup, zoo
from bitrow.calibrate import LeastSquares
from bitrow.errors import BitrowError
from bitrow.graph import Network, ending_in
from bitrow.transfer import checkpoint, kept, policies, pretrain, processes, source, sparse, trained_codes
from bitrow.transfer.accounting_reach import parameter_shapes
from bitrow.transfer.augment import Augmentation, usual
from bitrow.transfer.data import Transfer
from bitrow.transfer.epoch import State
from bitrow.transfer.numerics import Numerics, parse, with_gradient
from bitrow.transfer.recipe import Recipe, Replay
from bitrow.transfer.training import Trainer, check_batch

CHECKPOINT_SECONDS = 15.0
RATES = {"full": 3e-3}  # learning rates that are not the usual one, by policy
RATE = 1e-2
PLOTS = ("svg", "png", "pdf")


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
    known = parameter_shapes(transferred)
    for policy in map(policies.parse, plan.policies):
        names = policies.trained(transferred, policy, known)
        if policy.budget:
            sparse.check_budget(transferred, policy.budget)
            names = frozenset(known)  # which of them follows from images
        for weights in {parse(name).weights: None for name in plan.numerics}:
            coded = policies.coded(transferred, names, weights)
            trained_codes.check_use(weights, policy.name, False, bool(coded))
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
    recipe = replace(plan.recipe(policy, seed, loss_scale, usual(data.input_shape)), weights=arithmetic.weights)
    return Trainer(module, chosen, recipe, data.target.train, devices, replay)


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
