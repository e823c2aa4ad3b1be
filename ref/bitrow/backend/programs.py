"""The programs that users run, on fixed small networks: without taps, jitted whole, their bits known from the oracle.

Networks hold every kind of layer; parameters and images are `synthetic`, the same everywhere. A program's words are
hashed as `vectors.identity` hashes a kernel's. The digests in `program_digests` are the oracle's and numpy's, and the
tests compute them again (tests/program_judge.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bitrow import network as whole
from bitrow.backend import compiled
from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    LinearConfig,
    MaxPoolConfig,
    ReluConfig,
    Statistics,
)
from bitrow.formats import FP16, Gradient
from bitrow.graph import INPUT, ConvSize, LinearSize, Network, Node
from bitrow.model_file import Model
from bitrow.network import BatchNormGrad
from bitrow.parameters import Params
from bitrow.synthetic import Draw, synthetic
from bitrow.vectors.operations import Words, to_words

IMAGES = 8  # so that eight devices can share them
BATCH = BatchNormConfig(Statistics.BATCH)


def every_layer(batch_norm: BatchNormConfig = BATCH, bias: bool = False, conv: ConvConfig = ConvConfig()) -> Network:
    """A network with every kind of layer: both statistics, both pools, a shortcut, a head on a 2x2 map.

    With `conv.fold` the weights have a scale for each output channel.
    """
    size = ConvSize(3, 3, 4, per_channel=conv.fold)
    nodes = (
        Node("c1", replace(conv, padding=1), (INPUT,), replace(size, bias=bias)),
        Node("n1", batch_norm, ("c1",)),
        Node("r1", ReluConfig(six=True), ("n1",)),
        Node("m1", MaxPoolConfig(3, 2, 1), ("r1",)),
        Node("c2", replace(conv, padding=1, groups=2), ("m1",), size),
        Node("n2", BatchNormConfig(fma=True), ("c2",)),
        Node("sum", AddConfig(), ("n2", "m1")),
        Node("r2", ReluConfig(), ("sum",)),
        Node("a1", AvgPoolConfig(2), ("r2",)),
        Node("head", LinearConfig(), ("a1",), LinearSize(3)),
    )
    return Network("every_layer", (7, 8, 2), nodes, "head")


NETWORKS = {
    "frozen": every_layer(BatchNormConfig()),
    "batch": every_layer(),
    "fp16": every_layer(replace(BATCH, accumulator=FP16), bias=True, conv=ConvConfig(gradient=Gradient.FP16)),
}
# Of a training step: its freeze policy and numerics. Weight gradients are plain float32 sums and not among its words.
STEPS = (
    ("head", "bit_accurate"), ("bias", "bit_accurate"), ("lite_residual", "bit_accurate"), ("prompt", "bit_accurate"),
    ("full", "bit_accurate"), ("full", "bit_accurate-fp16"), ("full", "bit_accurate-fxp8-stochastic"),
)  # fmt: skip


@dataclass(frozen=True)
class CheckedProgram:
    """One program: `build` gives the jitted function and its arguments, `words` the result's words by name.

    `parts` is False where the batch may not be split over devices.
    """

    name: str
    build: Callable[[], tuple[Any, tuple[Any, ...]]]
    words: Callable[[Any], Words]
    parts: bool = True


@functools.cache
def model(name: str) -> Model:
    """The fixed model of a network in NETWORKS."""
    return synthetic(NETWORKS[name], 5, IMAGES)


def arrays(found: Model) -> tuple[Params, np.ndarray, np.ndarray]:
    """A model's parameters, images and dlogits."""
    assert found.samples is not None
    return dict(found.params), found.samples.images, found.samples.dlogits


def own_devices() -> list[jax.Device]:
    """As many of this process's devices as divide the images."""
    devices = jax.local_devices()
    return devices[: max(count for count in (1, 2, 4, 8) if count <= len(devices))]


def over_devices(x: Any) -> Any:
    """An array whose images are split over `own_devices`."""
    devices = own_devices()
    if len(devices) == 1:
        return jnp.asarray(x)
    return jax.device_put(x, NamedSharding(Mesh(np.array(devices), ("n",)), PartitionSpec("n")))


def forward_pass(graph: Network, params: Params, x: jax.Array) -> jax.Array:
    """Logits alone: what evaluation runs."""
    return whole.forward(graph, params, x)[0]


def training_pass(graph: Network, params: Params, x: jax.Array, dlogits: jax.Array) -> tuple[Any, Any, Any]:
    """Logits, dx and batch norms' gradients, without taps."""
    logits, saved = whole.forward(graph, params, x)
    return logits, *whole.backward(graph, params, saved, dlogits)


def pass_words(logits: Any, dx: Any = None, grads: dict[str, BatchNormGrad] | None = None) -> Words:
    """Words of a pass under the names that the digests have."""
    found = {"logits": to_words(logits)} | ({} if dx is None else {"dx": to_words(dx)})
    for name, grad in (grads or {}).items():
        found |= {f"{name}/{which}": to_words(value) for which, value in grad._asdict().items()}
    return found


def _forward(name: str) -> tuple[Any, tuple[Any, ...]]:
    params, x, _ = arrays(model(name))
    return jax.jit(functools.partial(forward_pass, NETWORKS[name])), (params, _placed(name, x))


