"""A network small enough to compile in a second, its digits, and trainers for it."""

from __future__ import annotations

import functools

import jax

from bitrow import float_model
from bitrow.calibrate import LeastSquares
from bitrow.config import AddConfig, AvgPoolConfig, BatchNormConfig, ConvConfig, LinearConfig, MaxPoolConfig, ReluConfig
from bitrow.graph import INPUT, ConvSize, LinearSize, Network, Node
from bitrow.transfer import data, numerics, policies, pretrain
from bitrow.transfer.augment import usual
from bitrow.transfer.recipe import Recipe
from bitrow.transfer.training import Trainer


def small(classes: int = 5) -> Network:
    """A stem, a block with a shortcut, a head, on 8x8x1 images."""
    nodes = (
        Node("stem", ConvConfig(padding=1, stride=2), (INPUT,), ConvSize(3, 3, 4)),
        Node("stem_bn", BatchNormConfig(), ("stem",)),
        Node("stem_relu", ReluConfig(), ("stem_bn",)),
        Node("pool", MaxPoolConfig(2, 2), ("stem_relu",)),
        Node("c1", ConvConfig(padding=1), ("pool",), ConvSize(3, 3, 4)),
        Node("n1", BatchNormConfig(), ("c1",)),
        Node("sum", AddConfig(), ("n1", "pool")),
        Node("relu", ReluConfig(), ("sum",)),
        Node("average", AvgPoolConfig(), ("relu",)),
        Node("head", LinearConfig(), ("average",), LinearSize(classes)),
    )
    return Network("small", (8, 8, 1), nodes, "head")


@functools.cache
def digits() -> data.Transfer:
    """scikit-learn's digits, 0-4 to 5-9."""
    return data.load("digits")


@functools.cache
def pretrained(power_of_two: bool) -> pretrain.Pretrained:
    """The network as initialized, with scales: no training, which would only cost time."""
    network, none = small(), pretrain.Fit(0, 1e-3)
    model = float_model.initialize(network, 0)
    return pretrain.pretrain(network, digits().source, 0, none, none, LeastSquares(power_of_two), model)


def trainer(policy: str, name: str, power_of_two: bool) -> Trainer:
    """A trainer on the digits 5-9, on one device, in steps of 32 images, for two epochs."""
    found, target = pretrained(power_of_two), digits().target
    module, loss_scale = pretrain.ready(found, target, numerics.parse(name), 0, LeastSquares(power_of_two))
    chosen = policies.parse(policy)
    policies.prepare(module, chosen, 0)
    # delayed scales are powers of two for both: the two then share compiled programs
    recipe = Recipe(32, 1e-2, 2, 0, loss_scale, True, usual(found.network.input_shape))
    return Trainer(module, chosen, recipe, target.train, jax.devices()[:1])
