"""An ONNX file as a graph of float operators: every node is judged, whatever became of those before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bitrow.config.base import MOST_ALONG, Shape
from bitrow.errors import BitrowError
from bitrow.importers.float_graph import UNFORESEEN, FileNode, FloatGraph, Reading, Refusal, refusal_reason
from bitrow.importers.names import identifier
from bitrow.importers.onnx_builder import StepBuilder
from bitrow.importers.onnx_constants import CONSTANTS, computed
from bitrow.importers.onnx_file import OnnxFile
from bitrow.importers.onnx_node import OnnxNode
from bitrow.importers.onnx_operators import MAPS, REFUSED
from bitrow.importers.onnx_quantizers import clip_codes, is_code_clip
from bitrow.importers.onnx_values import NCHW, NHWC, Known, Lost, OnnxValue, output_values
from bitrow.importers.operators import NotImported

_FLOATS = (1, 10)  # float32, float16: ONNX's numbers of data types
_TO_NCHW = [0, 3, 1, 2]


def read_onnx(path: Path, input_size: tuple[int, int] | None = None, outputs: tuple[str, ...] = ()) -> Reading:
    """Every node of an ONNX file, or why it cannot be one.

    `input_size` is rows and columns where the file leaves them open; `outputs` names values, none: the file's outputs.

    Raises:
        BitrowError: no sound ONNX file; several inputs, no output, or sizes that the file leaves open.
    """
    return _FileWalk(OnnxFile(path), input_size, outputs).reading()


class _FileWalk:
    """One pass over the nodes, in the file's order, which ONNX says is one of dependence."""

    def __init__(self, file: OnnxFile, input_size: tuple[int, int] | None, outputs: tuple[str, ...]) -> None:
        self._file, self._build = file, StepBuilder()
        self._found: dict[str, OnnxValue] = {}
        self._tensors = {one.name: one for one in file.graph.initializer}
        self._stated = {one.name: [size.dim_value for size in one.type.tensor_type.shape.dim]
                        for one in file.graph.value_info}  # fmt: skip
        self._nodes: list[FileNode] = []
        self._refusals: list[Refusal] = []
        self._outputs = self._choose_outputs(outputs)
        self._input = self._read_input(input_size)

    def reading(self) -> Reading:
        """All of it."""
        for place, proto in enumerate(self._file.graph.node):
            self._visit(OnnxNode(self._file, proto, place, self._find))
        steps = tuple(self._build.steps)
        ends = {name: self._found.get(name) for name in self._outputs}
        values = output_values(str(self._file.path), ends, bool(self._refusals))
        name = identifier(self._file.path.stem, "network")
        graph = FloatGraph(name, self._input, values, steps, dict(self._build.shapes), dict(self._build.layouts))
        return Reading(graph, tuple(self._nodes), tuple(self._refusals))

    def _find(self, name: str) -> OnnxValue:
        found = self._found.get(name)
        if found is None and name in self._tensors:
            found = self._found[name] = Known(self._file.array(self._tensors[name]))
        if found is None:
            raise NotImported(f"found input {name[:80]!r}, expected one that an earlier node makes")
        return found

    def _visit(self, node: OnnxNode) -> None:
        steps = len(self._build.steps)
        made: OnnxValue = Lost()
        note = ""
        try:
            made = self._made(node)
            if isinstance(made, Known):
                note = "a constant"
            elif len(self._build.steps) == steps:
                note = "nothing: how its input is looked at"
        except BitrowError:
            raise
        except (NotImported, *UNFORESEEN) as error:
            del self._build.steps[steps:]
            self._refusals.append(Refusal(node.name, node.operator, refusal_reason(error)))
            made = self._assumed(node)
        self._nodes.append(FileNode(node.name, node.operator, note))
        self._keep(node, made)

    def _made(self, node: OnnxNode) -> OnnxValue:
        if not node.standard:
            raise NotImported(f"found an operator of {node.proto.domain[:80]!r}, which is unknown")
        if node.operator in REFUSED:
            raise NotImported(REFUSED[node.operator])
        inputs = [self._find(name) for name in node.inputs if name]
        if all(isinstance(one, Known) for one in inputs) and node.operator in CONSTANTS:
            return computed(node, inputs)  # type: ignore[arg-type]
        if node.operator not in MAPS:
            raise NotImported("an unknown operator" if node.operator not in CONSTANTS else "expected constants alone")
        if any(isinstance(one, Lost) for one in inputs):
            return Lost()
        if node.operator == "Clip" and is_code_clip(node.found(0)):
            return clip_codes(node)
        return MAPS[node.operator](self._build, node)

    def _assumed(self, node: OnnxNode) -> OnnxValue:
        """The result of a refused node, where the file says its shape: what reads it can be judged by it."""
        name = next(iter(node.outputs), "")
        dims = self._stated.get(name, [])
        if len(dims) != 4 or not 0 < min(dims) <= max(dims) <= MOST_ALONG:
            return Lost()
        return self._build.input(name, (dims[2], dims[3], dims[1]), NCHW, dims[0])

    def _keep(self, node: OnnxNode, made: OnnxValue) -> None:
        """The first output; what else a node has is of training, and lost."""
        for place, name in enumerate(node.outputs):
            if name in self._found or name in self._tensors:
                self._refusals.append(Refusal(node.name, node.operator, f"found a second value {name[:80]!r}"))
            elif name:
                self._found[name] = made if place == 0 else Lost()

    def _choose_outputs(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        for name in wanted:
            if not any(name in node.output for node in self._file.graph.node):
                raise BitrowError(f"{self._file.path} output: found no value {name[:80]!r}, expected a node's")
        found = wanted or tuple(one.name for one in self._file.graph.output)
        if not found:
            raise BitrowError(f"{self._file.path}: found no output, expected some")
        return found

    def _read_input(self, input_size: tuple[int, int] | None) -> str:
        inputs = [one for one in self._file.graph.input if one.name not in self._tensors]
        where = str(self._file.path)
        if len(inputs) != 1:
            shown = ", ".join(one.name[:40] for one in inputs[:8])
            raise BitrowError(f"{where}: found {len(inputs)} inputs ({shown}), expected one")
        given = inputs[0]
        kind = given.type.tensor_type
        if kind.elem_type not in _FLOATS:
            raise BitrowError(
                f"{where} input {given.name[:80]}: found ONNX's data type {kind.elem_type}, expected float32 or float16"
            )
        dims = [one.dim_value if one.HasField("dim_value") else 0 for one in kind.shape.dim]
        axes = NHWC if self._channels_last(given.name) else NCHW
        if len(dims) == 2:  # vectors: a map of one place
            dims, axes = [*dims, 1, 1], NCHW
        if len(dims) != 4:
            raise BitrowError(f"{where} input {given.name[:80]}: found {len(dims)} dimensions, expected [n, c, h, w]")
        sizes = dict(zip(axes, dims, strict=True))
        shape = _shape(f"{where} input {given.name[:80]}", sizes, input_size)
        seen = axes if len(kind.shape.dim) == 4 else ("n", "c")
        self._found[given.name] = self._build.input(given.name, shape, seen, max(1, sizes["n"]))
        return given.name

    def _channels_last(self, name: str) -> bool:
        """An input that is transposed before anything else, as TensorFlow's are."""
        first: list[Any] = [node for node in self._file.graph.node if name in node.input]
        perms = [list(one.ints) for node in first for one in node.attribute if one.name == "perm"]
        return bool(first) and len(perms) == len(first) and all(perm == _TO_NCHW for perm in perms)


def _shape(where: str, sizes: dict[str, int], input_size: tuple[int, int] | None) -> Shape:
    """(h, w, c), from the file or, where it is open, from the caller."""
    found = [sizes["h"], sizes["w"]]
    for axis, size in enumerate(input_size or ()):
        if found[axis] > 0 and found[axis] != size:
            raise BitrowError(f"{where}: found {found[axis]} {('rows', 'columns')[axis]}, expected {size}")
        found[axis] = size
    if min(found) < 1 or sizes["c"] < 1:
        open_ = "x".join(str(size) if size > 0 else "?" for size in (*found, sizes["c"]))
        raise BitrowError(f"{where}: found {open_} rows, columns, channels, expected sizes; --input-size HxW gives two")
    if max(*found, sizes["c"]) > MOST_ALONG:
        raise BitrowError(f"{where}: found sides of {max(*found, sizes['c']):,}, expected at most {MOST_ALONG:,}")
    return found[0], found[1], sizes["c"]
