"""What a user writes who wants float32 and no accelerator: resnet8 with lite residual branches in flax and optax.

Convolutions and batch norms are flax's own, frozen, the norms on their running statistics; the branches and the head
train. The shapes are those of `bitrow.zoo.resnet8` and `bitrow.transfer.branches`.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

RATE = 1e-2


class Block(nnx.Module):
    """A basic block; `stride` 2 has a projection."""

    def __init__(self, c_in: int, c_out: int, stride: int, rngs: nnx.Rngs) -> None:
        self.first, self.first_norm = _conv(c_in, c_out, 3, stride, rngs)
        self.second, self.second_norm = _conv(c_out, c_out, 3, 1, rngs)
        self.project = nnx.data(_conv(c_in, c_out, 1, stride, rngs) if stride != 1 or c_in != c_out else None)

    def __call__(self, x: Array) -> Array:
        y = nnx.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        if self.project is not None:
            conv, norm = self.project
            x = norm(conv(x))
        return y + x


class Trained(nnx.Param):
    """A parameter of a branch or the head."""


class Branch(nnx.Module):
    """2x2 average pool, pointwise to a quarter of the channels, ReLU, pointwise, repeated to the block's size."""

    def __init__(self, c_in: int, c_out: int, rngs: nnx.Rngs) -> None:
        rank = max(4, c_in // 4)
        self.down = Trained(jax.random.normal(rngs.params(), (c_in, rank)) * (2 / c_in) ** 0.5)
        self.up = Trained(jnp.zeros((rank, c_out)))

    def __call__(self, x: Array, rows: int) -> Array:
        x = nnx.avg_pool(x, (2, 2), (2, 2))
        y = nnx.relu(x @ self.down.get_value()) @ self.up.get_value()
        times = rows // y.shape[1]
        return jnp.repeat(jnp.repeat(y, times, axis=1), times, axis=2)


class ResNet8(nnx.Module):
    """Logits [n, classes] of images f32[n,h,w,c]."""

    def __init__(self, channels: int, classes: int, width: float, rngs: nnx.Rngs) -> None:
        sizes = [int(c * width + 0.5) for c in (16, 16, 32, 64)]
        self.stem, self.stem_norm = _conv(channels, sizes[0], 3, 1, rngs)
        pairs = list(itertools.pairwise(sizes))
        self.blocks = nnx.List([Block(a, b, 1 if at == 0 else 2, rngs) for at, (a, b) in enumerate(pairs)])
        self.branches = nnx.List([Branch(a, b, rngs) for a, b in pairs])
        self.weight = Trained(jax.random.normal(rngs.params(), (sizes[-1], classes)) / sizes[-1] ** 0.5)
        self.bias = Trained(jnp.zeros(classes))

    def __call__(self, x: Array) -> Array:
        x = nnx.relu(self.stem_norm(self.stem(x)))
        for block, branch in zip(self.blocks, self.branches, strict=True):
            y = block(x)
            x = nnx.relu(y + branch(x, y.shape[1]))
        return x.mean((1, 2)) @ self.weight.get_value() + self.bias.get_value()


def _conv(c_in: int, c_out: int, kernel: int, stride: int, rngs: nnx.Rngs) -> tuple[nnx.Conv, nnx.BatchNorm]:
    pad = kernel // 2
    conv = nnx.Conv(
        c_in, c_out, (kernel, kernel), strides=stride, padding=[(pad, pad)] * 2, use_bias=False, rngs=rngs
    )
    return conv, nnx.BatchNorm(c_out, use_running_average=True, rngs=rngs)


def step(shape: tuple[int, int, int], classes: int, width: float) -> tuple[Any, tuple[Any, Any, Any]]:
    """A step (trained, rest, optimizer's state, x, y) -> (trained, optimizer's state, loss), and its first three."""
    module = ResNet8(shape[2], classes, width, nnx.Rngs(0))
    graph, trained, rest = nnx.split(module, Trained, ...)
    optimizer = optax.adam(RATE)

    def run(trained: Any, rest: Any, state: Any, x: Array, y: Array) -> tuple[Any, Any, Array]:
        def loss_of(trained: Any) -> Array:
            logits = nnx.merge(graph, trained, rest)(x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        loss, grads = jax.value_and_grad(loss_of)(trained)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(trained, updates), state, loss

    return run, (trained, rest, optimizer.init(trained))
