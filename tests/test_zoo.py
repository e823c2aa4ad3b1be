"""Named networks: published sizes, any input size and width, the options' effect."""

from __future__ import annotations

import pytest

from bitrow import zoo
from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    LinearConfig,
    MaxPoolConfig,
    MultiplyConfig,
    ReluConfig,
    Statistics,
)
from bitrow.errors import BitrowError
from bitrow.formats import FXP4, UFXP4, Accumulator, FloatMode, Rounding
from bitrow.graph import INPUT, describe, shapes

# Convolution and head weights, multiply-accumulates. The first is MLPerf Tiny's resnet8 (12.5 million). At
# 224x224 they are the published 11,689,512 and 3,504,872 parameters less batch norms and the head's bias.
PUBLISHED = {
    "resnet8": (77_360, 12_501_632),
    "resnet20": (270_896, 40_813_184),
    "resnet18": (11_689_512 - 9_600 - 1_000, 1_814_073_344),
    "mobilenetv2": (3_504_872 - 34_112 - 1_000, 300_774_272),
}
SIZES = [(8, 8, 1), (9, 13, 3), (32, 32, 3), (33, 47, 1), (65, 97, 3), (224, 224, 3)]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    rows = describe(zoo.build(name))
    assert (sum(row.weights for row in rows), sum(row.macs for row in rows)) == PUBLISHED[name]


