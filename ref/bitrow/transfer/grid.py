"""A grid of transfer runs: policies by numerics by seeds, each pretrained, transferred and measured.

A run's figures lie in `runs/POLICY/NUMERICS/seedN/`; the grid's in `results.json` and `results.csv`. Every file
appears whole or not at all, and a run that was cut off goes on from its last checkpoint with the same bits.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax

from bitrow import terminal
from bitrow.errors import BitrowError
from bitrow.executors.team import Where, opened
from bitrow.transfer import checkpoint, grid_files, kept, processes, source
from bitrow.transfer.data import Transfer
from bitrow.transfer.epoch import State
from bitrow.transfer.experiment import (
    CHECKPOINT_SECONDS,
    ExperimentPlan,
    Seen,
    check,
    make_trainer,
    pretrained,
    train,
)
from bitrow.transfer.grid_files import GridOf
from bitrow.transfer.kept import Run, RunName, RunTime
from bitrow.transfer.numerics import parse
from bitrow.transfer.pretrain import Pretrained
from bitrow.transfer.tables import Cell

RunDone = Callable[[str], None]


@dataclass(frozen=True)
class RunSettings:
    """How a grid is run: the folder of its results, whether to continue those there, and what else changes no bit.

    Without `out` nothing is written. `jobs` cells run at a time, in threads, by default one for each processor; one
    where there are several devices, whose collective operations must keep their order. A run is checkpointed after an
    epoch every `checkpoint_seconds`, by default 15. With a `scheduler` (`team.Where`'s) pretraining and runs are those
    of a cluster, which keeps no checkpoints. `trial`: asked once all that is cheap has been checked, and in each
    worker; it may refuse the machine.
    """

    out: Path | None = None
    resume: bool = False
    jobs: int | None = None
    checkpoint_seconds: float | None = None
    scheduler: str | None = None
    trial: Callable[[], object] | None = None

    def ask(self) -> None:
        """The trial, on this machine."""
        if self.trial is not None:
            self.trial()


def run(plan: ExperimentPlan, data: Transfer, settings: RunSettings, advance: RunDone) -> list[Cell]:
    """Run the grid; `advance` is called with a run's name after it.

    Raises:
        BitrowError: a plan that cannot be, before anything is written; results of another plan in `out`, or of this
            one without `resume`, or another run at work there; what cannot be written; a cluster that ended.
    """
    of, out = GridOf(plan, data, grid_files.identity_of(plan, data)), settings.out
    every = CHECKPOINT_SECONDS if settings.checkpoint_seconds is None else settings.checkpoint_seconds
    grid = _Grid(of, out, advance, every)
    settings.ask()
    with contextlib.ExitStack() as held:
        if out is not None:
            processes.agree(grid_files.claim, out, of.identity, settings.resume, held)
        if settings.scheduler is None:
            cells = _in_threads(grid, settings.jobs or os.cpu_count() or 1)
        else:
            cells = _on_cluster(grid, Where(settings.jobs, settings.scheduler, settings.trial))
        if out is not None:
            processes.agree(grid_files.write, out, of, cells, grid.timings)
    return cells


def _in_threads(grid: _Grid, jobs: int) -> list[Cell]:
    with concurrent.futures.ThreadPoolExecutor(jobs if jax.device_count() == 1 else 1) as pool:
        try:
            list(pool.map(grid.pretrain, range(grid.plan.seeds)))
            return list(pool.map(lambda name: grid.cell(*name), grid.cells))
        except BaseException:
            grid.stopped.set()
            pool.shutdown(cancel_futures=True)
            raise


class RunPiece(NamedTuple):
    """A run for whoever trains it: its name, and the network that it begins with."""

    name: RunName
    found: Pretrained


class Trained(NamedTuple):
    """A run that was trained: its figures, its last state, how long that took, what it saw in so many steps."""

    run: Run
    state: State
    timing: RunTime
    seen: Seen
    steps: int


def _on_cluster(grid: _Grid, where: Where) -> list[Cell]:
    """Pretraining by seed, then the runs that are not kept yet; each is kept as it comes."""
    plan = grid.plan
    names = [(*cell, seed) for cell in grid.cells for seed in range(plan.seeds)]
    with opened(where) as team:
        begin = functools.partial(pretrained, plan, grid.network, grid.data, model=grid.model)
        errand = team.errand(begin, "pretraining of seed {}".format)
        for seed, found in enumerate(team.in_order(errand, range(plan.seeds))):
            grid.pretrained[seed] = found
        runs = {name: done for name in names if (done := grid.finished(name)) is not None}
        for name in runs:
            grid.advance(run_label(name))
        left = iter([grid.piece(name) for name in names if name not in runs])
        errand = team.errand(functools.partial(_train, plan, grid.data), _piece_label)
        for piece, returned in team.as_done(errand, lambda last: next(left, None)):
            runs[piece.name] = grid.keep(returned.result)
            grid.advance(run_label(piece.name))
    return [Cell(*cell, tuple(runs[(*cell, seed)] for seed in range(plan.seeds))) for cell in grid.cells]


def run_label(name: RunName) -> str:
    """A run in words."""
    policy, numerics, seed = name
    return f"{policy} {numerics} seed {seed}"


def _piece_label(piece: RunPiece) -> str:
    return run_label(piece.name)


def _train(
    plan: ExperimentPlan, data: Transfer, piece: RunPiece, saved: checkpoint.Checkpoints | None = None,
    every: float = CHECKPOINT_SECONDS, stopped: threading.Event | None = None,
) -> Trained:  # fmt: skip
    """A run to its end, from its last checkpoint if there is one. Raises: BitrowError as `experiment.train`."""
    trainer = make_trainer(plan, data, piece.found, *piece.name)
    seen, begun = Seen(), time.monotonic()
    state, rows = train(trainer, data, saved, every, stopped, seen)
    timing = RunTime(seen.epochs, time.monotonic() - begun)
    done = kept.finish(piece.name, trainer, state, rows, _known(data, piece))
    return Trained(done, state, timing, seen, trainer.program.steps * plan.epochs)


def _known(data: Transfer, piece: RunPiece) -> source.SourceTask | None:
    return source.task(data, piece.found, parse(piece.name[1]))


class _Grid:
    """The runs of a plan, and what they share."""

    def __init__(self, of: GridOf, out: Path | None, advance: RunDone, every: float) -> None:
        self.plan, self.data, self.identity = of
        self.out, self.advance, self.every = out, advance, every
        self.network = check(self.plan, self.data)
        self.model = None if self.plan.model_file is None else checkpoint.load_float(
            self.plan.model_file, self.network, any_head=True
        )
        self.pretrained: dict[int, Pretrained] = {}
        self.stopped = threading.Event()
        self.timings: dict[RunName, RunTime] = {}

    @property
    def cells(self) -> list[tuple[str, str]]:
        return [(policy, numerics) for policy in self.plan.policies for numerics in self.plan.numerics]

    def pretrain(self, seed: int) -> None:
        """Make the network that the seed's runs begin with."""
        self.pretrained[seed] = pretrained(self.plan, self.network, self.data, seed, self.model)

    def cell(self, policy: str, numerics: str) -> Cell:
        """Every seed of a policy in a numerics, one after another: they share compiled programs."""
        runs = []
        for seed in range(self.plan.seeds):
            runs.append(self._run((policy, numerics, seed)))
            self.advance(run_label((policy, numerics, seed)))
        return Cell(policy, numerics, tuple(runs))

    def piece(self, name: RunName) -> RunPiece:
        return RunPiece(name, self.pretrained[name[2]])

    def _folder(self, name: RunName) -> Path | None:
        return None if self.out is None else self.out / "runs" / name[0] / name[1] / f"seed{name[2]}"

    def _saved(self, name: RunName) -> checkpoint.Checkpoints | None:
        folder, which = self._folder(name), dict(zip(("policy", "numerics", "seed"), name, strict=True))
        return None if folder is None else checkpoint.Checkpoints(folder / "checkpoints", self.identity | which)

    def finished(self, name: RunName) -> Run | None:
        """A run that was finished before, verified."""
        folder, saved = self._folder(name), self._saved(name)
        found = None if folder is None else kept.told(folder, *name, self.plan.epochs)
        if folder is None or saved is None or found is None:
            return None
        piece = self.piece(name)
        trainer = make_trainer(self.plan, self.data, piece.found, *name)
        done = kept.verify(folder, found, trainer, self.data, _known(self.data, piece))
        self.timings[name] = RunTime(*processes.agree(kept.timing, folder, self.plan.epochs))
        processes.agree(saved.clear)  # a run that was killed when it had just ended has them still
        return done

    def _run(self, name: RunName) -> Run:
        """A run that was finished before, or else one trained now."""
        if self.stopped.is_set():
            raise BitrowError("training: stopped")
        done = self.finished(name)
        if done is not None:
            return done
        return self.keep(_train(self.plan, self.data, self.piece(name), self._saved(name), self.every, self.stopped))

    def keep(self, found: Trained) -> Run:
        """Write a run that has just been trained, and say where it stood still."""
        name = found.run.name
        self.timings[name] = found.timing
        if found.seen.silent and processes.leads():
            told = ", ".join(f"{layer} in {count}" for layer, count in found.seen.silent.items())
            terminal.say(f"{run_label(name)}: found gradient codes that are all zero: {told} of {found.steps} steps")
        folder, saved = self._folder(name), self._saved(name)
        if folder is not None and saved is not None:
            processes.agree(kept.keep, folder, found.run, found.state, saved, found.timing)
        return found.run
