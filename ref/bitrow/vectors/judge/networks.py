"""A network's training pass as problems, and run whole by the kernels (SPEC.md C, B, A, V5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bitrow import models, network
from bitrow.contract.operations import backward_of
from bitrow.errors import BitrowError
from bitrow.graph import INPUT, Network, consumers
from bitrow.model_file import Model
from bitrow.ops.tap import no_tap
from bitrow.vectors import network_pass
from bitrow.vectors.bit_views import to_words
from bitrow.vectors.network_pass import NETWORK, Pass, RunOperation
from bitrow.vectors.problem import Problem


def case_names(graph: Network, prefix: str) -> list[str]:
    """The names of the problems of a pass, in the order in which `problems` yields them."""
    readers, names = consumers(graph), [f"{prefix}_{node.name}_forward" for node in graph.nodes]
    for node in reversed(graph.nodes):
        names += [f"{prefix}_{node.name}_fan_out"] if len(readers[node.name]) > 1 else []
        names += [f"{prefix}_{node.name}_backward"] if backward_of(node.config) else []
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
    model: Model, prefix: str, image: int, run: RunOperation, whole: bool = True, compare: bool = True
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
    operation = network_pass.operation(f"{NETWORK}{model_name}")
    return Problem(name, operation, model.network.mode, {"x": x, "dlogits": dlogits})


def kernel(model_name: str, arrays: dict[str, Any], compiled: bool = False) -> dict[str, Any]:
    """The whole pass of a shipped model by the kernels.

    `compiled` compiles it here, the parameters as arguments: as constants they take XLA far longer.
    """
    model = models.load(model_name)
    run = compiled_pass if compiled else whole_pass
    logits, dx = run(model.network, jax.tree.map(jnp.asarray, model.params), arrays["x"], arrays["dlogits"])
    return {"logits": logits, "dx": dx}
