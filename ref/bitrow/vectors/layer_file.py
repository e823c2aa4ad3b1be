"""A layer of one's own in a file in TOML (SPEC.md V4; docs/vectors.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitrow import typed
from bitrow.contract.operations import LAYERS
from bitrow.errors import BitrowError
from bitrow.host import Scales
from bitrow.reading import LAYER, records
from bitrow.reading.archives import read_npz
from bitrow.reading.records import Plain
from bitrow.reading.values import read_toml
from bitrow.vectors.own_layer import MOST_VALUES, Direction, LayerCase, MapShape, Stimulus

_MOST_BYTES = 16 * MOST_VALUES  # of given arrays


@dataclass(frozen=True)
class ScalesRecord(Plain):
    """Scales of a convolution in a file; `w` one, or one for each output channel."""

    x: float
    w: float | tuple[float, ...]
    dy: float

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "scales")


@dataclass(frozen=True)
class StimulusRecord(Plain):
    """The stimulus in a file; `arrays` is an npz file beside it."""

    kind: Stimulus = Stimulus.DIRECTED
    seed: int = 0
    arrays: str | None = None

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "stimulus")


@dataclass(frozen=True)
class LayerFile(Plain):
    """A layer file: `layer` is the label of a kind of layer, `config` and `size` what differs from their defaults."""

    layer: str
    inputs: tuple[MapShape, ...]
    name: str | None = None
    config: dict[str, Any] | None = None
    size: dict[str, Any] | None = None
    scales: ScalesRecord | None = None
    direction: Direction = Direction.BOTH
    stimulus: StimulusRecord = StimulusRecord()

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "layer file")


def load(path: Path) -> LayerCase:
    """The layer that a file in TOML describes; its cases have the file's name where it gives none.

    Raises:
        BitrowError: naming file and key: no strict TOML, an unknown layer or key, a value of another type, what
            `LayerCase` refuses, arrays that cannot be read.
    """
    where = str(path)
    found: LayerFile = records.read(LayerFile, read_toml(path, where, LAYER), where)
    kinds = {vars(kind)["label"]: kind for kind in LAYERS}
    if found.layer not in kinds:
        raise BitrowError(f"{where} layer: found {found.layer!r}, expected one of {', '.join(kinds)}")
    kind: Any = kinds[found.layer]
    config = records.read(kind, records.complete(kind, found.config or {}), f"{where} config", ".")
    size = None
    if kind.size_type is not None:
        size = records.read(kind.size_type, records.complete(kind.size_type, found.size or {}), f"{where} size", ".")
    elif found.size is not None:
        raise BitrowError(f"{where} size: found one, expected none for {kind.label}")
    scales = None if found.scales is None else Scales(found.scales.x, found.scales.w, found.scales.dy)
    stimulus, arrays = found.stimulus, {}
    if stimulus.arrays is not None:
        file = path.parent / stimulus.arrays
        arrays = read_npz(file, str(file), _MOST_BYTES)
    name = path.stem if found.name is None else found.name
    try:
        return LayerCase(
            name, config, found.inputs, size, scales, found.direction, stimulus.kind, stimulus.seed, arrays
        )
    except BitrowError as error:
        raise BitrowError(f"{where}: {error}") from None
