"""A network as C: a function for each layer and direction, one for the whole pass, parameters as constants."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from bitrow.contract import elementwise
from bitrow.contract.encoding import FORMATS
from bitrow.contract.operation import Operation
from bitrow.contract.operations import backward_of, forward_of
from bitrow.contract.program import Line
from bitrow.export import body, configs
from bitrow.export.operations import function_name
from bitrow.export.sizes import sizes
from bitrow.graph import INPUT, Network, Node, shapes
from bitrow.model_file import Model
from bitrow.oracle.arrays import Words
from bitrow.vectors.bit_views import to_words


class Port(NamedTuple):
    """An argument of a layer's function: its name, its C type without `*`, words of one image, whether it is read."""

    name: str
    type: str
    size: int
    read: bool
    per_image: bool = True

    @property
    def text(self) -> str:
        return f"{'const ' if self.read else ''}{self.type} *{self.name}"

    @property
    def elements(self) -> str:
        """Elements of a batch of n, C text."""
        return f"(size_t)n * {self.size}u" if self.per_image else f"{self.size}u"


@dataclass(frozen=True)
class LayerFunction:
    """A layer in one direction: its C name, operation, parameters, sizes for one image, and its ports."""

    name: str
    node: Node
    operation: Operation
    parameters: Words
    sizes: Mapping[str, int]
    ports: tuple[Port, ...]

    @property
    def maps(self) -> list[Port]:
        """What other layers hand to it."""
        return [port for port in self.ports if port.read and port.name not in self.operation.kept]

    @property
    def kept(self) -> list[Port]:
        """What the forward pass has kept for it."""
        return [port for port in self.ports if port.read and port.name in self.operation.kept]

    @property
    def made(self) -> list[Port]:
        """What it makes."""
        return [port for port in self.ports if not port.read]

    @property
    def head(self) -> str:
        listed = ", ".join(port.text for port in self.ports)
        return f"int32_t {self.name}(int32_t n, {listed}, const bw_taps *taps)"

    def definition(self) -> str:
        """The function: the operation's, with the layer's sizes and parameters."""
        fields = [f".{axis} = {'n' if axis == 'n' else size}" for axis, size in self.sizes.items()]
        for name, words in self.parameters.items():
            fields.append(f".{name} = {self.constant(name)}")
            if name in body.shared(self.operation):
                fields.append(f".{name}_count = {words.size}")
        fields += [f".{port.name} = {port.name}" for port in self.ports]
        run = function_name(self.operation)
        return (f"{self.head} {{\n    const {run}_args args = {{{', '.join(fields)}}};\n"
                f"    return {run}(&{self.config}, &args, taps);\n}}\n")  # fmt: skip

    @property
    def config(self) -> str:
        """The name of the layer's configuration, a constant."""
        return f"{self.name.rsplit('_', 1)[0]}_config"

    def constant(self, parameter: str) -> str:
        """The name of a parameter's words."""
        return f"{self.name.rsplit('_', 1)[0]}_{parameter}"


class PassResult(NamedTuple):
    """An output of a network as arguments of its pass: of the words, of their gradient; words of one image."""

    value: str
    gradient: str
    size: int


def results(network: Network) -> dict[str, PassResult]:
    """By output: `logits` and `dlogits` of one alone, of several with its name behind."""
    found = {}
    for name in network.outputs:
        behind = f"_{name}" if network.more_outputs else ""
        found[name] = PassResult(f"logits{behind}", f"dlogits{behind}", math.prod(shapes(network)[name]))
    return found


@dataclass
class NetworkStages:
    """Every layer of a model in both directions, in network order."""

    model: Model
    forward: dict[str, LayerFunction] = field(default_factory=dict)
    backward: dict[str, LayerFunction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.model.network.nodes:
            back = backward_of(node.config)
            kept = () if back is None else back.kept
            self.forward[node.name] = self._stage(node, forward_of(node.config), "forward", kept)
            if back is not None:
                self.backward[node.name] = self._stage(node, back, "backward", ())

    @property
    def name(self) -> str:
        return self.model.network.name

    def _parameters(self, node: Node) -> Words:
        params = self.model.params.get(node.name)
        found = {} if params is None else params._asdict()
        return {name: to_words(value) for name, value in found.items() if value is not None}

    def _stage(self, node: Node, operation: Operation, direction: str, kept: tuple[str, ...]) -> LayerFunction:
        own, maps = self._parameters(node), dict(self._maps(node, operation))
        parameters = {name: own[name] for name in body.given(operation) if name in own}
        hw = np.array(shapes(self.model.network)[node.inputs[0]][:2], np.int32)
        found = sizes(operation, node.config, maps | parameters | {"input_hw": hw})
        reads = operation.reads(node.config, maps | parameters | {"input_hw": hw})
        ports = [self._port(node, operation, operation.inputs[name], found, True)
                 for name in operation.inputs if name in body.given(operation)]  # fmt: skip
        made = {
            name: line for name, line in body.results(operation).items() if name in operation.outputs or name in kept
        }
        ports += [self._port(node, operation, line, found, False) for line in made.values()]
        parameters = {name: words for name, words in parameters.items() if name in reads}
        return LayerFunction(f"{self.name}_{node.name}_{direction}", node, operation, parameters, found, tuple(ports))

    def _maps(self, node: Node, operation: Operation) -> Iterator[tuple[str, np.ndarray]]:
        """Words of one image with the shapes that an operation's inputs have here: maps, and what was kept."""
        sizes_of = shapes(self.model.network)
        maps = [sizes_of[name] for name in node.inputs]
        if operation.name.endswith(".backward"):
            maps = [sizes_of[node.name]]
        for name, line in operation.inputs.items():
            if name in operation.kept:
                forward = self.forward[node.name]
                axes = forward.operation.line(name).axes
                shape = tuple(1 if axis == "n" else forward.sizes[axis] for axis in axes)
            else:
                shape = (1, *maps.pop(0))
                shape = (1, math.prod(shape)) if len(line.axes) == 2 else shape
            yield name, np.broadcast_to(np.zeros((), FORMATS[line.format](node.config).dtype), shape)

    def _port(self, node: Node, operation: Operation, line: Line, found: Mapping[str, int], read: bool) -> Port:
        size = int(np.prod([found[axis] for axis in line.axes], dtype=np.int64))
        bits = 8 * operation.encoding(line.name, node.config).dtype.itemsize
        kind = f"uint{bits}_t"
        return Port(line.name, kind, size, read, "n" in line.axes)


def constants(stages: NetworkStages) -> Iterator[str]:
    """Every layer's configuration and parameters."""
    for node in stages.model.network.nodes:
        forward, back = stages.forward[node.name], stages.backward.get(node.name)
        yield (f"static const {configs.struct_of(type(node.config))} {forward.config} = "
               f"{configs.literal(configs.values(node.config))};\n")  # fmt: skip
        for name, words in (forward.parameters | (back.parameters if back else {})).items():
            kind = f"uint{8 * words.dtype.itemsize}_t"
            mask = (1 << 8 * words.dtype.itemsize) - 1
            listed = _rows([f"{int(word) & mask:#x}" for word in words.reshape(-1).tolist()])
            yield f"static const {kind} {forward.constant(name)}[] = {{\n{listed}\n}};\n"


def _rows(texts: list[str], each: int = 16) -> str:
    return ",\n".join("    " + ", ".join(texts[at : at + each]) for at in range(0, len(texts), each))


ACCUMULATE = function_name(elementwise.ACCUMULATE)
__all__ = ["ACCUMULATE", "INPUT", "LayerFunction", "NetworkStages", "PassResult", "Port", "constants", "results"]
