"""Emulated rows against whole tensors, the same bits on the same machine: forward, and forward plus input gradient.

Run as `python benchmarks/bench_pipeline.py [NETWORK] [SIZE] [IMAGES]`, by default resnet18 224 1.
"""

from __future__ import annotations

import resource
import sys

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from bitrow import network as whole
from bitrow import zoo
from bitrow.pipeline.check import order_of, slots_of
from bitrow.pipeline.emulator import Emulator
from bitrow.pipeline.schedule import schedule
from bitrow.synthetic import synthetic
from timing import race, ratio


def main(name: str, size: int, count: int) -> None:
    """Print a row for each kind of pass."""
    net = zoo.build(name, (size, size, 3))
    model = synthetic(net, 1, count)
    assert model.samples is not None
    params, x, dlogits = dict(model.params), jnp.asarray(model.samples.images), jnp.asarray(model.samples.dlogits)
    table = Table("pass", "rows ms", "whole ms", "ratio", "rows", "rows/s", "stores MB", "compile s", "whole compile s")
    for training in (False, True):
        found = schedule(net, training=training)
        emulator = Emulator(net, order_of(found), lanes=count, slots=slots_of(found), training=training)

        def tensors(params: dict, x: jax.Array, dlogits: jax.Array, training: bool = training):
            logits, saved = whole.forward(net, params, x)
            return (logits, whole.backward(net, params, saved, dlogits)[0]) if training else (logits,)

        result = race({
            "rows": (emulator.program(), emulator.arguments(params, x, dlogits)),
            "whole": (tensors, (params, x, dlogits)),
        }, rounds=9)  # fmt: skip
        rows, plain = result["rows"], result["whole"]
        tasks = len(found) * count
        table.add_row(
            "forward and input gradient" if training else "forward", f"{rows.run_ms:.1f}", f"{plain.run_ms:.1f}",
            f"{ratio(rows, plain):.2f}", str(tasks), f"{tasks / rows.run_ms * 1e3:,.0f}", f"{emulator.bytes / 1e6:.1f}",
            f"{rows.compile_ms / 1e3:.1f}", f"{plain.compile_ms / 1e3:.1f}",
        )  # fmt: skip
    Console(width=140).print(f"{name} {size}x{size}, {count} image(s)", table)
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB resident")


if __name__ == "__main__":
    words = sys.argv[1:] + ["resnet18", "224", "1"][len(sys.argv) - 1 :]
    main(words[0], int(words[1]), int(words[2]))
