"""What a freeze policy costs for each image: memory kept for the backward pass, operations, energy, traffic.

Computed from the network and the names of the trained parameters, as the row pipeline counts (`pipeline.cost`):
operations exactly, energy as a range from its tables, with their sources. Leakage, clock tree and control are in
no table, so energies are lower bounds of a real chip's. Gradients of parameters are the host's; what it is sent
for them is counted apart, its arithmetic is not in the energy.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from bitrow.graph import Network
from bitrow.pipeline.cost import energy_items
from bitrow.pipeline.cost_tables import ENERGY_PJ, Range
from bitrow.pipeline.machine import DEFAULT_MACHINE, Machine, Packing, WeightMemory
from bitrow.pipeline.memory_size import memory_size
from bitrow.pipeline.schedule import schedule
from bitrow.transfer.accounting_count import ImageCounts, count, saved
from bitrow.transfer.accounting_reach import reach

_KIB = 8192  # bits


class SavedMemory(NamedTuple):
    """What a layer or branch keeps for the backward pass of one image: packed `bits`, and `bytes` of a JAX program."""

    layer: str
    what: str
    bits: int
    bytes: int


@dataclass(frozen=True)
class Accounting:
    """What one image costs under a policy.

    `saved`: everything kept for the backward pass, item by item; `saved_kib` packs it as the accelerator does (masks
    1 bit, codes as in SPEC.md Q5), `program_kib` gives each mask, code and winner a byte, as a JAX program does.
    `trainable`: trained numbers. `macs_*`: products on the FXP array; `fp_*`: FP16 and FP32 operations and
    dequantizations. `energy_*_uj`: of the accelerator, (low, high). `host_kib`: sent to the host for the gradients of
    parameters, `host_macs` its products for them, `host_energy_uj` what sending takes through DRAM.
    """

    policy: str
    saved: tuple[SavedMemory, ...]
    trainable: int
    macs_forward: int
    macs_backward: int
    fp_forward: int
    fp_backward: int
    energy_forward_uj: Range
    energy_backward_uj: Range
    host_kib: float
    host_macs: int
    host_energy_uj: Range

    @property
    def saved_kib(self) -> float:
        """KiB kept for the backward pass of one image, as the accelerator packs them."""
        return sum(item.bits for item in self.saved) / _KIB

    @property
    def program_kib(self) -> float:
        """The same in a JAX program."""
        return sum(item.bytes for item in self.saved) / 1024

    @property
    def energy_per_image_uj(self) -> Range:
        """Microjoules of the accelerator for one training image, (low, high)."""
        return self.energy_forward_uj.plus(self.energy_backward_uj)

    def as_dict(self) -> dict[str, Any]:
        """Flat figures for JSON and CSV; ranges as two columns, `_low` and `_high`."""
        low, high = self.energy_per_image_uj
        return {
            "policy": self.policy,
            "saved_kib": self.saved_kib,
            "program_kib": self.program_kib,
            "trainable": self.trainable,
            "macs_forward": self.macs_forward,
            "macs_backward": self.macs_backward,
            "fp_forward": self.fp_forward,
            "fp_backward": self.fp_backward,
            "energy_per_image_uj_low": low,
            "energy_per_image_uj_high": high,
            "host_kib": self.host_kib,
            "host_macs": self.host_macs,
            "host_energy_uj_low": self.host_energy_uj.low,
            "host_energy_uj_high": self.host_energy_uj.high,
        }


def account(
    network: Network, trained: Iterable[str], machine: Machine = DEFAULT_MACHINE, *, policy: str = "",
    channels: Mapping[str, int] | None = None,
) -> Accounting:  # fmt: skip
    """Account for one training image of `network` on `machine` where the parameters named `trained` are trained.

    Names are those of `network_module.Parts.params`: "layers/LAYER/weight" (bias, scale, shift, gamma, beta),
    "branches/END/down" and "up", "prompt/delta". A branch of which nothing is trained does not exist, and neither
    does a prompt. `channels`: how many input channels of a convolution's weights train, where not all do (`sparse`).
    `policy` is only a label. Row scales (`numerics.Scaling.ROW`) count as the wider codes that they
    make; finding them is not counted, nor are random words. Weights lie on chip and rows are of one image,
    whatever the machine says of them.

    Raises:
        BitrowError: a name that the network does not have, no name at all, a machine that cannot run the network.
    """
    machine = replace(machine, weights=WeightMemory.CHIP, images_at_once=1)
    found = reach(network, trained, channels)
    passes = count(found, machine)
    bank_bytes = _bank_bytes(network, machine)
    sent = passes.forward.gradient_bits + passes.backward.gradient_bits
    return Accounting(
        policy=policy,
        saved=tuple(SavedMemory(*item) for item in saved(found)),
        trainable=found.count,
        macs_forward=passes.forward.macs,
        macs_backward=passes.backward.macs,
        fp_forward=_operations(passes.forward),
        fp_backward=_operations(passes.backward),
        energy_forward_uj=_energy(passes.forward, machine, bank_bytes),
        energy_backward_uj=_energy(passes.backward, machine, bank_bytes),
        host_kib=sent / _KIB,
        host_macs=passes.backward.host_macs,
        host_energy_uj=ENERGY_PJ["dram_bit"].cost.times(sent * 1e-6),
    )


def _operations(tally: ImageCounts) -> int:
    return tally.counts.flops - 2 * tally.macs


def _energy(tally: ImageCounts, machine: Machine, bank_bytes: float) -> Range:
    items = energy_items(machine, tally.counts, bank_bytes)
    return Range(sum(item.cost.low for item in items) * 1e-6, sum(item.cost.high for item in items) * 1e-6)


@functools.lru_cache(maxsize=16)
def _bank_bytes(network: Network, machine: Machine) -> float:
    """Size of a bank of the machine that can train the whole network: the same under every policy,
    since every ring has its words alone.
    """
    found = schedule(network, replace(machine, packing=Packing.RINGS), images=1)
    return memory_size(found).built / 8 / found.layout.total
