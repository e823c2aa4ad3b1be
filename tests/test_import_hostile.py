"""ONNX files that are broken, or made to do harm: one line each, no array before its bytes, nothing read elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra import")

import onnx
from onnx import TensorProto, helper

from bitrow.errors import BitrowError
from bitrow.importers.command import ImportOptions, read_float
from hostile_samples import bounded, refuses
from onnx_samples import OnnxGraph


def _line(path: Path, words: str = "", **options: Any) -> str:
    return refuses(lambda: read_float(path, ImportOptions(**options)), words)


def _model(g: OnnxGraph, *outputs: str) -> Any:
    return g.model(*(outputs or (g.nodes[-1].output[0],)))


def _one(operator: str = "Relu", **attributes: Any) -> Any:
    g = OnnxGraph()
    g.add(operator, "x", **attributes)
    return _model(g)


def _fills(*sizes: int) -> Any:
    g = OnnxGraph()
    for size in sizes:
        g.add("ConstantOfShape", g.constant([size], np.int64))
    g.add("Relu", "x")
    return _model(g)


def _tensor(**changed: Any) -> Any:
    """A convolution whose weights' tensor says something else."""
    g = OnnxGraph()
    g.add("Conv", "x", g.normal(2, 3, 1, 1))
    model = _model(g)
    weight = model.graph.initializer[0]
    for name, value in changed.items():
        if name == "dims":
            del weight.dims[:]
            weight.dims.extend(value)
        elif name == "external":
            weight.ClearField("raw_data")
            weight.data_location = TensorProto.EXTERNAL
            for key, text in value.items():
                entry = weight.external_data.add()
                entry.key, entry.value = key, text
        else:
            setattr(weight, name, value)
    return model


def _cycle() -> Any:
    g = OnnxGraph()
    g.add("Add", "x", "v.1.0")
    g.add("Relu", "v.0.0")
    return _model(g)


def _opset(version: int) -> Any:
    g = OnnxGraph(opset=version)
    g.add("Relu", "x")
    return _model(g)


def _input(*dims: Any, dtype: int = TensorProto.FLOAT) -> Any:
    g = OnnxGraph(tuple(dims), dtype=dtype)
    g.add("Relu", "x")
    return _model(g)


def _twice() -> Any:
    model = _one()
    model.graph.node.append(model.graph.node[0])
    return model


def _many_inputs() -> Any:
    model = _one()
    model.graph.input.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3, 8, 8)))
    return model


def _subgraph() -> Any:
    g = OnnxGraph()
    inner = _one().graph
    g.add("If", g.constant(True, np.bool_), then_branch=inner, else_branch=inner)
    return _model(g)


def _reach(operator: str, left: tuple[int, ...], right: tuple[int, ...]) -> Any:
    """Two small constants whose result would be large."""
    g = OnnxGraph()
    g.add(operator, g.constant(np.ones(left), np.int64), g.constant(np.zeros(right), np.int64))
    g.add("Relu", "x")
    return _model(g)


def _many_uses(count: int) -> Any:
    """Weights that the file makes once and uses again and again."""
    g = OnnxGraph((1, 4, 4, 4))
    weight = g.add("ConstantOfShape", g.constant([count >> 6, 4, 4, 4], np.int64))
    for _ in range(20):
        g.add("Conv", "x", weight)
    return _model(g)


