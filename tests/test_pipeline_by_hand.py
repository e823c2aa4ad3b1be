"""Two small networks worked out by hand: cycles, use of lanes, memory, energy and area, arithmetic and all."""

from __future__ import annotations

import pytest

from bitrow.config import ConvConfig, ReluConfig
from bitrow.graph import INPUT, ConvSize, Network, Node
from bitrow.pipeline.cost import Scope
from bitrow.pipeline.machine import Machine, Packing, WeightMemory
from bitrow.pipeline.memory_size import FULL_MAPS, LAYERS, Footprint
from bitrow.pipeline.policies import layer_by_layer
from bitrow.pipeline.report import report
from bitrow.pipeline.schedule import schedule
from bitrow.pipeline.work import UNIT


def _tasks(run) -> dict[str, list[tuple[int, int]]]:
    """Start and end of each task in its order, by stage and the phase's number."""
    found: dict[str, list[tuple[int, int]]] = {}
    for stage, phase, start, end in zip(run.stage, run.phase, run.start.tolist(), run.end.tolist(), strict=True):
        found.setdefault(f"{run.flow.stages[stage].name} {phase}", []).append((start, end))
    return found


def _forward_machine(**more) -> Machine:
    """Ports enough for no conflict; everything small enough to be counted on fingers."""
    return Machine(
        fxp_lanes=8, dequantizer_lanes=8, fp_mul_lanes=4, fp_add_lanes=4, fxp_latency=1, dequantizer_latency=1,
        fp_latency=1, banks=8, ports=8, bank_width=64, **more
    )  # fmt: skip


def _pointwise() -> Network:
    return Network("point", (3, 4, 4), (Node("conv", ConvConfig(), (INPUT,), ConvSize(1, 1, 2)),), "conv")


def test_a_pointwise_convolution_forward():
    """3 rows of 4 columns, 4 channels to 2."""
    found = report(schedule(_pointwise(), _forward_machine(), training=False), compare=False)
    # The host brings a row of 4*4 words of 16 bits, 64 bits a cycle: 4 cycles. 4*2 sums of 4 products on 8 lanes: one
    # pass of 4 cycles, and 1 + 1 of the pipelines. The chain moves 8 words on 4 lanes: 2 cycles, and 1.
    # K + S = 2 slots: row 2 comes when row 0 was read, at 10.
    assert _tasks(found.schedule) == {
        "input 1": [(0, 4), (4, 8), (10, 14)],
        "conv 0": [(4, 10), (10, 16), (16, 22)],
        "conv 1": [(10, 13), (16, 19), (22, 25)],
    }
    assert found.utilization == {UNIT.FXP: 18 / 25, UNIT.FP: 9 / 25, UNIT.LOADER: 12 / 25}
    assert found.lanes_busy == {"macs": 96 / (8 * 25), "deq": 24 / (8 * 25), "mul": 48 / (4 * 25), "add": 0}
    # Rows of 16 codes of 4 bits are a word each: 0 lives from 0 to 10, 1 from 4 to 16, 2 from 10 to 22, in 0's bank.
    assert found.memory.live == Footprint(rows=128, saved=0, live=128, allocated=2 * 64)
    assert (found.memory.built, found.memory.queue) == (8 * 64, 2 * 8 * 16)
    counts = {item.name: item.many for item in found.cost.energy}
    assert counts == {
        "fxp_mac": 3 * 8 * 4, "dequantize": 3 * 8, "fp_mul": 3 * 16, "fp_add": 0, "fp32_add": 0,
        "bank bits": 3 * 64 * 2 + 3 * 128 * 2, "weight bits": 3 * 8 * 4, "host bits": 3 * 16 * 16,
    }  # fmt: skip
    arithmetic = 96 * 0.06 + 24 * 0.56 + 48 * 0.56
    memories = (384 + 768) * 10 / 64 * 0.51
    weights, host = 96 * 20 / 64 * 0.51, 768 * 1300 / 64
    flops = 2 * 96 + 24 + 48
    low = {Scope.CORE: arithmetic + memories, Scope.CHIP: arithmetic + memories + weights}
    low[Scope.SYSTEM] = low[Scope.CHIP] + host
    for scope, picojoules in low.items():
        assert found.cost.tflops_per_watt[scope].high == pytest.approx(flops / picojoules), scope
    assert found.cost.milliwatts.low == pytest.approx(low[Scope.SYSTEM] / (25 / 500e6) * 1e-9)
    # A register bit of 2 um2: accumulators of 24 bits, two operands of 4 a lane; a dequantizer's 24 and 16; three
    # words of 16 of a multiplier, of 32 of an adder; a word of 64 at each of 8 ports of 8 banks.
    lanes = 8 * 2 * 4 + 8 * (24 + 16) + 4 * 3 * 16 + 4 * 3 * 32
    core = 8 * 61 + 8 * 1140 + 4 * 623 + 4 * 517 + 2 * (8 * 24 + lanes + 8 * 8 * 64) + (512 + 256) * 0.127 / 0.7
    rate = flops / 25 * 0.5
    assert found.cost.gflops_per_mm2[Scope.CORE].high == pytest.approx(rate / core * 1e6)
    assert found.cost.gflops_per_mm2[Scope.CHIP].high == pytest.approx(rate / (core + 32 * 0.127 / 0.7) * 1e6)
    assert found.roofline.achieved == pytest.approx(rate) and found.roofline.peak == 8
    assert found.roofline.roofs["banks"].gbytes == 8 * 8 * 64 / 8 * 0.5
    assert found.roofline.roofs["host"].gops == pytest.approx(64 / 8 * 0.5 * flops / (768 / 8))