@pytest.mark.parametrize("name", zoo.NETWORKS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("width", [0.1, 0.5, 1.0, 1.4])
def test_any_size_and_width(name, size, width):
    """SPEC.md C1, M2: every layer fits and no default accumulator of 24 bits can overflow."""
    network = zoo.build(name, size, 7, width)
    found = shapes(network)
    assert found[INPUT] == size and found[network.output] == (1, 1, 7)
    assert min(min(shape) for shape in found.values()) >= 1
    assert found["pool"][:2] == (1, 1)


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (33, 47), (224, 224)])
def test_resnet8_halves_its_maps_rounding_up(size):
    """SPEC.md C1: 3x3 of padding 1 and 1x1 of padding 0, both of stride 2, agree on every size."""
    found = shapes(zoo.resnet8((*size, 3), width=0.5))
    h, w = size
    for stage, channels in ((1, 8), (2, 16), (3, 32)):
        assert found[f"s{stage}b1_add"] == (h, w, channels)
        h, w = -(-h // 2), -(-w // 2)
    assert found["s3b1_proj_conv"] == found["s3b1_2_conv"]


def test_depths():
    """As many convolutions and heads on the longest path as the name says."""
    for name, depth in (("resnet8", 8), ("resnet20", 20), ("resnet18", 18), ("vgg8", 8)):
        network = zoo.build(name)
        weighted = [n for n in network.nodes if isinstance(n.config, ConvConfig | LinearConfig)]
        assert len([n for n in weighted if "proj" not in n.name]) == depth, name


def test_resnet18_stem_depends_on_the_input():
    large = {n.name: n for n in zoo.resnet18((65, 224, 3)).nodes}
    small = {n.name: n for n in zoo.resnet18((64, 224, 3)).nodes}
    assert large["stem_conv"].config.stride == 2 and large["stem_pool"].config == MaxPoolConfig(3, 2, 1)
    assert small["stem_conv"].config.stride == 1 and "stem_pool" not in small


def test_mobilenetv2_follows_its_conventions():
    """SPEC.md C1, A1: depthwise convolutions, ReLU6, linear bottlenecks, channels in multiples of 8."""
    network = zoo.mobilenetv2((32, 32, 3), 10, 0.35)
    found = shapes(network)
    depthwise = [n for n in network.nodes if n.name.endswith("_depth_conv")]
    assert len(depthwise) == 17
    for node in depthwise:
        assert node.config.groups == node.size.c_out == found[node.inputs[0]][2]
    for node in network.nodes:
        if isinstance(node.config, ConvConfig):
            assert node.size.c_out % 8 == 0
        if isinstance(node.config, ReluConfig):
            assert node.config.six and "project" not in node.name
    # The width rule never takes away more than a tenth: 24 * 0.35 = 8.4 -> 8, 96 * 0.35 = 33.6 -> 32.
    assert found["s2b1_project_conv"][2] == 8 and found["s5b1_project_conv"][2] == 32
    assert shapes(zoo.mobilenetv2((32, 32, 3), 10, 1.4))["last_conv"][2] == 1792
    assert found["last_conv"] == (4, 4, 1280)
    assert shapes(zoo.mobilenetv2())["last_conv"] == (7, 7, 1280)


def test_vgg8_pools_between_its_pairs():
    """SPEC.md A2."""
    network = zoo.vgg8((32, 32, 3))
    found = shapes(network)
    assert [found[f"s{n}_pool"] for n in (1, 2, 3)] == [(16, 16, 128), (8, 8, 256), (4, 4, 512)]
    assert found["hidden_relu"] == (1, 1, 1024)
    assert sum(isinstance(n.config, MaxPoolConfig) for n in network.nodes) == 3


def test_convolutions_are_followed_by_batch_norm():
    for name in zoo.NETWORKS:
        network = zoo.build(name, (33, 47, 3))
        readers = {n.inputs[0]: n for n in network.nodes if isinstance(n.config, BatchNormConfig)}
        for node in network.nodes:
            if isinstance(node.config, ConvConfig):
                assert (node.name in readers) is not node.size.bias, f"{name} {node.name}"


def test_mobilenetv3_is_the_published_one():
    """SPEC.md A6, A8, A9: torchvision's small one has 2,542,856 parameters: weights, biases, batch norms' two."""
    network, found = zoo.mobilenetv3(), shapes(zoo.mobilenetv3())
    norms = sum(found[n.name][2] for n in network.nodes if isinstance(n.config, BatchNormConfig))
    biases = sum(found[n.name][2] for n in network.nodes if getattr(n.size, "bias", False)) + 1000
    assert sum(row.weights for row in describe(network)) + 2 * norms + biases == 2_542_856
    gates = [n for n in network.nodes if isinstance(n.config, MultiplyConfig)]
    assert len(gates) == 9 and all(found[n.inputs[1]] == (1, 1, found[n.inputs[0]][2]) for n in gates)
    assert found["last_conv"] == (7, 7, 576)


def test_options_reach_every_layer():
    """SPEC.md F7, F8, B2: formats, per-channel scales and statistics are parameters."""
    mode = FloatMode(Rounding.TOWARD_ZERO)
    options = zoo.Options(
        ConvConfig(fold=True, accumulator=Accumulator(25), stride=3, padding=2, groups=5),
        BatchNormConfig(Statistics.BATCH),
        mode,
        UFXP4,
        True,
    )
    network = zoo.mobilenetv2((32, 32, 3), options=options)
    not_negative = {n.name for n in network.nodes if isinstance(n.config, ReluConfig)}
    for node in network.nodes:
        match node.config:
            case ConvConfig() as config:
                assert config.fold and config.accumulator.bits == 25 and node.size.per_channel
                assert config.stride in (1, 2) and config.padding == node.size.kh // 2
                assert config.x_format == (UFXP4 if node.inputs[0] in not_negative else FXP4), node.name
            case BatchNormConfig(statistics=statistics):
                assert statistics is Statistics.BATCH
            case AddConfig() | AvgPoolConfig() | LinearConfig() as config:
                assert config.mode == mode
    assert network.mode == mode


def test_unsigned_inputs_only_where_nothing_is_negative():
    """SPEC.md F7: a pool keeps the sign of what it reads; images and linear bottlenecks may be negative."""
    options = zoo.Options(relu_format=UFXP4)
    formats = {
        n.name: n.config.x_format for n in zoo.vgg8(options=options).nodes if hasattr(n.config, "groups")
    }
    assert formats.pop("s1_1_conv") == FXP4 and set(formats.values()) == {UFXP4}
    formats = {n.name: getattr(n.config, "x_format", None) for n in zoo.mobilenetv2(options=options).nodes}
    assert formats["s2b1_expand_conv"] == formats["s2b2_expand_conv"] == FXP4
    assert formats["s2b2_project_conv"] == UFXP4


REFUSED = {
    "unknown": (lambda: zoo.build("resnet9"), "found 'resnet9', expected one of resnet8, resnet20"),
    "no width": (lambda: zoo.resnet8(width=0.0), "resnet8 width: found 0.0"),
    "endless width": (lambda: zoo.vgg8(width=float("inf")), "vgg8 width: found inf"),
    "no classes": (lambda: zoo.mobilenetv2(num_classes=0), "mobilenetv2 num_classes: found 0"),
    "too small": (lambda: zoo.vgg8((7, 32, 3)), "vgg8 s3_pool: found a 2x2 window on a 1x8 map"),
    "accumulator": (
        lambda: zoo.resnet18(options=zoo.Options(ConvConfig(accumulator=Accumulator(18)))),
        "resnet18 stem_conv: accumulator of 18 bits holds 131071, expected room for the worst case 200704",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(case):
    """SPEC.md M2 among them: the worst case is quoted with the layer."""
    make, what = REFUSED[case]
    with pytest.raises(BitrowError) as caught:
        make()
    assert what in str(caught.value) and "\n" not in str(caught.value)
