"""Layers that the pipeline has never heard of: what they declare is enough to schedule, emulate and report them.

They live in a process of their own, so that no other test meets them among the kinds of layers.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from bitrow.config import ConvConfig, LayerConfig, ReluConfig
from bitrow.config.rows import HALF, Ops, RingKind, RowPlan, elements, kept
from bitrow.graph import INPUT, ConvSize, Network, Node
from bitrow.layers import table
from bitrow.layers.layer import Gradients, Layer
from bitrow.layers.rows import Rows
from bitrow.ops import fp16


def test_layers_of_their_own_run_by_rows() -> None:
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "c1.square.input c2.join.skip0 c2.join.skip2"


def _declare() -> tuple[type[LayerConfig], type[LayerConfig]]:
    @dataclass(frozen=True)
    class SquareConfig(LayerConfig):
        """x * x: an elementwise layer that keeps its FP16 input for the backward pass."""

        label = "square"

        def output_shape(self, where, size, inputs):
            return inputs[0]

        def row_plan(self, place):
            return RowPlan(buffers=(kept("input", RingKind.KEPT, HALF),))

        def row_ops(self, place, phase, rows):
            return Ops(mul=(2 if phase.backward else 1) * elements(place.out))

    @dataclass(frozen=True)
    class JoinConfig(LayerConfig):
        """Its inputs' channels side by side."""

        label = "join"
        arity = None

        def output_shape(self, where, size, inputs):
            return (*inputs[0][:2], sum(shape[2] for shape in inputs))

        def row_plan(self, place):
            return RowPlan()

        def row_ops(self, place, phase, rows):
            return Ops()

    return SquareConfig, JoinConfig


def _square(config, params, inputs, tap):
    y = fp16.mul(inputs[0], inputs[0])
    tap("y", y)
    return y, inputs[0]


def _square_back(x, dy):
    product = fp16.mul(x, dy)
    return fp16.add(product, product)


def _split(dy, channels):
    return tuple(jnp.split(dy, np.cumsum(channels)[:-1], axis=-1))


def _join(config, params, inputs, tap):
    y = jnp.concatenate(inputs, axis=-1)
    tap("y", y)
    return y, [jnp.zeros((0, x.shape[3])) for x in inputs]


def _row_join(config, task, operands):
    columns = task.place.out[1]
    return jnp.concatenate([x.reshape(x.shape[0], 1, columns, -1) for x in operands], axis=-1), ()


def _row_join_back(config, task, dy):
    _, columns, channels = task.place.out
    parts = _split(dy.reshape(-1, 1, columns, channels), [shape[2] for shape in task.place.inputs])
    return tuple(x.reshape(x.shape[0], 1, 1, -1) for x in parts)


def _network() -> Network:
    square, join = _declare()
    rows = Rows(
        lambda config, task, operands: (fp16.mul(operands[0], operands[0]), (operands[0],)),
        lambda config, task, dy: (_square_back(task.take("input"), dy),),
    )
    table.LAYERS[square] = Layer(_square, lambda _, up: Gradients((_square_back(up.saved, up.dy),)), rows)
    back = lambda _, up: Gradients(_split(up.dy, [kept.shape[1] for kept in up.saved]))  # noqa: E731
    table.LAYERS[join] = Layer(_join, back, Rows(_row_join, _row_join_back))
    conv = ConvConfig(padding=1)
    nodes = (
        Node("c1", conv, (INPUT,), ConvSize(3, 3, 3)),
        Node("square", square(), ("c1",)),
        Node("other", ReluConfig(), (INPUT,)),
        Node("c2", conv, ("square",), ConvSize(3, 3, 2)),
        Node("inner", ReluConfig(), ("c2",)),
        Node("join", join(), ("square", "inner", "other")),
        Node("outer", ReluConfig(), ("join",)),
        Node("c3", ConvConfig(stride=2), ("outer",), ConvSize(1, 1, 2)),
    )
    return Network("own", (7, 6, 2), nodes, "c3")


def main() -> None:
    from bitrow.pipeline.check import check
    from bitrow.pipeline.report import as_dict, report
    from bitrow.pipeline.schedule import schedule
    from bitrow.synthetic import synthetic

    model = synthetic(_network(), 1, 2)
    assert model.samples is not None
    for training in (True, False):
        found = schedule(model.network, images=2, training=training)
        checked = check(found, model.params, jnp.asarray(model.samples.images), jnp.asarray(model.samples.dlogits))
        assert checked.words and as_dict(report(found))
        new = [ring.name for ring in found.rings if ring.kind in (RingKind.KEPT, RingKind.SKIP)]
        print(*new)


if __name__ == "__main__":
    main()
