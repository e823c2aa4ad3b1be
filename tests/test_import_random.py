"""Random small ONNX graphs of the operators that are layers: the float twin gives onnxruntime's numbers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra import")
pytest.importorskip("onnxruntime", reason="needs onnxruntime, of the extra dev")

from draws import examples
from onnx_samples import OnnxGraph, assert_close, float_pair

Shape = tuple[int, int, int]  # c, h, w
Made = tuple[str, Shape]


class _Drawn:
    """A graph under way: every map so far, with its shape."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        shape = draw(st.tuples(st.integers(1, 4), st.integers(4, 9), st.integers(4, 9)))
        self.graph = OnnxGraph((1, *shape), opset=draw(st.sampled_from((13, 17))))
        self.graph.rng = np.random.default_rng(draw(st.integers(0, 99)))
        self.maps: list[Made] = [("x", shape)]

    def add(self, operator: str, shape: Shape, *inputs: str, **attributes: object) -> None:
        self.maps.append((self.graph.add(operator, *inputs, **attributes), shape))


def _window(d: _Drawn, most: int, dilated: bool = False) -> dict[str, list[int]]:
    """Kernel, strides and pads, each axis and side its own, of a window that fits; no window lies outside the map."""
    _, (_, *sizes) = d.maps[-1]
    kernel = [d.draw(st.integers(1, min(most, size))) for size in sizes]
    given = {"kernel_shape": kernel, "strides": [d.draw(st.integers(1, 3)) for _ in sizes],
             "pads": [d.draw(st.integers(0, kernel[place % 2] - 1)) for place in range(4)]}  # fmt: skip
    if dilated:
        rooms = [(size - 1) // max(1, k - 1) for size, k in zip(sizes, kernel, strict=True)]
        given["dilations"] = [d.draw(st.integers(1, max(1, min(2, room)))) for room in rooms]
    return given


def _result(d: _Drawn, window: dict[str, list[int]]) -> tuple[int, int]:
    _, (_, *sizes) = d.maps[-1]
    dilations = window.get("dilations", [1, 1])
    extents = [(k - 1) * step + 1 for k, step in zip(window["kernel_shape"], dilations, strict=True)]
    pads, strides = window["pads"], window["strides"]
    rows, columns = ((sizes[a] + pads[a] + pads[a + 2] - extents[a]) // strides[a] + 1 for a in (0, 1))
    return rows, columns


def _conv(d: _Drawn) -> None:
    x, (c, h, w) = d.maps[-1]
    groups = d.draw(st.sampled_from([g for g in range(1, c + 1) if c % g == 0]))
    out, window = groups * d.draw(st.integers(1, 2)), _window(d, 3, True)
    weight = d.graph.normal(out, c // groups, *window["kernel_shape"], scale=0.5)
    bias = [d.graph.normal(out)] if d.draw(st.booleans()) else []
    shape = _result(d, window)
    if d.draw(st.integers(0, 4)) == 0:  # the automatic paddings
        window["auto_pad"], window["dilations"] = d.draw(st.sampled_from(("SAME_UPPER", "SAME_LOWER"))), [1, 1]
        del window["pads"]
        shape = tuple(-(-size // step) for size, step in zip((h, w), window["strides"], strict=True))
    d.add("Conv", (out, *shape), x, weight, *bias, group=groups, **window)


def _norm(d: _Drawn) -> None:
    x, shape = d.maps[-1]
    d.maps.append((d.graph.norm(x, shape[0], d.draw(st.sampled_from((0.0, 1e-5, 1e-3)))), shape))


def _activation(d: _Drawn) -> None:
    x, shape = d.maps[-1]
    match d.draw(st.sampled_from(("Relu", "Clip", "HardSwish", "Identity", "Dropout"))):
        case "Clip":
            d.add("Clip", shape, x, d.graph.constant(0.0), d.graph.constant(6.0))
        case "HardSwish" if d.graph.opset < 14:
            d.add("Mul", shape, x, d.graph.add("HardSigmoid", x, alpha=1 / 6, beta=0.5))
        case name:
            d.add(name, shape, x)


def _constant(d: _Drawn) -> None:
    x, shape = d.maps[-1]
    size = d.draw(st.sampled_from(((), (shape[0], 1, 1), (1, shape[0], 1, 1))))
    given = [x, d.graph.constant(d.graph.rng.uniform(0.5, 2, size))]
    name = d.draw(st.sampled_from(("Add", "Mul", "Sub", "Div")))
    d.add(name, shape, *(given[::-1] if name in ("Add", "Mul") and d.draw(st.booleans()) else given))


def _pool(d: _Drawn) -> None:
    x, (c, _, _) = d.maps[-1]
    window = _window(d, 3)
    given = {"count_include_pad": d.draw(st.integers(0, 1))}
    name = d.draw(st.sampled_from(("MaxPool", "AveragePool")))
    d.add(name, (c, *_result(d, window)), x, **window, **(given if name == "AveragePool" else {}))


def _gate(d: _Drawn) -> None:
    """Squeeze and excite, or a map times its own sigmoid."""
    x, shape = d.maps[-1]
    c = shape[0]
    if d.draw(st.booleans()):
        d.add("Mul", shape, x, d.graph.add("Sigmoid", x))
        return
    gate = d.graph.add("Relu", d.graph.add("Conv", d.graph.add("GlobalAveragePool", x), d.graph.normal(c, c, 1, 1)))
    given = [x, d.graph.add("HardSigmoid", gate, alpha=0.25, beta=0.5)]
    d.add("Mul", shape, *(given if d.draw(st.booleans()) else given[::-1]))


def _larger(d: _Drawn) -> None:
    x, (c, h, w) = d.maps[-1]
    if max(h, w) > 9:
        return
    if c % 4 == 0 and d.draw(st.booleans()):
        d.add("DepthToSpace", (c // 4, 2 * h, 2 * w), x, blocksize=2, mode=d.draw(st.sampled_from(("DCR", "CRD"))))
        return
    if d.draw(st.booleans()):
        _spread(d)
        return
    rows, columns = d.draw(st.integers(1, 2)), d.draw(st.integers(1, 3))
    scales = d.graph.constant([1, 1, rows, columns])
    place = d.draw(st.sampled_from(("asymmetric", "half_pixel")))
    given = {"nearest_mode": "floor"} if place == "asymmetric" else {}
    d.add("Resize", (c, h * rows, w * columns), x, "", scales, mode="nearest",
          coordinate_transformation_mode=place, **given)  # fmt: skip


def _spread(d: _Drawn) -> None:
    """A transposed convolution (SPEC.md C5) of a result that is there."""
    x, (c, *sizes) = d.maps[-1]
    groups = d.draw(st.sampled_from([g for g in range(1, c + 1) if c % g == 0]))
    kernel, strides, dilations = ([d.draw(st.integers(1, most)) for _ in sizes] for most in (3, 2, 2))
    more = [d.draw(st.integers(0, step - 1)) for step in strides]
    pads = [d.draw(st.integers(0, kernel[place % 2] - 1)) for place in range(4)]
    whole = [(sizes[a] - 1) * strides[a] + (kernel[a] - 1) * dilations[a] + 1 + more[a] for a in (0, 1)]
    pads = [0] * 4 if min(whole[a] - pads[a] - pads[a + 2] for a in (0, 1)) < 1 else pads
    rows, columns = (whole[a] - pads[a] - pads[a + 2] for a in (0, 1))
    each = d.draw(st.integers(1, 2))
    weight = d.graph.normal(c, each, *kernel, scale=0.5)
    d.add("ConvTranspose", (each * groups, rows, columns), x, weight, group=groups, strides=strides,
          dilations=dilations, pads=pads, output_padding=more)  # fmt: skip


def _pair(d: _Drawn) -> None:
    x, (c, h, w) = d.maps[-1]
    name = d.draw(st.sampled_from(("Add", "Concat")))
    alike = [one for one in d.maps if one[1][1:] == (h, w) and (name == "Concat" or one[1][0] == c)]
    other, (more, _, _) = d.draw(st.sampled_from(alike))
    given = {"axis": d.draw(st.sampled_from((1, -3)))} if name == "Concat" else {}
    d.add(name, (c + more if name == "Concat" else c, h, w), x, other, **given)


def _pad(d: _Drawn) -> None:
    x, (c, h, w) = d.maps[-1]
    padded = d.graph.add("Pad", x, d.graph.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    d.add("Conv", (2, h, w), padded, d.graph.normal(2, c, 3, 3, scale=0.5))


def _head(d: _Drawn) -> str:
    x, (c, h, w) = d.maps[-1]
    if d.draw(st.booleans()):
        x, h, w = d.graph.add("GlobalAveragePool", x), 1, 1
    x, count = d.graph.add("Flatten", x), c * h * w
    if d.draw(st.booleans()):
        return d.graph.add("Gemm", x, d.graph.normal(3, count), d.graph.normal(3), transB=1)
    return d.graph.add("MatMul", x, d.graph.normal(count, 3))


PARTS: list[Callable[[_Drawn], None]] = [
    _conv, _conv, _norm, _activation, _constant, _pool, _pair, _pad, _gate, _larger,
]  # fmt: skip


@st.composite
def graphs(draw: st.DrawFn) -> tuple[OnnxGraph, str]:
    """A graph of a few operators, and its output."""
    d = _Drawn(draw)
    for part in draw(st.lists(st.sampled_from(PARTS), min_size=1, max_size=6)):
        part(d)
    if len(d.maps) == 1 or all(node.op_type in ("Identity", "Dropout") for node in d.graph.nodes):
        _conv(d)
    return d.graph, _head(d) if draw(st.booleans()) else d.maps[-1][0]


@examples(12, shrink=False)
@hypothesis.given(graphs())
def test_random_graphs_give_the_same_floats(made: tuple[OnnxGraph, str]) -> None:
    """SPEC.md B1, C1, A1 to A4, A6 to A13: within what float32 sums in other orders differ by."""
    graph, output = made
    with tempfile.TemporaryDirectory() as folder:
        _, got, expected = float_pair(graph.save(Path(folder), output))
    assert_close(got, expected, 2e-5)
