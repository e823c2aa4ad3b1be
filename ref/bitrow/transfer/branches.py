"""What transfer learning adds to a frozen network: lite residual branches and an input prompt.

Both are small and trainable, and run in FP16 with FP32 sums in a stated order (`ordered`), beside the layers of
the contract. A branch reads a block's input and is added to the block's output by `fp16_add` (SPEC.md A2), so
that its gradient crosses the frozen blocks behind it (after TinyTL, Cai et al., NeurIPS 2020).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from bitrow.config import AddConfig, AvgPoolConfig, ReluConfig
from bitrow.graph import INPUT, Network, Shape, consumers, convolutions, shapes
from bitrow.layers import residual
from bitrow.layers.table import layer
from bitrow.transfer import ordered
from bitrow.transfer.modules import LayerModule, Pool, Relu

LEAST_RANK = 4


class Block(NamedTuple):
    """A block: the value that enters it and the one that leaves it, where a branch goes beside it."""

    start: str
    end: str


def blocks(network: Network) -> list[Block]:
    """The network's blocks in order, but for the one at the input.

    A block begins and ends at values through which everything passes, holds at least one convolution, and ends
    with the batch norm that follows a convolution.
    """
    cuts = _cuts(network)
    order = {INPUT: -1} | {node.name: place for place, node in enumerate(network.nodes)}
    found, done = [], -1
    for conv in convolutions(network):
        if order[conv.name] <= done:
            continue
        start = max((cut for cut in cuts if order[cut] < order[conv.name]), key=order.__getitem__)
        after = [cut for cut in cuts if order[cut] >= order[conv.name]]
        end = after[0]
        if end == conv.name and len(after) > 1 and layer(network.node(after[1]).config).twin.normalizes:
            end = after[1]
        done = order[end]
        if start != INPUT:
            found.append(Block(start, end))
    return found


def _cuts(network: Network) -> list[str]:
    """Values from which every edge that passes them begins, in order."""
    last_reader = {}
    order = {node.name: place for place, node in enumerate(network.nodes)}
    for name, readers in consumers(network).items():
        last_reader[name] = max((order[reader] for reader in readers), default=len(network.nodes))
    cuts, furthest = [], -1
    for place, name in enumerate([INPUT, *order]):
        if furthest < place:  # nothing before `name` is read after it
            cuts.append(name)
        furthest = max(furthest, last_reader[name])
    return cuts


class LiteResidual(LayerModule):
    """A branch: 2x2 average pool, pointwise to `rank` channels, ReLU, pointwise to c_out, repeated to the block's size.

    It begins as zero: its second weights are. `rank` is a quarter of the input's channels, at least 4.
    """

    def __init__(self, start: Shape, end: Shape, rng: np.random.Generator) -> None:
        super().__init__()
        rank = max(LEAST_RANK, start[2] // 4)
        deviation = np.sqrt(2 / start[2])
        self.size = end[:2]
        self.pool = _pool(start, end)
        self.relu = Relu(ReluConfig())
        self.down = nnx.Param(jnp.asarray(rng.standard_normal((start[2], rank)) * deviation, jnp.float32))
        self.up = nnx.Param(jnp.zeros((rank, end[2]), jnp.float32))

    def __call__(self, x: Array) -> Array:
        """What is added to the block's output [n,oh,ow,c_out], from its input [n,h,w,c_in]."""
        if self.pool is not None:
            x = self.pool(x)
        down, up = self.down.get_value(), self.up.get_value()
        if self.in_float:
            return _repeat(self.relu(x @ down) @ up, self.size)
        return ordered.upsample(ordered.pointwise(self.relu(ordered.pointwise(x, down)), up), self.size)


def _pool(start: Shape, end: Shape) -> Pool | None:
    """A pool of 2, or more where the block's output is smaller than half its input; none on a 1x1 map."""
    kernel = max(2, -(-start[0] // end[0]), -(-start[1] // end[1]))
    if kernel > min(start[:2]):
        return Pool(AvgPoolConfig(None)) if max(start[:2]) > 1 else None
    return Pool(AvgPoolConfig(kernel))


def _repeat(x: Array, size: tuple[int, int]) -> Array:
    (h, w), (rows, columns) = x.shape[1:3], size
    x = jnp.repeat(jnp.repeat(x, rows // h, axis=1), columns // w, axis=2)
    return jnp.pad(x, ((0, 0), (0, rows % h), (0, columns % w), (0, 0)))


class Prompt(LayerModule):
    """A trainable perturbation of the input, the same for every image, added by `fp16_add`; it begins as zero."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.delta = nnx.Param(jnp.zeros(shape, jnp.float32))

    def __call__(self, x: Array) -> Array:
        """x + delta, [n,h,w,c]."""
        delta = self.delta.get_value()
        if self.in_float:
            return x + jnp.broadcast_to(delta, x.shape)
        return residual.apply(AddConfig(), x, ordered.per_image(x.shape[0], delta))


def parameters(network: Network) -> int:
    """How many trainable numbers the branches of `network` have."""
    sizes, total = shapes(network), 0
    for place in blocks(network):
        c_in, c_out = sizes[place.start][2], sizes[place.end][2]
        rank = max(LEAST_RANK, c_in // 4)
        total += rank * (c_in + c_out)
    return total
