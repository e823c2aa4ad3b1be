"""Sparse update: which input channels of which convolutions are trained within a budget of memory, beside the biases.

After Lin et al. 2022 (On-device training under 256 KB memory): what is trained is chosen by what it contributes, here
the squared gradient of its weights on the target's images, measured in the module's own numerics. A convolution whose
weights train keeps the codes of its input, so an input channel is what memory is paid for (SPEC.md Q5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bitrow.errors import BitrowError
from bitrow.float_model import cross_entropy
from bitrow.graph import Convolution, Network, convolutions, shapes
from bitrow.transfer.accounting_count import map_bits, saved
from bitrow.transfer.accounting_reach import LAYERS, parameter_shapes, reach
from bitrow.transfer.conv_module import Conv
from bitrow.transfer.data import Images
from bitrow.transfer.network_module import NetworkModule, Parts, SparseUpdate, take_apart

MEASURED = 256  # images
_KIB = 8192  # bits
_BIASES = ("shift", "bias", "beta")


def contributions(module: NetworkModule, images: Images) -> dict[str, np.ndarray]:
    """Of every convolution, the squared gradient of its weights f64[c_in/groups] for the mean loss of some images."""
    parts = take_apart(module)
    names = {f"{LAYERS}/{conv.name}/weight": conv.name for conv in convolutions(module.network)}
    found = _gradients(parts.structure, parts._replace(structure=None), tuple(names), images.x[:MEASURED],
                       images.y[:MEASURED])  # fmt: skip
    return {layer: np.square(np.asarray(found[name], np.float64)).sum((0, 1, 3)) for name, layer in names.items()}


def _gradients(
    structure: object, parts: Parts, names: tuple[str, ...], x: np.ndarray, y: np.ndarray
) -> dict[str, Array]:
    @jax.jit
    def host_gradients(parts: Parts, x: Array, y: Array) -> dict[str, Array]:
        def loss(weights: dict[str, Array]) -> Array:
            whole = parts._replace(structure=structure, params=parts.params | weights)
            return cross_entropy(whole.join()(x), y) / y.shape[0]

        return jax.grad(loss)({name: parts.params[name] for name in names})

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return host_gradients(parts, jnp.asarray(x), jnp.asarray(y))


def choose(network: Network, contribution: Mapping[str, np.ndarray], budget: float) -> SparseUpdate:
    """What contributes most among what keeps at most `budget` KiB of an image for its backward pass.

    The head is trained, and the biases of all layers from some convolution on; where that begins is tried out, because
    the gradient's way there costs a mask for each layer. What is left of the budget goes to the weights of those
    convolutions: to the input channels that contribute most for their bits.

    Raises:
        BitrowError: a budget that not even the head fits in.
    """
    names = parameter_shapes(network)
    head = network.output
    check_budget(network, budget)
    best, most = SparseUpdate(_of(names, {head}), ()), -1.0
    convs = convolutions(network)
    order = [node.name for node in network.nodes]
    for first in reversed(convs):
        after = set(order[order.index(first.name) :])
        biases = {name for name in _of(names, after) if name.split("/")[2] in _BIASES} | _of(names, {head})
        given = [_Candidate(conv, contribution[conv.name]) for conv in convs if conv.name in after]
        weights = {f"{LAYERS}/{each.conv.name}/weight" for each in given}
        way = SparseUpdate(frozenset(biases | weights), tuple((each.conv.name, ()) for each in given))
        left = int(budget * _KIB) - kept_bits(network, way)
        if left < 0:
            break
        chosen = _fill(network, given, left)
        total = sum(each.gain(chosen[each.conv.name]) for each in given if each.conv.name in chosen)
        if total > most:
            weights = {f"{LAYERS}/{name}/weight" for name in chosen}
            best, most = SparseUpdate(frozenset(biases | weights), tuple(sorted(chosen.items()))), total
    return best


def check_budget(network: Network, budget: float) -> None:
    """Refuse a budget of KiB that not even the head fits in. Raises: BitrowError."""
    least = kept_bits(network, SparseUpdate(_of(parameter_shapes(network), {network.output}), ())) / _KIB
    if budget < least:
        found = f"policy sparse_{budget:g}: found {budget:g} KiB"
        raise BitrowError(f"{found}, expected at least {least:g} for the head of {network.name}")


def kept_bits(network: Network, update: SparseUpdate) -> int:
    """Bits of one image that are kept for the backward pass, as the accelerator packs them (SPEC.md Q5)."""
    return sum(bits for _, _, bits, _ in saved(reach(network, update.names, update.counts)))


def _of(names: Mapping[str, tuple[int, ...]], layers: set[str]) -> frozenset[str]:
    return frozenset(name for name in names if name.startswith(f"{LAYERS}/") and name.split("/")[1] in layers)


class _Candidate(NamedTuple):
    """A convolution, and what its weights contribute by input channel of a group."""

    conv: Convolution
    each: np.ndarray

    def gain(self, channels: tuple[int, ...]) -> float:
        """What the weights of these input channels contribute."""
        return float(self.each.sum() if self.conv.config.groups > 1 else self.each[list(channels)].sum())

    def pieces(self, channels: int) -> list[tuple[int, ...]]:
        """What is trained or not as one."""
        return [tuple(range(channels))] if self.conv.config.groups > 1 else [(c,) for c in range(channels)]


def _fill(network: Network, given: list[_Candidate], left: int) -> dict[str, tuple[int, ...]]:
    """Input channels by convolution, in the order of what they contribute for a bit, while they fit in `left` bits."""
    sizes, items = shapes(network), list[tuple[float, str, tuple[int, ...]]]()
    bits, place = {}, {}
    for each in given:
        h, w, c = place[each.conv.name] = sizes[each.conv.input]
        bits[each.conv.name] = each.conv.config.x_format.stored_bits
        for piece in each.pieces(c):
            items.append((each.gain(piece) / (len(piece) * h * w * bits[each.conv.name]), each.conv.name, piece))
    chosen: dict[str, tuple[int, ...]] = {}
    for gain, name, piece in sorted(items, key=lambda item: (-item[0], item[1], item[2])):
        before = chosen.get(name, ())
        wider = tuple(sorted((*before, *piece)))
        h, w, _ = place[name]
        more = map_bits((h, w, len(wider)), bits[name]) - map_bits((h, w, len(before)), bits[name])
        if gain > 0 and more <= left:
            chosen[name], left = wider, left - more
    return chosen


def apply(module: NetworkModule, images: Images, budget: float) -> SparseUpdate:
    """Choose for the module, and let its convolutions train, and keep, the chosen channels alone.

    Raises:
        BitrowError: as `choose`.
    """
    update = choose(module.network, contributions(module, images), budget)
    for name, chosen in update.channels:
        conv = module.layers[name]
        assert isinstance(conv, Conv)
        conv.channels = chosen if conv.config.groups == 1 else ()
    module.sparse = update
    return update
