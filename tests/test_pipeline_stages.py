"""Networks as stages: who heads what, what each row waits for (SPEC.md C1, C2, A5, B2)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrow import zoo
from bitrow.config import AddConfig, BatchNormConfig, ConvConfig, LinearConfig, ReluConfig
from bitrow.config.rows import Take
from bitrow.errors import BitrowError
from bitrow.graph import INPUT, ConvSize, LinearSize, Network, Node, consumers, shapes
from bitrow.pipeline.flow import dataflow
from bitrow.pipeline.machine import DEFAULT_MACHINE
from bitrow.pipeline.rings import build_rings
from bitrow.pipeline.stages import (
    Phase,
    Window,
    gradient_edges,
    gradient_phase,
    row_count,
    stages,
)
from bitrow.pipeline.takes import gradient_rows, taken, window_rows
from network_samples import every_layer
from pipeline_samples import Head, head_of, networks

PADDING = st.integers(0, 4)
windows = st.builds(Window, st.integers(1, 7), st.integers(1, 4), PADDING, PADDING, st.integers(1, 3))


def test_resnet8_stages():
    found = stages(zoo.resnet8((16, 16, 3)))
    assert [head_of(stage) for stage in found[:3]] == [Head.SOURCE, Head.CONV, Head.CONV]
    assert [node.name for node in found[1].chain] == ["stem_bn", "stem_relu"]
    last = found[3]
    assert [node.name for node in last.chain] == ["s1b1_2_bn", "s1b1_add", "s1b1_relu"]
    assert [(edge.value, edge.skip) for edge in last.edges] == [("s1b1_1_relu", False), ("stem_relu", True)]
    assert [head_of(stage) for stage in found[-2:]] == [Head.AVG_POOL, Head.LINEAR]


def test_every_kind_of_head():
    kinds = [head_of(stage) for stage in stages(every_layer())]
    assert kinds == [
        Head.SOURCE, Head.CONV, Head.BATCH_NORM, Head.MAX_POOL, Head.CONV, Head.AVG_POOL, Head.LINEAR
    ]  # fmt: skip


@given(networks())
def test_every_layer_in_one_stage_and_every_value_on_one_edge(network):
    found = stages(network)
    named = [node.name for s in found for node in ((s.head,) if s.head else ()) + s.chain]
    assert sorted(named) == sorted(node.name for node in network.nodes)
    readers = consumers(network)
    outputs = {stage.output: stage.index for stage in found}
    assert len(outputs) == len(found)
    for stage in found:
        edges = [edge for reader in found for edge in reader.edges if edge.producer == stage.index]
        assert sorted(edge.node for edge in edges) == sorted(readers[stage.output])
        assert all(edge.value == stage.output for edge in edges)
        assert stage.out_shape == shapes(network)[stage.output]
    hidden = {name for name in readers if name not in outputs}
    assert all(len(readers[name]) == 1 for name in hidden)


@given(networks())
def test_stages_and_edges_are_numbered_in_order(network):
    found = stages(network)
    assert [stage.index for stage in found] == list(range(len(found)))
    edges = [edge for stage in found for edge in stage.edges]
    assert [edge.index for edge in edges] == list(range(len(edges)))
    for edge in edges:
        assert edge.producer < edge.consumer
        assert found[edge.consumer].edges[0] is edge or edge.skip


@given(windows, st.integers(1, 20), st.integers(0, 20))
def test_window_rows_are_those_of_the_convolution(window, in_rows, row):
    """SPEC.md C1: output row i takes rows iS-P+kD, and waits for all under it; positions outside the map apart."""
    first, last = window_rows(window, row, in_rows)
    start = row * window.stride - window.before
    read = [start + k * window.dilation for k in range(window.kernel)]
    inside = [r for r in read if 0 <= r < in_rows]
    assert (first, last) == (inside[0] if inside else last + 1, min(max(read[-1], 0), in_rows - 1))
    assert taken(Take.WINDOW, window, row, in_rows) == tuple(r if 0 <= r < in_rows else None for r in read)


@given(windows, st.integers(1, 20), st.integers(0, 20))
def test_gradient_rows_are_the_windows_that_hold_the_row(window, out_rows, row):
    """SPEC.md C2: dx row j takes the dy rows i with iS-P+kD = j, at the rotated kernel's places, and waits for all that
    span it."""
    first, last = gradient_rows(window, row, out_rows)
    kernel, stride, before, _, dilation = window
    places = {i: row + before - i * stride for i in range(out_rows)}
    met = {at // dilation: i for i, at in places.items() if at % dilation == 0 and 0 <= at < kernel * dilation}
    assert first == min(met.values(), default=last + 1)
    assert last == min(max((row + before) // stride, 0), out_rows - 1)
    assert taken(Take.MEETING, window, row, out_rows) == tuple(met.get(kernel - 1 - k) for k in range(kernel))


@given(networks())
def test_needs_name_rows_that_exist_and_come_from_before(network):
    flow = dataflow(network, True)
    place = {(line.stage, line.phase): number for number, line in enumerate(flow.lines)}
    for line in flow.lines:
        for need_of in flow.buffers.needs(flow.stages[line.stage], line.phase):
            for need in map(need_of, range(line.rows)):
                before = place[need.stage, need.phase]
                assert before < place[line.stage, line.phase]
                assert 0 <= need.last < flow.lines[before].rows
                assert need.first >= 0


@given(networks())
def test_row_counts(network):
    for stage in stages(network):
        head, chain, back, through = (row_count(stage, phase) for phase in Phase)
        assert chain == back == stage.out_shape[0]
        expected = {
            Head.CONV: chain,
            Head.BATCH_NORM: chain,
            Head.AVG_POOL: chain * stage.window.kernel if stage.adds_rows else 0,
        }.get(head_of(stage), 0)
        assert head == expected
        assert through == (stage.in_shape[0] if stage.head else 0)


def _fan_out() -> Network:
    """A value with readers whose stages do not come in the order of the network."""
    nodes = (
        Node("first", ReluConfig(), (INPUT,)),
        Node("c1", ConvConfig(), ("first",), ConvSize(1, 1, 2)),
        Node("c2", ConvConfig(), ("first",), ConvSize(1, 1, 2)),
        Node("b2", BatchNormConfig(), ("c2",)),
        Node("b1", BatchNormConfig(), ("c1",)),
        Node("sum", AddConfig(), ("b2", "b1")),
    )
    return Network("fan", (3, 3, 2), nodes, "sum")


def test_gradients_are_summed_last_reader_first():
    """SPEC.md A5: in the network's order of the reading layers, whatever the stages' order is."""
    found = stages(_fan_out())
    assert [stage.name for stage in found] == ["input", "first", "c2", "c1"]
    assert [edge.node for edge in gradient_edges(found, 1)] == ["c2", "c1"]


@given(networks())
def test_gradients_of_any_value_are_summed_last_reader_first(network):
    """SPEC.md A5."""
    found = stages(network)
    position = {node.name: place for place, node in enumerate(network.nodes)}
    for stage in found:
        order = [position[edge.node] for edge in gradient_edges(found, stage.index)]
        assert all(a >= b for a, b in itertools.pairwise(order))
        for edge in gradient_edges(found, stage.index):
            phase = gradient_phase(found, edge)
            reader = found[edge.consumer]
            all_rows = edge.skip and reader.take(edge) is Take.ONLY  # a gate's gradient is a sum over them (A8)
            assert row_count(reader, phase) == (reader if all_rows else stage).out_shape[0]
            assert not all_rows or stage.out_shape[:2] == (1, 1)


def test_a_value_added_to_itself_is_read_on_two_edges():
    nodes = (Node("a", ReluConfig(), (INPUT,)), Node("twice", AddConfig(), ("a", "a")))
    found = stages(Network("net", (2, 2, 1), nodes, "twice"))
    assert [head_of(stage) for stage in found] == [Head.SOURCE, Head.NONE, Head.NONE]
    assert [(e.operand, e.skip) for e in found[2].edges] == [(0, False), (1, True)]
    assert len(gradient_edges(found, 1)) == 2


@pytest.mark.parametrize(("trains", "tasks"), [
    ({"head"}, {("head", 2)}),
    ({"conv2"}, {("head", 2), ("head", 3), ("conv2", 2)}),
    ({"conv1"}, {("head", 2), ("head", 3), ("conv2", 2), ("conv2", 3), ("conv1", 2)}),
    ({INPUT}, {("head", 2), ("head", 3), ("conv2", 2), ("conv2", 3), ("conv1", 2), ("conv1", 3), (INPUT, 2)}),
])  # fmt: skip
def test_the_backward_pass_goes_down_to_what_trains(trains, tasks):
    """2: a chain's gradient, 3: a head's. Rings that only the others would fill are not built."""
    nodes = (
        Node("conv1", ConvConfig(padding=1), (INPUT,), ConvSize(3, 3, 2)),
        Node("relu1", ReluConfig(), ("conv1",)),
        Node("conv2", ConvConfig(padding=1), ("relu1",), ConvSize(3, 3, 2)),
        Node("relu2", ReluConfig(), ("conv2",)),
        Node("head", LinearConfig(), ("relu2",), LinearSize(2)),
    )
    flow = dataflow(Network("net", (4, 4, 1), nodes, "head"), frozenset(trains))
    names = [stage.name for stage in flow.stages]
    assert {(names[line.stage], int(line.phase)) for line in flow.lines if line.phase.backward} == tasks
    forward = {"conv1.x", "conv1.deq", "conv2.x", "conv2.deq", "head.x"}
    backward = [{"conv2.relu2.mask", "head.dx", "head.dy"}, {"conv2.mask", "conv2.dy", "conv2.dx", "conv1.relu1.mask"},
                {"conv1.mask", "conv1.dy", "conv1.dx"}]  # fmt: skip
    deep = max(["head", "conv2", "conv1", INPUT].index(name) for name in trains)
    assert {ring.name for ring in build_rings(flow, DEFAULT_MACHINE)} == forward.union(*backward[:deep])


def test_a_layer_that_is_none_of_the_network_is_refused():
    with pytest.raises(BitrowError, match="trained: found 'nope', expected layers such as"):
        dataflow(zoo.resnet8((8, 8, 3)), frozenset({"nope"}))
    with pytest.raises(BitrowError, match="trained: found nothing"):
        dataflow(zoo.resnet8((8, 8, 3)), frozenset())


@pytest.mark.parametrize("training", [True, False])
def test_flow_has_a_backward_pass_only_when_training(training):
    flow = dataflow(zoo.resnet8((8, 8, 3)), training)
    assert any(line.phase >= Phase.BACKWARD_CHAIN for line in flow.lines) is training
    assert flow.line(0, Phase.FORWARD_HEAD) == -1
    assert flow.rows == sum(line.rows for line in flow.lines)
