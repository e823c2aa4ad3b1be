"""The function of a network's whole pass: its layers' functions, one after another, and what lies between them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from bitrow.contract.operations import forward_of
from bitrow.errors import BitrowError
from bitrow.export import configs
from bitrow.export.network import ACCUMULATE, LayerFunction, NetworkStages, results
from bitrow.graph import INPUT, Node, consumers, shapes


@dataclass
class PassText:
    """Lines of the function, its buffers by name with their C type and size for n images."""

    stages: NetworkStages
    buffers: dict[str, tuple[str, str]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    _slots: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        network = self.stages.model.network
        self._readers, self._shapes, self._results = consumers(network), shapes(network), results(network)

    def _buffer(self, name: str, kind: str, count: str) -> str:
        self.buffers[name] = (kind, count)
        return name

    def _size(self, value: str) -> str:
        return f"(size_t)n * {math.prod(self._shapes[value])}u"

    def _call(self, stage: LayerFunction, given: dict[str, str], where: str) -> None:
        listed = ", ".join(given[port.name] for port in stage.ports)
        self._step(f'{stage.name}(n, {listed}, bw_named(&named, taps, "{where}"))')

    def _step(self, call: str) -> None:
        self.lines += ["if (status == BW_OK) {", f"    status = {call};", "}"]

    def _do(self, call: str) -> None:
        self.lines += ["if (status == BW_OK) {", f"    {call};", "}"]

    # forward
    def forward(self) -> None:
        """Every layer's forward function; what backward reads stays."""
        network = self.stages.model.network
        for node in network.nodes:
            stage = self.stages.forward[node.name]
            given = {port.name: self._value(name) for port, name in zip(stage.maps, node.inputs, strict=True)}
            for port in stage.made:
                result = port.name == stage.operation.result
                name = self._value(node.name) if result else f"kept_{node.name}_{port.name}"
                own = result and node.name in self._results
                given[port.name] = name if own else self._buffer(name, port.type, port.elements)
            self._call(stage, given, f"{node.name}/forward")

    def _value(self, name: str) -> str:
        if name in self._results:
            return self._results[name].value
        return "x" if name == INPUT else f"value_{name}"

    def _kept(self, node: Node, name: str) -> str:
        """What a backward function reads of the forward pass: a map that the layer read or made, or a tap."""
        stage = self.stages.forward[node.name]
        reads = {port.name: self._value(value) for port, value in zip(stage.maps, node.inputs, strict=True)}
        if name in reads:
            return reads[name]
        return self._value(node.name) if name == stage.operation.result else f"kept_{node.name}_{name}"

    # backward
    def backward(self) -> None:
        """Every layer's backward function, last layer first, and the sums of a value's gradients (A5)."""
        network = self.stages.model.network
        for node in reversed(network.nodes):
            dy = self._gathered(node.name)
            stage = self.stages.backward.get(node.name)
            if stage is None:
                self._handed_back(node, dy)
                continue
            given = {port.name: dy for port in stage.maps} | {
                port.name: self._kept(node, port.name) for port in stage.kept
            }
            for port in stage.made:
                gradients = stage.operation.gradients or (stage.operation.result,)
                if port.name in gradients:
                    given[port.name] = self._slot(node.inputs[gradients.index(port.name)])
                else:
                    given[port.name] = self._buffer(f"made_{node.name}_{port.name}", port.type, port.elements)
            self._call(stage, given, f"{node.name}/backward")
        self._do(f"memcpy(dx, {self._gathered(INPUT)}, {self._size(INPUT)} * sizeof *dx)")

    def _slot(self, value: str) -> str:
        """Where the next gradient of a value goes; the slots of a value lie one behind another."""
        used = self._slots.setdefault(value, 0)
        self._slots[value] += 1
        many = len(self._readers[value])
        name = self._buffer(f"gradients_{value}", "uint16_t", f"{many}u * {self._size(value)}")
        return f"{name} + {used}u * {self._size(value)}" if many > 1 else name

    def _gathered(self, value: str) -> str:
        """The gradient of a value."""
        network = self.stages.model.network
        if value in self._results:
            return self._results[value].gradient
        if len(self._readers[value]) < 2:
            return f"gradients_{value}"
        h, w, c = self._shapes[value]
        name = self._buffer(f"gradient_{value}", "uint16_t", self._size(value))
        self._do(f"mode = {configs.mode_bits(network.mode)}u; sum = ({ACCUMULATE}_args){{.consumer = "
                 f"{len(self._readers[value])}, .n = n, .h = {h}, .w = {w}, .c = {c}, "
                 f".dys = gradients_{value}, .dx = {name}}}")  # fmt: skip
        self._step(f'{ACCUMULATE}(&mode, &sum, bw_named(&named, taps, "{value}/fan_out"))')
        return name

    def _handed_back(self, node: Node, dy: str) -> None:
        """Gradients that no operation computes: all channels of dy, or some, to each input."""
        total = self._shapes[node.name][2]
        channels = tuple(self._shapes[name][2] for name in node.inputs)
        parts = forward_of(node.config).handed_back(np.arange(total).reshape(1, 1, 1, -1), channels)
        rows = math.prod(self._shapes[node.name][:2])
        for name, part in zip(node.inputs, parts, strict=True):
            own = part.reshape(-1)
            if own.size != self._shapes[name][2] or not np.array_equal(own, np.arange(own[0], own[0] + own.size)):
                raise BitrowError(f"C {node.name}: found channels in another order handed back, expected a run of them")
            self._do(f"bw_channels({dy}, (int64_t)n * {rows}, {total}, {own[0]}, {own.size}, {self._slot(name)})")

    # the function
    @property
    def head(self) -> str:
        return f"int32_t {self.stages.name}_pass(int32_t n, {self.arguments}, const bw_taps *taps)"

    @property
    def arguments(self) -> str:
        """Images, gradients of the results, results, gradient of the images."""
        found = [f"const uint16_t *{one.gradient}" for one in self._results.values()]
        found += [f"uint16_t *{one.value}" for one in self._results.values()]
        return ", ".join(["const uint16_t *x", *found, "uint16_t *dx"])

    @property
    def names(self) -> str:
        """The same without their types."""
        given = self._results.values()
        return ", ".join(["x", *(one.gradient for one in given), *(one.value for one in given), "dx"])

    def definition(self) -> Iterator[str]:
        """The whole function."""
        self.forward()
        middle = len(self.lines)
        self.backward()
        yield f"{self.head} {{"
        gradients = [one.gradient for one in self._results.values()]
        yield f"    void *held[{len(self.buffers)}] = {{NULL}};"
        yield "    int32_t status = n > 0 ? BW_OK : BW_BAD_SHAPE;\n    bw_taps named;"
        yield f"    bw_mode mode = 0;\n    {ACCUMULATE}_args sum;\n    (void)mode;\n    (void)sum;"
        for place, (name, (kind, count)) in enumerate(self.buffers.items()):
            yield f"    {kind} *{name} = bw_hold(held, {place}, &status, {count}, sizeof *{name});"
        yield from (f"    {line}" for line in self.lines[:middle])
        if len(gradients) > 1:  # some without the others
            yield f"    if (({' || '.join(f'{each} != NULL' for each in gradients)}) &&"
            yield f"        ({' || '.join(f'{each} == NULL' for each in gradients)})) {{"
            yield "        status = BW_BAD_SHAPE;\n    }"
        yield f"    if ({' && '.join(f'{each} != NULL' for each in gradients)}) {{"
        yield from (f"        {line}" for line in self.lines[middle:])
        yield "    }"
        yield f"    for (int i = 0; i < {len(self.buffers)}; i++) {{\n        free(held[i]);\n    }}"
        yield "    return status;\n}\n"
