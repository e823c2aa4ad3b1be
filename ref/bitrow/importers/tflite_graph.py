"""A TFLite file as a graph of float operators: every operator is judged, whatever became of those before it."""

from __future__ import annotations

from pathlib import Path

from bitrow.config.base import MOST_ALONG, Shape
from bitrow.errors import BitrowError
from bitrow.importers.float_graph import UNFORESEEN, FileNode, FloatGraph, FloatStep, Reading, Refusal, refusal_reason
from bitrow.importers.names import identifier
from bitrow.importers.onnx_builder import StepBuilder
from bitrow.importers.onnx_values import NHWC, FileMap, Known, Lost, OnnxValue, output_values
from bitrow.importers.operators import NotImported, Requantize
from bitrow.importers.tflite_call import TfliteCall
from bitrow.importers.tflite_codes import coded, constant, left_to_host, map_quantizer
from bitrow.importers.tflite_file import INT8, TfliteFile, TfliteNode, TfliteTensor
from bitrow.importers.tflite_operators import made_by

_FLOAT32 = 0  # of TensorType


def read_tflite(path: Path, outputs: tuple[str, ...] = ()) -> Reading:
    """Every operator of a TFLite file that its outputs need, or why it cannot be one.

    `outputs` names tensors: some of the file's outputs, or any that operators make; none: all of the file's.

    Raises:
        BitrowError: no sound TFLite file; several inputs, no output.
    """
    return _TfliteWalk(TfliteFile(path), outputs).reading()


