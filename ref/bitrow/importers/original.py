"""The original file run by onnxruntime, with some of its values as outputs; nothing but ONNX's own operators runs.

QONNX's Quant is put as the operators that it stands for: divide, clip, round, multiply.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bitrow.errors import BitrowError
from bitrow.extras import extra
from bitrow.importers.onnx_file import DOMAIN, OnnxFile, onnx

_NEAREST_EVEN = 1.5 * 2**23  # a float32 of this size has no fraction: added and taken off, it rounds; Round is late


def run_original(
    path: Path, images: np.ndarray, values: Iterable[str], layouts: Mapping[str, tuple[str, ...]]
) -> dict[str, np.ndarray]:
    """Values of the file by name, as f32[n,h,w,c] or f32[n,c], for images f32[n,h,w,c], one after another.

    Raises:
        BitrowError: onnxruntime is not installed, or refuses the file.
    """
    runtime = extra("dev", "onnxruntime", "onnxruntime")
    file = OnnxFile(path)
    wanted = list(dict.fromkeys(values))
    content = _with_outputs(file, wanted)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        given = session.get_inputs()[0]
        found = [session.run(wanted, {given.name: _to_file(one, given, layouts[given.name])}) for one in images]
    except Exception as error:  # onnxruntime's own kinds
        reason = " ".join(str(error).split())[:160]
        raise BitrowError(f"{path}: onnxruntime refuses it ({reason}), expected it to run") from None
    return {
        name: np.concatenate([_from_file(one[place][:1], layouts[name]) for one in found])
        for place, name in enumerate(wanted)
    }


def _to_file(image: np.ndarray, given: Any, axes: tuple[str, ...]) -> np.ndarray:
    """An image f32[h,w,c] as the file's input has it; a fixed number of images is filled with it."""
    count = given.shape[0] if isinstance(given.shape[0], int) else 1
    x = np.repeat(image[None], max(1, count), axis=0)
    if axes == ("n", "c"):
        return x.reshape(len(x), -1)
    x = x.transpose(*("nhwc".index(axis) for axis in axes))
    return np.ascontiguousarray(x.astype(np.float16 if "float16" in given.type else np.float32))


def _from_file(value: np.ndarray, axes: tuple[str, ...]) -> np.ndarray:
    """A value of the file as f32[n,h,w,c], or as it is where it is flat."""
    value = value.astype(np.float32)
    if sorted(axes) == ["c", "h", "n", "w"] and value.ndim == 4:
        return value.transpose(*(axes.index(letter) for letter in "nhwc"))
    return value.reshape(len(value), -1)


def _with_outputs(file: OnnxFile, values: list[str]) -> bytes:
    """The file with these outputs, its quantizers in ONNX's own operators, external data inside."""
    library = onnx()
    model = library.ModelProto()
    model.CopyFrom(file.model)
    for tensor in model.graph.initializer:
        if tensor.data_location == 1:
            tensor.CopyFrom(library.numpy_helper.from_array(file.array(tensor), tensor.name))
    nodes = [part for place, node in enumerate(model.graph.node) for part in _plain(library, node, f"quant\n{place}")]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.output[:]
    model.graph.output.extend(library.helper.make_empty_tensor_value_info(name) for name in values)
    known = [entry for entry in model.opset_import if entry.domain in DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(known)
    model.ir_version = min(model.ir_version, 10)
    return bytes(model.SerializeToString())


def _plain(library: Any, node: Any, name: str) -> list[Any]:
    """Quant as divide, clip, round and multiply; any other node as it is."""
    if node.op_type != "Quant":
        return [node]
    x, scale, _, width = node.input
    attributes = {one.name: one.i for one in node.attribute}
    signed, narrow = attributes.get("signed", 1), attributes.get("narrow", 0)

    def make(operator: str, inputs: list[str], output: str, **given: Any) -> Any:
        return library.helper.make_node(operator, inputs, [f"{name}{output}"], **given)

    def constant(value: float, output: str) -> Any:
        return make("Constant", [], output, value=library.numpy_helper.from_array(np.float32(value)))

    # 2 to the width, or to one less: the codes' end
    parts = [
        constant(2.0, "two"), constant(1.0, "one"), make("Cast", [width], "wide", to=1),
        make("Sub", [f"{name}wide", f"{name}one"], "less"),
        make("Pow", [f"{name}two", f"{name}less" if signed else f"{name}wide"], "end"),
        make("Sub", [f"{name}end", f"{name}one"], "high"),
    ]  # fmt: skip
    if signed:
        parts += [make("Neg", [f"{name}high" if narrow else f"{name}end"], "low")]
    else:
        parts += [constant(0.0, "low")]
    parts += [
        make("Div", [x, scale], "t"), constant(_NEAREST_EVEN, "step"),
        make("Max", [f"{name}t", f"{name}low"], "above"), make("Min", [f"{name}above", f"{name}high"], "cut"),
        make("Add", [f"{name}cut", f"{name}step"], "up"), make("Sub", [f"{name}up", f"{name}step"], "code"),
        library.helper.make_node("Mul", [f"{name}code", scale], list(node.output)),
    ]  # fmt: skip
    return parts
