"""What the host's work takes for an image: gradients of parameters, and its share of the optimizer's update.

Energy is that of FP32 multiplications and additions in hardware, and of DRAM, by the sources of `pipeline.cost`. Square
roots and divisions have no figure there and are not counted, nor are the instructions of a processor: lower bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bitrow.pipeline.cost_tables import ENERGY_PJ, HOROWITZ, SCALING, Figure, Range
from bitrow.transfer import optimizers
from bitrow.transfer.training import Recipe

FP32_MUL = Figure(Range(1.89, 2.37), f"FP32 multiply, {HOROWITZ}; {SCALING}")
FP32_ADD = ENERGY_PJ["fp32_add"]
_WORD = 32  # bits


def arithmetic(products: float, additions: float) -> Range:
    """pJ of FP32 operations."""
    return FP32_MUL.cost.times(products).plus(FP32_ADD.cost.times(additions))


@dataclass(frozen=True)
class HostCost:
    """Of the host, for an image: µJ of maps `sent` to it, of `gradients` of parameters that it computes, and of the
    `update`, which a batch or several share. `state_kib`: the optimizer's numbers beside the trained ones.
    """

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
        found: dict[str, Any] = {"optimizer_kib": self.state_kib}
        for name, both in (("gradients", self.gradients), ("update", self.update), ("total", self.total)):
            found |= {f"host_{name}_uj_low": both.low, f"host_{name}_uj_high": both.high}
        return found


def host_cost(trained: int, products: int, sent: Range, recipe: Recipe) -> HostCost:
    """Of `trained` numbers under a recipe, with the `products` of an image's gradients, each added up."""
    states = optimizers.STATE[recipe.optimizer] + (recipe.accumulate > 1)
    update = _update(recipe).times(trained * 1e-6 / (recipe.batch * recipe.accumulate))
    return HostCost(trained * states * 4 / 1024, sent, arithmetic(products, products).times(1e-6), update)


def _update(recipe: Recipe) -> Range:
    """pJ of a number's update: its operations; gradient, master and state through DRAM, those that change twice."""
    products, additions = optimizers.OPERATIONS[recipe.optimizer]
    words = 1 + 2 + 2 * optimizers.STATE[recipe.optimizer]
    if recipe.accumulate > 1:  # every batch adds a share of its gradient to the mean, which is read and written
        products, additions = products + recipe.accumulate, additions + recipe.accumulate
        words += 3 * recipe.accumulate
    return arithmetic(products, additions).plus(ENERGY_PJ["dram_bit"].cost.times(_WORD * words))
