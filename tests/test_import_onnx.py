"""ONNX files as networks: each operator's meaning by onnxruntime, layouts, names, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitrow import model_file
from bitrow.config import AvgPoolConfig, ConvConfig, HardSwishConfig, LinearConfig, ReluConfig
from bitrow.host import fold_batch_norm
from bitrow.importers.command import ImportOptions, ImportRefused, import_network, read_float
from bitrow.importers.layers import CodeBits
from bitrow.importers.names import MOST, Names, identifier

pytest.importorskip("onnx", reason="needs the extra import")
pytest.importorskip("onnxruntime", reason="needs onnxruntime, of the extra dev")

from onnx_samples import OnnxGraph, assert_close, float_pair


def _refused(path: Path, **options: Any) -> list[str]:
    with pytest.raises(ImportRefused) as caught:
        read_float(path, ImportOptions(**options))
    return [str(one) for one in caught.value.report.refusals]


def test_a_classifier_with_a_head_behind_a_flatten(tmp_path: Path) -> None:
    """SPEC.md A4: the head's weights go from the file's order (c, h, w) to (h, w, c)."""
    g = OnnxGraph()
    x = g.add("Conv", "x", g.normal(4, 3, 3, 3), g.normal(4), pads=[1, 1, 1, 1], strides=[2, 2])
    x = g.add("Relu", g.norm(x, 4))
    x = g.add("Gemm", g.add("Flatten", x), g.normal(10, 64), g.normal(10), transB=1)
    found, got, expected = float_pair(g.save(tmp_path, g.add("Softmax", x)))
    assert_close(got, expected)
    kinds = [type(node.config) for node in found.made.network.nodes]
    assert kinds[0] is ConvConfig and kinds[-1] is LinearConfig and len(kinds) == 4
    notes = {one.operator: one.note for one in found.nodes}
    assert notes["Softmax"] == "left to the host, behind the output" and notes["Flatten"].startswith("nothing")


@pytest.mark.parametrize("shape", [[1, 4, 1, 1], [-1, 4], [0, -1]])
def test_reshapes_before_a_head(tmp_path: Path, shape: list[int]) -> None:
    g = OnnxGraph((1, 4, 6, 6))
    x = g.add("Reshape", g.add("GlobalAveragePool", "x"), g.constant(shape, np.int64))
    if len(shape) == 4:
        x = g.add("Squeeze", x, g.constant([2, 3], np.int64))
    x = g.add("Add", g.add("MatMul", x, g.normal(4, 3)), g.normal(3))
    found, got, expected = float_pair(g.save(tmp_path, x))
    assert_close(got, expected)
    assert [type(node.config) for node in found.made.network.nodes] == [AvgPoolConfig, LinearConfig]


def test_a_reshape_by_the_shape_that_the_file_computes(tmp_path: Path) -> None:
    """As exporters write `x.view(x.size(0), -1)`, with a number of images that the file leaves open."""
    g = OnnxGraph(("batch", 2, 4, 4))
    rows = g.add("Gather", g.add("Shape", "x"), g.constant(0, np.int64), axis=0)
    rows = g.add("Unsqueeze", rows, g.constant([0], np.int64))
    shape = g.add("Concat", rows, g.constant([-1], np.int64), axis=0)
    x = g.add("MatMul", g.add("Reshape", "x", shape), g.normal(32, 5))
    _, got, expected = float_pair(g.save(tmp_path, x))
    assert_close(got, expected)


def test_an_input_with_channels_last(tmp_path: Path) -> None:
    """As TensorFlow's exporter writes: the input is transposed, and so is the map before the head."""
    g = OnnxGraph((1, 6, 5, 3))
    x = g.add("Conv", g.add("Transpose", "x", perm=[0, 3, 1, 2]), g.normal(4, 3, 3, 3))
    x = g.add("Reshape", g.add("Transpose", x, perm=[0, 2, 3, 1]), g.constant([1, -1], np.int64))
    found, got, expected = float_pair(g.save(tmp_path, g.add("MatMul", x, g.normal(48, 2))))
    assert found.made.network.input_shape == (6, 5, 3)
    assert_close(got, expected)