def _nothing(*operators: str) -> Any:
    g = OnnxGraph()
    for operator in operators:
        g.add(operator)
    return _model(g)


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "unknown operator": (lambda: _one("NoSuch"), "(NoSuch): an unknown operator"),
    "operator of another domain": (lambda: _one("Relu", domain="com.evil"), "'com.evil', which is unknown"),
    "a subgraph": (_subgraph, "(If): an unknown operator"),
    "cycle": (_cycle, "found input 'v.1.0', expected one that an earlier node makes"),
    "value made twice": (_twice, "found a second value 'v.0.0'"),
    "opset too new": (lambda: _opset(99), "found version 99 of ONNX's operators, expected 7 to"),
    "opset too old": (lambda: _opset(1), "found version 1 of ONNX's operators"),
    "two inputs": (_many_inputs, "found 2 inputs (x, y), expected one"),
    "open sizes": (lambda: _input("n", 3, "h", "w"), "found ?x?x3 rows, columns, channels"),
    "open channels": (lambda: _input(1, "c", 8, 8), "found 8x8x? rows"),
    "sound": (lambda: _input(1, 1, 1, 1, 1), "found 5 dimensions"),
    "sides without end": (lambda: _input(1, 3, 1 << 40, 8), "expected at most 65,536"),
    "whole numbers": (lambda: _input(1, 3, 8, 8, dtype=TensorProto.UINT8), "found ONNX's data type 2"),
    "doubles": (lambda: _tensor(data_type=TensorProto.DOUBLE), "bytes"),
    "texts": (lambda: _tensor(data_type=TensorProto.STRING), "data type 8"),
    "a type there is not": (lambda: _tensor(data_type=77), "data type 77"),
    "weights without bytes": (lambda: _tensor(dims=[1 << 20, 1 << 20, 3, 3]), "found tensor 'c.0' of 24 bytes"),
    "negative sizes": (lambda: _tensor(dims=[-2, 3, 1, 1]), "expected up to 8 sizes from 0"),
    "no numbers": (lambda: _tensor(dims=[0, 3, 1, 1], raw_data=b""), "expected [c_out, c_in/groups, kh, kw]"),
    "a fill of all memory": (lambda: _fills(1 << 40), "bytes unfolded from"),
    "many fills": (lambda: _fills(*[1 << 25] * 20), "bytes unfolded from"),
    "a fill of no size": (lambda: _fills(-4), "expected up to 8 sizes from 0"),
    "a broadcast": (lambda: _reach("Add", (1 << 16, 1), (1 << 16,)), "at most 65,536"),
    "a gather": (lambda: _reach("Gather", (1, 1 << 16), (1 << 16,)), "at most 65,536"),
    "external, absolute": (lambda: _tensor(external={"location": "/etc/hostname"}), "expected a file in its folder"),
    "external, above": (lambda: _tensor(external={"location": "../w.bin"}), "expected a file in its folder"),
    "external, by a link": (lambda: _tensor(external={"location": "link/w.bin"}), "expected a file in its folder"),
    "external, nowhere": (lambda: _tensor(external={"location": "none.bin"}), "found no such file"),
    "external, the folder": (lambda: _tensor(external={}), "expected a file in its folder"),
    "external, a name with a NUL": (lambda: _tensor(external={"location": "a\0b"}), "expected a file in its folder"),
    "external, odd offset": (
        lambda: _tensor(external={"location": "w.bin", "offset": "-1"}), "expected a number of bytes"),
    "external, too few": (
        lambda: _tensor(external={"location": "w.bin", "offset": "4"}), "of 20 bytes, expected 24"),
    "external, another size": (
        lambda: _tensor(external={"location": "w.bin", "length": str(1 << 40)}), "of external data"),
    "one fill for many": (lambda: _many_uses(1 << 26), "bytes unfolded from"),
    "no inputs": (lambda: _nothing("Concat", "Mul", "Conv", "Gemm", "Clip"), "(Concat): found"),
    "an attribute of another type": (lambda: _one("HardSigmoid", alpha="low"), "expected another type"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    make, words = BAD[name]
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "w.bin").write_bytes(bytes(24))
    (tmp_path / "w.bin").write_bytes(bytes(24))
    (folder / "link").symlink_to(tmp_path)
    path = folder / "net.onnx"
    path.write_bytes(make().SerializeToString())
    assert str(path) in _line(path, words)


def test_external_data_beside_the_file_is_read(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32)
    (tmp_path / "w.bin").write_bytes(bytes(8) + values.tobytes())
    path = tmp_path / "net.onnx"
    path.write_bytes(_tensor(external={"location": "w.bin", "offset": "8"}).SerializeToString())
    (weight,) = read_float(path).made.model.params.values()
    assert np.array_equal(np.asarray(weight.weight).transpose(3, 2, 0, 1).reshape(-1), values)


def test_sizes_that_the_file_leaves_open_are_the_callers(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(_input("n", 3, "h", "w").SerializeToString())
    assert read_float(path, ImportOptions(input_size=(6, 5))).made.network.input_shape == (6, 5, 3)
    path.write_bytes(_input("n", 3, 8, 8).SerializeToString())
    assert "found 8 rows, expected 6" in _line(path, input_size=(6, 5))


def test_outputs_are_all_or_those_that_are_named(tmp_path: Path) -> None:
    g = OnnxGraph()
    path = g.save(tmp_path, g.add("Relu", "x"), g.add("HardSwish", "x"))
    assert len(read_float(path).made.network.outputs) == 2
    assert "found no output, expected some" in _line(g.save(tmp_path, name="none.onnx"))
    path = g.save(tmp_path, "v.0.0", g.add("HardSwish", "v.0.0"), name="inside.onnx")
    assert "found the output read by net_2_hardswish, expected by none" in _line(path)
    path = g.save(tmp_path, "v.0.0", "v.1.0")
    assert "found no value 'z'" in _line(path, outputs=("z",))
    assert len(read_float(path, ImportOptions(outputs=("v.1.0",))).made.network.nodes) == 1


@pytest.mark.parametrize("cut", [1, 9, 40, 90])
def test_truncated_files(tmp_path: Path, cut: int) -> None:
    content = _one().SerializeToString()
    (tmp_path / "net.onnx").write_bytes(content[: len(content) * cut // 100])
    assert "net.onnx" in _line(tmp_path / "net.onnx")


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    content = _one().SerializeToString()
    (tmp_path / "net.onnx").write_bytes(content.replace(b"/net.0/Relu", b"/net.0/\xff\xfe\xfd\xfc"))
    _line(tmp_path / "net.onnx", "UTF-8")


def test_names_and_kinds_of_files_are_not_believed(tmp_path: Path) -> None:
    (tmp_path / "net.txt").write_bytes(_one().SerializeToString())
    _line(tmp_path / "net.txt", "expected .onnx, .keras, .tflite or .safetensors")
    g = OnnxGraph()
    g.add("NoSuch", "x")
    g.nodes[0].name = "\x1b[31m" + "n" * 5_000
    path = g.save(tmp_path, "v.0.0")
    with bounded(), pytest.raises(BitrowError) as caught:
        read_float(path)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1_200


def test_nothing_of_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library parses; it neither loads, checks, infers nor runs."""
    for name in ("load", "load_model", "load_model_from_string"):
        monkeypatch.setattr(onnx, name, None)
    for name in ("checker", "shape_inference", "reference", "hub"):
        monkeypatch.setattr(onnx, name, None, raising=False)
    path = tmp_path / "net.onnx"
    path.write_bytes(_one().SerializeToString())
    assert len(read_float(path).made.network.nodes) == 1
