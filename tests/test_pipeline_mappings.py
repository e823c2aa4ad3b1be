"""Mappings: cycles, readings and sums worked out by hand; where the order of products decides, none is split."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrow import zoo
from bitrow.config import ConvConfig
from bitrow.formats import AccOverflow, Accumulator
from bitrow.graph import INPUT, ConvSize, Network, Node
from bitrow.oracle import fxp
from bitrow.pipeline.cost import count
from bitrow.pipeline.flow import dataflow
from bitrow.pipeline.machine import Mac, Machine, Mapping
from bitrow.pipeline.mappings import mapped_lines
from bitrow.pipeline.report import as_dict, report
from bitrow.pipeline.rings import build_rings
from bitrow.pipeline.schedule import schedule
from bitrow.pipeline.stages import Phase
from draws import examples


def _machine(mapping: Mapping, lanes: int, **more) -> Machine:
    """Ports enough for no conflict."""
    return Machine(
        mapping=mapping, fxp_lanes=lanes, dequantizer_lanes=8, fxp_latency=1, dequantizer_latency=1, banks=8, ports=8,
        **more,
    )  # fmt: skip


def _network(size: ConvSize, shape, **config) -> Network:
    return Network("one", shape, (Node("conv", ConvConfig(**config), (INPUT,), size),), "conv")


def _head_cycles(run) -> list[int]:
    mine = run.phase == Phase.FORWARD_HEAD
    return (run.end - run.start)[mine].tolist()


@pytest.mark.parametrize(("channels", "lanes", "row", "split", "lanes_of_a_sum"), [
    # 8 sums of 4 products. On 32 lanes one pass: 4 cycles each alone; 2 lanes a sum 2 products and an addition;
    # 4 lanes a sum 1 product and 2 additions, no faster.
    (4, 32, 4, 3, 2),
    # 8 sums of 64. On 64 lanes: 64; 2 lanes: 32 + 1; 4: 16 + 2; 8: 8 + 3; 16 of 64 leave 4 sums a pass: 2 * (4 + 4).
    (64, 64, 64, 11, 8),
    # 8 sums of 16. On 12 lanes: 16; 2 lanes a sum, 6 sums a pass: 2 * (8 + 1) is no faster.
    (16, 12, 16, 16, 1),
])  # fmt: skip
def test_lanes_that_share_a_sum(channels, lanes, row, split, lanes_of_a_sum):
    """3 rows of 4 columns to 2 channels: 8 sums of `channels` products a row, and 1 + 1 cycles of the pipelines."""
    network = _network(ConvSize(1, 1, 2), (3, 4, channels))
    for mapping, cycles, many in ((Mapping.ROW, row, 1), (Mapping.SPLIT, split, lanes_of_a_sum),
                                  (Mapping.CHANNEL, row, 1), (Mapping.BEST, split, lanes_of_a_sum)):  # fmt: skip
        run = schedule(network, _machine(mapping, lanes), training=False)
        assert _head_cycles(run) == 3 * [cycles + 2], mapping
        # What the other lanes of a sum have made is added to the first's: an addition for each of them.
        additions = 3 * 8 * (many - 1)
        assert count(run).partial_sums == additions
        bill = {item.name: item.cost.high for item in report(run, compare=False).cost.energy}
        assert bill.get("partial sums", 0) == pytest.approx(additions * 0.07)  # at most what a MAC takes
        assert count(run).macs == 3 * 8 * channels


def test_depthwise_by_channel_reads_a_row_once():
    """8 channels of 4 columns, 3x3: a row's 32 codes of 4 bits are 16 words of 8 bits."""
    network = _network(ConvSize(3, 3, 8), (3, 4, 8), groups=8, padding=1)
    machine = _machine(Mapping.ROW, 8, bank_width=8)
    by_row = schedule(network, machine, training=False)
    # 32 sums on 8 lanes are 4 passes of 6, 9 and 6 products; each pass reads the whole rows: 4 * 16 words.
    assert _head_cycles(by_row) == [64, 64, 64]
    by_channel = schedule(network, replace(machine, mapping=Mapping.CHANNEL), training=False)
    # 2 channels a pass, 4 passes of as many products, and 1 + 1; the rows once, 16 words, and 3 that two passes share.
    assert _head_cycles(by_channel) == [4 * 6 + 2, 4 * 9 + 2, 4 * 6 + 2]
    # 2, 3 and 2 rows of 128 bits are read.
    assert count(by_row).bank_bits - count(by_channel).bank_bits == 7 * (4 * 128 - (128 + 3 * 8))


