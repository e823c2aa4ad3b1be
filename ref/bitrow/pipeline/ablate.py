"""The paper's three techniques on and off, and sweeps over input size, lanes and banks.

Every point is a schedule of its own; nothing is interpolated. Standard library and numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product

from bitrow import zoo
from bitrow.config import BatchNormConfig, Statistics
from bitrow.errors import BitrowError
from bitrow.graph import Network
from bitrow.markdown import table
from bitrow.pipeline.cost import Scope
from bitrow.pipeline.cost_tables import Range
from bitrow.pipeline.machine import DEFAULT_MACHINE, Mac, Machine
from bitrow.pipeline.policies import SchedulePolicy, layer_by_layer, row_pipelined_overlap
from bitrow.pipeline.reach import every_layer
from bitrow.pipeline.report import KB, report
from bitrow.pipeline.schedule import schedule
from bitrow.pipeline.work import UNIT

NETWORKS = ("resnet18", "resnet20", "mobilenetv2", "vgg8")
SIZES = (32, 64, 96, 128, 160, 192, 224)
LANES = (512, 1024, 2048, 4096, 8192, 16384)
BANKS = (8, 12, 16, 24, 32, 48, 64)


@dataclass(frozen=True)
class AblationPoint:
    """One run: which experiment (`study`) and setting, and its figures.

    `fxp_busy`, `fp_busy`: share of all cycles; `lanes_at_work`: products over MAC lanes times cycles; `bank_slowdown`:
    cycles over those of the same machine with ports enough; `buffer_kb`: built, weights apart; efficiencies are
    [low, high] of cost.Cost with the weight memory.
    """

    study: str
    network: str
    input_size: int
    batch_norm: str
    arithmetic: str
    pipeline: str
    fxp_lanes: int
    banks: int
    cycles_per_image: float
    frames_per_second: float
    fxp_busy: float
    fp_busy: float
    lanes_at_work: float
    bank_slowdown: float
    buffer_kb: float
    tflops_per_watt: Range
    gflops_per_mm2: Range


def techniques(
    networks: Sequence[str] = NETWORKS,
    machine: Machine = DEFAULT_MACHINE,
    images: int = 2,
    input_size: int | None = None,
) -> Iterator[AblationPoint]:
    """All eight combinations for each network: statistics, multipliers, pipeline.

    Every combination keeps as many images in flight as the batch has, which batch statistics need.
    """
    _known(networks)
    fair = replace(machine, images_in_flight=max(images, machine.images_in_flight), bank_depth=0)
    for name, statistics, mac, policy in product(networks, Statistics, Mac, (row_pipelined_overlap, layer_by_layer)):
        network = _network(name, input_size, statistics)
        yield _point("techniques", network, replace(fair, mac=mac), policy, images, statistics)


def sweep_input_size(
    networks: Sequence[str] = NETWORKS,
    machine: Machine = DEFAULT_MACHINE,
    images: int = 2,
    sizes: Sequence[int] = SIZES,
) -> Iterator[AblationPoint]:
    """The paper's design over the side of square inputs."""
    _known(networks)
    for name, size in product(networks, sizes):
        yield _point("input size", _network(name, size), replace(machine, bank_depth=0), None, images)


def sweep_lanes(
    networks: Sequence[str] = NETWORKS,
    machine: Machine = DEFAULT_MACHINE,
    images: int = 2,
    lanes: Sequence[int] = LANES,
    input_size: int | None = None,
) -> Iterator[AblationPoint]:
    """The paper's design over the number of FXP lanes, all else the same."""
    _known(networks)
    for name, many in product(networks, lanes):
        built = replace(machine, fxp_lanes=many, bank_depth=0)
        yield _point("lanes", _network(name, input_size), built, None, images)


def sweep_banks(
    networks: Sequence[str] = NETWORKS,
    machine: Machine = DEFAULT_MACHINE,
    images: int = 2,
    banks: Sequence[int] = BANKS,
    input_size: int | None = None,
) -> Iterator[AblationPoint]:
    """The paper's design over the number of banks, all else the same."""
    _known(networks)
    for name, many in product(networks, banks):
        built = replace(machine, banks=many, bank_depth=0)
        yield _point("banks", _network(name, input_size), built, None, images)


