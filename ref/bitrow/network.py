"""A network run a whole tensor at a time, forward and backward, with a tap at every rounding point.

The graph is `bitrow.graph.Network`; the arithmetic is that of `bitrow.layers`; this module only routes values
and gradients, and adds the gradients of a value with several consumers (SPEC.md A5). Every function is pure
and can be jitted with the network static.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float16, Integer

from bitrow import outputs
from bitrow.doors import guard
from bitrow.errors import BitrowError
from bitrow.graph import INPUT, Network, shapes
from bitrow.layers import residual
from bitrow.layers.batch_norm import BatchNormGrad
from bitrow.layers.frozen import zero_cotangent
from bitrow.layers.layer import Upstream
from bitrow.layers.table import layer
from bitrow.ops.tap import Tap, no_tap, prefixed
from bitrow.parameters import Params, check_params

SavedByLayer = dict[str, Any]
Logits = Any  # Float16[Array, "n ..."]; of several outputs a dict of them by name


class TrainingPass(NamedTuple):
    """A forward and backward pass: logits f16[n, classes] or several by name, dx f16[n,h,w,c], gradients, taps.

    `grads` are those of batch norms.
    """

    logits: Logits
    dx: Array
    grads: dict[str, BatchNormGrad]
    taps: dict[str, Array]


def forward(
    network: Network, params: Params, x: Float16[Array, "n h w c"], tap: Tap = no_tap
) -> tuple[Logits, SavedByLayer]:
    """Run the network on x f16[n,h,w,c].

    Returns the output (f16[n, classes] of a head, else f16[n,h,w,c]; of several a dict of them by name) and, by layer,
    what its backward pass reads: a convolution's mask, batch statistics with their y, where a ReLU passes, a max
    pool's winners. A head's input f16[n, in] is kept for the host, which forms the head's weight gradient (SPEC.md
    A4). `tap` is called with "LAYER/forward/TAP".

    Raises:
        BitrowError: parameters that `parameters.check_params` refuses; x of another shape or dtype.
    """
    check_params(network, params)
    _check_array(network, "x", x, network.input_shape)
    values: dict[str, Array] = {INPUT: x}
    last_reader = {name: node.name for node in network.nodes for name in node.inputs}
    saved: SavedByLayer = {}
    for node in network.nodes:
        inputs = [values[name] for name in node.inputs]
        layer_tap = prefixed(tap, f"{node.name}/forward/")
        values[node.name], kept = layer(node.config).forward(node.config, params.get(node.name), inputs, layer_tap)
        if kept is not None:
            saved[node.name] = kept
        for name in node.inputs:
            if last_reader[name] == node.name:
                values.pop(name, None)  # run eagerly, large maps should not outlive their readers
    found = {name: _flat(network, name, values[name]) for name in network.outputs}
    return (found if network.more_outputs else found[network.output]), saved


def backward(
    network: Network,
    params: Params,
    saved: SavedByLayer,
    dlogits: Logits,
    tap: Tap = no_tap,
    *,
    need_input_grad: bool = True,
    first_image: int | Integer[Array, ""] = 0,
) -> tuple[Float16[Array, "n h w c"] | None, dict[str, BatchNormGrad]]:
    """Propagate dlogits, f16 of the output's shape or of several as `outputs.split` takes them, back to the input.

    Returns dx f16[n,h,w,c] (None without `need_input_grad`, which spares the layers that read the input their
    input gradient) and the gradients of every batch norm with batch statistics. `tap` is called with
    "LAYER/backward/TAP"; a value with K consumers has the taps "VALUE/fan_out/sum_1" to K-1, one for each
    addition of A5. Where the images are part of a batch, `first_image` is the place in it of the first one: that is
    where stochastic rounding begins (SPEC.md Q3).

    Raises:
        BitrowError: parameters as in `forward`; dlogits of another shape or dtype.
    """
    check_params(network, params)
    sizes = shapes(network)
    gradients = _FanOut(network, tap)
    for name, part in _check_dlogits(network, dlogits).items():
        gradients.add(name, part)
    grads: dict[str, BatchNormGrad] = {}
    for node in reversed(network.nodes):
        dy = gradients.take(node.name)
        kind = layer(node.config)
        if not need_input_grad and not kind.trains(node.config) and set(node.inputs) == {INPUT}:
            continue
        upstream = Upstream(
            params.get(node.name), saved.get(node.name), dy, sizes[node.inputs[0]],
            prefixed(tap, f"{node.name}/backward/"), first_image,
        )  # fmt: skip
        found = kind.backward(node.config, upstream)
        if found.trained is not None:
            grads[node.name] = found.trained
        for name, dx in zip(node.inputs, found.inputs, strict=True):
            if name != INPUT or need_input_grad:
                gradients.add(name, dx)
    return (gradients.take(INPUT) if need_input_grad else None), grads


def training_pass(
    network: Network, params: Params, x: Float16[Array, "n h w c"], dlogits: Logits
) -> TrainingPass:
    """Forward and backward with every tap recorded under the names that the two give it.

    Raises:
        BitrowError: as `forward` and `backward`.
    """
    taps: dict[str, Array] = {}
    logits, saved = forward(network, params, x, taps.__setitem__)
    dx, grads = backward(network, params, saved, dlogits, taps.__setitem__)
    assert dx is not None
    return TrainingPass(logits, dx, grads, taps)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def apply(network: Network, params: Params, x: Float16[Array, "n h w c"]) -> Logits:
    """The output of `forward`, differentiable by JAX with `backward` as its rule.

    Gradients reach x and the gamma and beta of batch norms with batch statistics, as float32. Everything else
    is frozen (SPEC.md C4) and gets zeros; the head's weights are the host's (A4), who has its input in
    `forward`'s saved. x is the whole batch: for a part of one, `backward` takes its `first_image`.

    Raises:
        BitrowError: as `forward`.
    """
    return forward(network, params, x)[0]


def _apply_forward(network: Network, params: Params, x: Array) -> tuple[Logits, tuple[Params, SavedByLayer]]:
    logits, saved = forward(network, params, x)
    return logits, (params, saved)


def _apply_backward(network: Network, kept: tuple[Params, SavedByLayer], dlogits: Logits) -> tuple[Any, Array]:
    params, saved = kept
    dx, grads = backward(network, params, saved, dlogits)
    assert dx is not None
    cotangents: dict[str, Any] = zero_cotangent(dict(params))
    for name, grad in grads.items():
        dgamma, dbeta = (value.astype(jnp.float32) for value in grad)
        cotangents[name] = cotangents[name]._replace(gamma=dgamma, beta=dbeta)
    return cotangents, dx


apply.defvjp(_apply_forward, _apply_backward)


class _FanOut:
    """Gradients under way to their producers, added in the order in which they arrive (SPEC.md A5)."""

    def __init__(self, network: Network, tap: Tap) -> None:
        self._mode = network.mode
        self._tap = tap
        self._sums: dict[str, tuple[int, Array]] = {}

    def add(self, name: str, dy: Array) -> None:
        if name not in self._sums:
            self._sums[name] = 0, dy
            return
        count, running = self._sums[name]
        total = residual.accumulate([running, dy], self._mode)
        self._tap(f"{name}/fan_out/sum_{count + 1}", total)
        self._sums[name] = count + 1, total

    def take(self, name: str) -> Array:
        return self._sums.pop(name)[1]


def _flat(network: Network, name: str, y: Array) -> Array:
    return y.reshape(y.shape[0], y.shape[-1]) if layer(network.node(name).config).flat else y


def _check_array(network: Network, name: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.dtype != jnp.float16 or array.ndim != 4 or array.shape[1:] != shape:
        raise BitrowError(
            f"{network.name} {name}: found {array.dtype}{list(array.shape)}, "
            f"expected float16[n, {', '.join(map(str, shape))}]"
        )


def _check_dlogits(network: Network, dlogits: Logits) -> dict[str, Array]:
    if network.more_outputs:
        found = outputs.split(network, dlogits)
        for name, part in found.items():
            _check_array(network, f"dlogits of {name}", part, shapes(network)[name])
        return found
    if isinstance(dlogits, Mapping):
        dlogits = outputs.split(network, dlogits)[network.output]
    shape = shapes(network)[network.output]
    if layer(network.node(network.output).config).flat and dlogits.ndim == 2:
        dlogits = dlogits[:, None, None, :]
    _check_array(network, "dlogits", dlogits, shape)
    return {network.output: dlogits}


guard(__name__)
