"""What one operation, one bit and one unit cost: ranges with their sources, ours or those of a TOML file.

Published 45 nm figures scaled to 28 nm. Nothing is fitted to the paper's results. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bitrow.errors import BitrowError
from bitrow.reading import records
from bitrow.reading.values import read_toml


class Range(NamedTuple):
    """A figure between two bounds."""

    low: float
    high: float

    def times(self, count: float) -> Range:
        return Range(self.low * count, self.high * count)

    def plus(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)


class Figure(NamedTuple):
    """What one operation costs, and where the figure is from."""

    cost: Range
    source: str


HOROWITZ = "Horowitz, ISSCC 2014, 45 nm"
SCALING = "scaled to 28 nm by 0.51 to 0.64 (Stillmaker and Baas 2017; 28 nm is not a native node of theirs)"
AREA_SCALING = "area scaled by 0.38 (Stillmaker and Baas 2017)"
_SCALE = Range(0.51, 0.64)
SRAM_BYTES = {"sram_8K": 8192, "sram_32K": 32768, "sram_1M": 1 << 20}  # what the figures of that name are of


def _sram(size: str, at_45nm: float) -> Figure:
    return Figure(_SCALE.times(at_45nm / 64), f"a bit of 64 from an SRAM of {size}, {HOROWITZ}; {SCALING}")


ENERGY_PJ: dict[str, Figure] = {
    "fxp_mac": Figure(
        Range(0.06, 0.07), f"INT4 product, 20-bit accumulator, from int8 of {HOROWITZ}; {SCALING}"
    ),
    "fp16_mac": Figure(Range(0.76, 0.96), f"FP16 multiply and add, {HOROWITZ}; {SCALING}"),
    "dequantize": Figure(Range(0.56, 0.70), f"assumed: as an FP16 multiply, {HOROWITZ}; {SCALING}"),
    "fp_mul": Figure(Range(0.56, 0.70), f"FP16 multiply, {HOROWITZ}; {SCALING}"),
    "fp_add": Figure(Range(0.20, 0.26), f"FP16 add, {HOROWITZ}; {SCALING}"),
    "fp32_add": Figure(Range(0.46, 0.58), f"FP32 add, {HOROWITZ}; {SCALING}"),
    "dram_bit": Figure(Range(1300 / 64, 2600 / 64), f"DRAM, 64 bits, {HOROWITZ}; not scaled"),
    "sram_8K": _sram("8 KB", 10.0),
    "sram_32K": _sram("32 KB", 20.0),
    "sram_1M": _sram("1 MB", 100.0),
}

AREA_UM2: dict[str, Figure] = {
    "fxp_mac": Figure(
        Range(61, 61 * 1.5), f"INT4 MAC from int8 of {HOROWITZ}; {AREA_SCALING}; up to 1.5x control"
    ),
    "fp16_mac": Figure(
        Range(1130, 2190), f"FP16 multiply and add, {HOROWITZ}; {AREA_SCALING}; high: RedMulE's FMA at 22 nm"
    ),
    "dequantizer": Figure(
        Range(1140, 1140 * 1.5), "assumed: an FP16 multiplier and, for the normalizing shift, an adder"
    ),
    "fp_mul": Figure(
        Range(623, 623 * 1.5), f"FP16 multiply, {HOROWITZ}; {AREA_SCALING}; up to 1.5x for control"
    ),
    "fp_add": Figure(Range(517, 517 * 1.5), f"FP16 add, {HOROWITZ}; {AREA_SCALING}; up to 1.5x for control"),
    "register_bit": Figure(
        Range(2.0, 4.0), "assumed: a flip-flop of 4 to 8 gates of 0.49 um2 (a NAND2 of 28 nm libraries)"
    ),
    "sram_bit": Figure(
        Range(0.127 / 0.7, 0.127 / 0.5), "assumed: 0.127 um2 cell at 28 nm, 50 to 70% of the array"
    ),
}


@dataclass(frozen=True, eq=False)
class CostTables:
    """What things cost, by name: `energy` in pJ, `area` in um2."""

    energy: Mapping[str, Figure]
    area: Mapping[str, Figure]


DEFAULT_COSTS = CostTables(ENERGY_PJ, AREA_UM2)


@dataclass(frozen=True)
class CostFigure(records.Plain):
    """A figure as a TOML file has it.

    Raises:
        BitrowError: bounds that are no positive numbers in order, no source.
    """

    low: float
    high: float
    source: str

    def __post_init__(self) -> None:
        for name, value in (("low", self.low), ("high", self.high)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise BitrowError(f"cost {name}: found {value!r}, expected a positive number")
        if self.low > self.high:
            raise BitrowError(f"cost low: found {self.low!r}, expected at most high, {self.high!r}")
        if not isinstance(self.source, str) or not self.source:
            raise BitrowError(f"cost source: found {self.source!r}, expected where the figure is from")


def load_costs(path: str | Path) -> CostTables:
    """Read cost tables from a TOML file; what it leaves out keeps our figure.

    A table `[energy_pj.NAME]` or `[area_um2.NAME]` for each figure, of `low`, `high` and `source`.

    Raises:
        BitrowError: naming file and figure: no such file, no TOML, an unknown name, bounds out of order, no source.
    """
    return costs_from(read_toml(path, f"costs {path}"), f"costs {path}")


def costs_from(table: Mapping[str, Any], where: str = "costs") -> CostTables:
    """Cost tables from plain values, as `load_costs`.

    Raises:
        BitrowError: as `load_costs`.
    """
    ours = {"energy_pj": ENERGY_PJ, "area_um2": AREA_UM2}
    made = {name: dict(figures) for name, figures in ours.items()}
    for name, entries in table.items():
        if name not in ours or not isinstance(entries, dict):
            raise BitrowError(f"{where} {name}: found {type(entries).__name__}, expected tables {', '.join(ours)}")
        for figure, value in entries.items():
            if figure not in ours[name]:
                raise BitrowError(f"{where} {name}: found {figure!r}, expected one of {', '.join(ours[name])}")
            read = records.read(CostFigure, value, f"{where} {name}.{figure}")
            made[name][figure] = Figure(Range(read.low, read.high), read.source)
    return CostTables(made["energy_pj"], made["area_um2"])
