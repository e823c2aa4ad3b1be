"""A network's training pass as one problem for each layer and direction (SPEC.md C, B, A, V5).

The pass is walked layer by layer: each problem's inputs are the words that the layers before it computed, so
that one map of the network is in memory at a time, beside what the backward pass reads. JAX is imported when a
model's file is read, never before.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bitrow.contract import elementwise
from bitrow.contract.operation import Config, Given, Operation
from bitrow.contract.operations import backward_of, forward_of
from bitrow.contract.program import Line, Program
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode
from bitrow.graph import INPUT, Node, shapes
from bitrow.oracle.arrays import Row, Words
from bitrow.outputs import split
from bitrow.vectors.bit_views import to_words
from bitrow.vectors.problem import Problem

if TYPE_CHECKING:
    from bitrow.model_file import Model

NETWORK = "network."
_MODELS = Path(__file__).parent.parent / "models"

RunOperation = Callable[[Problem], Words]

class Step(NamedTuple):
    """One problem of a pass and the words of all its taps and outputs."""

    problem: Problem
    words: Words


class Pass:
    """A training pass under way: walk `forward`, then `backward`; `run` computes each problem as it comes
    up."""

    def __init__(self, model: Model, prefix: str, run: RunOperation, whole: bool = True) -> None:
        self.model, self.network = model, model.network
        self.prefix, self._run, self._whole = prefix, run, whole
        self.results: dict[str, np.ndarray] = {}  # by output
        self.dx = np.zeros(0, np.uint16)
        self._kept: dict[str, Words] = {}
        self._sums: dict[str, list[np.ndarray]] = {}

    def _step(self, name: str, operation: Operation, config: Any, given: Words) -> Step:
        problem = Problem(f"{self.prefix}_{name}", operation, config, given, self._whole)
        return Step(problem, self._run(problem))

    def forward(self, x: np.ndarray) -> Iterator[Step]:
        """Every layer's forward problem from the image words uint16 [n, h, w, c]; ends with `results`."""
        values = {INPUT: x}
        last_reader = {name: node.name for node in self.network.nodes for name in node.inputs}
        for node in self.network.nodes:
            operation = forward_of(node.config)
            given = self._given(operation, node, [values[name] for name in node.inputs], {})
            step = self._step(f"{node.name}_forward", operation, node.config, given)
            y = step.words[operation.result]
            values[node.name] = y[:, None, None, :] if y.ndim == 2 else y
            gradient = backward_of(node.config)
            known = given | step.words
            self._kept[node.name] = {} if gradient is None else {name: known[name] for name in gradient.kept}
            if node.name in self.network.outputs:
                self.results[node.name] = y
            yield step
            for name in node.inputs:
                if last_reader[name] == node.name:
                    values.pop(name, None)

    @property
    def logits(self) -> np.ndarray:
        """The result of the only, or the first, output."""
        return self.results[self.network.output]

    def _parameters(self, node: Node) -> Words:
        params = self.model.params.get(node.name)
        found = {} if params is None else params._asdict()
        return {name: to_words(value) for name, value in found.items() if value is not None}

    def _given(self, operation: Operation, node: Node, maps: list[np.ndarray], kept: Words) -> Words:
        """An operation's inputs, and those of the layer's parameters that it reads."""
        own = self._parameters(node) | {"input_hw": np.array(shapes(self.network)[node.inputs[0]][:2], np.int32)}
        return operation_inputs(operation, node.config, maps, kept, own)

    def backward(self, dlogits: np.ndarray) -> Iterator[Step]:
        """Every layer's backward problem from dlogits uint16 [n, classes], last layer first; ends with
        `dx`. Those of several outputs lie side by side (`outputs.split`)."""
        self._sums = {self.network.output: [dlogits]}
        if self.network.more_outputs:
            self._sums = {name: [part] for name, part in split(self.network, dlogits).items()}
        for node in reversed(self.network.nodes):
            yield from self._gather(node.name)
            dy = self._sums.pop(node.name)[0]
            operation, sizes = backward_of(node.config), [shapes(self.network)[name] for name in node.inputs]
            if operation is not None:
                given = self._given(operation, node, [dy], self._kept.pop(node.name))
                step = self._step(f"{node.name}_backward", operation, node.config, given)
                gradients = tuple(step.words[name] for name in operation.gradients or (operation.result,))
                yield step
            else:
                gradients = forward_of(node.config).handed_back(dy, tuple(size[2] for size in sizes))
            for name, size, dx in zip(node.inputs, sizes, gradients, strict=True):
                self._sums.setdefault(name, []).append(dx.reshape(len(dx), *size))
        yield from self._gather(INPUT)
        self.dx = self._sums.pop(INPUT)[0]

    def _gather(self, name: str) -> Iterator[Step]:
        """The sum of a value's gradients, where it has several (SPEC.md A5)."""
        found = self._sums[name]
        if len(found) > 1:
            step = self._step(
                f"{name}_fan_out", elementwise.ACCUMULATE, self.network.mode, {"dys": np.stack(found)}
            )
            self._sums[name] = [step.words["dx"]]
            yield step


