"""State dicts as torchvision names them: the same numbers as an ONNX graph of their modules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

pytest.importorskip("onnx", reason="needs the extra import")
pytest.importorskip("onnxruntime", reason="needs onnxruntime, of the extra dev")

from bitrow import model_file
from bitrow.importers.calibration import float_twin
from bitrow.importers.command import ImportOptions, ImportRefused, read_float
from bitrow.importers.original import run_original
from bitrow.synthetic import synthetic
from hostile_samples import refuses
from network_samples import every_layer
from onnx_samples import OnnxGraph, assert_close


class _Both:
    """Modules as tensors of a state dict and as nodes of an ONNX graph."""

    def __init__(self, size: int) -> None:
        self.tensors: dict[str, np.ndarray] = {}
        self.graph = OnnxGraph((1, 3, size, size))
        self.rng = np.random.default_rng(0)

    def conv(self, name: str, x: str, c_in: int, c_out: int, k: int, stride: int = 1, groups: int = 1) -> str:
        weight = self.rng.normal(size=(c_out, c_in // groups, k, k)).astype(np.float32) * np.float32(0.4)
        self.tensors[f"{name}.weight"] = weight
        given = {"strides": [stride] * 2, "pads": [k // 2] * 4, "group": groups}
        return self.graph.add("Conv", x, self.graph.constant(weight), **given)

    def norm(self, name: str, x: str, channels: int) -> str:
        given = {"weight": self.rng.uniform(0.5, 1.5, channels), "bias": self.rng.normal(size=channels),
                 "running_mean": self.rng.normal(size=channels), "running_var": self.rng.uniform(0.5, 2, channels)}
        given = {field: values.astype(np.float32) for field, values in given.items()}
        self.tensors |= {f"{name}.{field}": values for field, values in given.items()}
        self.tensors[f"{name}.num_batches_tracked"] = np.array(7)
        return self.graph.add("BatchNormalization", x, *map(self.graph.constant, given.values()))

    def relu(self, x: str, six: bool = False) -> str:
        return self.graph.add("Clip", x, *map(self.graph.constant, (0.0, 6.0))) if six else self.graph.add("Relu", x)

    def head(self, name: str, x: str, channels: int) -> str:
        weight, bias = (self.rng.normal(size=size).astype(np.float32) for size in ((5, channels), 5))
        self.tensors |= {f"{name}.weight": weight, f"{name}.bias": bias}
        x = self.graph.add("Flatten", self.graph.add("GlobalAveragePool", x))
        return self.graph.add("Gemm", x, *map(self.graph.constant, (weight, bias)), transB=1)


def _resnet(bottleneck: bool) -> tuple[_Both, str]:
    both = _Both(24)
    g, wide = both.graph, 2 if bottleneck else 1
    x = both.relu(both.norm("bn1", both.conv("conv1", "x", 3, 4, 7, 2), 4))
    x, c = g.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 4
    for stage in range(1, 5):
        name, stride, out = f"layer{stage}.0", 1 if stage == 1 else 2, 4 * stage
        y, last = x, out * wide
        plan = [(c, out, 1, 1), (out, out, 3, stride), (out, last, 1, 1)] if bottleneck else [
            (c, out, 3, stride), (out, out, 3, 1)]  # fmt: skip
        for place, (before, after, k, step) in enumerate(plan, start=1):
            y = both.norm(f"{name}.bn{place}", both.conv(f"{name}.conv{place}", y, before, after, k, step), after)
            y = both.relu(y) if place < len(plan) else y
        if stride != 1 or c != last:
            x = both.norm(f"{name}.downsample.1", both.conv(f"{name}.downsample.0", x, c, last, 1, stride), last)
        x, c = both.relu(g.add("Add", y, x)), last
    return both, both.head("fc", x, c)


def _mobilenet() -> tuple[_Both, str]:
    """Features 1 and 2 of MobileNetV2, and its last convolution; 3 repeats 2 with a shortcut."""
    both = _Both(16)
    x = both.relu(both.norm("features.0.1", both.conv("features.0.0", "x", 3, 4, 3, 2), 4), True)
    for number, (c_in, hidden, out, stride) in enumerate([(4, 4, 3, 1), (3, 6, 4, 2), (4, 8, 4, 1)], start=1):
        name, y = f"features.{number}.conv", x
        if number > 1:
            y = both.relu(both.norm(f"{name}.0.1", both.conv(f"{name}.0.0", y, c_in, hidden, 1), hidden), True)
        place = 0 if number == 1 else 1
        y = both.conv(f"{name}.{place}.0", y, hidden, hidden, 3, stride, hidden)
        y = both.relu(both.norm(f"{name}.{place}.1", y, hidden), True)
        y = both.norm(f"{name}.{place + 2}", both.conv(f"{name}.{place + 1}", y, hidden, out, 1), out)
        x = both.graph.add("Add", y, x) if number == 3 else y
    x = both.relu(both.norm("features.4.1", both.conv("features.4.0", x, 4, 8, 1), 8), True)
    return both, both.head("classifier.1", x, 8)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2"])
def test_a_state_dict_gives_the_numbers_of_its_modules(tmp_path: Path, name: str) -> None:
    both, output = {"resnet18": lambda: _resnet(False), "resnet50": lambda: _resnet(True),
                    "mobilenet_v2": _mobilenet}[name]()  # fmt: skip
    save_file(both.tensors, tmp_path / f"{name}.safetensors")
    size = both.graph.inputs[0].type.tensor_type.shape.dim[2].dim_value
    made = read_float(tmp_path / f"{name}.safetensors", ImportOptions(input_size=(size, size))).made
    images = np.random.default_rng(1).normal(size=(2, *made.network.input_shape)).astype(np.float32)
    layouts = {"x": ("n", "c", "h", "w"), output: ("n", "c")}
    expected = run_original(both.graph.save(tmp_path, output), images, [output], layouts)[output]
    assert_close(float_twin(made, images), expected, 2e-5)
    assert made.network.name == name and all("." not in node.name for node in made.network.nodes)


def test_what_is_missing_or_too_much_is_named(tmp_path: Path) -> None:
    both, _ = _resnet(False)
    del both.tensors["bn1.bias"]
    both.tensors |= {"layer5.0.weight": np.zeros(3, np.float32), "fc.weight": np.zeros((2, 2, 2), np.float32)}
    save_file(both.tensors, tmp_path / "net.safetensors")
    with pytest.raises(ImportRefused) as caught:
        read_float(tmp_path / "net.safetensors", ImportOptions(input_size=(24, 24)))
    assert [one.node for one in caught.value.report.refusals] == ["bn1", "fc", "layer5.0.weight"]


def test_other_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file({"a": np.zeros(1, np.float32)}, path)
    refuses(lambda: read_float(path), "found tensors a, expected those of torchvision's")
    refuses(lambda: read_float(path, ImportOptions(check=True)), "which has no graph")
    path.write_bytes(model_file.to_bytes(synthetic(every_layer())))
    refuses(lambda: read_float(path), "found a model file of bitrow")
