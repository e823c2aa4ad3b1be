"""A network's training pass as one problem for each layer and direction, and as a whole (SPEC.md C, B, A,
V5).

The pass is walked layer by layer: each problem's inputs are the words that the layers before it computed, so
that one map of the network is in memory at a time, beside what the backward pass reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bitrow import models, network
from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    LinearConfig,
    MaxPoolConfig,
    ReluConfig,
    Statistics,
)
from bitrow.errors import BitrowError
from bitrow.formats import Gradient, QuantRounding
from bitrow.graph import INPUT, Network, Node, consumers, shapes
from bitrow.model_file import Model
from bitrow.ops.tap import no_tap
from bitrow.vectors import operations
from bitrow.vectors.operations import Words, to_words
from bitrow.vectors.problems import Problem

Run = Callable[[Problem], Words]

_KINDS: dict[type, str] = {
    ConvConfig: "conv",
    BatchNormConfig: "batch_norm",
    ReluConfig: "relu",
    AddConfig: "add",
    MaxPoolConfig: "max_pool",
    AvgPoolConfig: "avg_pool",
    LinearConfig: "linear",
}
_RESULT = {"batch_norm.forward": "z", "batch_norm.backward": "dy"}
_CONV = ("weight_code", "x_inv_scale", "scale", "bias")


class Step(NamedTuple):
    """One problem of a pass and the words of all its taps and outputs."""

    problem: Problem
    words: Words


class Pass:
    """A training pass under way: walk `forward`, then `backward`; `run` computes each problem as it comes
    up."""

    def __init__(self, model: Model, prefix: str, run: Run, whole: bool = True) -> None:
        self.model, self.network = model, model.network
        self.prefix, self._run, self._whole = prefix, run, whole
        self.logits = np.zeros(0, np.uint16)
        self.dx = np.zeros(0, np.uint16)
        self._kept: dict[str, Words] = {}
        self._sums: dict[str, list[np.ndarray]] = {}

    def _step(self, name: str, operation: str, config: Any, given: Words) -> Step:
        problem = Problem(f"{self.prefix}_{name}", operation, config, given, self._whole)
        return Step(problem, self._run(problem))

    def forward(self, x: np.ndarray) -> Iterator[Step]:
        """Every layer's forward problem from the image words uint16 [n, h, w, c]; ends with `logits`."""
        values = {INPUT: x}
        last_reader = {name: node.name for node in self.network.nodes for name in node.inputs}
        for node in self.network.nodes:
            kind = _KINDS[type(node.config)]
            given = self._forward_given(node, [values[name] for name in node.inputs])
            step = self._step(f"{node.name}_forward", f"{kind}.forward", node.config, given)
            y = step.words[_RESULT.get(step.problem.operation, "y")]
            values[node.name] = y[:, None, None, :] if kind == "linear" else y
            self._keep(node, given, step.words)
            yield step
            for name in node.inputs:
                if last_reader[name] == node.name:
                    values.pop(name, None)
        self.logits = y

    def _parameters(self, node: Node) -> Words:
        params = self.model.params.get(node.name)
        found = {} if params is None else params._asdict()
        return {name: to_words(value) for name, value in found.items() if value is not None}

    def _forward_given(self, node: Node, inputs: list[np.ndarray]) -> Words:
        own, x = self._parameters(node), inputs[0]
        match node.config:
            case ConvConfig():
                return {"x": x} | {name: own[name] for name in _CONV if name in own}
            case BatchNormConfig():
                return {"y": x} | own
            case AddConfig():
                return {"x": x, "shortcut": inputs[1]}
            case LinearConfig():
                return {"x": x.reshape(x.shape[0], -1)} | own
        return {"x": x}

    def _keep(self, node: Node, given: Words, words: Words) -> None:
        """What the layer's backward problem reads."""
        match node.config:
            case ConvConfig():
                self._kept[node.name] = {"mask": words["mask"]}
            case BatchNormConfig(statistics=Statistics.BATCH):
                names = ("mean", "r", "a", "a16")
                self._kept[node.name] = {"y": given["y"]} | {name: words[name] for name in names}
            case ReluConfig():
                self._kept[node.name] = {"x": given["x"]}
            case MaxPoolConfig():
                self._kept[node.name] = {"index": words["index"]}

    def backward(self, dlogits: np.ndarray) -> Iterator[Step]:
        """Every layer's backward problem from dlogits uint16 [n, classes], last layer first; ends with
        `dx`."""
        self._sums = {self.network.output: [dlogits]}
        for node in reversed(self.network.nodes):
            yield from self._gather(node.name)
            dy = self._sums.pop(node.name)[0]
            kind = _KINDS[type(node.config)]
            dx = dy
            if kind != "add":  # its gradient passes to both operands as it is
                given = self._backward_given(node, dy)
                step = self._step(f"{node.name}_backward", f"{kind}.backward", node.config, given)
                dx = step.words[_RESULT.get(step.problem.operation, "dx")]
                yield step
            shape = (dx.shape[0], *shapes(self.network)[node.inputs[0]])
            for name in node.inputs:
                self._sums.setdefault(name, []).append(dx.reshape(shape))
        yield from self._gather(INPUT)
        self.dx = self._sums.pop(INPUT)[0]

    def _gather(self, name: str) -> Iterator[Step]:
        """The sum of a value's gradients, where it has several (SPEC.md A5)."""
        found = self._sums[name]
        if len(found) > 1:
            step = self._step(
                f"{name}_fan_out", "gradient.accumulate", self.network.mode, {"dys": np.stack(found)}
            )
            self._sums[name] = [step.words["dx"]]
            yield step

    def _backward_given(self, node: Node, dy: np.ndarray) -> Words:
        kept, own = self._kept.pop(node.name, {}), self._parameters(node)
        size = np.array(shapes(self.network)[node.inputs[0]][:2], np.int32)
        match node.config:
            case ConvConfig() as config:
                names = ["weight_code", "w_scale"]
                names += ["dy_inv_scale", "dx_scale"] if config.gradient is Gradient.FXP else []
                names += ["seed"] if _draws(config) else []
                return {"dy": dy} | kept | {name: own[name] for name in names if name in own}
            case BatchNormConfig(statistics=Statistics.BATCH):
                return {"dz": dy} | kept
            case BatchNormConfig():
                return {"dz": dy, "a": own["a"]}
            case ReluConfig():
                return kept | {"dy": dy}
            case MaxPoolConfig() | AvgPoolConfig():
                return {"dy": dy} | kept | {"input_hw": size}
            case LinearConfig():
                return {"dy": dy.reshape(dy.shape[0], -1), "weight": own["weight"]}
        raise BitrowError(
            f"{node.name}: found config {type(node.config).__name__}, expected a layer's config"
        )


