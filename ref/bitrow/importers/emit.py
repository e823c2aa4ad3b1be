"""The operators' graph as a network of the accelerator's layers, with their float twin and what the file states."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bitrow.errors import BitrowError
from bitrow.float_model import FloatModel
from bitrow.graph import INPUT, Network, Node, shapes
from bitrow.importers.float_graph import FloatGraph, Refusal
from bitrow.importers.layers import CodeBits, Emitted, LayerPlace, emitted
from bitrow.importers.names import Names
from bitrow.importers.operators import FileQuantizer, Normalize, NotImported


class FloatNetwork(NamedTuple):
    """A network before it is calibrated: its float model, and by layer what the file states.

    `quantizers`: of a convolution's input and weights; `norms`: batch norms as the file has them; `layers`: the names
    of the layers that each node of the file went into; `values`: the value of the file that a layer's result is;
    `layouts`: the axes of the file's values.
    """

    network: Network
    model: FloatModel
    quantizers: dict[str, tuple[FileQuantizer | None, FileQuantizer | None]]
    norms: dict[str, Normalize]
    layers: dict[str, tuple[str, ...]]
    values: dict[str, str]
    layouts: dict[str, tuple[str, ...]]


class _Layers:
    """Nodes in order, under names of their own."""

    def __init__(self, graph: FloatGraph, bits: CodeBits) -> None:
        self._graph, self._bits, self._names = graph, bits, Names()
        self.named = {graph.input: INPUT}
        self.nodes: list[Node] = []
        self.found: dict[str, Emitted] = {}
        self.not_negative: dict[str, bool] = {INPUT: False}
        self.norms: dict[str, Normalize] = {}
        self.layers: dict[str, tuple[str, ...]] = {}

    def add(self, place: int) -> None:
        """The layer of one step. Raises: NotImported."""
        step = self._graph.steps[place]
        inputs = tuple(self.named.get(name, name) for name in step.inputs)
        shapes = (self._graph.shapes[name] for name in step.inputs)
        known = [self.not_negative.get(name, False) for name in inputs]
        made = emitted(step.op, LayerPlace(tuple(shapes), all(known), self._bits))
        name = self._names(step.name, step.kind.lower())
        self.named[step.output] = name
        self.nodes.append(Node(name, made.config, inputs, made.size))
        self.not_negative[name] = made.config.not_negative(known)
        self.found[name] = made
        if isinstance(step.op, Normalize):
            self.norms[name] = step.op
        for source in step.sources:
            self.layers[source] = (*self.layers.get(source, ()), name)


def to_network(
    graph: FloatGraph, bits: CodeBits, judge_only: bool = False
) -> tuple[FloatNetwork | None, list[Refusal]]:
    """The network, or what stands in its way; `judge_only`: the graph has holes, and no network is made.

    Raises:
        BitrowError: naming network and layer; what `Network` refuses of the whole.
    """
    made, refusals = _Layers(graph, bits), []
    for place, step in enumerate(graph.steps):
        try:
            made.add(place)
        except NotImported as error:
            refusals.append(Refusal(step.name, step.kind, str(error)))
    if refusals or judge_only:
        return None, refusals
    if not made.nodes:
        raise BitrowError(f"{graph.name}: found no layers between input and output, expected some")
    output, *more = (made.named[name] for name in graph.outputs)
    network = Network(graph.name, graph.shapes[graph.input], tuple(made.nodes), output, more_outputs=tuple(more))
    return FloatNetwork(network, _float_model(made.found), _stated(made.found), made.norms, made.layers,
                        {name: value for value, name in made.named.items()}, graph.layouts), []  # fmt: skip


def _float_model(found: dict[str, Emitted]) -> FloatModel:
    params = {name: one.twin.params for name, one in found.items() if one.twin.params is not None}
    return FloatModel(params, {name: one.twin.stats for name, one in found.items() if one.twin.stats is not None})


def _stated(found: dict[str, Emitted]) -> dict[str, tuple[FileQuantizer | None, FileQuantizer | None]]:
    return {n: (one.x_quantizer, one.w_quantizer) for n, one in found.items() if one.x_quantizer or one.w_quantizer}


def with_rescales(made: FloatNetwork, convolutions: set[str]) -> FloatNetwork:
    """A batch norm of 1 and 0 behind each of these convolutions, which can take back a power of two (SPEC.md D3)."""
    network, names = made.network, Names({INPUT, "samples", *(node.name for node in made.network.nodes)})
    behind = {node.name: names(f"{node.name}_rescale") for node in network.nodes if node.name in convolutions}
    nodes: list[Node] = []
    params, stats, norms = dict(made.model.params), dict(made.model.stats), dict(made.norms)
    for node in network.nodes:
        nodes.append(replace(node, inputs=tuple(behind.get(name, name) for name in node.inputs)))
        if node.name in behind:
            name, channels = behind[node.name], shapes(network)[node.name][2]
            ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
            op = Normalize(ones, zeros, zeros, ones, 0.0)
            norm = emitted(op, LayerPlace((shapes(network)[node.name],), False, CodeBits()))
            nodes.append(Node(name, norm.config, (node.name,)))
            params[name], stats[name], norms[name] = norm.twin.params, norm.twin.stats, op
    output, *more = (behind.get(name, name) for name in network.outputs)
    layers = {source: tuple(part for name in found for part in ((name, behind[name]) if name in behind else (name,)))
              for source, found in made.layers.items()}  # fmt: skip
    values = {behind.get(name, name): value for name, value in made.values.items()}
    rescaled = replace(network, nodes=tuple(nodes), output=output, more_outputs=tuple(more))
    return made._replace(network=rescaled, model=FloatModel(params, stats), norms=norms, layers=layers, values=values)
