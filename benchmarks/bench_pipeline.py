"""Emulated rows against whole tensors, the same bits on the same machine, and how the emulator's time grows.

Run as `python benchmarks/bench_pipeline.py [NETWORK] [SIZE] [IMAGES]`, by default resnet18 224 1.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from bitrow import network as whole
from bitrow import zoo
from bitrow.graph import Network
from bitrow.pipeline.check import order_of, slots_of
from bitrow.pipeline.emulator import Emulation, Emulator
from bitrow.pipeline.row_task import make_weights
from bitrow.pipeline.schedule import schedule
from bitrow.synthetic import synthetic
from timing import Timing, race, ratio


def emulator_of(net: Network, training: bool, images: int = 1, lanes: int = 1) -> Emulator:
    """The emulator of the default schedule, in rings of its sizes."""
    found = schedule(net, images=images, training=training)
    return Emulator(net, order_of(found), images=images, lanes=lanes, slots=slots_of(found), training=training)


def samples(net: Network, count: int) -> tuple[dict[str, Any], jax.Array, jax.Array]:
    """Synthetic parameters, images and gradients."""
    model = synthetic(net, 1, count)
    assert model.samples is not None
    return dict(model.params), jnp.asarray(model.samples.images), jnp.asarray(model.samples.dlogits)


def raced(net: Network, count: int, training: bool) -> tuple[Emulator, dict[str, Timing]]:
    """Rows, rows that lay out the weights, and whole tensors, of `count` images side by side."""
    params, x, dlogits = samples(net, count)
    emulator = emulator_of(net, training, lanes=count)
    program = emulator.program()

    def tensors(params: dict, x: jax.Array, dlogits: jax.Array) -> tuple:
        logits, saved = whole.forward(net, params, x)
        return (logits, whole.backward(net, params, saved, dlogits)[0]) if training else (logits,)

    arguments = emulator.arguments(params, x, dlogits)
    return emulator, race({
        "rows": (program, arguments),
        "with weights": (_laying_out(emulator, program), (params, *arguments[1:])),
        "whole": (tensors, (params, x, dlogits)),
    }, rounds=10)  # fmt: skip


def passes(net: Network, count: int) -> Table:
    """Forward, and forward with the input gradient, of `count` images side by side."""
    columns = ("pass", "rows ms", "and weights ms", "whole ms", "ratio", "with weights", "rows", "rows/s")
    table = Table(*columns, "stores MB", "compile s", "whole compile s")
    for training in (False, True):
        emulator, result = raced(net, count, training)
        rows, laid, plain = (result[name] for name in ("rows", "with weights", "whole"))
        tasks = len(emulator.order.stage) * count
        table.add_row(
            "forward and input gradient" if training else "forward", f"{rows.run_ms:.1f}", f"{laid.run_ms:.1f}",
            f"{plain.run_ms:.1f}", f"{ratio(rows, plain):.2f}", f"{ratio(laid, plain):.2f}", str(tasks),
            f"{tasks / rows.run_ms * 1e3:,.0f}", f"{emulator.bytes / 1e6:.1f}", f"{rows.compile_ms / 1e3:.1f}",
            f"{plain.compile_ms / 1e3:.1f}",
        )  # fmt: skip
    return table


def _laying_out(emulator: Emulator, program: Callable[..., Emulation]) -> Callable[..., Emulation]:
    """The run with the weights laid out for rows in every call, which frozen weights need once."""
    return lambda params, *rest: program(make_weights(emulator.geometry, params), *rest)


def growth(name: str, size: int) -> Table:
    """The forward pass over maps of more rows, and over more images in sequence: time for each row."""
    table = Table("input", "images", "rows", "ms", "us/row", "stores MB", "compile s")
    for rows, images in ((size // 2, 1), (size, 1), (2 * size, 1), (size, 2), (size, 4)):
        net = zoo.build(name, (rows, size, 3))
        emulator = emulator_of(net, False, images)
        params, x, dlogits = samples(net, images)
        found = race({"rows": (emulator.program(), emulator.arguments(params, x, dlogits))}, rounds=9)["rows"]
        tasks = len(emulator.order.stage)
        table.add_row(
            f"{rows}x{size}", str(images), str(tasks), f"{found.run_ms:.1f}", f"{found.run_ms * 1e3 / tasks:.1f}",
            f"{emulator.bytes / 1e6:.1f}", f"{found.compile_ms / 1e3:.1f}",
        )  # fmt: skip
    return table


def main(name: str, size: int, count: int) -> None:
    """Print the tables, and the peak memory of the emulator before whole tensors take more."""
    net = zoo.build(name, (size, size, 3))
    for training in (False, True):
        emulator = emulator_of(net, training, lanes=count)
        jax.block_until_ready(emulator(*samples(net, count)).logits)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{'forward and input gradient' if training else 'forward'}: peak {peak:.2f} GB resident")
    console = Console(width=160)
    console.print(f"{name} {size}x{size}, {count} image(s)", passes(net, count))
    console.print(growth(name, size))


if __name__ == "__main__":
    words = sys.argv[1:] + ["resnet18", "224", "1"][len(sys.argv) - 1 :]
    main(words[0], int(words[1]), int(words[2]))
