"""TFLite files: the same numbers as their operators, by JAX's own; each file is built by hand, operator by operator."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

pytest.importorskip("tflite", reason="needs the extra import")

from bitrow import cli, model_file, network
from bitrow.config import ConvConfig
from bitrow.importers.calibration import float_twin
from bitrow.importers.command import ImportOptions, ImportRefused, import_network, read_float
from bitrow.importers.tflite_original import run_tflite
from hostile_samples import bounded, refuses
from tflite_samples import TfliteGraph

FUSED = {"FusedActivationFunction": 0}


def _conv(x: Any, weight: Any, stride: Any = (1, 1), groups: int = 1, dilation: Any = None) -> Any:
    return lax.conv_general_dilated(x, weight, stride, "SAME", rhs_dilation=dilation, feature_group_count=groups,
                                    dimension_numbers=("NHWC", "HWIO", "NHWC"))  # fmt: skip


def _detector() -> tuple[TfliteGraph, Callable[[Any], Any]]:
    """As face detectors have it: weights of FLOAT16, depthwise, a shortcut with channels of zeros, SAME at stride 2."""
    g = TfliteGraph((1, 7, 6, 3))
    stem, bias, deep = g.normal(4, 3, 3, 3, dtype="float16"), g.normal(4), g.normal(1, 3, 3, 8)
    point = g.normal(6, 1, 1, 8)
    f32 = g.add("DEQUANTIZE", [stem], (4, 3, 3, 3))
    x = g.window("CONV_2D", [g.x, f32, bias], (1, 4, 3, 4), StrideH=2, StrideW=2, FusedActivationFunction=3)
    y = g.window("DEPTHWISE_CONV_2D", [x, deep, g.constant(np.zeros(8))], (1, 4, 3, 8), DilationHFactor=2)
    y = g.window("CONV_2D", [y, point, g.constant(np.zeros(6))], (1, 4, 3, 6))
    x = g.add("PAD", [x, g.constant([[0, 0], [0, 0], [0, 0], [0, 2]], "int32")], (1, 4, 3, 6))
    x = g.add("ADD", [y, x], (1, 4, 3, 6), "AddOptions", FusedActivationFunction=1)
    g.add("HARD_SWISH", [x], (1, 4, 3, 6))

    def call(x: Any) -> Any:
        weight = g.array(stem).astype(np.float32).transpose(1, 2, 3, 0)
        x = jnp.clip(_conv(x, weight, (2, 2)) + g.array(bias), 0, 6)
        y = _conv(x, g.array(deep).reshape(3, 3, 1, 8), groups=4, dilation=(2, 1))
        y = _conv(y, g.array(point).transpose(1, 2, 3, 0))
        return jax.nn.hard_swish(jax.nn.relu(y + jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, 2)))))

    return g, call


def _classifier() -> tuple[TfliteGraph, Callable[[Any], Any]]:
    """Pools, a gate, constants, a joined map, a head behind a reshape."""
    g = TfliteGraph((1, 7, 6, 3))
    scale, head, bias = g.normal(3), g.normal(5, 4 * 3 * 6), g.normal(5)
    pad = g.constant([[0, 0], [1, 0], [0, 1], [0, 0]], "int32")
    x = g.add("MUL", [g.constant(g.array(scale)[None, None]), g.x], (1, 7, 6, 3), "MulOptions", **FUSED)
    x = g.add("SUB", [x, scale], (1, 7, 6, 3), "SubOptions", **FUSED)
    gate = g.add("MEAN", [x, g.constant([1, 2], "int32")], (1, 1, 1, 3), "ReducerOptions", KeepDims=1)
    x = g.add("MUL", [g.add("LOGISTIC", [gate], (1, 1, 1, 3)), x], (1, 7, 6, 3), "MulOptions", **FUSED)
    window = {"FilterHeight": 3, "FilterWidth": 3, "StrideH": 2, "StrideW": 2}
    small = g.window("AVERAGE_POOL_2D", [x], (1, 4, 3, 3), **window)
    large = g.window("MAX_POOL_2D", [x], (1, 4, 3, 3), **window)
    x = g.add("CONCATENATION", [small, large], (1, 4, 3, 6), "ConcatenationOptions", Axis=-1, **FUSED)
    x = g.add("PAD", [x, pad], (1, 5, 4, 6))
    x = g.window("AVERAGE_POOL_2D", [x], (1, 4, 3, 6), FilterHeight=2, FilterWidth=2, Padding=1)
    x = g.add("RESHAPE", [x, g.constant([-1, 72], "int32")], (1, 72))
    x = g.add("FULLY_CONNECTED", [x, head, bias], (1, 5), "FullyConnectedOptions", WeightsFormat=0, **FUSED)
    g.add("SOFTMAX", [x], (1, 5))

    def call(x: Any) -> Any:
        x = x * g.array(scale) - g.array(scale)
        x = x * jax.nn.sigmoid(x.mean(axis=(1, 2), keepdims=True))
        x = jnp.concatenate([nnx.avg_pool(x, (3, 3), (2, 2), "SAME", count_include_pad=False),
                             nnx.max_pool(x, (3, 3), (2, 2), "SAME")], axis=-1)  # fmt: skip
        x = nnx.avg_pool(jnp.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0))), (2, 2))
        return x.reshape(len(x), -1) @ g.array(head).T + g.array(bias)

    return g, call


def _grown() -> tuple[TfliteGraph, Callable[[Any], Any]]:
    g = TfliteGraph((1, 7, 6, 4))
    x = g.add("RESIZE_NEAREST_NEIGHBOR", [g.x, g.constant([14, 18], "int32")], (1, 14, 18, 4),
              "ResizeNearestNeighborOptions", AlignCorners=0)  # fmt: skip
    g.add("DEPTH_TO_SPACE", [x], (1, 28, 36, 1), "DepthToSpaceOptions", BlockSize=2)

    def call(x: Any) -> Any:
        x = jnp.repeat(jnp.repeat(x, 2, 1), 3, 2).reshape(2, 14, 18, 2, 2, 1)
        return x.transpose(0, 1, 3, 2, 4, 5).reshape(2, 28, 36, 1)

    return g, call


@pytest.mark.parametrize("make", [_detector, _classifier, _grown])
def test_a_file_gives_the_numbers_of_its_operators(tmp_path: Path, make: Callable[[], Any]) -> None:
    g, call = make()
    made = read_float(g.save(tmp_path)).made
    images = np.random.default_rng(5).normal(size=(2, *made.network.input_shape)).astype(np.float32)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        expected = np.asarray(call(jnp.asarray(images)))
    got = float_twin(made, images).reshape(expected.shape)
    assert np.abs(got - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())


def test_the_command_makes_a_model_and_names_what_each_operator_became(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A convolution of zeros has codes of 0, and stays exact through calibration."""
    out = tmp_path / "net.safetensors"
    assert cli.run(["import", str(_detector()[0].save(tmp_path)), "--out", str(out), "--limit-images", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "dequantize_0 (DEQUANTIZE): a constant" not in lines
    assert lines[0] == "conv_2d_1 (CONV_2D): conv_2d_1 (conv), conv_2d_1_relu6 (relu)"
    assert "pad_4 (PAD): pad_4_1 (conv), pad_4 (concat)" in lines
    params: Any = model_file.load(out).params["pad_4_1"]
    assert not np.asarray(params.weight_code).any()


@pytest.mark.parametrize("make", [_detector, _classifier])
def test_the_original_beside_it_by_litert(tmp_path: Path, make: Callable[[], Any]) -> None:
    """SPEC.md E2, E3: every convolution within its bound of LiteRT's own, where that is installed."""
    pytest.importorskip("ai_edge_litert", reason="needs the extra litert")
    report = import_network(make()[0].save(tmp_path), ImportOptions(count=2, check=True))
    assert report.checked is not None
    check = report.checked
    assert check.original.within == check.original.convolutions and check.codes.within == check.codes.convolutions
    assert check.twin.largest <= 1e-5 * max(1.0, check.twin.magnitude)


def test_without_litert_a_check_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    path = _grown()[0].save(tmp_path)
    refuses(lambda: run_tflite(path, np.zeros((1, 7, 6, 4), np.float32), [], {}), "found no ai-edge-litert")


def test_outputs_are_all_or_those_that_are_named(tmp_path: Path) -> None:
    g = TfliteGraph()
    first = g.add("RELU", [g.x], (1, 6, 6, 3))
    other = g.add("COS", [g.x], (1, 6, 6, 3))
    g.outputs = [first, other]
    path = g.save(tmp_path)
    refuses(lambda: read_float(path), "cos_1 (COS): an unknown operator")
    assert read_float(path, ImportOptions(outputs=("relu_0",))).made.network.output == "relu_0"
    refuses(lambda: read_float(path, ImportOptions(outputs=("cos_1",))), "cos_1 (COS): an unknown operator")
    for wrong in ("x", "none"):
        refuses(lambda wrong=wrong: read_float(path, ImportOptions(outputs=(wrong,))), f"found no tensor {wrong!r}")
    refuses(lambda: read_float(path, ImportOptions(input_size=(6, 6))), "which states its sizes")


def _one(operator: str, *more: Any, shape: tuple[int, ...] = (1, 6, 6, 3), options: str = "", **fields: int) -> Any:
    def make(g: TfliteGraph) -> None:
        inputs = [g.x, *(one(g) for one in more)]
        if options or not operator.endswith("2D"):
            g.add(operator, inputs, shape, options, **fields)
        else:
            g.window(operator, inputs, shape, **fields)

    return make


def _weights(*shape: int, dtype: str = "float32", value: float = 1.0) -> Callable[[TfliteGraph], int]:
    return lambda g: g.constant(np.full(shape, value), dtype)


REFUSED: dict[str, tuple[Callable[[TfliteGraph], Any], str]] = {
    "an operator": (_one("COS"), "an unknown operator"),
    "codes": (_one("CONV_2D", _weights(2, 1, 1, 3, dtype="int8")), "without a scale, expected one"),
    "no finite number": (_one("CONV_2D", _weights(2, 1, 1, 3, value=np.inf)), "infinities or NaNs"),
    "another rank": (_one("CONV_2D", _weights(2, 3)), "found weights of shape [2, 3]"),
    "other channels": (_one("CONV_2D", _weights(2, 1, 1, 2)), "found 3 input channels, expected 2"),
    "another shape": (_one("CONV_2D", _weights(2, 1, 1, 3)), "found a result of FLOAT32[1, 6, 6, 3] in the file"),
    "a bias": (_one("CONV_2D", _weights(2, 1, 1, 3), _weights(3)), "found a bias of 3 numbers, expected 2"),
    "a computed weight": (_one("CONV_2D", lambda g: g.x), "found a computed input 2"),
    "a tanh behind": (_one("CONV_2D", _weights(3, 1, 1, 3), FusedActivationFunction=4), "fused activation 4"),
    "a stride of 0": (_one("CONV_2D", _weights(3, 1, 1, 3), StrideH=0), "found StrideH 0"),
    "no options": (_one("MEAN", _weights(2, dtype="int32", value=1)), "found axes [1, 1]"),
    "other options": (_one("ADD", lambda g: g.x, options="MulOptions", **FUSED), "found no AddOptions"),
    "channels before": (_one("PAD", lambda g: g.constant([[0, 0]] * 3 + [[1, 0]], "int32")), "found 1 channels before"),
    "images": (_one("PAD", lambda g: g.constant([[0, 1]] + [[0, 0]] * 3, "int32")), "expected rows and columns"),
    "rows joined": (_one("CONCATENATION", lambda g: g.x, options="ConcatenationOptions", Axis=1, **FUSED), "axis 1"),
    "half as large": (_one("RESIZE_NEAREST_NEIGHBOR", _weights(2, dtype="int32", value=3),
                           options="ResizeNearestNeighborOptions", AlignCorners=0), "whole factors"),
    "nothing known": (_one("RELU6", shape=(1, 6, 6, 4)), "found a result of FLOAT32[1, 6, 6, 4]"),
    "two maps": (_one("SUB", lambda g: g.x, options="SubOptions", **FUSED), "the difference of two maps"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_operators_that_are_refused(tmp_path: Path, name: str) -> None:
    make, words = REFUSED[name]
    g = TfliteGraph()
    make(g)
    with pytest.raises(ImportRefused) as caught, bounded():
        read_float(g.save(tmp_path))
    (refusal,) = caught.value.report.refusals
    assert words in refusal.reason, refusal


def _circle(g: TfliteGraph) -> None:
    made = g.add("ADD", [g.x, g.x], (1, 6, 6, 3), "AddOptions", **FUSED)
    g.nodes[0][3][1] = made


def _twice(g: TfliteGraph) -> None:
    made = g.add("RELU", [g.x], (1, 6, 6, 3))
    g.nodes.append(("RELU6", "", {}, [g.x], [made]))


def _no_first_output(g: TfliteGraph) -> None:
    g.add("RELU", [g.x], (1, 6, 6, 3))
    g.nodes[0][4].insert(0, -1)


def _tensor(**changed: Any) -> Callable[[TfliteGraph], None]:
    def make(g: TfliteGraph) -> None:
        g.window("CONV_2D", [g.x, g.normal(3, 1, 1, 3)], (1, 6, 6, 3))
        name, shape, kind, data = g.tensors[1]
        g.tensors[1] = (name, changed.get("shape", shape), kind, changed.get("data", data))

    return make


def _at(node: int, place: int) -> Callable[[TfliteGraph], None]:
    def make(g: TfliteGraph) -> None:
        g.add("RELU", [g.x], (1, 6, 6, 3))
        g.nodes[node][3][0] = place

    return make


BROKEN: dict[str, tuple[Callable[[TfliteGraph], Any], str]] = {
    "a circle": (_circle, "found input 'add_0', expected one that an earlier operator makes"),
    "a value twice": (_twice, "found a second value"),
    "a huge shape": (_tensor(shape=(3, 1 << 20, 1 << 20, 3)), "expected [3, 1048576, 1048576, 3]'s"),
    "a shape below 0": (_tensor(shape=(-3, 1, 1, -3)), "found constant"),
    "too few bytes": (_tensor(data=b"abc"), "of 3 bytes, expected [3, 1, 1, 3]'s 36"),
    "many dimensions": (_tensor(shape=(1,) * 9), "found a tensor of 9 dimensions"),
    "no such tensor": (_at(0, 99), "found tensor 99, expected"),
    "an input left out": (_at(0, -1), "found no input 1, expected one"),
    "a first output left out": (_no_first_output, "found its first output left out"),
    "another mark": (lambda g: setattr(g, "identifier", b"ABCD"), "found no mark TFL3"),
    "no outputs": (lambda g: None, "found no output, or one left out"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_files_that_are_broken(tmp_path: Path, name: str) -> None:
    make, words = BROKEN[name]
    g = TfliteGraph()
    make(g)
    refuses(lambda: read_float(g.save(tmp_path)), words)


@pytest.mark.parametrize(("shape", "dtype", "words"), [
    ((1, 6, 6, 3), "uint8", "found UINT8, expected FLOAT32"),
    ((2, 6, 6, 3), "float32", "found [2, 6, 6, 3], expected [1, h, w, c]"),
    ((1, -1, -1, 3), "float32", "expected [1, h, w, c]"),
    ((1, 1 << 30, 6, 3), "float32", "expected [1, h, w, c]"),
    ((1, 6), "float32", ""),
])  # fmt: skip
def test_inputs(tmp_path: Path, shape: tuple[int, ...], dtype: str, words: str) -> None:
    g = TfliteGraph(shape, dtype)
    g.add("RELU", [g.x], shape)
    path = g.save(tmp_path)
    if words:
        refuses(lambda: read_float(path), words)
    else:
        assert read_float(path).made.network.input_shape == (1, 1, 6)


def test_bytes_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    whole = _detector()[0].to_bytes()
    for size in (0, 4, 8, 60, len(whole) // 2):
        path.write_bytes(whole[:size])
        refuses(lambda: read_float(path), "")


# A whole network of codes with scales that are powers of two, so that every sum, product and FP16 rounding is exact.
_X, _FIRST, _DEEP, _HEAD = 2.0**-4, 2.0**-5, 2.0**-3, 2.0**-2
_PER_CHANNEL = 2.0 ** -np.array([3, 4, 2, 3])


def _whole(zero: int = 3) -> tuple[TfliteGraph, Callable[[np.ndarray], list[np.ndarray]]]:
    """int8 from the input to the softmax; and what integers make of images: codes of the layers, logits."""
    g = TfliteGraph((1, 6, 6, 3), "int8")
    g.coded(g.x, _X, -128)
    rng = np.random.default_rng(2)
    weight, deep = rng.integers(-2, 3, (4, 3, 3, 3)), rng.integers(-2, 3, (1, 3, 3, 4))
    head, bias = rng.integers(-2, 3, (5, 36)), rng.integers(-40, 40, 4)
    first = g.coded(g.constant(weight, "int8"), _PER_CHANNEL, 0, axis=0)
    added = g.coded(g.constant(bias, "int32"), _X * _PER_CHANNEL)
    second = g.coded(g.constant(deep, "int8"), 2.0**-2, 0)
    last = g.coded(g.constant(head, "int8"), 2.0**-3, 0)
    x = g.window("CONV_2D", [g.x, first, added], (1, 6, 6, 4), FusedActivationFunction=3, dtype="int8")
    x = g.window("MAX_POOL_2D", [g.coded(x, _FIRST, -128)], (1, 3, 3, 4), FilterHeight=2, FilterWidth=2, StrideH=2,
                 StrideW=2, dtype="int8")  # fmt: skip
    x = g.window("DEPTHWISE_CONV_2D", [g.coded(x, _FIRST, -128), second], (1, 3, 3, 4), dtype="int8")
    x = g.add("RESHAPE", [g.coded(x, _DEEP), g.constant([1, 36], "int32")], (1, 36), dtype="int8")
    x = g.add("FULLY_CONNECTED", [g.coded(x, _DEEP), last], (1, 5), "FullyConnectedOptions", WeightsFormat=0,
              dtype="int8", **FUSED)  # fmt: skip
    g.coded(g.add("SOFTMAX", [g.coded(x, _HEAD, zero)], (1, 5), dtype="int8"), 2.0**-8, -128)

    def call(images: np.ndarray) -> list[np.ndarray]:
        """By integers, but for the one division of each requantization."""
        x = np.clip(np.rint(images / _X), 0, 255)
        acc = _integers(x, weight.transpose(1, 2, 3, 0)) + bias
        y = np.clip(np.rint(np.clip(acc * (_X * _PER_CHANNEL), 0, 6) / _FIRST), 0, 255)
        y = y.reshape(len(y), 3, 2, 3, 2, 4).max((2, 4))
        acc = np.stack([_integers(y[..., [c]], deep.transpose(1, 2, 0, 3)[..., [c]])[..., 0] for c in range(4)], -1)
        z = np.clip(np.rint(acc * (_FIRST * 2.0**-2) / _DEEP), -128, 127)
        logits = z.reshape(len(z), -1) @ head.T * (_DEEP * 2.0**-3)
        return [x, y, z, logits]

    return g, call


def _integers(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    padded, (h, w) = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), x.shape[1:3]
    return sum(padded[:, i : i + h, j : j + w] @ weight[i, j] for i in range(3) for j in range(3))


def test_a_whole_network_of_codes(tmp_path: Path) -> None:
    """SPEC.md F7, F8, Q1, M1, D1: zero point 0 is a signed code, -128 an unsigned one; each code is the file's
    integers' in the accelerator's taps, and so are the results of the float twin. The last codes, of any zero point,
    are the host's."""
    g, call = _whole()
    images = (np.random.default_rng(3).integers(0, 1000, (2, 6, 6, 3)) / 64).astype(np.float32)
    np.savez(tmp_path / "images.npz", images=images)
    path = g.save(tmp_path)
    report = import_network(path, ImportOptions(images=tmp_path / "images.npz", count=2))
    assert report.imported is not None
    *codes, logits = call(images)
    assert np.abs(logits).max() < 2**11 / 64 and [len(np.unique(each)) > 20 for each in codes] == [True] * 3
    np.testing.assert_array_equal(float_twin(report.imported.made, images).reshape(logits.shape), logits)
    model = report.imported.model

    @jax.jit
    def run(x):
        taps: dict[str, Any] = {}
        return network.forward(model.network, model.params, x, taps.__setitem__)[0], taps

    found, taps = run(images.astype(np.float16))
    np.testing.assert_array_equal(np.asarray(found, np.float64).reshape(logits.shape), logits)
    convs = [node for node in model.network.nodes if isinstance(node.config, ConvConfig)]
    assert [node.config.x_format.signed for node in convs] == [False, False, True]
    for node, expected in zip(convs, codes, strict=True):
        got = np.asarray(taps[f"{node.name}/forward/x_code"], np.float64).reshape(expected.shape)
        np.testing.assert_array_equal(got, expected, err_msg=node.name)
    assert [node.config.x_format.bits for node in convs] == [8] * 3 and convs[0].size.per_channel
    notes = {one.operator: one.note for one in report.nodes}
    assert notes["SOFTMAX"] == "left to the host, behind the output"
    refuses(lambda: run_tflite(path, images, [], {}), "no check")


def _changed(make: Callable[[TfliteGraph], Any]) -> TfliteGraph:
    g = _whole()[0]
    make(g)
    return g


CODES: dict[str, tuple[Callable[[TfliteGraph], Any], str]] = {
    "a zero point": (lambda g: g.coded(_made(g, "CONV_2D"), _FIRST, -3), "found zero point -3, expected 0, or -128"),
    "of weights": (lambda g: g.coded(1, _PER_CHANNEL, [0, 0, 1, 0]), "found a zero point of weights 'c1', expected 0"),
    "scales": (lambda g: g.coded(1, _PER_CHANNEL[:3], 0), "found 3 scales of shape [4, 3, 3, 3], expected one for"),
    "no scale": (lambda g: g.codes.pop(1), "found codes 'c1' without a scale"),
    "negative": (lambda g: g.coded(1, -1.0), "that is not positive"),
    "along the rows": (lambda g: g.coded(1, _PER_CHANNEL[:3], 0, axis=1), "expected one, or one for each output"),
    "of a map": (lambda g: g.coded(_made(g, "CONV_2D"), [0.5, 0.25]), "found 2 scales of a map, expected a positive"),
    "moved": (lambda g: g.coded(_made(g, "MAX_POOL_2D"), 0.5, -128), "found other codes than those of what it reads"),
}  # fmt: skip


def _made(g: TfliteGraph, operator: str) -> int:
    return next(node[4][0] for node in g.nodes if node[0] == operator)


@pytest.mark.parametrize("name", CODES)
def test_codes_that_are_refused(tmp_path: Path, name: str) -> None:
    make, words = CODES[name]
    with pytest.raises(ImportRefused) as caught, bounded():
        read_float(_changed(make).save(tmp_path))
    assert any(words in one.reason for one in caught.value.report.refusals), caught.value.report.refusals


def test_what_computes_with_codes_is_refused(tmp_path: Path) -> None:
    """The accelerator's mean computes in FP16: on the numbers behind the codes, not on them."""
    g = TfliteGraph((1, 6, 6, 3), "int8")
    g.coded(g.x, _X, -128)
    x = g.add("MEAN", [g.x, g.constant([1, 2], "int32")], (1, 3), "ReducerOptions", KeepDims=0, dtype="int8")
    g.coded(x, _X, -128)
    with pytest.raises(ImportRefused, match="found a quantizer on what it reads, expected it at a convolution's input"):
        read_float(g.save(tmp_path))


def test_codes_of_the_input_are_refused_by_name(tmp_path: Path) -> None:
    g = _whole()[0]
    g.coded(g.x, _X, 5)
    refuses(lambda: read_float(g.save(tmp_path)), "input: found zero point 5, expected 0, or -128")