@pytest.mark.parametrize("eps", [0.0, 1e-5, 1e-3, 0.5])
def test_batch_norms_keep_their_own_eps(tmp_path: Path, eps: float) -> None:
    """SPEC.md B1: folded once from the file's values, whatever eps; the variances here are as small as eps."""
    g = OnnxGraph()
    g.norm("x", 3, eps, var=[1e-3, 1e-4, 2.0])
    path = g.save(tmp_path, "v.0.0")
    found, got, expected = float_pair(path)
    assert_close(got, expected)
    imported = import_network(path, ImportOptions(count=1)).imported
    assert imported is not None
    (params,) = imported.model.params.values()
    (norm,) = found.made.norms.values()
    a, b = fold_batch_norm("", norm.gamma, norm.beta, norm.mean, norm.var, np.float32(eps))
    assert np.array_equal(params.a, a) and np.array_equal(params.b, b)


def test_constants_go_into_biases_and_batch_norms(tmp_path: Path) -> None:
    g = OnnxGraph()
    x = g.add("Div", g.add("Sub", "x", g.normal(3, 1, 1)), g.constant(2.0))
    x = g.add("Add", g.add("Conv", x, g.normal(4, 3, 1, 1)), g.normal(4, 1, 1))
    x = g.add("Add", g.add("Mul", g.norm(x, 4), g.normal(1, 4, 1, 1)), g.normal(4, 1, 1))
    found, got, expected = float_pair(g.save(tmp_path, x))
    assert_close(got, expected)
    assert [type(node.config).__name__ for node in found.made.network.nodes] == [
        "BatchNormConfig", "ConvConfig", "BatchNormConfig",
    ]  # fmt: skip
    assert found.made.network.nodes[1].size.bias
    assert len({one.layers for one in found.nodes}) == 3 and all(one.layers for one in found.nodes)


def _steps(g: OnnxGraph, name: str) -> str:
    """The same activation, as exporters of several ages write it."""
    if name == "HardSwish":
        return g.add("HardSwish", "x")
    if name == "by hard sigmoid":
        return g.add("Mul", "x", g.add("HardSigmoid", "x", alpha=1 / 6, beta=0.5))
    shifted = g.add("Clip", g.add("Add", "x", g.constant(3.0)), g.constant(0.0), g.constant(6.0))
    if name == "divided before":
        return g.add("Mul", g.add("Div", shifted, g.constant(6.0)), "x")
    return g.add("Div", g.add("Mul", "x", shifted), g.constant(6.0))


@pytest.mark.parametrize("name", ["HardSwish", "by hard sigmoid", "divided before", "divided behind"])
def test_hard_swish_in_all_its_forms(tmp_path: Path, name: str) -> None:
    """SPEC.md A6."""
    g = OnnxGraph()
    found, got, expected = float_pair(g.save(tmp_path, _steps(g, name)))
    assert [type(node.config) for node in found.made.network.nodes] == [HardSwishConfig]
    assert_close(got, expected)


@pytest.mark.parametrize(("low", "high", "six"), [(0.0, 6.0, True), (0.0, None, False)])
@pytest.mark.parametrize("opset", [9, 17])
def test_clips(tmp_path: Path, low: float, high: float | None, six: bool, opset: int) -> None:
    """SPEC.md A1: as attributes, or as inputs."""
    g = OnnxGraph(opset=opset)
    if opset < 11:
        g.add("Clip", "x", min=low, **({} if high is None else {"max": high}))
    else:
        g.add("Clip", "x", g.constant(low), *([] if high is None else [g.constant(high)]))
    found, got, expected = float_pair(g.save(tmp_path, "v.0.0"))
    assert found.made.network.nodes[0].config == ReluConfig(six)
    assert_close(got, expected, 0)


