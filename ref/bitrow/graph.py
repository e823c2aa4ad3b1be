"""A network as a frozen value: a graph of layers with their sizes, no arrays (SPEC.md C1, A5).

Standard library only: the pipeline, the vectors and the model file read it without JAX.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from bitrow import typed
from bitrow.config.base import MOST_ALONG, LayerConfig, LayerSize, Shape, check_extent
from bitrow.config.conv import ConvConfig, ConvSize
from bitrow.config.linear import LinearSize
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode
from bitrow.reading.records import later

INPUT = "input"  # the name of the network's input wherever a node's name may stand

MOST_LAYERS = 1 << 11  # no accelerator of this kind has more

# A name becomes a file, a SystemVerilog package and a C macro, so it must be an identifier in all three.
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Node:
    """One layer of a network: its name, its configuration, the nodes it reads and its size.

    `inputs` are names of earlier nodes or `INPUT`, as many as the configuration's `arity` (an add: operand, shortcut).
    `size` is of the configuration's `size_type`.

    Raises:
        BitrowError: a field of another type.
    """

    name: str
    config: LayerConfig
    inputs: tuple[str, ...]
    size: LayerSize | None = None

    def __post_init__(self) -> None:
        typed.coerce_fields(self, f"layer {typed.shown(self.name)}")


@dataclass(frozen=True)
class Network:
    """Layers in topological order from one input to its outputs; hashable, so it can be static under jit.

    `input_shape` is (h, w, c) of one image; `output` is the last node, or the first of several outputs, whose others
    are `more_outputs`; no layer reads an output. `mode` is the arithmetic of the sums
    of gradients where a value has several consumers (SPEC.md A5). A head reads its input flattened in
    row-major order and makes a map of shape (1, 1, c_out).

    Raises:
        BitrowError: naming network and layer, for a name that is no identifier or occurs twice, an input that
            is unknown or comes later, a layer that feeds nothing, a size that does not fit the layer or its
             input, shapes that cannot be added, or an accumulator too small for its layer (M2); a field of another
             type. More than 2,048 layers, a side, channels, kernel, stride, padding or dilation above 65,536, a map or
             weights of more than 2^28 values.
    """

    name: str
    input_shape: Shape
    nodes: tuple[Node, ...]
    output: str
    mode: FloatMode = FloatMode()
    more_outputs: tuple[str, ...] = later(())
    _shapes: tuple[tuple[str, Shape], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "network")
        if not _NAME.fullmatch(self.name):
            raise BitrowError(f"network name: found {self.name!r}, expected lower-case letters, digits and _")
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            raise BitrowError(f"{self.name} input_shape: found {self.input_shape}, expected h, w, c from 1")
        if len(self.nodes) > MOST_LAYERS:
            raise BitrowError(f"{self.name}: found {len(self.nodes):,} layers, expected at most {MOST_LAYERS:,}")
        check_extent(f"{self.name} input_shape", self.input_shape)
        object.__setattr__(self, "_shapes", tuple(_infer(self).items()))
        _check_consumers(self)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of all outputs."""
        return self.output, *self.more_outputs

    def node(self, name: str) -> Node:
        """The layer called `name`.

        Raises:
            BitrowError: the network has none of that name.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise BitrowError(f"{self.name}: found no layer {name!r}, expected one of its {len(self.nodes)}")


def shapes(network: Network) -> dict[str, Shape]:
    """Shape (h, w, c) of every value: the input under `INPUT`, every node under its name, in order."""
    return dict(network._shapes)


def consumers(network: Network) -> dict[str, tuple[str, ...]]:
    """Names of the nodes that read each value, in network order; a node that reads it twice stands twice."""
    found: dict[str, list[str]] = {name: [] for name in (INPUT, *(node.name for node in network.nodes))}
    for node in network.nodes:
        for name in node.inputs:
            found[name].append(node.name)
    return {name: tuple(readers) for name, readers in found.items()}


def weight_shape(network: Network, node: Node) -> tuple[int, ...]:
    """Shape of a layer's weights, [kh, kw, c_in/groups, c_out] or [in, out], () without weights."""
    return node.config.weight_shape(node.size, shapes(network)[node.inputs[0]])


def kernel_shape(network: Network, node: Node) -> tuple[int, int, int, int]:
    """Shape [kh, kw, c_in/groups, c_out] of a convolution's weights.

    Raises:
        BitrowError: the node is no convolution.
    """
    if not isinstance(node.size, ConvSize):
        raise BitrowError(f"{network.name} {node.name}: found no convolution, expected one")
    kh, kw, c_in, c_out = weight_shape(network, node)
    return kh, kw, c_in, c_out


