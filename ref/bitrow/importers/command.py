"""What `bitrow import` does, from a file, or in Python a module, to a model: read, rewrite, calibrate, check."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bitrow.config import Shape
from bitrow.errors import BitrowError
from bitrow.graph import describe
from bitrow.importers import images as pictures
from bitrow.importers.calibration import calibrated, scale_refusals
from bitrow.importers.check import Original, checked
from bitrow.importers.emit import FloatNetwork, to_network
from bitrow.importers.float_graph import Reading, Refusal
from bitrow.importers.images import PixelScaling
from bitrow.importers.keras_graph import read_keras
from bitrow.importers.layers import CodeBits
from bitrow.importers.onnx_graph import read_onnx
from bitrow.importers.original import run_original
from bitrow.importers.quantizers import placed
from bitrow.importers.report import ImportReport, NodeReport, node_reports
from bitrow.importers.rewrite import finished, rewritten
from bitrow.importers.state_dict import read_state_dict
from bitrow.importers.tflite_graph import read_tflite
from bitrow.importers.tflite_original import run_tflite

if TYPE_CHECKING:
    from bitrow.importers.traced import TracedCall, TracedModule

COUNT = 8  # images, where nothing else is said


@dataclass(frozen=True)
class ImportOptions:
    """How a file is imported.

    `images`: what calibrates, None for drawn ones; `count`: how many of them; `scaling` of pictures; `bits` of codes
    that the file does not state; `round_scales` rounds scales that FP16 does not hold; `input_size` is rows and columns
    where the file leaves them open; `outputs` the values that are the network's outputs, none: the file's; `check`: run
    the original beside.
    """

    images: Path | None = None
    count: int = COUNT
    scaling: PixelScaling = PixelScaling()
    bits: CodeBits = CodeBits()
    round_scales: bool = False
    input_size: tuple[int, int] | None = None
    outputs: tuple[str, ...] = ()
    check: bool = False


class ImportRefused(BitrowError):
    """A file of which some nodes cannot be imported; `report` has them all."""

    def __init__(self, report: ImportReport) -> None:
        first, count = report.refusals[0], len(report.refusals)
        more = f" (and {count - 1} more refused)" if count > 1 else ""
        super().__init__(f"{report.file}: {first}{more}")
        self.report = report


class FloatReading(NamedTuple):
    """A file as a network in floats, and what its nodes became."""

    made: FloatNetwork
    nodes: tuple[NodeReport, ...]


def import_network(path: str | Path, options: ImportOptions = ImportOptions()) -> ImportReport:
    """The network of a file, calibrated: `report.imported.model` is what `model_file.save` takes.

    Raises:
        ImportRefused: nodes that cannot be imported, all of them in its report.
        BitrowError: no sound file of a known kind, images that do not fit, or what calibration refuses.
    """
    path = Path(path)
    run = run_tflite if path.suffix.lower() == ".tflite" else run_original
    original = functools.partial(run, path)
    return _imported(str(path), path.name, _read(path, options), options, original)


def import_module(
    module: TracedCall, input_shape: Shape, options: ImportOptions = ImportOptions(),
    variables: Mapping[str, Any] | None = None,
) -> ImportReport:  # fmt: skip
    """The network of a flax module, calibrated, as `import_network` makes a file's.

    `module`: an nnx module, which is taken in evaluation mode; a linen module with its `variables`; or any function of
    images f32[n,h,w,c]. It is traced on one image of `input_shape` (h, w, c), so its Python code may be any; only
    primitives that have a layer may reach the output.

    Raises:
        ImportRefused: primitives that cannot be imported, all of them in its report.
        BitrowError: no module, what its call raises, images that do not fit, or what calibration refuses.
    """
    traced = _traced(module, input_shape, options, variables)
    return _imported(traced.name, traced.name, traced.reading(), options, traced.run)


def read_module(
    module: TracedCall, input_shape: Shape, options: ImportOptions = ImportOptions(),
    variables: Mapping[str, Any] | None = None,
) -> FloatReading:  # fmt: skip
    """The network of a flax module in floats, before any image is looked at.

    Raises:
        ImportRefused, BitrowError: as `import_module`.
    """
    traced = _traced(module, input_shape, options, variables)
    return _floats(traced.name, traced.reading(), options)


def _traced(module: TracedCall, input_shape: Shape, options: ImportOptions, variables: Any) -> TracedModule:
    if options.input_size is not None or options.outputs:
        raise BitrowError("import_module options: found input_size or outputs, expected neither of a module")
    from bitrow.importers.traced import TracedModule  # flax takes a second to load, and files do without

    return TracedModule(module, input_shape, variables)


def _imported(file: str, source: str, reading: Reading, options: ImportOptions, original: Original) -> ImportReport:
    """Every step behind the reader; `source` is what the model's notes call the file."""
    found = _floats(file, reading, options)
    network = found.made.network
    if options.images is None:
        images = pictures.drawn(network.input_shape, options.count)
    else:
        images = pictures.load(options.images, network.input_shape, options.count, options.scaling)
    notes = {"imported_from": source, "calibrated_on": f"{len(images)} {_source(options)}"}
    imported = calibrated(found.made, images, notes)
    layers = imported.made.layers
    nodes = tuple(one._replace(layers=layers.get(one.node, one.layers)) for one in found.nodes)
    report = ImportReport(file, nodes, (), imported, _chosen(found.made, images, options))
    if options.check:
        report = report._replace(checked=checked(original, found.made, imported, images))
    return report