def _draws(config: ConvConfig) -> bool:
    return config.gradient is Gradient.FXP and config.dy_rounding is QuantRounding.STOCHASTIC


def case_names(graph: Network, prefix: str) -> list[str]:
    """The names of the problems of a pass, in the order in which `problems` yields them."""
    readers, names = consumers(graph), [f"{prefix}_{node.name}_forward" for node in graph.nodes]
    for node in reversed(graph.nodes):
        names += [f"{prefix}_{node.name}_fan_out"] if len(readers[node.name]) > 1 else []
        names += [] if isinstance(node.config, AddConfig) else [f"{prefix}_{node.name}_backward"]
    return names + ([f"{prefix}_{INPUT}_fan_out"] if len(readers[INPUT]) > 1 else [])


def sample(model: Model, image: int, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Words of `count` of a model's sample images, and of their dlogits, uint16.

    Raises:
        BitrowError: the model has too few samples.
    """
    if model.samples is None or image + count > len(model.samples.images):
        found = 0 if model.samples is None else len(model.samples.images)
        raise BitrowError(f"{model.network.name} samples: found {found}, expected at least {image + count}")
    span = slice(image, image + count)
    return to_words(model.samples.images[span]), to_words(model.samples.dlogits[span])


def whole_pass(graph: Network, params: Any, x: Any, dlogits: Any) -> tuple[Any, Any]:
    """Logits and input gradient of the network run whole, without taps."""
    logits, saved = network.forward(graph, params, x, no_tap)
    dx, _ = network.backward(graph, params, saved, dlogits, no_tap)
    return logits, dx


compiled_pass = jax.jit(whole_pass, static_argnums=0)


def problems(
    model: Model, prefix: str, image: int, run: Run, whole: bool = True, compare: bool = True
) -> Iterator[Problem]:
    """Every layer's problems of one sample's training pass, forward then backward; last, `compare` runs it
    whole.

    Raises:
        BitrowError: the network run whole gives other logits or another dx than its layers one by one.
    """
    x, dlogits = sample(model, image)
    walk = Pass(model, prefix, run, whole)
    for step in walk.forward(x):
        yield step.problem
    for step in walk.backward(dlogits):
        yield step.problem
    if not compare:
        return
    found = compiled_pass(model.network, model.params, x.view(np.float16), dlogits.view(np.float16))
    for name, words, other in zip(("logits", "dx"), (walk.logits, walk.dx), found, strict=True):
        wrong = np.flatnonzero(to_words(other).reshape(-1) != words.reshape(-1))
        if wrong.size:
            at = wrong[0]
            raise BitrowError(
                f"{prefix} {name} element {at}: found {to_words(other).reshape(-1)[at]:04x} by the whole network, "
                f"expected {words.reshape(-1)[at]:04x} of its layers; nothing exported"
            )


def pass_problem(model_name: str, name: str, image: int) -> Problem:
    """The whole training pass of a shipped model on one of its samples: image and dlogits in, logits and dx
    out."""
    model = models.load(model_name)
    x, dlogits = sample(model, image)
    return Problem(name, f"network.{model_name}", model.network.mode, {"x": x, "dlogits": dlogits})


def oracle(model_name: str, words: Words) -> Words:
    """The whole pass of a shipped model by the scalar oracle, layer by layer."""
    walk = Pass(
        models.load(model_name),
        "whole",
        lambda problem: operations.find(problem.operation, problem.config).oracle(
            problem.config, problem.given
        ),
    )
    for steps in (walk.forward(words["x"]), walk.backward(words["dlogits"])):
        for _ in steps:
            pass
    return {"logits": walk.logits, "dx": walk.dx}


def kernel(model_name: str, arrays: dict[str, Any], compiled: bool = False) -> dict[str, Any]:
    """The whole pass of a shipped model by the kernels.

    `compiled` compiles it here, the parameters as arguments: as constants they take XLA far longer.
    """
    model = models.load(model_name)
    run = compiled_pass if compiled else whole_pass
    logits, dx = run(model.network, jax.tree.map(jnp.asarray, model.params), arrays["x"], arrays["dlogits"])
    return {"logits": logits, "dx": dx}