def linear_shape(network: Network, node: Node) -> tuple[int, int]:
    """Shape [in, out] of a head's weights.

    Raises:
        BitrowError: the node is no head.
    """
    if not isinstance(node.size, LinearSize):
        raise BitrowError(f"{network.name} {node.name}: found no head, expected one")
    inputs, outputs = weight_shape(network, node)
    return inputs, outputs


def ending_in(network: Network, output: str) -> Network:
    """The network with one of its outputs alone, and the layers that it needs.

    Raises:
        BitrowError: the network has no output of that name.
    """
    if output not in network.outputs:
        names = ", ".join(network.outputs)
        raise BitrowError(f"{network.name} output: found {output!r}, expected one of {names}")
    wanted, nodes = {output}, []
    for node in reversed(network.nodes):
        if node.name in wanted:
            nodes.append(node)
            wanted |= set(node.inputs)
    return replace(network, nodes=tuple(nodes[::-1]), output=output, more_outputs=())


class Convolution(NamedTuple):
    """A layer whose input and weights are FXP codes: what scales, certificates and gradients of weights are about."""

    name: str
    config: ConvConfig
    size: ConvSize
    input: str


def convolutions(network: Network) -> list[Convolution]:
    """The network's convolutions, in order."""
    return [
        Convolution(node.name, node.config, node.size, node.inputs[0])
        for node in network.nodes
        if isinstance(node.config, ConvConfig) and isinstance(node.size, ConvSize)
    ]


class Summary(NamedTuple):
    """A layer at a glance: its output shape (h, w, c), its weights, its MACs for one image."""

    name: str
    kind: str
    shape: Shape
    weights: int
    macs: int


def describe(network: Network) -> list[Summary]:
    """One summary for each node, in order."""
    rows = []
    for node in network.nodes:
        shape = met = shapes(network)[node.name]
        weights = math.prod(weight_shape(network, node) or (0,))
        if isinstance(node.config, ConvConfig) and node.config.transposed:
            met = shapes(network)[node.inputs[0]]  # each of its words meets every weight of its channel
        macs = weights * met[0] * met[1]
        kind = type(node.config).__name__.removesuffix("Config").lower()
        rows.append(Summary(node.name, kind, shape, weights, macs))
    return rows


def placed(network: str, node: Node, found: Mapping[str, Shape]) -> Shape:
    """Shape (h, w, c) of a node's result in the network of this name, of those `found` before it.

    Raises:
        BitrowError: as `Network`, of the one layer.
    """
    where = f"{network} {node.name}"
    if not _NAME.fullmatch(node.name):
        raise BitrowError(f"{where}: found this name, expected lower-case letters, digits and _")
    if node.name in found:
        raise BitrowError(f"{where}: found the name twice, expected each layer's name once")
    for name in node.inputs:
        if name not in found:
            raise BitrowError(f"{where}: found input {name!r}, expected {INPUT!r} or an earlier layer")
    _check_size(where, node)
    shape = node.config.output_shape(where, node.size, [found[name] for name in node.inputs])
    check_extent(where, shape)
    return shape


def _infer(network: Network) -> dict[str, Shape]:
    found: dict[str, Shape] = {INPUT: network.input_shape}
    for node in network.nodes:
        found[node.name] = placed(network.name, node, found)
    return found


def _check_size(where: str, node: Node) -> None:
    config = node.config
    if not (len(node.inputs) == config.arity or (config.arity is None and len(node.inputs) > 1)):
        raise BitrowError(f"{where}: found {len(node.inputs)} inputs, expected {config.arity or '2 or more'}")
    expected = config.size_type or type(None)
    if type(node.size) is not expected:
        raise BitrowError(
            f"{where} size: found {node.size}, expected {expected.__name__} for {type(config).__name__}"
        )
    for name in ("stride", "padding", "kernel", "dilation"):
        value = getattr(config, name, None)
        if max(value if isinstance(value, tuple) else (value or 0,)) > MOST_ALONG:
            raise BitrowError(f"{where} {name}: found {value}, expected at most {MOST_ALONG:,}")


def _check_consumers(network: Network) -> None:
    readers = consumers(network)
    for name in network.outputs:
        if name not in readers or name == INPUT:
            raise BitrowError(f"{network.name}: found output {name!r}, expected the name of a layer")
        if network.outputs.count(name) > 1:
            raise BitrowError(f"{network.name}: found output {name!r} twice, expected each once")
    for name, found in readers.items():
        if name in network.outputs and found:
            raise BitrowError(f"{network.name} {name}: found the output read by {found[0]}, expected by none")
        if name not in network.outputs and not found:
            raise BitrowError(f"{network.name} {name}: found no layer that reads it, expected at least one")
