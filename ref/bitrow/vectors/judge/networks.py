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


def sample(model: Model, images: slice) -> tuple[np.ndarray, np.ndarray]:
    """Words of some of a model's sample images, and of their dlogits, uint16.

    Raises:
        BitrowError: the model has too few samples.
    """
    if model.samples is None or images.stop > len(model.samples.images):
        found = 0 if model.samples is None else len(model.samples.images)
        raise BitrowError(f"{model.network.name} samples: found {found}, expected at least {images.stop}")
    return to_words(model.samples.images[images]), to_words(model.samples.dlogits[images])


def whole_pass(graph: Network, params: Any, x: Any, dlogits: Any) -> tuple[Any, Any]:
    """Logits and input gradient of the network run whole, without taps."""
    logits, saved = network.forward(graph, params, x, no_tap)
    dx, _ = network.backward(graph, params, saved, dlogits, no_tap)
    return logits, dx


compiled_pass = jax.jit(whole_pass, static_argnums=0)


def problems(
    model: Model, prefix: str, images: slice, run: RunOperation, whole: bool = True, compare: bool = True
) -> Iterator[Problem]:
    """Every layer's problems of a training pass on some samples, forward then backward; last, `compare` runs it whole.

    Raises:
        BitrowError: too few samples; the network run whole gives other logits or another dx than its layers one by one.
    """
    x, dlogits = sample(model, images)
    walk = Pass(model, prefix, run, whole)
    for step in walk.forward(x):
        yield step.problem
    for step in walk.backward(dlogits):
        yield step.problem
    if not compare:
        return
    logits, dx = compiled_pass(model.network, model.params, x.view(np.float16), dlogits.view(np.float16))
    whole_words = [("dx", walk.dx, dx)]
    if model.network.more_outputs:
        whole_words += [(f"logits of {name}", walk.results[name], logits[name]) for name in model.network.outputs]
    else:
        whole_words += [("logits", walk.logits, logits)]
    for name, words, other in whole_words:
        wrong = np.flatnonzero(to_words(other).reshape(-1) != words.reshape(-1))
        if wrong.size:
            at = wrong[0]
            raise BitrowError(
                f"{prefix} {name} element {at}: found {to_words(other).reshape(-1)[at]:04x} by the whole network, "
                f"expected {words.reshape(-1)[at]:04x} of its layers; nothing exported"
            )


def pass_problem(model_name: str, model: Model, name: str, images: slice) -> Problem:
    """The whole training pass of a shipped model on some of its samples: images and dlogits in, logits and dx out."""
    x, dlogits = sample(model, images)
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
