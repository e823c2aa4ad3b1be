"""A .keras file as a graph of float operators: Sequential and Functional models, each call of a layer judged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from bitrow.config import Shape
from bitrow.config.base import MOST_ALONG
from bitrow.errors import BitrowError
from bitrow.importers.float_graph import UNFORESEEN, FileNode, FloatGraph, Reading, Refusal, refusal_reason
from bitrow.importers.keras_file import KerasFile
from bitrow.importers.keras_layers import LAYERS
from bitrow.importers.keras_node import KerasNode
from bitrow.importers.names import identifier
from bitrow.importers.onnx_builder import StepBuilder
from bitrow.importers.onnx_values import NHWC, FileMap, Lost, output_values
from bitrow.importers.operators import NotImported

_MOST_LAYERS = 1 << 12
_INPUT = "InputLayer"
_FUNCTIONAL, _SEQUENTIAL = ("Functional", "Model"), "Sequential"


class _Call(NamedTuple):
    """A layer applied to values; `value` is what it makes."""

    layer: dict[str, Any]
    stored: str
    inputs: tuple[str, ...]
    value: str
    again: int


def read_keras(path: Path, input_size: tuple[int, int] | None = None, outputs: tuple[str, ...] = ()) -> Reading:
    """Every layer of a .keras file, or why it cannot be one.

    `input_size` is rows and columns where the file leaves them open; `outputs` the layers whose results are the
    network's, none: the file's outputs.

    Raises:
        BitrowError: no sound .keras file; a model that is neither Sequential nor Functional, several inputs, no output.
    """
    file = KerasFile(path)
    layers, given, ends = _model(file)
    calls, inputs = _calls(file, layers, given, ends)
    return _walk(file, calls, inputs, _outputs(file, calls, ends, outputs), input_size)


def _refuse(file: KerasFile, found: str, expected: str) -> BitrowError:
    return BitrowError(f"{file.path} config.json: found {found}, expected {expected}")


def _model(file: KerasFile) -> tuple[list[dict[str, Any]], Any, Any]:
    """The layers in order, and, of a Functional model, inputs and outputs."""
    kind, config = file.config.get("class_name"), file.config.get("config")
    if kind not in (*_FUNCTIONAL, _SEQUENTIAL) or not isinstance(config, dict):
        raise _refuse(file, f"a model of class {str(kind)[:40]!r}", "Sequential or Functional")
    layers = config.get("layers")
    if not isinstance(layers, list) or not 0 < len(layers) <= _MOST_LAYERS:
        raise _refuse(file, f"{len(layers) if isinstance(layers, list) else 'no'} layers", f"1 to {_MOST_LAYERS:,}")
    names = [one.get("config", {}).get("name") if isinstance(one, dict) and isinstance(one.get("config"), dict)
             else None for one in layers]  # fmt: skip
    if not all(isinstance(name, str) and 0 < len(name) <= 200 and "\n" not in name for name in names):
        raise _refuse(file, "a layer without name or configuration", "both")
    if len(set(names)) != len(names):
        raise _refuse(file, "two layers of one name", "names of their own")
    if kind == _SEQUENTIAL:
        if layers[0].get("class_name") != _INPUT:
            shape = config.get("build_input_shape") or layers[0]["config"].get("batch_input_shape")
            layers = [{"class_name": _INPUT, "config": {"name": "input", "batch_shape": shape}}, *layers]
        return layers, None, None
    return layers, _histories(file, config.get("input_layers")), _histories(file, config.get("output_layers"))


def _histories(file: KerasFile, found: Any) -> list[str]:
    """Values of ["name", node, tensor], or a list of such."""
    found = [found] if isinstance(found, list) and found and isinstance(found[0], str) else found
    if not isinstance(found, list) or not all(map(_is_history, found)):
        raise _refuse(file, f"inputs or outputs {str(found)[:60]!r}", "lists of a name and two numbers")
    return [_value(one) for one in found]


def _is_history(one: Any) -> bool:
    return isinstance(one, list) and len(one) >= 3 and isinstance(one[0], str) and all(
        type(part) is int and part >= 0 for part in one[1:3])  # fmt: skip


def _value(history: list[Any]) -> str:
    """A layer's result by its name; a later call of the same layer, or another of several results, has numbers."""
    name, node, tensor = history[:3]
    return name if not (node or tensor) else f"{name}\n{node}\n{tensor}"


def _stored_names(layers: list[dict[str, Any]]) -> list[str]:
    """Names in the file of arrays: the class in small letters, numbered from the second on."""
    used: dict[str, int] = {}
    names = []
    for one in layers:
        name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", str(one.get("class_name"))))
        name = re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
        number = used[name] = used.get(name, -1) + 1
        names.append(f"{name}_{number}" if number else name)
    return names


def _calls(
    file: KerasFile, layers: list[dict[str, Any]], given: list[str] | None, ends: list[str] | None
) -> tuple[list[_Call], list[_Call]]:
    """All calls but the inputs', and the inputs'."""
    calls: list[_Call] = []
    before: tuple[str, ...] = ()
    for one, stored in zip(layers, _stored_names(layers), strict=True):
        name = one["config"]["name"]
        if given is None:
            calls.append(_Call(one, stored, before, name, 0))
            before = (name,)
            continue
        nodes = one.get("inbound_nodes")
        if one.get("class_name") == _INPUT:
            calls.append(_Call(one, stored, (), name, 0))
        for place, node in enumerate(nodes if isinstance(nodes, list) and one.get("class_name") != _INPUT else ()):
            calls.append(_Call(one, stored, _inbound(file, name, node), _value([name, place, 0]), place))
    if len(calls) > _MOST_LAYERS:
        raise _refuse(file, f"{len(calls):,} calls of layers", f"at most {_MOST_LAYERS:,}")
    inputs = [call for call in calls if call.layer.get("class_name") == _INPUT]
    if len(inputs) != 1 or (given is not None and given != [inputs[0].value]):
        raise _refuse(file, f"{len(inputs)} inputs", "one")
    return [call for call in calls if call not in inputs], inputs


