"""Networks of one's own by `Builder`: published sizes, TensorFlow's SAME, what is refused and how."""

from __future__ import annotations

import pytest

from bitrow.builder import INPUT, Builder, Options
from bitrow.config import ConvConfig, ReluConfig
from bitrow.config.windows import same
from bitrow.errors import BitrowError
from bitrow.formats import UFXP4
from bitrow.graph import Network, describe, shapes


def ds_cnn(width: int = 64) -> Network:
    """Keyword spotting of MLPerf Tiny: 49 frames of 10 coefficients, 12 classes."""
    build = Builder("ds_cnn", (49, 10, 1), same=True)
    x = build.conv_bn_relu("stem", INPUT, width, kernel=(10, 4), stride=2)
    for block in range(1, 5):
        x = build.separable(f"b{block}", x, width)
    return build.network(build.pool_and_head(x, 12))


def test_published_sizes() -> None:
    """SPEC.md C1: MLPerf Tiny's DS-CNN has 38.6 thousand parameters, 2.66 million multiply-accumulates."""
    rows = describe(ds_cnn())
    weights, macs = sum(row.weights for row in rows), sum(row.macs for row in rows)
    assert weights == 10 * 4 * 64 + 4 * (9 * 64 + 64 * 64) + 64 * 12
    assert macs == 125 * 64 * 40 + 4 * 125 * (9 * 64 + 64 * 64) + 64 * 12 == 2_656_768
    assert shapes(ds_cnn())["stem_relu"] == (25, 5, 64)
    config = ds_cnn().node("stem_conv").config
    assert isinstance(config, ConvConfig) and config.padding == (4, 5, 1, 1)


def test_same_is_tensorflows() -> None:
    """Rows are the map's over the stride, rounded up; for all sizes, kernels, strides and dilations up to 9."""
    for size in range(1, 10):
        for kernel in range(1, 10):
            for stride in range(1, 10):
                for dilation in range(1, 4):
                    before, after = same(size, kernel, stride, dilation)
                    extent, results = (kernel - 1) * dilation + 1, -(-size // stride)
                    assert 0 <= before <= after <= before + 1
                    found = (size + before + after - extent) // stride + 1
                    assert found == results or (before == after == 0 and found > results)
                    assert before + after == 0 or size + before + after == (results - 1) * stride + extent


def test_half_a_kernel_is_the_usual_padding() -> None:
    build = Builder("own", (8, 8, 3))
    build.conv_bn("c1", INPUT, 4, kernel=(5, 3), stride=(1, 2))
    assert build.nodes[0].config.padding == (2, 2, 1, 1)  # type: ignore[attr-defined]
    assert build.shape("c1_bn") == (8, 4, 4)


def test_codes_follow_what_cannot_be_negative() -> None:
    """SPEC.md F7: behind a ReLU, and a depthwise convolution's ReLU, codes are unsigned where the options say so."""
    build = Builder("own", (8, 8, 3), Options(relu_format=UFXP4))
    build.separable("b", INPUT, 4)
    first, second = (node.config for node in build.nodes if isinstance(node.config, ConvConfig))
    assert first.x_format.signed and second.x_format == UFXP4 and first.groups == 3


def test_several_outputs() -> None:
    build = Builder("own", (4, 4, 2))
    x = build.add("relu", ReluConfig(), INPUT)
    network = build.network(build.conv_bn("boxes", x, 2), build.head(x, 3))
    assert network.outputs == ("boxes_bn", "head")


@pytest.mark.parametrize(("make", "says"), [
    (lambda b: b.add("r", ReluConfig(), "x"), "own r: found input 'x', expected 'input' or an earlier layer"),
    (lambda b: (b.conv_bn("c", INPUT, 4), b.conv_bn("c", INPUT, 4)), "own c_conv: found the name twice"),
    (lambda b: b.conv_bn("C", INPUT, 4), "own C_conv: found this name"),
    (lambda b: b.conv_bn("c", INPUT, 4, kernel="3"), "convolution size kh"),
    (lambda b: b.conv_bn("c", INPUT, 4, stride=0), "stride"),
    (lambda b: b.conv_bn("c", INPUT, 4, groups=2), "own c_conv"),
    (lambda b: b.conv_bn("c", INPUT, 4, kernel=0), "own c_conv"),
    (lambda b: b.residual("a", INPUT, b.conv_bn("c", INPUT, 4)), "own a"),
    (lambda b: b.shape("y"), "own: found no value 'y'"),
])  # fmt: skip
@pytest.mark.parametrize("tf", [False, True])
def test_what_cannot_be_is_one_line_as_it_is_built(make, says: str, tf: bool) -> None:
    with pytest.raises(BitrowError) as caught:
        make(Builder("own", (8, 8, 3), same=tf))
    assert says in str(caught.value) and "\n" not in str(caught.value)
