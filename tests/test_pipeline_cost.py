"""Operations counted by hand against the cost model, and its bounds."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrow import zoo
from bitrow.config import BatchNormConfig, ConvConfig, ReluConfig
from bitrow.errors import BitrowError
from bitrow.graph import INPUT, ConvSize, Network, Node, describe
from bitrow.pipeline.cost import Scope, cost_of, count, sram_pj_per_bit
from bitrow.pipeline.cost_tables import AREA_UM2, ENERGY_PJ, load_costs
from bitrow.pipeline.machine import DEFAULT_MACHINE, Mac, Machine, Mapping
from bitrow.pipeline.memory_size import memory_size
from bitrow.pipeline.report import report
from bitrow.pipeline.schedule import schedule
from draws import examples
from network_samples import every_layer
from pipeline_samples import machines, networks


def _layer(stride: int = 1) -> Network:
    nodes = (
        Node("conv", ConvConfig(padding=1, stride=stride), (INPUT,), ConvSize(3, 3, 5)),
        Node("bn", BatchNormConfig(), ("conv",)),
        Node("relu", ReluConfig(), ("bn",)),
    )
    return Network("layer", (8, 6, 2), nodes, "relu")


def test_counts_of_one_layer_by_hand():
    """3x3 convolution of 8x6x2 to 5 channels; rows of padding are skipped: 6*3 + 2*2 = 22 row taps."""
    found = count(schedule(_layer(), images=3))
    outputs, inputs = 8 * 6 * 5, 8 * 6 * 2
    forward = 22 * (6 * 5) * 3 * 2
    backward = 22 * (6 * 2) * 3 * 5
    assert found.macs == 3 * (forward + backward)
    assert found.dequantize == 3 * (outputs + inputs)
    # Forward: batch norm. Backward: batch norm and the quantizer of dy. The loader quantizes the input.
    assert found.fp_mul == 3 * (outputs + 2 * outputs + inputs)
    assert found.fp_add == 3 * 2 * outputs  # batch norm and ReLU
    assert found.fp32_add == 0
    assert found.host_bits == 3 * 2 * 16 * inputs
    assert found.weight_bits == 3 * (8 + 8) * 90 * 4
    assert found.flops == 2 * found.macs + found.dequantize + found.fp_mul + found.fp_add


def test_traffic_of_one_layer_by_hand():
    """Every window row read in each pass, every row written once; masks and gradients as well."""
    machine = Machine(fxp_lanes=16, mapping=Mapping.ROW)
    run = schedule(_layer(), machine)
    bits = {ring.name: ring.row_bits for ring in run.rings}
    forward_passes, backward_passes = 2, 1  # 30 outputs and 12 on 16 lanes
    expected = bits["conv.x"] * (8 + 22 * forward_passes) + bits["conv.mask"] * (8 + 8 * backward_passes)
    expected += bits["relu.mask"] * 16 if "relu.mask" in bits else bits["conv.relu.mask"] * 16
    expected += bits["conv.dy"] * (8 + 22 * backward_passes) + bits["conv.dx"] * 16
    assert count(run).bank_bits == expected
    assert count(run).queue_bits == bits["conv.deq"] * 16


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "mobilenetv2", "vgg8"])
def test_forward_macs_are_the_networks_but_for_padding(name):
    network = zoo.build(name, (64, 64, 3))
    found = count(schedule(network, training=False))
    whole = sum(s.macs for s in describe(network) if s.kind == "conv")
    assert 0.8 * whole < found.macs <= whole


def test_backward_macs_of_a_stride_are_those_of_the_forward_pass():
    """A dilated gradient's holes are not multiplied: forward and backward have the same products."""
    network = _layer(stride=1)
    forward = count(schedule(network, training=False)).macs
    assert count(schedule(network)).macs == 2 * forward


def test_fp16_multipliers_change_energy_not_arithmetic():
    network = zoo.resnet8((32, 32, 3))
    fxp = report(schedule(network, images=2))
    assert fxp.fp16_macs is not None
    assert fxp.fp16_macs.cost.counts.macs == fxp.cost.counts.macs
    assert fxp.fp16_macs.cost.counts.dequantize == 0
    assert fxp.fp16_macs.schedule.machine == replace(DEFAULT_MACHINE, mac=Mac.FP16)
    for scope in Scope:
        assert fxp.cost.tflops_per_watt[scope].low > fxp.fp16_macs.cost.tflops_per_watt[scope].high
    assert fxp.cost.gflops_per_mm2[Scope.CHIP].low > fxp.fp16_macs.cost.gflops_per_mm2[Scope.CHIP].high


