"""What a transferred network still knows of the source task, and replay, which keeps more of it.

The head that the transfer leaves behind is put back on the network as it now is, with its prompt and branches. With
replay that head stays: its classes follow the target's, source images are a part of every batch, and each image's loss
is over its own task's classes.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from bitrow.transfer.data import Images, Transfer
from bitrow.transfer.epoch import State
from bitrow.transfer.evaluation import evaluate
from bitrow.transfer.modules import Head
from bitrow.transfer.network_module import NetworkModule, take_apart
from bitrow.transfer.numerics import Numerics, TrainingNumerics
from bitrow.transfer.pretrain import Pretrained, new_head
from bitrow.transfer.training import Trainer


class SourceTask(NamedTuple):
    """The source's test images, and the head that was pretrained for it: weight f32[in, classes], bias f32[classes]."""

    test: Images
    weight: Array
    bias: Array


class SourceAccuracy(NamedTuple):
    """Share of the source's test images that are right, with the network as transfer found it and as it left it."""

    before: float
    after: float


def task(data: Transfer, found: Pretrained, arithmetic: TrainingNumerics) -> SourceTask | None:
    """The source task of runs in `arithmetic`, None where the data has no source."""
    if not data.source.classes:
        return None
    model = found.model if arithmetic.numerics is Numerics.FLOAT32 else found.tuned
    head = model.params[found.network.output]
    return SourceTask(data.source.test, head.weight, head.bias)


def give_head(module: NetworkModule, weight: Array, bias: Array) -> None:
    """Put a head of these masters, weight f32[in, classes] and bias f32[classes], in place of the module's."""
    output = module.network.output
    head = Head(_head(module).config, weight, bias)
    head.set_attributes(numerics=module.numerics)
    module.network, module.layers[output] = new_head(module.network, len(bias)), head


def widen(module: NetworkModule, source: SourceTask) -> None:
    """Let the source's classes follow the module's own, under the head that was pretrained for them."""
    weight, bias = _masters(module)
    give_head(module, jnp.concatenate([weight, source.weight], 1), jnp.concatenate([bias, source.bias]))


def measure(trainer: Trainer, state: State, source: SourceTask) -> SourceAccuracy:
    """The accuracy on the source of the trainer's first state and of `state`: under the pretrained head, or with
    replay under what has become of it.
    """
    before, after = (_accuracy(trainer, each, source) for each in (trainer.start(), state))
    return SourceAccuracy(before, after)


def _accuracy(trainer: Trainer, state: State, source: SourceTask) -> float:
    module, first = trainer.module(state), trainer.program.classes
    weight, bias = source.weight, source.bias
    if first:
        weight, bias = (part[..., first:] for part in _masters(module))
    give_head(module, weight, bias)
    module.loss_scale = None
    return evaluate(take_apart(module), trainer.mesh, source.test)


def _head(module: NetworkModule) -> Head:
    head = module.layers[module.network.output]
    assert isinstance(head, Head)
    return head


def _masters(module: NetworkModule) -> tuple[Array, Array]:
    head = _head(module)
    return head.weight.get_value(), head.bias.get_value()
