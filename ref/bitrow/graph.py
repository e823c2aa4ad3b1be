"""A network as a frozen value: a graph of layers with their sizes, no arrays (SPEC.md C1, A5).

Standard library only: the pipeline, the vectors and the model file read it without JAX.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from bitrow import typed
from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    LayerConfig,
    LinearConfig,
    MaxPoolConfig,
    ReluConfig,
    output_size,
)
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode

INPUT = "input"  # the name of the network's input wherever a node's name may stand

Shape = tuple[int, int, int]

# What no accelerator of this kind has: beyond it a network is a mistake, or made to fill memory.
MOST_LAYERS = 1 << 11
MOST_ALONG = 1 << 16  # of a side, channels, a kernel, a stride, a padding
MOST_VALUES = 1 << 28  # of a map or of weights

# A name becomes a file, a SystemVerilog package and a C macro, so it must be an identifier in all three.
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class ConvSize:
    """Size of a convolution: kernel rows and columns, output channels, and which parameters it has.

    `per_channel`: one weight scale for each output channel (SPEC.md F8); `bias`: an FP16 bias (D3).

    Raises:
        BitrowError: a field of another type.
    """

    kh: int
    kw: int
    c_out: int
    per_channel: bool = False
    bias: bool = False

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "convolution size")


@dataclass(frozen=True)
class LinearSize:
    """Size of a classifier head: its number of outputs.

    Raises:
        BitrowError: no int.
    """

    c_out: int

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "head size")


@dataclass(frozen=True)
class Node:
    """One layer of a network: its name, its configuration, the nodes it reads and its size.

    `inputs` are names of earlier nodes or `INPUT`: two for an add (operand, shortcut), one for any other
    layer. `size` is a ConvSize for a convolution, a LinearSize for a head, None for the rest.

    Raises:
        BitrowError: a field of another type.
    """

    name: str
    config: LayerConfig
    inputs: tuple[str, ...]
    size: ConvSize | LinearSize | None = None

    def __post_init__(self) -> None:
        typed.coerce_fields(self, f"layer {typed.shown(self.name)}")


@dataclass(frozen=True)
class Network:
    """Layers in topological order from one input to one output; hashable, so it can be static under jit.

    `input_shape` is (h, w, c) of one image; `output` is the last node; `mode` is the arithmetic of the sums
    of gradients where a value has several consumers (SPEC.md A5). A head reads its input flattened in
    row-major order and makes a map of shape (1, 1, c_out).

    Raises:
        BitrowError: naming network and layer, for a name that is no identifier or occurs twice, an input that
            is unknown or comes later, a layer that feeds nothing, a size that does not fit the layer or its
             input, shapes that cannot be added, or an accumulator too small for its layer (M2); a field of another
             type. More than 2,048 layers, a side, channels, kernel, stride or padding above 65,536, a map or weights
             of more than 2^28 values.
    """

    name: str
    input_shape: Shape
    nodes: tuple[Node, ...]
    output: str
    mode: FloatMode = FloatMode()
    _shapes: tuple[tuple[str, Shape], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "network")
        if not _NAME.fullmatch(self.name):
            raise BitrowError(f"network name: found {self.name!r}, expected lower-case letters, digits and _")
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            raise BitrowError(f"{self.name} input_shape: found {self.input_shape}, expected h, w, c from 1")
        if len(self.nodes) > MOST_LAYERS:
            raise BitrowError(f"{self.name}: found {len(self.nodes):,} layers, expected at most {MOST_LAYERS:,}")
        _check_values(f"{self.name} input_shape", self.input_shape)
        object.__setattr__(self, "_shapes", tuple(_infer(self).items()))
        _check_consumers(self)

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


def kernel_shape(network: Network, node: Node) -> tuple[int, int, int, int]:
    """Shape [kh, kw, c_in/groups, c_out] of a convolution's weights.

    Raises:
        BitrowError: the node is no convolution.
    """
    if not (isinstance(node.config, ConvConfig) and isinstance(node.size, ConvSize)):
        raise BitrowError(f"{network.name} {node.name}: found no convolution, expected one")
    c_in = shapes(network)[node.inputs[0]][2]
    return node.size.kh, node.size.kw, c_in // node.config.groups, node.size.c_out


def linear_shape(network: Network, node: Node) -> tuple[int, int]:
    """Shape [in, out] of a head's weights.

    Raises:
        BitrowError: the node is no head.
    """
    if not isinstance(node.size, LinearSize):
        raise BitrowError(f"{network.name} {node.name}: found no head, expected one")
    h, w, c = shapes(network)[node.inputs[0]]
    return h * w * c, node.size.c_out


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
        shape = shapes(network)[node.name]
        weights = macs = 0
        if isinstance(node.config, ConvConfig):
            kh, kw, c_in, c_out = kernel_shape(network, node)
            weights = kh * kw * c_in * c_out
            macs = weights * shape[0] * shape[1]
        elif isinstance(node.config, LinearConfig):
            c_in, c_out = linear_shape(network, node)
            weights = macs = c_in * c_out
        kind = type(node.config).__name__.removesuffix("Config").lower()
        rows.append(Summary(node.name, kind, shape, weights, macs))
    return rows


def _infer(network: Network) -> dict[str, Shape]:
    found: dict[str, Shape] = {INPUT: network.input_shape}
    for node in network.nodes:
        where = f"{network.name} {node.name}"
        if not _NAME.fullmatch(node.name):
            raise BitrowError(f"{where}: found this name, expected lower-case letters, digits and _")
        if node.name in found:
            raise BitrowError(f"{where}: found the name twice, expected each layer's name once")
        for name in node.inputs:
            if name not in found:
                raise BitrowError(f"{where}: found input {name!r}, expected {INPUT!r} or an earlier layer")
        _check_size(where, node)
        found[node.name] = _output_shape(where, node, [found[name] for name in node.inputs])
        _check_values(where, found[node.name])
    return found


def _check_size(where: str, node: Node) -> None:
    arity = 2 if isinstance(node.config, AddConfig) else 1
    if len(node.inputs) != arity:
        raise BitrowError(f"{where}: found {len(node.inputs)} inputs, expected {arity}")
    kind = type(node.config).__name__
    expected = {"ConvConfig": ConvSize, "LinearConfig": LinearSize}.get(kind, type(None))
    if type(node.size) is not expected:
        raise BitrowError(f"{where} size: found {node.size}, expected {expected.__name__} for {kind}")
    if isinstance(node.size, ConvSize) and min(node.size.kh, node.size.kw, node.size.c_out) < 1:
        raise BitrowError(f"{where} size: found {node.size}, expected kernel and channels from 1 up")
    _check_window(where, node.config)
    if isinstance(node.size, LinearSize) and node.size.c_out < 1:
        raise BitrowError(f"{where} size: found {node.size.c_out} outputs, expected 1 or more")


def _check_values(where: str, shape: tuple[int, ...], what: str = "a map") -> None:
    if max(shape) > MOST_ALONG or math.prod(shape) > MOST_VALUES:
        found = "x".join(map(str, shape))
        raise BitrowError(
            f"{where}: found {what} of {found}, expected sides up to {MOST_ALONG:,} and up to {MOST_VALUES:,} values"
        )


def _check_window(where: str, config: LayerConfig) -> None:
    """Refuse a stride or padding that is out of all proportion."""
    for name in ("stride", "padding", "kernel"):
        value = getattr(config, name, None)
        if value is not None and value > MOST_ALONG:
            raise BitrowError(f"{where} {name}: found {value}, expected at most {MOST_ALONG:,}")


def _window(where: str, shape: Shape, kernel: tuple[int, int], stride: int, padding: int) -> tuple[int, int]:
    h, w, _ = shape
    rows = output_size(h, kernel[0], stride, padding)
    columns = output_size(w, kernel[1], stride, padding)
    if rows < 1 or columns < 1:
        raise BitrowError(
            f"{where}: found a {kernel[0]}x{kernel[1]} window on a {h}x{w} map padded by {padding}, "
            f"expected it to fit"
        )
    return rows, columns


def _conv_shape(where: str, config: ConvConfig, size: ConvSize, shape: Shape) -> Shape:
    if shape[2] % config.groups:
        raise BitrowError(
            f"{where}: found {shape[2]} input channels, expected a multiple of {config.groups} groups"
        )
    kernel = (size.kh, size.kw, shape[2] // config.groups, size.c_out)
    _check_values(where, kernel, "weights")
    config.check(where, kernel)
    return (*_window(where, shape, (size.kh, size.kw), config.stride, config.padding), size.c_out)


def _output_shape(where: str, node: Node, inputs: list[Shape]) -> Shape:
    shape = inputs[0]
    match node.config, node.size:
        case ConvConfig() as config, ConvSize() as size:
            return _conv_shape(where, config, size, shape)
        case LinearConfig(), LinearSize() as size:
            _check_values(where, (*shape, size.c_out), "weights")
            return 1, 1, size.c_out
        case MaxPoolConfig() as config, None:
            kernel = (config.kernel, config.kernel)
            return (*_window(where, shape, kernel, config.stride, config.padding), shape[2])
        case AvgPoolConfig(kernel=None), None:
            return 1, 1, shape[2]
        case AvgPoolConfig(kernel=int(kernel)), None:
            return (*_window(where, shape, (kernel, kernel), kernel, 0), shape[2])
        case AddConfig(), None:
            if inputs[0] != inputs[1]:
                raise BitrowError(
                    f"{where}: found operands {inputs[0]} and {inputs[1]}, expected equal shapes"
                )
            return shape
        case ((BatchNormConfig() | ReluConfig()), None):
            return shape
    raise BitrowError(f"{where}: found config {type(node.config).__name__}, expected a layer's config")


def _check_consumers(network: Network) -> None:
    readers = consumers(network)
    if network.output not in readers or network.output == INPUT:
        raise BitrowError(f"{network.name}: found output {network.output!r}, expected the name of a layer")
    for name, found in readers.items():
        if name == network.output and found:
            raise BitrowError(f"{network.name} {name}: found the output read by {found[0]}, expected by none")
        if name != network.output and not found:
            raise BitrowError(f"{network.name} {name}: found no layer that reads it, expected at least one")