class _TfliteWalk:
    """One pass over the operators, in the file's order, which TFLite runs them in."""

    def __init__(self, file: TfliteFile, outputs: tuple[str, ...]) -> None:
        self._file, self._build = file, StepBuilder()
        self._names = tensor_names(file)
        self._outputs = self._choose_outputs(outputs)
        self._hosts = left_to_host(file, self._outputs)
        self._found: dict[int, OnnxValue] = {}
        self._nodes: list[FileNode] = []
        self._refusals: list[Refusal] = []
        self._input = self._read_input()

    def reading(self) -> Reading:
        """All of it."""
        for node in self._needed():
            self._visit(node)
        ends = {self._names[place]: self._found.get(place) for place in self._outputs}
        values = output_values(str(self._file.path), ends, bool(self._refusals))
        graph = FloatGraph(identifier(self._file.path.stem, "network"), self._input, values,
                           tuple(self._build.steps), self._build.shapes, self._build.layouts)  # fmt: skip
        return Reading(graph, tuple(self._nodes), tuple(self._refusals))

    def _needed(self) -> list[TfliteNode]:
        """Operators that the chosen outputs depend on; the others' are no matter."""
        wanted, kept = set(self._outputs), []
        for node in reversed(self._file.nodes):
            if wanted & set(node.outputs):
                kept.append(node)
                wanted |= set(node.inputs) - {-1}
        return kept[::-1]

    def _find(self, place: int) -> OnnxValue:
        if place not in self._found:
            if self._file.tensors[place].data is None:
                found = self._names[place][:80]
                raise NotImported(f"found input {found!r}, expected one that an earlier operator makes")
            self._found[place] = constant(self._file, place)
        return self._found[place]

    def _visit(self, node: TfliteNode) -> None:
        names = tuple(self._names[place] for place in node.outputs if place >= 0)
        call, steps = TfliteCall(self._file, node, names, self._find), len(self._build.steps)
        made: OnnxValue = Lost()
        note = ""
        try:
            if node.outputs[0] < 0:
                raise NotImported("found its first output left out, expected one")
            made = self._checked(node, made_by(self._build, call))
            if node.outputs[0] not in self._hosts:
                made = coded(self._build, call, made)
            if isinstance(made, Known):
                note = "a constant"
            elif isinstance(made, FileMap) and len(self._build.steps) == steps:
                note = "nothing: how its input is looked at"
        except BitrowError:
            raise
        except (NotImported, *UNFORESEEN) as error:
            del self._build.steps[steps:]
            made = Lost()
            self._refusals.append(Refusal(call.name, node.operator, refusal_reason(error)))
        self._nodes.append(FileNode(call.name, node.operator, note))
        self._found |= {place: made if at == 0 else Lost() for at, place in enumerate(node.outputs) if place >= 0}

    def _checked(self, node: TfliteNode, made: OnnxValue) -> OnnxValue:
        """The result, of the type and shape that the file says it has."""
        tensor = self._file.tensors[node.outputs[0]]
        if any(place in self._found for place in node.outputs):
            raise NotImported(f"found a second value {self._names[node.outputs[0]][:80]!r}")
        if isinstance(made, FileMap) and (tensor.kind not in (_FLOAT32, INT8) or made.dims != tensor.shape):
            found = f"{self._file.type_name(tensor.kind)}{list(tensor.shape)}"
            raise NotImported(f"found a result of {found} in the file, expected FLOAT32 or INT8{list(made.dims)}")
        return made

    def _choose_outputs(self, wanted: tuple[str, ...]) -> list[int]:
        """Tensors by their names, or all of the file's outputs."""
        path = self._file.path
        if not wanted:
            if not self._file.outputs or min(self._file.outputs) < 0:
                raise BitrowError(f"{path}: found no output, or one left out, expected some")
            return list(self._file.outputs)
        made = {self._names[place]: place for node in self._file.nodes for place in node.outputs if place >= 0}
        for name in wanted:
            if name not in made:
                raise BitrowError(f"{path} output: found no tensor {name[:80]!r}, expected one that is computed")
        return [made[name] for name in wanted]

    def _read_input(self) -> str:
        inputs, path = self._file.inputs, self._file.path
        if len(inputs) != 1 or inputs[0] < 0:
            raise BitrowError(f"{path}: found {len(inputs)} inputs, expected one")
        tensor = self._file.tensors[inputs[0]]
        if tensor.kind not in (_FLOAT32, INT8):
            kind = self._file.type_name(tensor.kind)
            raise BitrowError(f"{path} input: found {kind}, expected FLOAT32 or INT8")
        sizes = tensor.shape if len(tensor.shape) == 4 else (1, 1, 1, *tensor.shape[1:])
        if len(sizes) != 4 or sizes[0] != 1 or not all(1 <= one <= MOST_ALONG for one in sizes):
            found = list(tensor.shape)
            raise BitrowError(f"{path} input: found {found}, expected [1, h, w, c] up to {MOST_ALONG:,}")
        shape: Shape = (sizes[1], sizes[2], sizes[3])
        name = self._names[inputs[0]]
        axes = NHWC if len(tensor.shape) == 4 else ("n", "c")
        given = self._build.input(name, shape, axes, 1)
        self._found[inputs[0]] = given if tensor.kind == _FLOAT32 else self._input_codes(given, tensor)
        return name

    def _input_codes(self, given: FileMap, tensor: TfliteTensor) -> FileMap:
        """The input behind its quantizer: images stay real numbers, and the first convolution makes their codes."""
        try:
            quantizer = map_quantizer(tensor)
        except NotImported as error:
            raise BitrowError(f"{self._file.path} input: {error}") from None
        value = f"{given.value}\ncodes"  # no name of a file has a line end in it
        step = FloatStep(given.value, "INPUT", Requantize(quantizer), (given.value,), value, (given.value,))
        self._build.steps.append(step)
        self._build.shapes[value], self._build.layouts[value] = given.shape, given.axes
        return given._replace(value=value)


def tensor_names(file: TfliteFile) -> list[str]:
    """Tensors by name; one that has none, or another's, by its number as well."""
    seen: set[str] = set()
    names = []
    for place, tensor in enumerate(file.tensors):
        text = " ".join(tensor.name.split())
        name = text if text and text not in seen else f"{text} {place}".strip()
        seen.add(name)
        names.append(name)
    return names
