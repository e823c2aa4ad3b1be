"""What grows with rows and images and what does not: work of the engine, steps, programs and stores of the emulator."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from bitrow import zoo
from bitrow.config.rows import SAVED
from bitrow.graph import Network
from bitrow.pipeline import engine
from bitrow.pipeline.check import order_of, slots_of
from bitrow.pipeline.emulator import Emulator
from bitrow.pipeline.machine import DEFAULT_MACHINE
from bitrow.pipeline.policies import row_pipelined_overlap
from bitrow.pipeline.schedule import allocate, schedule
from bitrow.pipeline.steps import MOST
from bitrow.synthetic import synthetic


def net(rows: int) -> Network:
    return zoo.resnet8((rows, 8, 3), 10, 0.25)


def emulator(rows: int, images: int = 1, training: bool = False) -> Emulator:
    network = net(rows)
    found = schedule(network, images=images, training=training)
    return Emulator(network, order_of(found), images=images, slots=slots_of(found), training=training)


def engine_lines(rows: int, images: int) -> int:
    """Lines of the timing engine that a schedule runs through: its work, whatever the machine's load."""
    allocate(net(rows), DEFAULT_MACHINE, row_pipelined_overlap, 2, True)  # done once, whatever the images
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        if frame.f_code.co_filename != engine.__file__:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        schedule(net(rows), images=images)
    finally:
        sys.settrace(before)
    return count


def test_the_engine_works_in_proportion_to_images_and_rows():
    few, more, most = (engine_lines(16, images) for images in (4, 8, 16))
    assert most - more == pytest.approx(2 * (more - few), rel=0.03)
    low, high, highest = (engine_lines(rows, 4) for rows in (16, 32, 64))
    assert highest - high == pytest.approx(2 * (high - low), rel=0.1)


def test_the_emulator_takes_a_step_for_each_row():
    one, two = emulator(16), emulator(16, images=2)
    assert len(two.order.stage) == 2 * len(one.order.stage)
    tasks = [len(emulator(rows).order.stage) for rows in (16, 32, 64)]
    assert tasks[2] - tasks[1] == 2 * (tasks[1] - tasks[0])


def test_stores_are_the_rings_and_do_not_grow_with_the_map():
    """A forward pass keeps rings alone; a backward pass also keeps a bit map for each image in flight."""
    assert emulator(64).bytes == emulator(128).bytes
    assert emulator(64, images=3).memory.regions.keys() == emulator(64).memory.regions.keys()
    logits = emulator(64, images=3).bytes - emulator(64, images=2).bytes
    assert logits == 2 * emulator(64).memory.width[1]  # a row of logits
    small, large = emulator(64, training=True), emulator(128, training=True)
    for held in small.geometry.buffers.all():
        if held.buffer.kind and held.buffer.kind not in SAVED:
            assert large.memory.regions[held.key].slots == small.memory.regions[held.key].slots, held.key


def test_compiling_does_not_grow_with_the_image() -> None:
    """The program has a branch for each line and each number of its rows in a step, whatever the number of rows."""
    texts = []
    for rows in (64, 128):
        built = emulator(rows, training=True)
        assert len(built.steps.programs) <= MOST * len(built.tasks)
        x = jnp.zeros((1, rows, 8, 3), jnp.float16)
        arguments = built.arguments(synthetic(net(rows), 1, 1).params, x, jnp.zeros((1, 10), jnp.float16))
        texts.append(jax.jit(built.program()).lower(*arguments).as_text().count("\n"))
    assert texts[0] == texts[1]


TIMING = """
from bitrow import zoo
from bitrow.pipeline.schedule import schedule

net = zoo.build("resnet18", (224, 224, 3))
found = schedule(net, images={images}, training={training})
"""
EMULATION = """
from bitrow.pipeline.check import order_of, slots_of
from bitrow.pipeline.emulator import Emulator
from bitrow.synthetic import synthetic

model = synthetic(net, 1, 1)
emulator = Emulator(net, order_of(found), slots=slots_of(found), training=found.flow.training)
emulator(model.params, model.samples.images, model.samples.dlogits).logits.block_until_ready()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        TIMING.format(images=64, training=True),
        TIMING.format(images=1, training=False) + EMULATION,
        TIMING.format(images=1, training=True) + EMULATION,
    ],
    ids=["timing", "forward", "both"],
)
def test_resnet18_at_224_stays_under_1_gb(script: str) -> None:
    script += "import resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1_000_000  # kB