def read_float(path: Path, options: ImportOptions = ImportOptions()) -> FloatReading:
    """The network of a file in floats, before any image is looked at.

    Raises:
        ImportRefused, BitrowError: as `import_network`.
    """
    return _floats(str(path), _read(path, options), options)


def _floats(file: str, reading: Reading, options: ImportOptions) -> FloatReading:
    graph, left = rewritten(reading.graph)
    graph, moved = placed(graph)
    graph, unplaced = finished(graph)
    partial = bool(reading.refusals or moved or unplaced)
    made, missing = to_network(graph, options.bits, partial)
    refusals = [*reading.refusals, *moved, *unplaced, *missing]
    if made is not None and not options.round_scales:
        refusals += scale_refusals(made)
    order = {node.name: place for place, node in enumerate(reading.nodes)}
    refusals.sort(key=lambda one: order.get(one.node, len(order)))
    nodes = node_reports(reading.nodes, made.layers if made else {}, left)
    if refusals or made is None:
        raise ImportRefused(ImportReport(file, nodes, tuple(_once(refusals))))
    return FloatReading(made, nodes)


def _read(path: Path, options: ImportOptions) -> Reading:
    """The file by its suffix."""
    match path.suffix.lower():
        case ".onnx":
            return read_onnx(path, options.input_size, options.outputs)
        case ".keras" if options.check:
            raise BitrowError(f"{path}: found a .keras file, whose original nothing here runs: no check")
        case ".tflite" if options.input_size is not None:
            raise BitrowError(f"{path}: found a .tflite file, which states its sizes, expected no input size")
        case ".tflite":
            return read_tflite(path, options.outputs)
        case ".keras":
            return read_keras(path, options.input_size, options.outputs)
        case ".safetensors" if options.outputs or options.check:
            raise BitrowError(f"{path}: found a state dict, which has no graph: neither outputs nor a check")
        case ".safetensors":
            return read_state_dict(path, options.input_size)
    kinds = ".onnx, .keras, .tflite or .safetensors"
    raise BitrowError(f"{path}: found a file of kind {path.suffix[:20]!r}, expected {kinds}")


def _once(refusals: list[Refusal]) -> list[Refusal]:
    return list(dict.fromkeys(refusals))


def _source(options: ImportOptions) -> str:
    return "drawn images" if options.images is None else f"images of {options.images.name}"


def _chosen(made: FloatNetwork, images: np.ndarray, options: ImportOptions) -> tuple[str, ...]:
    """What the file does not say."""
    stated = list(made.quantizers.values())
    convolutions = sum(one.kind == "conv" for one in describe(made.network))
    inputs, weights = (sum(pair[place] is not None for pair in stated) for place in (0, 1))
    bits = options.bits
    lines = [
        f"input scales: {inputs} of the file, {convolutions - inputs} of {len(images)} {_source(options)} "
        f"in {bits.activations} bits",
        f"weight scales: {weights} of the file, {convolutions - weights} in {bits.weights} bits",
        f"gradients: {bits.gradients} bits, of {_source(options)}",
    ]
    if options.images is None and inputs < convolutions:
        lines.append("drawn images say nothing of real ones: give --images for scales that mean something")
    return tuple(lines)