def test_pads_go_into_the_convolution(tmp_path: Path) -> None:
    g = OnnxGraph()
    x = g.add("Pad", "x", g.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    found, got, expected = float_pair(g.save(tmp_path, g.add("Conv", x, g.normal(2, 3, 3, 3), pads=[1, 1, 1, 1])))
    assert len(found.made.network.nodes) == 1 and found.nodes[0].layers == found.nodes[1].layers
    assert_close(got, expected)


def test_sums_and_concats_of_many(tmp_path: Path) -> None:
    g = OnnxGraph()
    parts = [g.add("Conv", "x", g.normal(2, 3, 1, 1)) for _ in range(3)]
    x = g.add("Concat", *parts, g.add("Sum", *parts), "x", axis=1)
    found, got, expected = float_pair(g.save(tmp_path, x))
    assert_close(got, expected)
    assert found.made.network.nodes[-1].name == found.nodes[-1].layers[-1] and len(found.nodes[-1].layers) == 4


def test_what_the_output_does_not_need_is_left_out(tmp_path: Path) -> None:
    g = OnnxGraph()
    x = g.add("Relu", "x")
    g.add("Conv", x, g.normal(2, 3, 3, 3))
    found, got, expected = float_pair(g.save(tmp_path, x, "v.1.0"), outputs=(x,))
    assert_close(got, expected, 0)
    assert found.nodes[1].note == "nothing: the output does not need it"


def test_several_outputs(tmp_path: Path) -> None:
    """SPEC.md A5, D3, E3: a map of boxes and a classifier; each beside the original's. The boxes' scales need a batch
    norm behind them, which is the output then."""
    g = OnnxGraph()
    x = g.add("Relu", g.add("Conv", "x", g.normal(4, 3, 3, 3), g.normal(4)))
    boxes = g.add("Conv", x, g.normal(2, 4, 1, 1, scale=3e-4))
    classes = g.add("Softmax", g.add("Gemm", g.add("Flatten", x), g.normal(144, 3)))
    path = g.save(tmp_path, boxes, classes)
    report = import_network(path, ImportOptions(count=2, check=True, bits=CodeBits(8, 8, 8)))
    assert report.imported is not None and report.checked is not None
    found, check = report.imported.model, report.checked
    assert found.network.outputs == ("net_2_conv_rescale", "net_4_gemm")
    assert check.original.within == check.original.convolutions == 2 == check.codes.within
    assert 0 < check.bits.largest < 0.1 * check.bits.magnitude
    pairs = [(check.twin, check.bits), check.others["net_4_gemm"]]
    for twin, bits in pairs:
        assert twin.largest <= 1e-5 * twin.magnitude and 0 < bits.largest < 0.1 * bits.magnitude
    assert pairs[1][0].same_top == 2 and pairs[0][0].same_top is None
    lines = list(report.lines())
    assert "net_4_gemm" in report.to_json()["check"]["others"]
    assert sum("beside the original, net_4_gemm: " in line for line in lines) == 2
    assert found.samples is not None and found.samples.dlogits.shape == (2, 6 * 6 * 2 + 3)
    model_file.save(tmp_path / "net.safetensors", found)
    assert model_file.load(tmp_path / "net.safetensors").network == found.network
    one = read_float(path, ImportOptions(outputs=(boxes,))).made.network
    assert one.outputs == ("net_2_conv",) and len(one.nodes) == 3
    turned = read_float(path, ImportOptions(outputs=(classes, boxes))).made.network
    assert turned.outputs == ("net_4_gemm", "net_2_conv")


def test_all_refusals_at_once(tmp_path: Path) -> None:
    """Each with its node, operator and reason, in the file's order; a sound node among them is none."""
    g = OnnxGraph()
    x = g.add("Erf", "x")
    x = g.add("LRN", g.add("Conv", "x", g.normal(2, 3, 3, 3)), size=3)
    y = g.add("Conv", "x", g.normal(2, 4, 3, 3))
    g.add("Clip", "x", g.constant(-1.0), g.constant(1.0))
    g.add("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2])
    g.add("BipolarQuant", "x", g.constant(1.0), domain="qonnx.custom_op.general")
    lines = _refused(g.save(tmp_path, x, y), outputs=(x,))
    assert [line.partition(":")[0] for line in lines] == [
        "/net.0/Erf (Erf)", "/net.2/LRN (LRN)", "/net.3/Conv (Conv)", "/net.4/Clip (Clip)", "/net.5/MaxPool (MaxPool)",
        "/net.6/BipolarQuant (BipolarQuant)",
    ]  # fmt: skip
    assert "unknown operator" in lines[0] and "found 3 input channels, expected 4" in lines[2]
    assert "found a clip to -1 .. 1" in lines[3] and "F7" in lines[5]


NOT_LAYERS: dict[str, Any] = {
    "broadcast add": lambda g: g.add("Add", "x", g.add("GlobalAveragePool", "x")),
    "transposed add": lambda g: g.add("Add", "x", g.add("Transpose", "x", perm=[0, 1, 3, 2])),
    "channel shuffle": lambda g: g.add("Reshape", "x", g.constant([1, 2, 2, 8, 8], np.int64)),
    "constant by place": lambda g: g.add("Add", "x", g.normal(1, 4, 8, 8)),
    "computed weights": lambda g: g.add("Conv", "x", "x"),
    "mean of channels": lambda g: g.add("ReduceMean", "x", axes=[1]),
    "softmax inside": lambda g: g.add("Relu", g.add("Softmax", "x")),
    "padding with ones": lambda g: g.add("Pad", "x", g.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64), g.constant(1.0)),
    "reflected": lambda g: g.add("Pad", "x", g.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64), mode="reflect"),
    "batch statistics": lambda g: g.add("BatchNormalization", "x", *[g.constant(np.ones(4))] * 4, training_mode=1),
    "scaled product": lambda g: g.add("Gemm", g.add("Flatten", "x"), g.normal(256, 2), alpha=0.5),
    "of another axis": lambda g: g.add("Concat", "x", "x", axis=2),
    "not finite": lambda g: g.add("Conv", "x", g.constant(np.full((1, 4, 1, 1), np.nan))),
    "double": lambda g: g.add("Conv", "x", g.constant(np.ones((1, 4, 1, 1)), np.float64)),
}


