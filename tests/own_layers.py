"""Layers of one's own, as a user declares them, through the row pipeline, vectors and training.

Run in a process of its own, `python own_layers.py FOLDER`, so that no test meets them among the kinds of layers. Prints
a line for each step: what it is, and of the pipeline's steps the rings that hold what they keep and take.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bitrow.config import (
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    ConvSize,
    LayerConfig,
    LinearConfig,
    LinearSize,
    ReluConfig,
)
from bitrow.config.rows import HALF, Ops, RingKind, RowPlan, elements, kept
from bitrow.contract import operations
from bitrow.contract.operation import Operation
from bitrow.contract.program import Program
from bitrow.formats import FloatMode
from bitrow.graph import INPUT, Network, Node
from bitrow.layers import table
from bitrow.layers.layer import Gradients, Layer
from bitrow.layers.rows import Rows
from bitrow.layers.twin import Twin
from bitrow.ops import fp16


@dataclass(frozen=True)
class SquareConfig(LayerConfig):
    """x * x in FP16."""

    label = "square"
    mode: FloatMode = FloatMode()

    def output_shape(self, where, size, inputs):
        return inputs[0]

    def row_plan(self, place):
        return RowPlan(buffers=(kept("input", RingKind.KEPT, HALF),))

    def row_ops(self, place, phase, rows):
        return Ops(mul=elements(place.out), add=elements(place.out) if phase.backward else 0)


FORWARD = Operation(
    "square.forward",
    Program("Z1 forward", "in x : 16, n h w c\nout y : 16, n h w c = mul x x"),
    SquareConfig, lambda config: ("F2",), by_rows=True,
)  # fmt: skip
BACKWARD = Operation(
    "square.backward",
    Program("Z1 backward", """
        kept x       : 16, n h w c
        in   dy      : 16, n h w c
             product : 16, n h w c = mul x dy
        out  dx      : 16, n h w c = add product product
    """),
    SquareConfig, lambda config: ("F2", "T1"), by_rows=True,
)  # fmt: skip


def _forward(config, params, inputs, tap):
    y = fp16.mul(inputs[0], inputs[0], config.mode)
    tap("y", y)
    return y, inputs[0]


def _gradient(config, x, dy, tap=lambda name, value: None):
    product = fp16.mul(x, dy, config.mode)
    dx = fp16.add(product, product, config.mode)
    tap("product", product)
    tap("dx", dx)
    return dx


SQUARE = Layer(
    _forward,
    lambda config, up: Gradients((_gradient(config, up.saved, up.dy, up.tap),)),
    Rows(
        lambda config, task, operands: (fp16.mul(operands[0], operands[0], config.mode), (operands[0],)),
        lambda config, task, dy: (_gradient(config, task.take("input"), dy),),
    ),
    twin=Twin(lambda config, layer, inputs: (inputs[0] * inputs[0], None), moment=lambda config, site: 3.0),
)


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
    return tuple(map(task.flat, parts))


JOIN = Layer(
    _join,
    lambda config, up: Gradients(_split(up.dy, [kept.shape[1] for kept in up.saved])),
    Rows(_row_join, _row_join_back),
)


def network() -> Network:
    """Its first reader is a convolution, its second an average pool."""
    return Network("own", (6, 5, 2), (
        Node("c1", ConvConfig(padding=1), (INPUT,), ConvSize(3, 3, 4)),
        Node("n1", BatchNormConfig(), ("c1",)),
        Node("s1", SquareConfig(), ("n1",)),
        Node("c2", ConvConfig(padding=1), ("s1",), ConvSize(3, 3, 4)),
        Node("n2", BatchNormConfig(), ("c2",)),
        Node("s2", SquareConfig(), ("n2",)),
        Node("average", AvgPoolConfig(), ("s2",)),
        Node("head", LinearConfig(), ("average",), LinearSize(3)),
    ), "head")  # fmt: skip


def joined() -> Network:
    """Three maps joined in a chain behind a convolution."""
    conv = ConvConfig(padding=1)
    return Network("joined", (7, 6, 2), (
        Node("c1", conv, (INPUT,), ConvSize(3, 3, 3)),
        Node("square", SquareConfig(), ("c1",)),
        Node("other", ReluConfig(), (INPUT,)),
        Node("c2", conv, ("square",), ConvSize(3, 3, 2)),
        Node("inner", ReluConfig(), ("c2",)),
        Node("join", JoinConfig(), ("square", "inner", "other")),
        Node("outer", ReluConfig(), ("join",)),
        Node("c3", ConvConfig(stride=2), ("outer",), ConvSize(1, 1, 2)),
    ), "c3")  # fmt: skip


def through_the_pipeline(graph: Network, training: bool) -> list[str]:
    """Scheduled, reported, and both passes emulated row by row with the bits of whole tensors; rings of what is kept
    and joined."""
    from bitrow.pipeline.check import check
    from bitrow.pipeline.report import as_dict, report
    from bitrow.pipeline.schedule import schedule
    from bitrow.synthetic import synthetic

    found = schedule(graph, images=2, training=training)
    assert as_dict(report(found))
    if training:
        model = synthetic(graph, 1, 2)
        assert model.samples is not None
        x, dlogits = jnp.asarray(model.samples.images), jnp.asarray(model.samples.dlogits)
        assert check(found, model.params, x, dlogits).words
    return [ring.name for ring in found.rings if ring.kind in (RingKind.KEPT, RingKind.SKIP)]


def through_vectors(model: Any, folder: Path) -> None:
    """Drawn words of every bin, and the network's pass, as a set that is sound and can be computed again."""
    from bitrow.testing import problem_for
    from bitrow.vectors import generate
    from bitrow.vectors.files import store
    from bitrow.vectors.files.check import check
    from bitrow.vectors.judge import networks
    from test_testing_strategies import sample

    drawn = [
        problem._replace(name=f"{name.replace('.', '_')}_{place}")
        for name in ("square.forward", "square.backward")
        for place, problem in enumerate(sample(problem_for(name), 3))
    ]
    walked = networks.problems(model, "own", slice(1), generate.run_problem)
    made = generate.generate(folder / "set", [*drawn, *walked], 1, "own")
    assert check(made.path) == []
    mine = [name for name in store.case_names(made.path) if "square" in name or "_s1_" in name or "_s2_" in name]
    assert len(mine) == 6 + 4
    for name in mine:
        assert generate.recompute(store.read_case(made.path, name)) == []