def _inbound(file: KerasFile, name: str, node: Any) -> tuple[str, ...]:
    """The values that a call reads: Keras 3 has tensors among the arguments, Keras 2 lists of histories."""
    held = list(node.get("args", ())) if isinstance(node, dict) and isinstance(node.get("args"), list) else node
    found, pending = list[str](), [held]
    while pending and len(found) <= _MOST_LAYERS:
        one = pending.pop()
        if isinstance(one, dict) and one.get("class_name") == "__keras_tensor__":
            config = one.get("config")
            one = config.get("keras_history") if isinstance(config, dict) else None
        if _is_history(one):
            found.append(_value(one))
        elif isinstance(one, list):
            pending += one[::-1]
        elif not isinstance(node, dict) or one is None:
            raise _refuse(file, f"inputs of {name[:60]} as {str(node)[:60]!r}", "values of other layers")
    return tuple(found)


def _outputs(
    file: KerasFile, calls: list[_Call], ends: list[str] | None, wanted: tuple[str, ...]
) -> tuple[str, ...]:  # fmt: skip
    values = [call.value for call in calls]
    for name in wanted:
        if name not in values:
            raise BitrowError(f"{file.path} output: found no layer {name[:80]!r}, expected one of the file's")
    if wanted:
        return wanted
    if ends is None:
        return (values[-1] if values else "",)
    if not ends:
        raise BitrowError(f"{file.path}: found no output, expected some")
    return tuple(ends)


def _walk(
    file: KerasFile, calls: list[_Call], inputs: list[_Call], outputs: tuple[str, ...], size: tuple[int, int] | None
) -> Reading:
    """Calls as soon as their inputs are there; what is left then reads what nothing makes."""
    build, nodes, refusals = StepBuilder(), list[FileNode](), list[Refusal]()
    found: dict[str, FileMap | Lost] = {inputs[0].value: _input(file, build, inputs[0], size)}
    waiting = calls
    while waiting:
        later = []
        for call in waiting:
            if all(name in found for name in call.inputs) and call.value not in found:
                found[call.value] = _visit(file, build, call, found, nodes, refusals)
            else:
                later.append(call)
        if len(later) == len(waiting):
            break
        waiting = later
    for call in waiting:
        reason = "found inputs that no layer makes, or a circle of layers, expected each value once, before it is read"
        refusals.append(Refusal(call.value.replace("\n", " "), str(call.layer.get("class_name"))[:40], reason))
    values = output_values(str(file.path), {name: found.get(name) for name in outputs}, bool(refusals))
    graph = FloatGraph(identifier(file.path.stem, "network"), inputs[0].value, values, tuple(build.steps),
                       build.shapes, build.layouts)  # fmt: skip
    return Reading(graph, tuple(nodes), tuple(refusals))


def _visit(
    file: KerasFile, build: StepBuilder, call: _Call, found: dict[str, FileMap | Lost], nodes: list[FileNode],
    refusals: list[Refusal],
) -> FileMap | Lost:  # fmt: skip
    kind, steps = str(call.layer.get("class_name"))[:40], len(build.steps)
    given = [found[name] for name in call.inputs]
    node = KerasNode(file, call.layer["config"], kind, call.stored, call.value, tuple(given))
    made: FileMap | Lost = Lost()
    try:
        if kind not in LAYERS or call.layer.get("registered_name") not in (None, kind):
            raise NotImported("an unknown layer; no code of a file is run")
        if not any(isinstance(one, Lost) for one in given):
            made = LAYERS[kind](build, node)
    except BitrowError:
        raise
    except (NotImported, *UNFORESEEN) as error:
        del build.steps[steps:]
        refusals.append(Refusal(node.name, kind, refusal_reason(error)))
    note = "" if len(build.steps) > steps or isinstance(made, Lost) else "nothing: how its input is looked at"
    nodes.append(FileNode(node.name, kind, note))
    return made


def _input(file: KerasFile, build: StepBuilder, call: _Call, size: tuple[int, int] | None) -> FileMap:
    config = call.layer["config"]
    shape = config.get("batch_shape", config.get("batch_input_shape"))
    sizes = shape[1:] if isinstance(shape, list) and len(shape) in (2, 4) else [None]
    sizes = [1, 1, *sizes] if len(sizes) == 1 else sizes
    given: list[Any] = list(sizes) if size is None or sizes[:2] == [1, 1] else [*size, sizes[2]]
    known = all(one is None or one == other for one, other in zip(sizes, given, strict=True))
    if not known or not all(type(one) is int and 1 <= one <= MOST_ALONG for one in given):
        found = f"the input {str(shape)[:60]}" + ("" if size is None else f" and {size[0]}x{size[1]}")
        raise _refuse(file, found, f"[None, h, w, c] up to {MOST_ALONG:,}; --input-size HxW gives two")
    made: Shape = (given[0], given[1], given[2])
    axes = NHWC if isinstance(shape, list) and len(shape) == 4 else ("n", "c")
    return build.input(call.value, made, axes, 1)


