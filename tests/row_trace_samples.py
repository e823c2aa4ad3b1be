"""A small network with every kind of ring, and a machine on which its rows take several words of few banks."""

from __future__ import annotations

from dataclasses import replace

from bitrow.config import AddConfig, AvgPoolConfig, BatchNormConfig, ConvConfig, LinearConfig, MaxPoolConfig, ReluConfig
from bitrow.graph import INPUT, ConvSize, LinearSize, Network, Node
from bitrow.pipeline.machine import Machine
from bitrow.pipeline.schedule import Schedule, schedule

NETWORK = Network("tiny", (8, 6, 2), (
    Node("stem", ConvConfig(padding=1), (INPUT,), ConvSize(3, 3, 4)),
    Node("stem_bn", BatchNormConfig(), ("stem",)),
    Node("stem_relu", ReluConfig(), ("stem_bn",)),
    Node("main", ConvConfig(stride=2, padding=1), ("stem_relu",), ConvSize(3, 3, 5)),
    Node("main_bn", BatchNormConfig(), ("main",)),
    Node("side", ConvConfig(stride=2), ("stem_relu",), ConvSize(1, 1, 5)),
    Node("join", AddConfig(), ("side", "main_bn")),
    Node("join_relu", ReluConfig(), ("join",)),
    Node("top", MaxPoolConfig(), ("join_relu",)),
    Node("pool", AvgPoolConfig(), ("top",)),
    Node("head", LinearConfig(), ("pool",), LinearSize(3)),
), "head")  # fmt: skip
MACHINE = Machine(name="small", fxp_lanes=64, banks=6, ports=2, bank_width=32, loss_latency=40)


def run(**fields: object) -> Schedule:
    return schedule(NETWORK, replace(MACHINE, **fields), images=2)  # type: ignore[arg-type]
