"""`case.json` of a row trace: the run, and what its other files are (SPEC.md V6).

Everything but the run itself follows from it, and is written for those who read the files without bitrow. Standard
library and numpy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from bitrow import typed
from bitrow.errors import BitrowError
from bitrow.graph import Network
from bitrow.pipeline.machine import Mac, Machine, Mapping
from bitrow.pipeline.mappings import mapped_lines
from bitrow.pipeline.policies import policy_named
from bitrow.pipeline.reach import Training
from bitrow.pipeline.schedule import Schedule, schedule
from bitrow.reading import records
from bitrow.vectors.files import schema
from bitrow.vectors.trace.formats import ImageFormat
from bitrow.vectors.trace.streams import StreamRecord, streams

MODEL_FILE = "model.safetensors"
TASKS, ACCESSES, ROWS = TABLES = ("tasks.csv", "accesses.csv", "rows.csv")


@dataclasses.dataclass(frozen=True)
class StageRecord(records.Plain):
    """A stage: its layers in order; `head`: the first of them works by rows of its own."""

    name: str
    head: bool
    layers: tuple[str, ...]

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "stage")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TraceRecord(records.Plain):
    """`case.json`: a network's run on a machine (`trains`: the layers of `--freeze`, empty for every gradient),
    the `cycles` at which the banks' images are taken and how they are written; then what follows from that: the run's
    last cycle, the words of the deepest bank, units, stages, streams.

    Raises:
        BitrowError: a field of another type, a cycle twice or before 0.
    """

    schema: int
    spec_version: int
    network: Network
    machine: Machine
    policy: str
    images: int
    backward: bool
    trains: tuple[str, ...]
    image_format: ImageFormat
    cycles: tuple[int, ...]
    last_cycle: int
    depth: int
    units: tuple[str, ...]
    stages: tuple[StageRecord, ...]
    streams: tuple[StreamRecord, ...]

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "trace")
        if list(self.cycles) != sorted({cycle for cycle in self.cycles if cycle >= 0}):
            raise BitrowError(f"cycles: found {str(self.cycles)[:80]}, expected each once from 0, in order")

    @property
    def training(self) -> Training:
        """How far the backward pass goes."""
        return frozenset(self.trains) if self.trains else self.backward


def trace_record(found: Schedule, depth: int, cycles: tuple[int, ...], image_format: ImageFormat) -> TraceRecord:
    """The record of a run."""
    trained = found.flow.trained
    stages = (
        StageRecord(stage.name, stage.head is not None, tuple(site.node.name for site in stage.sites))
        for stage in found.flow.stages
    )
    return TraceRecord(
        schema=schema.SCHEMA,
        spec_version=schema.SPEC_VERSION,
        network=found.flow.network,
        machine=found.machine,
        policy=found.policy,
        images=found.images,
        backward=found.flow.training,
        trains=() if isinstance(trained, bool) else tuple(sorted(trained)),
        image_format=image_format,
        cycles=cycles,
        last_cycle=found.cycles,
        depth=depth,
        units=found.units,
        stages=tuple(stages),
        streams=streams(found),
    )


def read_trace_record(folder: Path) -> TraceRecord:
    """`case.json` of the trace at `folder`, each field by itself checked.

    Raises:
        BitrowError: naming the file and the field.
    """
    value = schema.read_json(folder / schema.CASE_JSON, schema.CASE_JSON)
    schema.check_versions(value, schema.CASE_JSON)
    found: TraceRecord = records.read(TraceRecord, value, schema.CASE_JSON)
    return found


def scheduled(record: TraceRecord) -> Schedule:
    """The run that a record says.

    Raises:
        BitrowError: as `schedule`; a run that has no trace.
    """
    return check_traceable(
        schedule(
            record.network, record.machine, policy_named(record.policy), record.images, training=record.training
        )
    )


def check_traceable(found: Schedule) -> Schedule:
    """A run whose rows have words of the contract, and places in banks, and that its record says.

    Raises:
        BitrowError: FP16 multipliers, which compute other words; whole maps, which lie in one memory; a policy of one's
            own; banks that were not booked; several images in a row; a layer mapped by groups of channels, whose rows
            lie in another order.
    """
    mac = found.machine.mac
    if mac is not Mac.FXP:
        raise BitrowError(
            f"machine {found.machine.name} mac: found {mac.value}, expected fxp for a trace of the contract's words"
        )
    if found.plan.whole_maps:
        raise BitrowError(f"policy: found {found.policy}, expected one with rows in banks for a trace")
    policy_named(found.policy)
    if not found.booked:
        raise BitrowError("book_banks: found False, expected a run with its banks booked for a trace")
    if found.machine.images_at_once > 1:
        raise BitrowError(
            f"machine {found.machine.name} images_at_once: found {found.machine.images_at_once}, "
            "expected 1 for a trace, whose rows are of one image"
        )
    for line, mapped in zip(found.flow.lines, mapped_lines(found.flow, found.rings, found.machine), strict=True):
        if mapped.way.mapping is Mapping.CHANNEL:
            raise BitrowError(
                f"machine {found.machine.name} mapping: found channel at {found.flow.stages[line.stage].name}, whose "
                "rows lie group by group, expected row or split for a trace"
            )
    return found


def trace_files(record: TraceRecord, banks: int) -> Iterator[str]:
    """Every file of a trace, relative to it, but its manifest."""
    yield from (schema.CASE_JSON, MODEL_FILE, *TABLES)
    yield from (stream.file for stream in record.streams)
    yield from (image_file(record, cycle, bank) for cycle in record.cycles for bank in range(banks))


def image_file(record: TraceRecord, cycle: int, bank: int) -> str:
    """The file of a bank's image."""
    return f"banks/{cycle}/bank_{bank:02d}.{record.image_format.suffix}"
