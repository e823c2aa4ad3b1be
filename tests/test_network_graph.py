"""Network descriptions: what is refused, shapes, consumers, JSON (SPEC.md C1, M2, A5)."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import replace

import pytest

from bitrow import zoo
from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    LinearConfig,
    MaxPoolConfig,
    ReluConfig,
    Statistics,
)
from bitrow.errors import BitrowError
from bitrow.formats import (
    FP16,
    FXP8,
    UFXP4,
    AccOverflow,
    Accumulator,
    Dequantize,
    FloatMode,
    Fxp,
    Gradient,
    Overflow,
    QuantRounding,
    Rounding,
)
from bitrow.graph import (
    INPUT,
    ConvSize,
    LinearSize,
    Network,
    Node,
    consumers,
    describe,
    kernel_shape,
    linear_shape,
    shapes,
)
from bitrow.layers import table
from bitrow.reading import records
from network_samples import every_layer


def conv(name="c", x=INPUT, size=ConvSize(3, 3, 4), **config) -> Node:
    return Node(name, ConvConfig(**config), (x,), size)


def network(*nodes: Node, output: str | None = None, input_shape=(8, 8, 4), name="net") -> Network:
    return Network(name, input_shape, nodes, output or nodes[-1].name)


REFUSED = {
    "unknown input": (lambda: network(conv(x="nowhere")), "net c", "'nowhere'"),
    "later input": (
        lambda: network(Node("r", ReluConfig(), ("c",)), conv(), output="c"),
        "net r",
        "an earlier layer",
    ),
    "duplicate": (lambda: network(conv(), conv(x="c")), "net c", "twice"),
    "the input's name": (lambda: network(conv(name=INPUT)), "net input", "twice"),
    "no identifier": (lambda: network(conv(name="c 1")), "net c 1", "lower-case"),
    "network's name": (lambda: network(conv(), name="Net"), "network name", "'Net'"),
    "input shape": (lambda: network(conv(), input_shape=(0, 8, 4)), "net input_shape", "(0, 8, 4)"),
    "add of two shapes": (
        lambda: network(conv(), Node("s", AddConfig(), ("c", INPUT))),
        "net s",
        "(6, 6, 4) and (8, 8, 4)",
    ),
    "add of one": (lambda: network(Node("s", AddConfig(), (INPUT,))), "net s", "1 inputs, expected 2"),
    "relu of two": (
        lambda: network(Node("r", ReluConfig(), (INPUT, INPUT))),
        "net r",
        "2 inputs, expected 1",
    ),
    "kernel too large": (
        lambda: network(conv(size=ConvSize(9, 3, 4))),
        "net c",
        "9x3 window on a 8x8 map padded by 0",
    ),
    "pool too large": (
        lambda: network(Node("m", MaxPoolConfig(9, 1), (INPUT,))),
        "net m",
        "9x9 window on a 8x8 map",
    ),
    "average too large": (
        lambda: network(Node("a", AvgPoolConfig(9), (INPUT,))),
        "net a",
        "9x9 window on a 8x8 map",
    ),
    "groups of inputs": (
        lambda: network(conv(groups=3)),
        "net c",
        "4 input channels, expected a multiple of 3",
    ),
    "groups of outputs": (
        lambda: network(conv(groups=4, size=ConvSize(3, 3, 6))),
        "net c",
        "6 output channels, expected a multiple of 4",
    ),
    "accumulator": (
        lambda: network(conv(accumulator=Accumulator(11))),
        "net c",
        "holds 1023, expected room for the worst case 2304",
    ),
    "conv without size": (lambda: network(conv(size=None)), "net c size", "ConvSize"),
    "conv with head's size": (lambda: network(conv(size=LinearSize(3))), "net c size", "ConvSize"),
    "relu with size": (
        lambda: network(Node("r", ReluConfig(), (INPUT,), LinearSize(3))),
        "net r size",
        "NoneType for ReluConfig",
    ),
    "no channels": (lambda: network(conv(size=ConvSize(3, 3, 0))), "net c size", "from 1 up"),
    "no classes": (
        lambda: network(Node("h", LinearConfig(), (INPUT,), LinearSize(0))),
        "net h size",
        "0 outputs",
    ),
    "dead end": (lambda: network(conv(), conv(name="d")), "net c", "no layer that reads it"),
    "unread input": (lambda: Network("net", (8, 8, 4), (), INPUT), "net", "'input'"),
    "unknown output": (lambda: network(conv(), output="d"), "net", "'d'"),
    "output read": (
        lambda: network(conv(), Node("r", ReluConfig(), ("c",)), output="c"),
        "net c",
        "output read by r",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_naming_network_and_layer(case):
    """SPEC.md C1, M2, A2: sizes that do not fit, accumulators that could overflow."""
    make, where, what = REFUSED[case]
    with pytest.raises(BitrowError) as caught:
        make()
    message = str(caught.value)
    assert message.startswith(f"{where}") and what in message and "\n" not in message


def test_shapes_follow_windows_strides_and_padding():
    """SPEC.md C1, A2, A3: floor((H + 2P - K)/S) + 1."""
    assert shapes(every_layer()) == {
        INPUT: (7, 8, 2),
        "c1": (7, 8, 4),
        "n1": (7, 8, 4),
        "r1": (7, 8, 4),
        "m1": (4, 4, 4),
        "c2": (4, 4, 4),
        "n2": (4, 4, 4),
        "sum": (4, 4, 4),
        "r2": (4, 4, 4),
        "a1": (2, 2, 4),
        "head": (1, 1, 3),
    }
    uneven = network(conv(size=ConvSize(5, 2, 3), stride=3, padding=1), input_shape=(11, 12, 4))
    assert shapes(uneven)["c"] == (3, 5, 3)


def test_sizes_of_parameters_and_cost():
    """SPEC.md M1: weights of a grouped convolution have c_in/groups input channels."""
    net = every_layer()
    assert kernel_shape(net, net.node("c2")) == (3, 3, 2, 4)
    assert linear_shape(net, net.node("head")) == (16, 3)
    rows = {row.name: row for row in describe(net)}
    assert (rows["c2"].kind, rows["c2"].weights, rows["c2"].macs) == ("conv", 72, 72 * 16)
    assert (rows["head"].weights, rows["head"].macs) == (48, 48)
    assert (rows["r1"].weights, rows["r1"].macs) == (0, 0)
    for function, name in ((kernel_shape, "head"), (linear_shape, "c2")):
        with pytest.raises(BitrowError, match=f"every_layer {name}"):
            function(net, net.node(name))
    with pytest.raises(BitrowError, match="'nowhere'"):
        net.node("nowhere")


def test_consumers_in_network_order():
    """SPEC.md A5: who reads a value, and how often."""
    net = network(conv(padding=1), Node("s", AddConfig(), ("c", "c")), Node("t", AddConfig(), (INPUT, "s")))
    assert consumers(net) == {INPUT: ("c", "t"), "c": ("s", "s"), "s": ("t",), "t": ()}


def test_equal_networks_hash_equal():
    assert every_layer() == every_layer() and hash(every_layer()) == hash(every_layer())
    assert every_layer() != every_layer(bias=True)


def options() -> zoo.Options:
    conv_config = ConvConfig(
        x_format=FXP8,
        weight_format=Fxp(3, narrow=True),
        dy_format=Fxp(5),
        accumulator=Accumulator(20, AccOverflow.SATURATE),
        dequantize=Dequantize.TWO_STEP,
        gradient=Gradient.FP16,
        dy_rounding=QuantRounding.STOCHASTIC,
        fold=True,
        mode=FloatMode(Rounding.UP, Overflow.SATURATE, True),
    )
    norm = BatchNormConfig(Statistics.BATCH, True, FP16, FloatMode(Rounding.NEAREST_AWAY))
    return zoo.Options(conv_config, norm, FloatMode(Rounding.DOWN), UFXP4, True)


@pytest.mark.parametrize("name", zoo.NETWORKS)
@pytest.mark.parametrize("with_options", [False, True])
def test_json_round_trip(name, with_options):
    net = zoo.build(name, (33, 47, 3), 7, 0.5, options() if with_options else zoo.Options())
    assert records.read(Network, json.loads(json.dumps(records.write(net))), "file") == net


def _set(path, value):
    def change(graph):
        for key in path[:-1]:
            graph = graph[key]
        if value is _DELETE:
            del graph[path[-1]]
        else:
            graph[path[-1]] = value

    return change


_DELETE = object()
BAD_JSON = {
    "not a record": (_set(["nodes", 0], 3), "network.nodes[0]: found '3', expected a Node"),
    "no list": (_set(["nodes"], 3), "network.nodes: found 3, expected a list"),
    "unknown layer": (_set(["nodes", 0, "config", "type"], "Magic"), "'Magic', expected one of AddConfig"),
    "missing field": (_set(["nodes", 0, "config", "fold"], _DELETE), "config: found no field 'fold'"),
    "unknown field": (_set(["nodes", 0, "config", "turbo"], 1), "config: found field 'turbo', expected one of stride"),
    "wrong type": (_set(["nodes", 0, "config", "stride"], 1.5), "convolution stride: found 1.5, expected an int"),
    "bool for int": (_set(["nodes", 0, "config", "stride"], True), "convolution stride: found True, expected an int"),
    "unknown value": (_set(["mode", "rounding"], "sideways"), "mode.rounding: found 'sideways'"),
    "too few": (_set(["input_shape"], [7, 8]), "input_shape: found 2 items, expected 3"),
    "bits": (_set(["nodes", 0, "config", "x_format", "bits"], 9), "x_format: Fxp bits: found 9"),
    "stride": (_set(["nodes", 0, "config", "stride"], 0), "stride: found 0"),
    "graph": (_set(["output"], "nowhere"), "every_layer: found output 'nowhere'"),
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_bad_json_is_refused_in_one_line(case):
    change, what = BAD_JSON[case]
    graph = copy.deepcopy(records.write(every_layer()))
    change(graph)
    with pytest.raises(BitrowError) as caught:
        records.read(Network, graph, "model.x: network", join=".")
    assert str(caught.value).startswith("model.x: ") and what in str(caught.value)
    assert "\n" not in str(caught.value)


def test_replacing_a_field_validates_again():
    with pytest.raises(BitrowError, match="every_layer a1"):
        replace(every_layer(), input_shape=(1, 1, 2))


def test_description_needs_no_jax():
    code = "import sys, bitrow.zoo, bitrow.reading.records; bitrow.zoo.resnet8(); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_layer_that_is_missing_is_named() -> None:
    """The table of layers is complete, or refused when it is imported."""
    without = {config: layer for config, layer in table.LAYERS.items() if config is not ReluConfig}
    with pytest.raises(BitrowError, match="layers: found none for ReluConfig, expected one"):
        table._complete(without)
