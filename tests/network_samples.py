"""Small networks and helpers that the network tests share."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np

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
from bitrow.formats import FloatMode
from bitrow.graph import INPUT, ConvSize, LinearSize, Network, Node

BATCH = BatchNormConfig(Statistics.BATCH)


def assert_same_bits(found, expected, what: str = "value") -> None:
    """Same structure, dtypes, shapes and bits in two pytrees of arrays."""
    assert jax.tree.structure(found) == jax.tree.structure(expected), what
    pairs = zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True)
    for (path, a), b in pairs:
        a, b = np.asarray(a), np.asarray(b)
        where = what + jax.tree_util.keystr(path)
        assert a.dtype == b.dtype and a.shape == b.shape, where
        bits = f"u{a.dtype.itemsize}"
        np.testing.assert_array_equal(a.view(bits), b.view(bits), err_msg=where)


def every_layer(
    batch_norm: BatchNormConfig = BATCH, bias: bool = False, conv: ConvConfig = ConvConfig()
) -> Network:
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


def branches(order: tuple[str, ...], mode: FloatMode = FloatMode()) -> Network:
    """The input read by frozen batch norms in the given order, whose outputs are added up."""
    nodes = [Node(name, BatchNormConfig(), (INPUT,)) for name in order]
    total = order[0]
    for position, name in enumerate(order[1:], start=1):
        nodes.append(Node(f"add{position}", AddConfig(), (total, name)))
        total = f"add{position}"
    return Network("branches", (1, 2, 1), tuple(nodes), total, mode)