def operation_inputs(
    operation: Operation, config: Config, maps: list[np.ndarray], kept: Words, own: Words
) -> Words:
    """What an operation reads under a configuration: its input maps in order, what was kept, the layer's own words."""
    names = [name for name in operation.inputs if name not in operation.kept]
    inputs = {name: _fitting(words, operation.line(name)) for name, words in zip(names, maps, strict=True)}
    given = inputs | kept | {name: own[name] for name in operation.parameters if name in own}
    read = operation.reads(config, given)
    return {name: words for name, words in given.items() if name in read}


def _fitting(words: np.ndarray, line: Line) -> np.ndarray:
    """A map as the input that a head reads: one axis of all its elements."""
    return words.reshape(len(words), -1) if len(line.axes) == 2 else words


class WholePass(Operation):
    """The training pass of a shipped model as one operation: image and dlogits in, logits and dx out."""

    @property
    def model(self) -> str:
        return self.name.removeprefix(NETWORK)

    @property
    def file(self) -> Path:
        """Where the model's parameters are."""
        return _MODELS / f"{self.model}.safetensors"

    def __reduce__(self) -> tuple[Any, ...]:
        return operation, (self.name,)

    def oracle(self, config: Config, given: Given, rows: Iterable[Row] | None = None) -> Words:
        """The whole pass by the scalar oracle, layer by layer.

        Raises:
            BitrowError: `rows`, which a whole network has none of.
        """
        if rows is not None:
            raise BitrowError(f"{self.name}: found rows, expected none for an operation that does not work by rows")
        # the only judge that needs JAX, to read the model's file
        models = importlib.import_module("bitrow.models")
        walk = Pass(models.load(self.model), "whole", lambda one: one.operation.oracle(one.config, one.given))
        for steps in (walk.forward(given["x"]), walk.backward(given["dlogits"])):
            for _ in steps:
                pass
        return {"logits": walk.logits, "dx": walk.dx}


@functools.cache
def operation(name: str) -> WholePass:
    """The pass of the shipped model that "network.MODEL" names.

    Raises:
        BitrowError: no such model.
    """
    model = name.removeprefix(NETWORK)
    if not re.fullmatch(r"[a-z0-9_]+", model) or not (_MODELS / f"{model}.safetensors").is_file():
        raise BitrowError(f"operation: found {name!r}, expected {NETWORK} and the name of a shipped model")
    program = Program(name, """
        in  x       : 16, n h w c
        in  dlogits : 16, n class
        out logits  : 16, n class
        out dx      : 16, n h w c
    """)  # fmt: skip
    return WholePass(name, program, FloatMode, lambda mode: ("C1", "C2", "C4", "B1", "A1", "A2", "A3", "A4", "A5"))