def _pass(name: str) -> tuple[Any, tuple[Any, ...]]:
    params, x, dlogits = arrays(model(name))
    return jax.jit(functools.partial(training_pass, NETWORKS[name])), (params, _placed(name, x), _placed(name, dlogits))


def _placed(name: str, x: np.ndarray) -> jax.Array:
    return over_devices(x) if name == "frozen" else jnp.asarray(x)


def _rows(name: str, training: bool) -> tuple[Any, tuple[Any, ...]]:
    from bitrow.pipeline.check import order_of, slots_of
    from bitrow.pipeline.emulator import Emulator
    from bitrow.pipeline.policies import row_pipelined
    from bitrow.pipeline.schedule import schedule

    params, x, dlogits = arrays(model(name))
    found = schedule(NETWORKS[name], policy=row_pipelined, images=2, training=training)
    emulator = Emulator(NETWORKS[name], order_of(found), images=2, lanes=IMAGES // 2, slots=slots_of(found),
                        training=training)  # fmt: skip
    given = (jnp.asarray(x), jnp.asarray(dlogits)) if training else (jnp.asarray(x),)
    return jax.jit(emulator.program()), emulator.arguments(params, *given)


@functools.cache
def step_model(arithmetic: str) -> Model:
    """The model of a training step: the frozen network with the gradient that the numerics name."""
    from bitrow.transfer import numerics

    graph = numerics.with_gradient(NETWORKS["frozen"], numerics.parse(arithmetic).gradient)
    return synthetic(graph, 5, IMAGES)


def trained(policy: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """What a policy adds to the network, drawn and not zero, so that a step tells it: f32 of the given shapes."""
    draw = Draw(len(policy))
    return {name: (draw.triangle(256, shape) / 512).astype(np.float32) for name, shape in sorted(shapes.items())}


def step_trainer(policy: str, arithmetic: str) -> Any:
    """The Trainer of a step, over all devices that divide the batch."""
    from bitrow.transfer import network_module, numerics, policies, training
    from bitrow.transfer.data import Images
    from bitrow.transfer.recipe import Recipe

    found = step_model(arithmetic)
    params, x, _ = arrays(found)
    module = network_module.from_params(found.network, params, numerics.parse(arithmetic))
    chosen = policies.parse(policy)
    policies.prepare(module, chosen, 1)
    images = Images(np.asarray(x, np.float32), np.zeros(IMAGES, np.int32))
    recipe = Recipe(IMAGES, loss_scale=16.0)
    return training.Trainer(module, chosen, recipe, images, own_devices())


def _step(policy: str, arithmetic: str) -> tuple[Any, tuple[Any, ...]]:
    trainer = step_trainer(policy, arithmetic)
    state = trainer.start()
    added = {name: value.shape for name, value in state.params.items() if not name.startswith("layers/")}
    state = trainer.place(state._replace(params=state.params | trained(policy, added)))
    _, x, dlogits = arrays(step_model(arithmetic))
    return jax.jit(trainer.gradients), (state, jnp.asarray(x, jnp.float32), jnp.asarray(dlogits))


EPOCHS = ("lite_residual", "full")  # policies whose whole epoch, loss and update included, is compiled and read


def epoch(policy: str) -> tuple[Any, tuple[Any, ...]]:
    """The compiled epoch of a policy as `Trainer.advance` runs it, and its arguments."""
    return step_trainer(policy, "bit_accurate-delayed").program_of_epoch()


def _step_words(found: tuple[Any, dict[str, Any]]) -> Words:
    logits, grads = found
    convolutions = [f"layers/{name}/weight" for name in ("c1", "c2")]
    return {"logits": to_words(logits)} | {
        name: to_words(value) for name, value in grads.items() if name not in convolutions
    }


@functools.cache
def programs() -> dict[str, CheckedProgram]:
    """All programs by name."""
    found = []
    for name in NETWORKS:
        split = name == "frozen"
        forward, training = functools.partial(_forward, name), functools.partial(_pass, name)
        rows = functools.partial(_rows, name, True)
        found.append(CheckedProgram(f"forward {name}", forward, lambda y: pass_words(y), split))
        found.append(CheckedProgram(f"training {name}", training, lambda y: pass_words(*y), split))
        found.append(CheckedProgram(f"rows {name}", rows, lambda y: pass_words(*y[:3]), False))
    rows_forward = functools.partial(_rows, "frozen", False)
    found.append(CheckedProgram("rows forward", rows_forward, lambda y: pass_words(y.logits), False))
    for policy, arithmetic in STEPS:
        name = f"step {policy} {arithmetic}"
        found.append(CheckedProgram(name, functools.partial(_step, policy, arithmetic), _step_words))
    return {program.name: program for program in found}


def run(program: CheckedProgram) -> Words:
    """The program's words as this process computes them."""
    function, arguments = program.build()
    return program.words(function(*arguments))


def run_and_read(program: CheckedProgram) -> tuple[Words, list[compiled.Violation]]:
    """The program's words, and what in the very code that gave them may give others elsewhere."""
    function, arguments = program.build()
    executable, found = compiled.read(program.name, function, arguments)
    return program.words(executable(*arguments)), found
