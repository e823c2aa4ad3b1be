"""What the host's work takes for an image: gradients of parameters, and its share of the optimizer's update.

Energy is that of FP32 multiplications and additions in hardware, and of DRAM, by the sources of `pipeline.cost`. Square
roots and divisions have no figure there and are not counted, nor are the instructions of a processor: lower bounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bitrow.formats import Fxp
from bitrow.pipeline.cost_tables import ENERGY_PJ, HOROWITZ, SCALING, Figure, Range
from bitrow.transfer import optimizers
from bitrow.transfer.accounting_reach import Reach, parameter_shapes
from bitrow.transfer.recipe import Recipe

FP32_MUL = Figure(Range(1.89, 2.37), f"FP32 multiply, {HOROWITZ}; {SCALING}")
FP32_ADD = ENERGY_PJ["fp32_add"]
_WORD, _KIB = 32, 8192  # bits


def arithmetic(products: float, additions: float) -> Range:
    """pJ of FP32 operations."""
    return FP32_MUL.cost.times(products).plus(FP32_ADD.cost.times(additions))


class CodedWeights(NamedTuple):
    """Of the trained numbers, how many train as codes (`trained_codes`), and the bits of these (SPEC.md Q5)."""

    numbers: int = 0
    bits: int = 0


@dataclass(frozen=True)
class HostCost:
    """Of the host, for an image: µJ of maps `sent` to it, of `gradients` of parameters that it computes, and of the
    `update`, which a batch or several share. `masters_kib`: the trained numbers, float32 or codes; `state_kib`: the
    optimizer's beside them.
    """

    masters_kib: float
    state_kib: float
    sent: Range
    gradients: Range
    update: Range

    @property
    def total(self) -> Range:
        """µJ for an image."""
        return self.sent.plus(self.gradients).plus(self.update)

    def as_dict(self) -> dict[str, Any]:
        """Flat figures for JSON and CSV, without `sent`, which the accounting has."""
        found: dict[str, Any] = {"masters_kib": self.masters_kib, "optimizer_kib": self.state_kib}
        for name, both in (("gradients", self.gradients), ("update", self.update), ("total", self.total)):
            found |= {f"host_{name}_uj_low": both.low, f"host_{name}_uj_high": both.high}
        return found


def host_cost(
    trained: int, products: int, sent: Range, recipe: Recipe, coded: CodedWeights = CodedWeights()
) -> HostCost:
    """Of `trained` numbers under a recipe, with the `products` of an image's gradients, each added up."""
    states = optimizers.STATE[recipe.optimizer] + (recipe.accumulate > 1)
    masters = _WORD * (trained - coded.numbers) + coded.bits
    update = _update(recipe, trained, masters, coded.numbers).times(1e-6 / (recipe.batch * recipe.accumulate))
    gradients = arithmetic(products, products).times(1e-6)
    return HostCost(masters / _KIB, trained * states * _WORD / _KIB, sent, gradients, update)


def coded_weights(found: Reach, coded: Sequence[tuple[str, Fxp]]) -> CodedWeights:
    """Of a program's `coded` weights what trains of them."""
    sizes = parameter_shapes(found.network)
    counts = [found.part(name.split("/")[1], math.prod(sizes[name]), name) for name, _ in coded]
    return CodedWeights(sum(counts), sum(n * fmt.stored_bits for n, (_, fmt) in zip(counts, coded, strict=True)))


def _update(recipe: Recipe, trained: int, masters: int, coded: int) -> Range:
    """pJ of an update of all: its operations; gradients, bits of masters and state through DRAM, those that change
    twice. A code's gradient is scaled, and a word that was drawn added to its step; drawing it is not counted.
    """
    products, additions = optimizers.OPERATIONS[recipe.optimizer]
    words = 1 + 2 * optimizers.STATE[recipe.optimizer]
    if recipe.accumulate > 1:  # every batch adds a share of its gradient to the mean, which is read and written
        products, additions = products + recipe.accumulate, additions + recipe.accumulate
        words += 3 * recipe.accumulate
    moved = ENERGY_PJ["dram_bit"].cost.times(_WORD * words * trained + 2 * masters)
    return arithmetic(products * trained + coded, additions * trained + coded).plus(moved)