def _known(networks: Sequence[str]) -> None:
    for name in networks:
        if name not in zoo.NETWORKS:
            raise BitrowError(f"network: found {name!r}, expected one of {', '.join(zoo.NETWORKS)}")


def _network(name: str, size: int | None, statistics: Statistics = Statistics.FROZEN) -> Network:
    options = zoo.Options(batch_norm=BatchNormConfig(statistics))
    shape = (size, size, 3) if size else None
    return zoo.build(name, shape, options=options)


def _point(
    study: str,
    network: Network,
    machine: Machine,
    policy: SchedulePolicy | None,
    images: int,
    statistics: Statistics = Statistics.FROZEN,
) -> AblationPoint:
    policy = policy or row_pipelined_overlap
    training = every_layer(network)
    run = schedule(network, machine, policy, images, training=training)
    free = schedule(network, machine, policy, images, training=training, book_banks=False)
    found = report(run, compare=False)
    return AblationPoint(
        study=study,
        network=network.name,
        input_size=network.input_shape[0],
        batch_norm=statistics.value,
        arithmetic="FXP4 + dequantizer" if machine.mac is Mac.FXP else "FP16 MACs",
        pipeline="layer by layer" if policy is layer_by_layer else "row pipeline",
        fxp_lanes=machine.fxp_lanes,
        banks=machine.banks,
        cycles_per_image=found.cycles_per_image,
        frames_per_second=found.frames_per_second,
        fxp_busy=found.utilization[UNIT.FXP],
        fp_busy=found.utilization[UNIT.FP],
        lanes_at_work=found.lanes_busy["macs"],
        bank_slowdown=run.cycles / free.cycles,
        buffer_kb=found.memory.total / KB,
        tflops_per_watt=found.cost.tflops_per_watt[Scope.CHIP],
        gflops_per_mm2=found.cost.gflops_per_mm2[Scope.CHIP],
    )


def as_rows(points: Sequence[AblationPoint]) -> list[dict[str, object]]:
    """Points as plain values, for JSON and CSV."""
    return [asdict(point) for point in points]


COLUMNS: tuple[tuple[str, Callable[[AblationPoint], str]], ...] = (
    ("study", lambda p: p.study),
    ("network", lambda p: f"{p.network} {p.input_size}"),
    ("batch norm", lambda p: p.batch_norm),
    ("arithmetic", lambda p: p.arithmetic),
    ("pipeline", lambda p: p.pipeline),
    ("lanes", lambda p: str(p.fxp_lanes)),
    ("banks", lambda p: str(p.banks)),
    ("cycles/image", lambda p: f"{p.cycles_per_image:,.0f}"),
    ("frames/s", lambda p: f"{p.frames_per_second:,.1f}"),
    ("FXP busy", lambda p: f"{p.fxp_busy:.0%}"),
    ("FP busy", lambda p: f"{p.fp_busy:.0%}"),
    ("MAC lanes at work", lambda p: f"{p.lanes_at_work:.0%}"),
    ("bank slowdown", lambda p: f"{p.bank_slowdown:.3f}"),
    ("buffers KB", lambda p: f"{p.buffer_kb:,.0f}"),
    ("TFLOPS/W", lambda p: f"{p.tflops_per_watt[0]:.2f}-{p.tflops_per_watt[1]:.2f}"),
    ("GFLOPS/mm2", lambda p: f"{p.gflops_per_mm2[0]:.0f}-{p.gflops_per_mm2[1]:.0f}"),
)


TEXTS = ("study", "network", "batch norm", "arithmetic", "pipeline")


def markdown(points: Sequence[AblationPoint]) -> str:
    """Points as a Markdown table."""
    rows = ([text(point) for _, text in COLUMNS] for point in points)
    return "\n".join(table([name for name, _ in COLUMNS], rows)) + "\n"
