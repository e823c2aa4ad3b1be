"""Small networks and helpers that the network tests share."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from bitrow import network as run
from bitrow.backend.programs import BATCH, every_layer
from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConcatConfig,
    ConvConfig,
    ConvSize,
    HardSwishConfig,
    LinearConfig,
    LinearSize,
    ReluConfig,
)
from bitrow.formats import FloatMode
from bitrow.graph import INPUT, Network, Node
from bitrow.vectors.judge import stepwise

__all__ = ["BATCH", "assert_same_bits", "backward", "branches", "every_layer", "forward", "joined",
           "training_pass"]  # fmt: skip


def forward(network: Network, params: Any, x: Any) -> tuple[Any, Any]:
    """`network.forward` operation by operation, by small programs that networks of every shape share."""
    return jax.tree.map(jax.numpy.asarray, stepwise.run(lambda given: run.forward(network, *given), (params, x)))


def backward(network: Network, params: Any, saved: Any, dlogits: Any) -> tuple[Any, Any]:
    """`network.backward` in the same way."""
    return stepwise.run(lambda given: run.backward(network, *given), (params, saved, dlogits))


def training_pass(network: Network, params: Any, x: Any, dlogits: Any) -> run.TrainingPass:
    """`network.training_pass` in the same way."""
    return stepwise.run(lambda given: run.training_pass(network, *given), (params, x, dlogits))


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


def branches(order: tuple[str, ...], mode: FloatMode = FloatMode()) -> Network:
    """The input read by frozen batch norms in the given order, whose outputs are added up."""
    nodes = [Node(name, BatchNormConfig(), (INPUT,)) for name in order]
    total = order[0]
    for position, name in enumerate(order[1:], start=1):
        nodes.append(Node(f"add{position}", AddConfig(), (total, name)))
        total = f"add{position}"
    return Network("branches", (1, 2, 1), tuple(nodes), total, mode)


def joined(batch_norm: BatchNormConfig = BatchNormConfig()) -> Network:
    """Hard swishes, and concatenations of maps of unlike channels, one of them the input."""
    conv, size = ConvConfig(padding=1), ConvSize(3, 3, 4)
    return Network("joined", (8, 7, 3), (
        Node("c1", conv, (INPUT,), size),
        Node("n1", batch_norm, ("c1",)),
        Node("h1", HardSwishConfig(), ("n1",)),
        Node("c2", conv, ("h1",), ConvSize(3, 3, 6)),
        Node("h2", HardSwishConfig(), ("c2",)),
        Node("cat1", ConcatConfig(), ("h1", "h2")),
        Node("r1", ReluConfig(), ("cat1",)),
        Node("cat2", ConcatConfig(), ("r1", INPUT)),
        Node("c3", conv, ("cat2",), size),
        Node("a1", AvgPoolConfig(), ("c3",)),
        Node("head", LinearConfig(), ("a1",), LinearSize(3)),
    ), "head")  # fmt: skip
