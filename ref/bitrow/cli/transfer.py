"""`bitrow transfer`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from bitrow import jax_switches
from bitrow.cli import needs, options
from bitrow.cli.arguments import FiniteNumber, Integer
from bitrow.cli.options import PLACE, RUN, TIMES, TIMES_OR_NONE
from bitrow.cli.sections import OUTPUT, Command, option
from bitrow.leave import DIFFERS
from bitrow.zoo import WIDEST

_DATA, _NETWORK, _GRID, _TRAINING, _PROCESSES = "Data", "Network", "Grid", "Training", "Several processes"


@click.command(cls=Command)
@option("--data", "spec", section=_DATA, default="digits", show_default=True, metavar="digits|PATH",
        help="What to learn from.")  # fmt: skip
@options.input_size(_DATA, "Resize every image to these rows and columns, in colour.")
@option("--limit", section=_DATA, type=Integer(), metavar="N", help="At most N images of each class.")
@option("--target-only", section=_DATA, is_flag=True, help="Every class is the target's; needs --model.")
@option("--network", section=_NETWORK, default="resnet8", show_default=True, metavar="NAME|MODEL",
        help="A named network, or the layers of a model.")  # fmt: skip
@option("--output", section=_NETWORK, metavar="NAME", show_default="the first",
        help="Which of a model's outputs trains; what the others need alone is left out.")  # fmt: skip
@option("--width", section=_NETWORK, type=FiniteNumber(0, WIDEST, min_open=True), default=0.5, show_default=True,
        metavar="X", help="Of a named network's channels.")  # fmt: skip
@option("--model", "model_file", section=_NETWORK, type=PLACE, metavar="FILE",
        help="A float32 model in place of pretraining, with any head.")  # fmt: skip
@option("--policy", "policies", section=_GRID, multiple=True, metavar="NAME", show_default="six of them",
        help="What is trained, joined by +; repeatable.")  # fmt: skip
@option("--numerics", section=_GRID, multiple=True, metavar="NAME", show_default="float32 simulated bit_accurate",
        help="The arithmetic of training; repeatable.")  # fmt: skip
@option("--seeds", section=_GRID, type=TIMES, default=3, show_default=True, metavar="N", help="Runs of each cell.")
@option("--compare", section=_GRID, is_flag=True,
        help="Instead, train simulated beside bit-accurate; show where they differ.")  # fmt: skip
@option("--epochs", section=_TRAINING, type=TIMES, default=20, show_default=True, metavar="N",
        help="On the target task.")  # fmt: skip
@option("--pretrain-epochs", section=_TRAINING, type=TIMES_OR_NONE, default=30, show_default=True, metavar="N",
        help="On the source task.")  # fmt: skip
@option("--tune-epochs", section=_TRAINING, type=TIMES_OR_NONE, default=15, show_default=True, metavar="N",
        help="Through quantization.")  # fmt: skip
@option("--batch", section=_TRAINING, type=Integer(), default=32, show_default=True, metavar="N",
        help="A power of two.")  # fmt: skip
@option("--optimizer", section=_TRAINING, default="adam", show_default=True, metavar="NAME",
        help="adam, adamw, momentum or sgd.")  # fmt: skip
@option("--learning-rate", section=_TRAINING, type=FiniteNumber(0, min_open=True), metavar="X",
        show_default="0.01, with full 0.003", help="At its highest.")  # fmt: skip
@option("--schedule", section=_TRAINING, default="cosine", show_default=True, metavar="NAME",
        help="constant, cosine, linear or warmup.")  # fmt: skip
@option("--accumulate", section=_TRAINING, type=TIMES, default=1, show_default=True, metavar="N",
        help="Batches to an update.")  # fmt: skip
@option("--replay", section=_TRAINING, type=FiniteNumber(0, 1), default=0.0, show_default=True, metavar="X",
        help="Share of source images in each batch.")  # fmt: skip
@option("--power-of-two", section=_TRAINING, is_flag=True, help="Scales that are powers of two only.")
@option("--jobs", section=RUN, type=TIMES, metavar="N", show_default="one for each processor", help="Runs at a time.")
@options.scheduler
@option("--checkpoint-seconds", section=RUN, type=FiniteNumber(0), metavar="N", show_default="15",
        help="Least time between checkpoints.")  # fmt: skip
@option("--resume", section=RUN, is_flag=True, help="Continue the results in --out.")
@option("--coordinator", section=_PROCESSES, metavar="HOST:PORT",
        help="Train with other processes, which meet there.")  # fmt: skip
@option("--processes", "process_count", section=_PROCESSES, type=TIMES, metavar="N", help="How many there are.")
@option("--process", section=_PROCESSES, type=TIMES_OR_NONE, metavar="I",
        help="Which one this is; 0 writes the results.")  # fmt: skip
@option("--plot", "plots", section=OUTPUT, multiple=True, metavar="KIND", show_default="svg",
        help="svg, png or pdf; repeatable.")  # fmt: skip
@option("--out", section=OUTPUT, type=PLACE, metavar="DIR", help="Where results, metrics and plots go.")
@options.quiet
def transfer(compare: bool, quiet: bool, **given: Any) -> None:
    """Transfer a network to new classes under freeze policies.

    Shows accuracy, memory, operations and energy of each.
    """
    jax_switches.prepare()  # its devices after the processes have met
    from bitrow.transfer import command
    from bitrow.transfer.experiment import ExperimentPlan
    from bitrow.transfer.grid import RunSettings

    plan, data, settings, meeting = options.records(
        given, ExperimentPlan, command.DataChoice, RunSettings, command.Meeting
    )
    chosen = plan, data, replace(settings, trial=needs.transfer_trial), meeting
    if not compare:
        command.transfer(*chosen, quiet=quiet)
    elif not command.compare(*chosen, quiet=quiet):
        raise click.exceptions.Exit(DIFFERS)
