"""What training in float32 costs for an image by itself: no codes, no quantizers, no accelerator beside a host.

Multiplications and additions are counted as the pipeline's FP16 machine has them, and those of parameters' gradients
with them; their energy is FP32's. No memory of a float32 machine is modelled, so its traffic is not counted: the energy
is a lower bound that leaves out what the accelerator's figures have.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from bitrow.config import ConvConfig
from bitrow.graph import Network
from bitrow.pipeline.cost import Range
from bitrow.pipeline.machine import DEFAULT_MACHINE, Mac
from bitrow.transfer.accounting import Accounting, SavedMemory
from bitrow.transfer.accounting_count import ImageCounts, count, saved
from bitrow.transfer.accounting_host import arithmetic
from bitrow.transfer.accounting_reach import LAYERS, Reach, parameter_shapes, reach

_BITS = 32
_NOTHING = Range(0.0, 0.0)


def account_float(
    network: Network, trained: Iterable[str], *, policy: str = "", channels: Mapping[str, int] | None = None
) -> Accounting:
    """Account for one training image in float32; arguments and errors as `accounting.account`.

    Of the result, memory is float32's: maps of 32 bits, masks of one; energies are those of its operations alone, and
    nothing is the host's, gradients of parameters being a part of the backward pass.
    """
    found = reach(network, trained, channels)
    passes = count(found, replace(DEFAULT_MACHINE, mac=Mac.FP16))
    ahead, back = passes.forward, passes.backward
    back.add(macs=back.host_macs)
    return Accounting(
        policy=policy, saved=tuple(_saved(found)), trainable=found.count, macs_forward=ahead.macs,
        macs_backward=back.macs, fp_forward=_operations(ahead), fp_backward=_operations(back),
        energy_forward_uj=_energy(ahead), energy_backward_uj=_energy(back), host_kib=0.0, host_macs=0,
        host_energy_uj=_NOTHING,
    )  # fmt: skip


def _operations(tally: ImageCounts) -> int:
    return tally.fp_mul + tally.fp_add + tally.fp32_add


def _energy(tally: ImageCounts) -> Range:
    """µJ of its FP32 operations."""
    additions = tally.macs + tally.fp_add + tally.fp32_add
    return arithmetic(tally.macs + tally.fp_mul, additions).times(1e-6)


def _saved(found: Reach) -> Iterator[SavedMemory]:
    """A convolution's input where it kept codes; no mask of a quantizer; twice the bits of every FP16 map."""
    convs = {node.name for node in found.network.nodes if isinstance(node.config, ConvConfig)}
    for layer, what, bits, size in saved(found):
        if layer in convs and what == "codes":  # a byte each in a program
            yield SavedMemory(layer, "input", _BITS * size, 4 * size)
        elif layer not in convs and 8 * size == bits and what != "winners":  # FP16 maps
            yield SavedMemory(layer, what, 2 * bits, 2 * size)
        elif layer not in convs:
            yield SavedMemory(layer, what, bits, size)


def weights_kib(network: Network, trained: Iterable[str], *, in_float: bool) -> float:
    """KiB of the network's parameters, and of the branches and prompt that are trained: float32, or as the accelerator
    has them: codes of convolutions, FP32 biases of heads, FP16 for all else.
    """
    names, bits = frozenset(trained), 0
    for name, shape in parameter_shapes(network).items():
        kind, layer, *field = name.split("/")
        if kind == LAYERS or name in names:
            each = _BITS if in_float else _width(network, kind, layer, *field)
            bits += each * math.prod(shape)
    return bits / 8192


def _width(network: Network, kind: str, layer: str, field: str = "") -> int:
    if kind != LAYERS:
        return 16
    config = network.node(layer).config
    if isinstance(config, ConvConfig) and field == "weight":
        return config.weight_format.stored_bits
    return _BITS if field == "bias" and not isinstance(config, ConvConfig) else 16
