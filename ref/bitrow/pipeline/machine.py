"""The accelerator as one validated value: lanes, latencies, clock, banks, buffers (a TOML file says the same).

The paper publishes none of these numbers; the defaults are a 28 nm machine of our own, whose lanes, banks and mapping a
search over four networks found balanced (balanced.py). Standard library only.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bitrow.errors import BitrowError
from bitrow.reading import records
from bitrow.reading.values import read_toml


class Mac(enum.Enum):
    """What a convolution's multipliers are: FXP codes with a dequantizer behind, or FP16 throughout."""

    FXP = "fxp"
    FP16 = "fp16"


class RingRule(enum.Enum):
    """Row slots of a ring that feeds windows of K rows at stride S (rings.slots)."""

    K = "K"
    K_PLUS_1 = "K+1"
    K_PLUS_S = "K+S"
    UNBOUNDED = "unbounded"


class Packing(enum.Enum):
    """What shares the words of a bank: rows of all rings over time, or nobody, each ring having its slots alone."""

    LIFETIMES = "lifetimes"
    RINGS = "rings"


class Mapping(enum.Enum):
    """Which lanes make which sums of a convolution's row: one a sum, several, or those of whole channels (mappings)."""

    ROW = "row"
    SPLIT = "split"
    CHANNEL = "channel"
    BEST = "best"


class WeightMemory(enum.Enum):
    """Where the weights lie: all on chip, or in DRAM with buffers for the layers at work."""

    CHIP = "chip"
    DRAM = "dram"


@dataclass(frozen=True)
class Machine(records.Plain):
    """A row-pipelined accelerator.

    Lanes: `fxp_lanes` multiply-accumulate one product each cycle, an accumulator in each; `dequantizer_lanes` convert
    one accumulator each; `fp_mul_lanes` and `fp_add_lanes` are FP16 (comparisons run on adders). A row task takes the
    cycles of its busiest kind of lane plus the `*_latency` of its pipeline, in cycles. `mapping`: what the array of
    multipliers can do beside making each sum of a row in a lane of its own; each layer takes what is fastest, `BEST` of
    all. `shared`: all layers share the arrays in turn (else the same total is divided among the stages). Memory:
    `banks` of `ports` each, `bank_width` bits wide and `bank_depth` words deep (0: as deep as the network needs); a row
    lies in one bank, and a task holds a port of every bank it touches; `packing` says what shares the words of a bank.
    `ring_rule` sizes rings, `handoff_rows` is the queue from FXP to FP array, `images_in_flight` bounds what is kept
    for backward passes. A task makes the same row of `images_at_once` images, which lie side by side in rings; each
    layer takes as many of them at a time as is fastest, with weights read once for these; then `images_in_flight`
    counts such groups. `input_width`: bits of the image that the host loads each cycle; `loss_latency`: cycles from the
    last logit to the first gradient; `statistics_latency`: cycles of B2's and B3's per-channel arithmetic. `weights`
    says where they lie; those in DRAM come at `dram_width` bits a cycle whenever a unit turns to another layer, into
    one of `weight_buffers`: with two or more while the task before still runs, with one the task waits for them.

    Raises:
        BitrowError: a field of another type or outside its range, naming it.
    """

    name: str = "default28"
    clock_mhz: float = 500.0
    mac: Mac = Mac.FXP
    fxp_lanes: int = 8192
    dequantizer_lanes: int = 64
    fp_mul_lanes: int = 128
    fp_add_lanes: int = 128
    fxp_latency: int = 8
    dequantizer_latency: int = 4
    fp_latency: int = 12
    mapping: Mapping = Mapping.SPLIT
    shared: bool = True
    banks: int = 64
    ports: int = 1
    bank_width: int = 256
    bank_depth: int = 0
    packing: Packing = Packing.LIFETIMES
    ring_rule: RingRule = RingRule.K_PLUS_S
    handoff_rows: int = 2
    images_in_flight: int = 2
    images_at_once: int = 1
    input_width: int = 64
    loss_latency: int = 1000
    statistics_latency: int = 64
    weights: WeightMemory = WeightMemory.CHIP
    weight_buffers: int = 2
    dram_width: int = 128

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_field(self.name, field.name, getattr(self, field.name), type(field.default))


_MAY_BE_ZERO = frozenset(
    ("bank_depth", "fxp_latency", "dequantizer_latency", "fp_latency", "loss_latency", "statistics_latency")
)
_LARGEST = 1 << 40
_MOST = {"banks": 1 << 9, "ports": 1 << 6}  # a layout tries every bank against every other


def _check_field(machine: object, name: str, value: object, kind: type) -> None:
    where = f"machine {machine} {name}"
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise BitrowError(f"{where}: found {value!r}, expected a positive number")
    elif kind is int:
        least, most = 0 if name in _MAY_BE_ZERO else 1, _MOST.get(name, _LARGEST)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            upto = f" to {most:,}" if isinstance(value, int) and value > most else ""
            raise BitrowError(f"{where}: found {value!r}, expected a whole number from {least}{upto}")
    elif not isinstance(value, kind) or value == "":
        raise BitrowError(f"{where}: found {value!r}, expected a {kind.__name__}")


DEFAULT_MACHINE = Machine()


def load_machine(path: str | Path) -> Machine:
    """Read a machine from a TOML file of `Machine`'s fields at the top level; those left out keep their default.

    Raises:
        BitrowError: naming file and field: no such file, no TOML, an unknown field, a value out of range.
    """
    return machine_from(read_toml(path, f"machine {path}"), str(path))


def machine_from(table: dict[str, Any], where: str = "table") -> Machine:
    """A machine from plain values, enumerations by their values ("K+S", "fxp").

    Raises:
        BitrowError: as `load_machine`.
    """
    return records.read(Machine, {"name": Path(where).stem or "table"} | table, where)


def as_table(machine: Machine) -> dict[str, Any]:
    """The machine's fields as plain values: what `machine_from` reads, and what JSON and TOML can hold."""
    return records.write(machine)


def to_toml(machine: Machine) -> str:
    """The machine as a TOML file that `load_machine` reads."""

    def text(value: object) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str):
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'
        return repr(value)

    return "".join(f"{key} = {text(value)}\n" for key, value in as_table(machine).items())
