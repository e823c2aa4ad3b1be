"""Which rings and saved maps a network's row tasks use, and how each of them lies in memory."""

from __future__ import annotations

from dataclasses import dataclass

from bitrow.config import ConvConfig, ReluConfig
from bitrow.formats import Fxp, Gradient
from bitrow.graph import ConvSize, Network, Node
from bitrow.pipeline.memory import Layout, Store
from bitrow.pipeline.stages import Edge, Head, Stage


@dataclass(frozen=True)
class Geometry:
    """What the tasks are built for: the network's stages, images in sequence, lanes beside each other."""

    network: Network
    stages: tuple[Stage, ...]
    images: int
    lanes: int
    training: bool

    def out_edges(self, stage: Stage) -> tuple[Edge, ...]:
        """Edges that read the stage's output, in the network's order."""
        return tuple(edge for reader in self.stages for edge in reader.edges if edge.producer == stage.index)

    def conv_reader(self, edge: Edge) -> Node | None:
        """The convolution that reads an edge as codes."""
        reader = self.stages[edge.consumer]
        return reader.head if reader.kind is Head.CONV and not edge.skip else None


def row_words(shape: tuple[int, int, int]) -> int:
    """Words of a row of a map (h, w, c)."""
    return shape[1] * shape[2]


def gradient_margin(stage: Stage) -> int:
    """Zero columns on either side of a convolution's dY rows, 0 where they cannot lie in memory: with a stride."""
    if stage.head is None or not isinstance(stage.head.config, ConvConfig) or stage.head.config.stride != 1:
        return 0
    assert isinstance(stage.head.size, ConvSize)
    return max(0, stage.head.size.kw - 1 - stage.head.config.padding)


def add_regions(geometry: Geometry, layout: Layout) -> None:
    """Every ring and every saved map that the tasks use."""
    for stage in geometry.stages:
        _forward_regions(geometry, layout, stage)
        if geometry.training:
            _backward_regions(geometry, layout, stage)


def _forward_regions(geometry: Geometry, layout: Layout, stage: Stage) -> None:
    rows, words, index = stage.out_shape[0], row_words(stage.out_shape), stage.index
    for edge in geometry.out_edges(stage):
        reader = geometry.conv_reader(edge)
        store = _code_store(_conv(reader).x_format) if reader else Store.HALF
        margin = 0 if edge.skip else edge.window.padding * stage.out_shape[2]
        layout.add(("edge", edge.index), store, rows, words, margin)
    if not geometry.out_edges(stage):
        layout.add(("logits", 0), Store.HALF, rows, words)
    if stage.kind is Head.CONV:
        layout.add(("handoff", index), Store.HALF, rows, words)
    elif stage.kind is Head.AVG_POOL:
        layout.add(("sums", index), Store.WORD, rows, words)
    elif stage.kind is Head.BATCH_NORM:
        for name in ("r1", "r2"):
            layout.add((name, index), Store.WORD, rows, stage.out_shape[2])
        layout.slots = {**layout.slots, ("statistics", index): 1}
        layout.add(("statistics", index), Store.WORD, 1, 5 * stage.out_shape[2])


def _backward_regions(geometry: Geometry, layout: Layout, stage: Stage) -> None:
    rows, words, index = stage.out_shape[0], row_words(stage.out_shape), stage.index
    for edge in geometry.out_edges(stage):
        layout.add(("gradient", edge.index), Store.HALF, rows, words)
        if geometry.conv_reader(edge):
            layout.add(("mask", edge.index), Store.BYTE, rows, words)
    for place, node in enumerate(stage.chain):
        if isinstance(node.config, ReluConfig):
            layout.add((f"relu{place}", index), Store.BYTE, rows, words)
    if stage.kind is Head.SOURCE:
        layout.add(("dx", 0), Store.HALF, rows, words)
    if stage.kind is Head.MAX_POOL:
        layout.add(("index", index), Store.BYTE, rows, words)
    if stage.kind is Head.BATCH_NORM:
        for name in ("t1", "t2"):
            layout.add((name, index), Store.WORD, rows, stage.out_shape[2])
        layout.slots = {**layout.slots, ("coefficients", index): 1}
        layout.add(("coefficients", index), Store.WORD, 1, 4 * stage.out_shape[2])
    if stage.head:
        codes = stage.kind is Head.CONV and _conv(stage.head).gradient is Gradient.FXP
        store = _code_store(_conv(stage.head).dy_format) if codes else Store.HALF
        layout.add(("dy", index), store, rows, words, gradient_margin(stage) * stage.out_shape[2])


def _conv(node: Node) -> ConvConfig:
    assert isinstance(node.config, ConvConfig)
    return node.config


def _code_store(fmt: Fxp) -> Store:
    """Unsigned codes lie with the bytes."""
    return Store.CODE if fmt.signed else Store.BYTE