@pytest.mark.parametrize("name", NOT_LAYERS)
def test_what_is_no_layer_is_refused(tmp_path: Path, name: str) -> None:
    g = OnnxGraph((1, 4, 8, 8))
    (line,) = _refused(g.save(tmp_path, NOT_LAYERS[name](g)))
    assert line.startswith("/net.") and "found" in line and "\n" not in line


def test_names_are_identifiers_each_once() -> None:
    """SPEC.md V1: lower-case letters and digits in words of single underscores, a letter first."""
    assert identifier("features.0.Conv__2/out:0") == "features_0_conv_2_out_0"
    assert identifier("0.1", "conv") == "conv_0_1" and identifier("٣", "relu") == "relu"
    long = identifier("a.very.long.name.of.a.module." * 9 + "conv.weight")
    assert len(long) <= MOST and long.endswith("conv_weight")
    assert len(f"{'n' * MOST}_{'l' * MOST}_backward") <= 64  # network, layer and direction: a case's name
    give = Names()
    assert [give(name) for name in ("input", "x.y", "x_y", "x/y")] == ["input_2", "x_y", "x_y_2", "x_y_3"]


def test_bits_and_formats_are_the_callers(tmp_path: Path) -> None:
    """SPEC.md F7, C2: unsigned codes behind a ReLU; a scale for each channel folds into the gradient."""
    g = OnnxGraph()
    x = g.add("Relu", g.add("Conv", "x", g.normal(4, 3, 1, 1)))
    path = g.save(tmp_path, g.add("Conv", x, g.normal(4, 4, 3, 3)))
    made = read_float(path, ImportOptions(bits=CodeBits(6, 5, 4, per_channel=True))).made
    first, second = (node for node in made.network.nodes if isinstance(node.config, ConvConfig))
    assert (first.config.x_format.bits, first.config.x_format.signed) == (6, True)
    assert (second.config.x_format.bits, second.config.x_format.signed) == (6, False)
    assert second.config.weight_format.bits == 5 and second.config.fold and second.size.per_channel