def test_the_same_with_words_of_each_ring_alone():
    found = report(schedule(_pointwise(), _forward_machine(packing=Packing.RINGS), training=False), compare=False)
    assert (found.memory.live.allocated, found.memory.built) == (2 * 64, 8 * 64)


@pytest.mark.parametrize(("buffers", "first"), [(2, (4, 12)), (1, (4, 18))])
def test_weights_from_dram_come_once_for_a_layer_that_stays(buffers, first):
    """8 weights of 4 bits at 4 bits a cycle: 8 cycles, beside the 6 of the first row or before them."""
    machine = _forward_machine(weights=WeightMemory.DRAM, dram_width=4, weight_buffers=buffers)
    run = schedule(_pointwise(), machine, training=False)
    assert _tasks(run)["conv 0"][0] == first and [b - a for a, b in _tasks(run)["conv 0"]][1:] == [6, 6]
    found = report(run, compare=False)
    bill = {item.name: item.many for item in (*found.cost.energy, *found.cost.area)}
    assert bill["DRAM weight bits"] == 32 and bill["weight memory"] == buffers * 32
    assert found.roofline.roofs["DRAM weights"].gbytes == 4 / 8 * 0.5


def _two_layers() -> Network:
    nodes = (Node("conv", ConvConfig(), (INPUT,), ConvSize(1, 1, 2)), Node("relu", ReluConfig(), ("conv",)))
    return Network("two", (2, 2, 2), nodes, "relu")


def _training_machine() -> Machine:
    return Machine(
        fxp_lanes=4, dequantizer_lanes=4, fp_mul_lanes=4, fp_add_lanes=4, fxp_latency=0, dequantizer_latency=0,
        fp_latency=0, loss_latency=5, banks=8, ports=8, bank_width=64,
    )  # fmt: skip


def test_a_convolution_and_relu_forward_and_backward():
    """2 rows of 2 columns, 2 channels to 2, with the gradient of the image."""
    found = report(schedule(_two_layers(), _training_machine()))
    # 4 sums of 2 products on 4 lanes take 2 cycles, everything else a cycle a row; 5 cycles for the loss.
    assert _tasks(found.schedule) == {
        "input 1": [(0, 1), (1, 2)], "conv 0": [(1, 3), (3, 5)], "conv 1": [(3, 4), (5, 6)],
        "conv 2": [(11, 12), (12, 13)], "conv 3": [(12, 14), (14, 16)], "input 2": [(14, 15), (16, 17)],
    }  # fmt: skip
    assert found.utilization == {UNIT.FXP: 8 / 17, UNIT.FP: 6 / 17, UNIT.LOADER: 2 / 17}
    # Masks of 4 bits take a byte. At 14: both rows of dx (4 * 16 bits), the second of dy (4 * 4) and of the quantizer's
    # mask. Between 5 and 11 both rows of both masks.
    memory = found.memory
    assert memory.live._replace(allocated=0) == Footprint(rows=64 + 64 + 16, saved=4 * 8, live=152, allocated=0)
    # One layer after another: the convolution 1 to 5, ReLU 5 to 7, loss until 12, ReLU back to 14, convolution back to
    # 18, the image's gradient to 20. Each row a word: with the quantizer's mask (0 to 18) live what the convolution
    # makes (1 to 7) and codes (to 5) or ReLU's mask (5 to 14), dy (12 to 18) and that or dx (14 to 20): 3 maps of 2
    # words. By rows, at 3: 64 + 64 made, 16 of codes, both masks; without masks as many as at 16, with two of dx.
    assert _tasks(schedule(_two_layers(), _training_machine(), layer_by_layer))["input 2"] == [(18, 19), (19, 20)]
    assert memory.baselines[LAYERS] == Footprint(rows=144, saved=32, live=160, allocated=6 * 64)
    # All three FP16 maps of 128 bits are there from 5 to 18, dy's 32 bits from 12, dx's 128 from 14.
    assert memory.baselines[FULL_MAPS] == Footprint(rows=32 + 128, saved=3 * 128, live=544, allocated=544)