def test_a_channel_longer_than_the_lanes_is_read_as_often_as_it_takes():
    """2 channels of 8 columns on 3 lanes: 3 passes a channel, 6 in all, and 3 readings of 64 bits, 8 words."""
    network = _network(ConvSize(1, 1, 2), (1, 8, 2), groups=2)
    run = schedule(network, _machine(Mapping.CHANNEL, 3, bank_width=8), training=False)
    assert _head_cycles(run) == [3 * 8 + 3]  # by row: ceil(16 / 3) = 6 passes of 8 words
    assert _head_cycles(schedule(network, _machine(Mapping.ROW, 3, bank_width=8), training=False)) == [6 * 8]


_SHORT, _LONG = Accumulator(8, AccOverflow.SATURATE), Accumulator(24, AccOverflow.SATURATE)


@pytest.mark.parametrize(("accumulator", "mac", "way"), [
    (_SHORT, Mac.FXP, "row"), (_LONG, Mac.FXP, "split 8"), (Accumulator(8, AccOverflow.WRAP), Mac.FXP, "split 8"),
    (_LONG, Mac.FP16, "row"),
])  # fmt: skip
def test_sums_whose_order_decides_are_not_split(accumulator, mac, way):
    """SPEC.md M2: a register that may clamp adds in its order, and so do FP16 MACs, which round each sum."""
    network = _network(ConvSize(1, 1, 2), (3, 4, 64), accumulator=accumulator)
    found = report(schedule(network, _machine(Mapping.BEST, 64, mac=mac), training=False), compare=False)
    assert as_dict(found)["mappings"] == {"conv forward head": way}


codes = st.lists(st.tuples(st.integers(-8, 7), st.integers(-8, 7)), min_size=1, max_size=40)


@examples(40)
@given(codes, st.integers(1, 8), st.integers(8, 32))
def test_split_sums_are_the_contracts(pairs, split, bits):
    """SPEC.md M1, M2: lanes that each add every so many products, wrapped or not, come to the same sum."""
    wraps = Accumulator(bits, AccOverflow.WRAP)
    parts = [fxp.mac(*zip(*pairs[lane::split], strict=True), wraps) for lane in range(min(split, len(pairs)))]
    assert fxp.wrap(sum(parts), bits) == fxp.mac(*zip(*pairs, strict=True), wraps)


def test_split_sums_of_a_register_that_clamps_are_others():
    """SPEC.md M2: why they are refused. 128 is clamped to 127 before -64 comes, but not in two lanes."""
    first, second = [8, 8, -8], [8, 8, 8]
    together = fxp.mac(first, second, _SHORT)
    apart = fxp.mac(first[::2], second[::2], _SHORT) + fxp.mac(first[1::2], second[1::2], _SHORT)
    assert (together, apart) == (63, 64)


@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2"])
def test_the_best_of_each_layer_is_no_slower_than_any(name):
    flow = dataflow(zoo.build(name, (32, 32, 3)))
    few = Machine(fxp_lanes=1024)  # less than depthwise rows have sums
    rings = build_rings(flow, few)
    lines = {mapping: mapped_lines(flow, rings, replace(few, mapping=mapping)) for mapping in Mapping}
    cycles = {mapping: [int(line.cycles.sum()) for line in found] for mapping, found in lines.items()}
    fewest = [min(by_way) for by_way in zip(*cycles.values(), strict=True)]
    assert cycles[Mapping.BEST] == fewest and sum(fewest) < sum(cycles[Mapping.ROW])
    kinds = {line.way.mapping for line in lines[Mapping.BEST]}
    assert kinds == ({Mapping.ROW, Mapping.SPLIT} if name == "resnet20" else set(Mapping) - {Mapping.BEST})