def test_squeeze_and_excite_and_silu(tmp_path: Path) -> None:
    """SPEC.md A8 to A11: a gate of the map's mean; x times its sigmoid is one layer."""
    g = OnnxGraph((1, 4, 6, 6))
    gate = g.add("Relu", g.add("Conv", g.add("ReduceMean", "x", axes=[2, 3]), g.normal(2, 4, 1, 1), g.normal(2)))
    gate = g.add("HardSigmoid", g.add("Conv", gate, g.normal(4, 2, 1, 1)), alpha=0.25, beta=0.5)
    x = g.add("Mul", gate, "x")
    found, got, expected = float_pair(g.save(tmp_path, g.add("Mul", x, g.add("Sigmoid", x))))
    assert_close(got, expected)
    assert [type(node.config).__name__ for node in found.made.network.nodes][-3:] == [
        "HardSigmoidConfig", "MultiplyConfig", "SiluConfig",
    ]  # fmt: skip
    assert found.made.network.nodes[-2].config.gate and found.made.network.nodes[-2].inputs[0] == "input"


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_tensorflows_same_padding_at_stride_2(tmp_path: Path, mode: str) -> None:
    """SPEC.md C1, A2: padding for each side; equal shapes with symmetric padding would be other numbers."""
    g = OnnxGraph((1, 3, 8, 8))
    x = g.add("Conv", "x", g.normal(4, 3, 3, 3), auto_pad=mode, strides=[2, 2])
    found, got, expected = float_pair(g.save(tmp_path, g.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2],
                                                             auto_pad=mode)))  # fmt: skip
    assert_close(got, expected)
    first, second = ((0, 1, 0, 1), (0, 1, 0, 1)) if mode == "SAME_UPPER" else ((1, 0, 1, 0), (1, 0, 1, 0))
    assert [node.config.padding for node in found.made.network.nodes] == [first, second]


def test_upsampling_in_a_quantized_network_carries_the_quantizer(tmp_path: Path) -> None:
    """SPEC.md A12, A13, Q1: codes are only moved."""
    g = OnnxGraph((1, 4, 3, 3))
    x = g.add("Upsample", g.quant("x", 0.5, 4), g.constant([1, 1, 2, 3]), mode="nearest")
    g.opset = 9
    x = g.add("DepthToSpace", x, blocksize=2)
    found, got, expected = float_pair(g.save(tmp_path, g.add("Conv", x, g.quant(g.normal(2, 1, 3, 3), 0.25, 4))))
    assert_close(got, expected)
    assert set(found.made.quantizers) == {"net_4_conv"}


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution(tmp_path: Path, groups: int) -> None:
    """SPEC.md C5: strides, sides, dilation, output padding and groups, a batch norm and a pad in front."""
    g = OnnxGraph((1, 4, 3, 4))
    weight, given = g.normal(4, 3, 3, 2), {"strides": [2, 3], "pads": [1, 0, 2, 1], "dilations": [2, 1]}
    x = g.add("ConvTranspose", "x", weight, g.normal(3 * groups), group=groups, output_padding=[1, 2], **given)
    found, got, expected = float_pair(g.save(tmp_path, g.norm(x, 3 * groups)))
    assert_close(got, expected)
    config = found.made.network.nodes[0].config
    assert isinstance(config, ConvConfig) and config.transposed and config.output_padding == (1, 2)


def test_transposed_convolutions_that_are_not_imported(tmp_path: Path) -> None:
    for given, says in (({"output_shape": [8, 8]}, "an output_shape or SAME pads"), ({"pads": [9, 0, 9, 0]}, "leave"),
                        ({"strides": [2, 2], "output_padding": [2, 0]}, "below the strides")):  # fmt: skip
        g = OnnxGraph((1, 2, 3, 3))
        (line,) = _refused(g.save(tmp_path, g.add("ConvTranspose", "x", g.normal(2, 2, 2, 2), **given)))
        assert says in line