def test_batch_statistics_count_fp32_sums():
    """SPEC.md B2, B3: two sums forward, two backward, in FP32."""
    frozen = count(schedule(every_layer(BatchNormConfig()), Machine(images_in_flight=3)))
    batch = count(schedule(every_layer(), Machine(images_in_flight=3)))
    elements = 7 * 8 * 4
    assert batch.fp32_add - frozen.fp32_add == 4 * elements
    # B1: a*y forward, a*dz back. B2: y*y and a*y; B3: dz*y, a*dz and p*y.
    assert batch.fp_mul - frozen.fp_mul == (2 + 3 - 2) * elements


@examples(40)
@given(networks(), machines(), st.integers(1, 2), st.booleans())
def test_costs_are_ordered_positive_and_grow_with_images(network, machine, images, training):
    one = _cost(schedule(network, machine, images=images, training=training))
    scoped = (one.tflops_per_watt, one.gflops_per_mm2, one.peak_gflops_per_mm2)
    for bounds in (one.milliwatts, *(bounds for by_scope in scoped for bounds in by_scope.values())):
        assert 0 <= bounds.low <= bounds.high < math.inf
    more = _cost(schedule(network, machine, images=images + 1, training=training))
    assert more.counts.flops * images == one.counts.flops * (images + 1)


def _cost(found):
    return cost_of(found, memory_size(found).total, 1024.0)


def test_sram_energy_passes_through_its_sources_points():
    for size, picojoules in ((8192, 10.0), (32768, 20.0), (1 << 20, 100.0)):
        bounds = sram_pj_per_bit(size)
        assert bounds.low == pytest.approx(picojoules / 64 * 0.51)
        assert bounds.high == pytest.approx(picojoules / 64 * 0.64)
    assert sram_pj_per_bit(100) == sram_pj_per_bit(8192)
    assert sram_pj_per_bit(16384).low > sram_pj_per_bit(8192).low


def test_costs_from_a_file_replace_ours(tmp_path):
    """What it leaves out is as before, and each source stands beside its figure."""
    path = tmp_path / "costs.toml"
    path.write_text(
        '[energy_pj.fxp_mac]\nlow = 0.1\nhigh = 0.3\nsource = "our library"\n'
        '[area_um2.sram_bit]\nlow = 1\nhigh = 2\nsource = "our compiler"\n'
    )
    run = schedule(_layer())
    ours, theirs = report(run, compare=False).cost, report(run, compare=False, costs=load_costs(path)).cost
    for before, after in zip((*ours.energy, *ours.area), (*theirs.energy, *theirs.area), strict=True):
        own = {"fxp_mac": (0.1, 0.3, "our library"), "partial sums": (0.1, 0.3, "our library"),
               "buffers": (1, 2, "our compiler"),
               "weight memory": (1, 2, "our compiler")}.get(after.name)  # fmt: skip
        if own and after.cost != before.cost and after.many:
            assert (after.cost.low / after.many, after.cost.high / after.many) == pytest.approx(own[:2])
            assert after.source == own[2]
        else:
            assert after == before
    assert theirs.energy[0].cost == (pytest.approx(0.1 * ours.counts.macs), pytest.approx(0.3 * ours.counts.macs))


@pytest.mark.parametrize(("text", "message"), [
    ("[energy]\nx = 1", "energy: found dict, expected tables energy_pj, area_um2"),
    ("energy_pj = 3", "energy_pj: found int, expected tables energy_pj, area_um2"),
    ("[energy_pj.mac]\nlow = 1", "energy_pj: found 'mac', expected one of fxp_mac, fp16_mac"),
    ("[energy_pj]\nfxp_mac = 1", "energy_pj.fxp_mac"),
    ('[energy_pj.fxp_mac]\nlow = 2\nhigh = 1\nsource = "x"', "low: found 2, expected at most high, 1"),
    ('[energy_pj.fxp_mac]\nlow = -1\nhigh = 1\nsource = "x"', "low: found -1, expected a positive number"),
    ('[energy_pj.fxp_mac]\nlow = 1\nhigh = 2\nsource = ""', "source: found '', expected where the figure is from"),
    ("[energy_pj.fxp_mac]\nlow = 1\nhigh = 2", "source"),
])  # fmt: skip
def test_costs_that_cannot_be_are_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "costs.toml"
    path.write_text(text)
    with pytest.raises(BitrowError) as error:
        load_costs(path)
    assert message in str(error.value) and "costs.toml" in str(error.value) and "\n" not in str(error.value)


def test_every_figure_has_a_range_and_a_source():
    for table in (ENERGY_PJ, AREA_UM2):
        for figure in table.values():
            assert 0 < figure.cost.low <= figure.cost.high
            assert figure.source