def through_training(model: Any) -> None:
    """An epoch in bit-accurate numerics: the gradient reaches the first norm through both, and frozen layers stay."""
    from bitrow import calibrate, float_model
    from bitrow.calibrate import LeastSquares
    from bitrow.transfer import network_module, numerics, policies
    from bitrow.transfer.data import Images
    from bitrow.transfer.recipe import Recipe
    from bitrow.transfer.training import Trainer

    graph, rng, rule = model.network, np.random.default_rng(3), LeastSquares(True)
    x, y = rng.standard_normal((16, *graph.input_shape)).astype(np.float32), rng.integers(0, 3, 16).astype(np.int32)
    twin = float_model.initialize(graph, 2)
    head = jnp.asarray(rng.standard_normal(twin.params["head"].weight.shape) / 4, jnp.float32)
    twin.params["head"] = twin.params["head"]._replace(weight=head)
    scales = calibrate.forward_scales(graph, twin, x, rule)
    dy = calibrate.gradient_scales(graph, twin, scales, x, y, rule).dy_scale
    params = calibrate.make_params(graph, twin, scales, dy)
    module = network_module.from_params(graph, params, numerics.parse("bit_accurate"), twin, scales)
    policy = policies.parse("bias")
    policies.prepare(module, policy, 0)
    trainer = Trainer(module, policy, Recipe(8, 1e-2, 1, 0, 256.0, True, None), Images(x, y), jax.devices()[:1])
    before = trainer.start()
    after, metrics = trainer.epoch(before, 0)
    moved = [name for name, value in after.params.items() if not np.array_equal(value, before.params[name])]
    assert "layers/n1/shift" in moved and np.isfinite(metrics.loss).all(), moved


def main(folder: Path) -> None:
    from bitrow.synthetic import synthetic

    table.LAYERS |= {SquareConfig: SQUARE, JoinConfig: JOIN}
    operations.register(FORWARD, BACKWARD)
    for graph in (network(), joined()):
        for training in (True, False):
            print("pipeline", *through_the_pipeline(graph, training))
    model = synthetic(network(), 1, 2)
    through_vectors(model, folder)
    print("vectors")
    through_training(model)
    print("training")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
