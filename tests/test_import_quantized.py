"""Quantizers of files: QONNX and QCDQ, their codes and scales as the file has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitrow.config import ConvConfig
from bitrow.formats import Fxp
from bitrow.importers.calibration import ImportedModel
from bitrow.importers.command import ImportOptions, ImportRefused, import_network, read_float

pytest.importorskip("onnx", reason="needs the extra import")
pytest.importorskip("onnxruntime", reason="needs onnxruntime, of the extra dev")

from onnx_samples import OnnxGraph, assert_close, float_pair


def _lines(path: Path, **options: Any) -> list[str]:
    with pytest.raises(ImportRefused) as caught:
        read_float(path, ImportOptions(**options))
    return [str(one) for one in caught.value.report.refusals]


def _imported(path: Path, **options: Any) -> ImportedModel:
    made = import_network(path, ImportOptions(count=1, **options)).imported
    assert made is not None
    return made


def _codes(g: OnnxGraph, fmt: Fxp, *shape: int) -> np.ndarray:
    return g.rng.integers(fmt.min, fmt.max + 1, shape).astype(np.float32)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("domain", ["qonnx.custom_op.general", "onnx.brevitas"])
def test_quant_nodes_become_formats_scales_and_codes(tmp_path: Path, per_channel: bool, domain: str) -> None:
    """SPEC.md F7, F8, M1: the very codes; in both networks the same numbers."""
    g = OnnxGraph()
    w_fmt = Fxp(5, narrow=True)
    w_scale = np.float32([0.25, 0.5, 0.125, 1.0] if per_channel else 0.25)
    codes = _codes(g, w_fmt, 4, 3, 3, 3)
    w_scale = w_scale.reshape(-1, 1, 1, 1) if per_channel else w_scale
    weight = g.quant(g.constant(codes * w_scale), w_scale, 5, narrow=1, domain=domain)
    x = g.quant(g.add("Relu", "x"), 0.1875, 3, signed=0, domain=domain)
    path = g.save(tmp_path, g.add("Relu", g.norm(g.add("Conv", x, weight, pads=[1, 1, 1, 1]), 4)))
    found, got, expected = float_pair(path)
    assert_close(got, expected)
    conv = next(node for node in found.made.network.nodes if isinstance(node.config, ConvConfig))
    assert conv.config.x_format == Fxp(3, signed=False) and conv.config.weight_format == w_fmt
    assert conv.size.per_channel == per_channel == conv.config.fold
    params = _imported(path).model.params[conv.name]
    assert np.array_equal(params.weight_code, codes.transpose(2, 3, 1, 0))
    assert np.array_equal(params.w_scale, np.float16(w_scale).reshape(-1) if per_channel else np.float16(w_scale))
    assert params.x_inv_scale == np.float16(1 / 0.1875)


def _qcdq(g: OnnxGraph, x: str, scale: float, dtype: Any, ends: tuple[int, int] | None, zero: int = 0) -> str:
    s, z = g.constant(scale), g.constant(zero, dtype)
    x = g.add("QuantizeLinear", x, s, z)
    if ends is not None:
        x = g.add("Clip", x, *(g.constant(end, dtype) for end in ends))
    return g.add("DequantizeLinear", x, s, z)


def test_qcdq_becomes_the_same(tmp_path: Path) -> None:
    """SPEC.md F7, Q1: a Clip of codes says how many bits; stored codes of weights are taken as they are."""
    g = OnnxGraph()
    codes = _codes(g, Fxp(4), 4, 3, 1, 1)
    scale = g.constant([0.5, 0.25, 1.0, 2.0])
    weight = g.add("DequantizeLinear", g.constant(codes, np.int8), scale, g.constant(np.zeros(4), np.int8), axis=0)
    bias = g.add("DequantizeLinear", g.constant([3, -5, 7, 9], np.int32), g.constant(0.125))
    x = g.add("Conv", _qcdq(g, "x", 0.25, np.int8, (-7, 7)), weight, bias)
    found, got, expected = float_pair(g.save(tmp_path, g.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])))
    assert_close(got, expected)
    (conv,) = (node for node in found.made.network.nodes if isinstance(node.config, ConvConfig))
    assert conv.config.x_format == Fxp(4, narrow=True) and conv.config.weight_format == Fxp(4) and conv.size.bias
    made = _imported(g.save(tmp_path, x))
    assert np.array_equal(made.model.params[conv.name].weight_code, codes.transpose(2, 3, 1, 0))


def test_a_quantizer_moves_through_a_max_pool_to_its_convolution(tmp_path: Path) -> None:
    """SPEC.md Q1, A2: it commutes with the choice of a maximum."""
    g = OnnxGraph()
    x = g.add("MaxPool", g.quant("x", 0.5, 4), kernel_shape=[2, 2], strides=[2, 2])
    found, got, expected = float_pair(g.save(tmp_path, g.add("Conv", x, g.quant(g.normal(2, 3, 1, 1), 0.25, 4))))
    assert_close(got, expected)
    assert [one.layers for one in found.nodes if one.operator == "Quant"] == [("net_3_conv",), ()]


def test_a_quantized_product_is_a_convolution_of_the_whole_map(tmp_path: Path) -> None:
    """SPEC.md C1: the same codes, flattened."""
    g = OnnxGraph((1, 2, 3, 3))
    x = g.add("Flatten", g.quant("x", 0.25, 4))
    x = g.add("MatMul", x, g.quant(g.normal(18, 4), np.float32([[0.25, 0.5, 0.25, 1.0]]), 4))
    found, got, expected = float_pair(g.save(tmp_path, x))
    assert_close(got, expected)
    (conv,) = found.made.network.nodes
    assert (conv.size.kh, conv.size.kw, conv.size.per_channel) == (3, 3, True)


def test_scales_that_fp16_lacks_are_refused_or_rounded(tmp_path: Path) -> None:
    """SPEC.md F8: and the report says which."""
    g = OnnxGraph()
    x = g.add("Conv", g.quant("x", 0.1, 4), g.quant(g.normal(2, 3, 1, 1), 0.3, 4))
    path = g.save(tmp_path, x)
    lines = _lines(path)
    assert len(lines) == 2 and "x_scale 0.1" in lines[0] and "w_scale 0.3" in lines[1] and "--round-scales" in lines[0]
    made = _imported(path, round_scales=True)
    assert [(one.what, one.used) for one in made.rounded] == [
        ("x_scale", float(np.float16(0.1))), ("w_scale", float(np.float16(0.3))),
    ]  # fmt: skip
    assert made.model.params["net_2_conv"].x_inv_scale == np.float16(1 / float(np.float16(0.1)))


def test_small_scales_are_made_up_for_by_a_batch_norm(tmp_path: Path) -> None:
    """SPEC.md F8, D3, B1: powers of two by channel, taken back exactly; a batch norm is added where none is."""
    g = OnnxGraph()
    scale = np.float32([2**-20, 2**-9, 2**-3, 2**-31]).reshape(-1, 1, 1, 1)
    weight = g.quant(g.constant(_codes(g, Fxp(4), 4, 3, 1, 1) * scale), scale, 4)
    path = g.save(tmp_path, g.add("Conv", g.quant("x", 2.0**-6, 4), weight))
    made = _imported(path)
    assert [node.name for node in made.model.network.nodes] == ["net_2_conv", "net_2_conv_rescale"]
    conv, norm = (made.model.params[node.name] for node in made.model.network.nodes)
    assert np.array_equal(np.float64(conv.w_scale) * np.float64(norm.a), np.float64(scale.reshape(-1)))
    assert np.all(np.float32(conv.scale) >= 2.0**-14) and not norm.b.any()


REFUSED: dict[str, Any] = {
    "zero point": lambda g: g.add("Conv", g.quant("x", 0.5, 4, zero=1.0), g.normal(2, 3, 1, 1)),
    "zero point of codes": lambda g: g.add("Conv", _qcdq(g, "x", 0.5, np.uint8, None, 3), g.normal(2, 3, 1, 1)),
    "nine bits": lambda g: g.add("Conv", g.quant("x", 0.5, 9), g.normal(2, 3, 1, 1)),
    "half a bit": lambda g: g.add("Conv", g.quant("x", 0.5, 4.5), g.normal(2, 3, 1, 1)),
    "floor": lambda g: g.add("Conv", g.quant("x", 0.5, 4, rounding="FLOOR"), g.normal(2, 3, 1, 1)),
    "no scale": lambda g: g.add("Conv", g.quant("x", 0.0, 4), g.normal(2, 3, 1, 1)),
    "scales of a map": lambda g: g.add("Conv", g.quant("x", np.ones((1, 3, 1, 1)), 4), g.normal(2, 3, 1, 1)),
    "scales of inputs": lambda g: g.add("Conv", "x", g.quant(g.normal(2, 3, 1, 1), np.ones((1, 3, 1, 1)), 4)),
    "odd ends": lambda g: g.add("Conv", _qcdq(g, "x", 0.5, np.int8, (-5, 6)), g.normal(2, 3, 1, 1)),
    "an add of codes": lambda g: g.add("Add", g.quant("x", 0.5, 4), "x"),
    "two behind each other": lambda g: g.add("Conv", g.quant(g.quant("x", 0.5, 4), 0.25, 4), g.normal(2, 3, 1, 1)),
    "different ones joined": lambda g: g.add(
        "Conv", g.add("Concat", g.quant("x", 0.5, 4), g.quant("x", 0.25, 4), axis=1), g.normal(2, 6, 1, 1)
    ),
    "Trunc": lambda g: g.add("Trunc", "x", g.constant(1.0), domain="qonnx.custom_op.general"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_quantizers_that_the_accelerator_lacks(tmp_path: Path, name: str) -> None:
    """SPEC.md F7, F8, M1: one line, which names the node."""
    g = OnnxGraph()
    lines = _lines(g.save(tmp_path, REFUSED[name](g)))
    assert len(lines) == 1 and lines[0].startswith("/net."), lines


def test_scales_make_no_array_larger(tmp_path: Path) -> None:
    """Of two small constants no large one."""
    g = OnnxGraph()
    tall, wide = np.ones((1 << 16, 1)), np.ones((1, 1 << 16), np.float32)
    g.quant(g.constant(tall), wide, 4)
    g.add("DequantizeLinear", g.constant(tall, np.int8), g.constant(wide[0]), axis=1)
    g.add("QuantizeLinear", g.constant(tall), g.constant(wide[0]), axis=1)
    assert len(_lines(g.save(tmp_path, g.add("Relu", "x")))) == 3
