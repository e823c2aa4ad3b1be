"""Several images at once: a task makes the same row of each, side by side or in turn, as the layer is faster."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import pytest

from bitrow import zoo
from bitrow.config import BatchNormConfig, ConvConfig, ReluConfig, Statistics
from bitrow.errors import BitrowError
from bitrow.graph import INPUT, ConvSize, Network, Node
from bitrow.pipeline.check import check
from bitrow.pipeline.cost import count
from bitrow.pipeline.flow import dataflow
from bitrow.pipeline.machine import Machine, Mapping
from bitrow.pipeline.mappings import mapped_lines
from bitrow.pipeline.memory_size import FULL_MAPS, LAYERS
from bitrow.pipeline.report import as_dict, report
from bitrow.pipeline.rings import build_rings
from bitrow.pipeline.schedule import schedule
from bitrow.pipeline.stages import Phase
from bitrow.synthetic import synthetic


def _machine(at_once: int, **more) -> Machine:
    """Ports enough for no conflict."""
    return Machine(
        fxp_lanes=16, dequantizer_lanes=8, fp_mul_lanes=4, fp_add_lanes=4, fxp_latency=1, dequantizer_latency=1,
        fp_latency=1, banks=8, ports=8, bank_width=64, mapping=Mapping.ROW, images_at_once=at_once, **more,
    )  # fmt: skip


def test_two_images_in_a_row_by_hand():
    """3 rows of 4 columns, 4 channels to 2, four images: two rows are 16 sums of 4 products, a pass of 16 lanes."""
    network = Network("point", (3, 4, 4), (Node("conv", ConvConfig(), (INPUT,), ConvSize(1, 1, 2)),), "conv")
    one, two = (schedule(network, _machine(at_once), images=4, training=False) for at_once in (1, 2))
    head = two.phase == Phase.FORWARD_HEAD
    assert (one.images, one.batch, two.images, two.batch) == (4, 4, 2, 4)
    # 4 cycles of products and 1 + 1 of the pipelines, 2 of the dequantizers; the chain moves 2*8 words on 4 lanes.
    assert (two.end - two.start)[head].tolist() == 2 * 3 * [4 + 2] and len(two) == len(one) // 2
    assert (two.end - two.start)[two.phase == Phase.FORWARD_CHAIN].tolist().count(4 + 1) == 2 * 3
    assert {ring.name: ring.row_bits for ring in two.rings} == {r.name: 2 * r.row_bits for r in one.rings}
    before, after = count(one), count(two)
    assert before.weight_bits == 4 * 3 * 8 * 4 and after == replace(before, weight_bits=before.weight_bits // 2)
    ours, theirs = (report(run, compare=False) for run in (two, one))
    assert ours.lanes_busy["macs"] == 4 * 96 / (16 * two.cycles)
    assert ours.cycles_per_image == two.cycles / 4 and as_dict(ours)["images"] == 4
    assert ours.memory.live.live == 2 * theirs.memory.live.live


def test_a_layer_takes_images_in_turn_where_that_is_faster():
    """3 rows of 4 columns, 8 channels to 4, two images: 16 sums of 8 products each, two passes of 16 lanes.

    Side by side each pass reads the rows of both, 2 * 2 * 128 bits; in turn a pass reads one image's, and weights are
    read for each.
    """
    network = Network("point", (3, 4, 8), (Node("conv", ConvConfig(), (INPUT,), ConvSize(1, 1, 4)),), "conv")
    machine = replace(_machine(2), bank_width=8)
    two = schedule(network, machine, images=2, training=False)
    head = two.phase == Phase.FORWARD_HEAD
    # Side by side 2 passes * 32 words; in turn 2 * 16 and one that both may share, which is more than 2 * 8 products.
    assert (two.end - two.start)[head].tolist() == 3 * [2 * 16 + 2 - 1]
    assert as_dict(report(two, compare=False))["mappings"] == {"conv forward head": "row in 2 turns"}
    assert count(two).weight_bits == 2 * 3 * 8 * 4 * 4
    # Where words come as fast as they are read, turns are as fast, and weights are read once: side by side.
    wide = schedule(network, replace(machine, bank_width=512), images=2, training=False)
    assert as_dict(report(wide, compare=False))["mappings"] == {"conv forward head": "row"}
    assert count(wide).weight_bits == 3 * 8 * 4 * 4


@pytest.mark.parametrize("mapping", [Mapping.ROW, Mapping.BEST])
def test_no_layer_is_slower_than_with_its_images_one_after_the_other(mapping):
    """But for the word that two passes may share."""
    flow = dataflow(zoo.build("mobilenetv2", (32, 32, 3)))
    one, four = (
        mapped_lines(flow, build_rings(flow, machine), machine)
        for machine in (Machine(fxp_lanes=1024, mapping=mapping, images_at_once=many) for many in (1, 4))
    )
    for alone, together in zip(one, four, strict=True):
        assert (together.cycles <= 4 * alone.cycles + together.way.passes).all()
    assert {line.way.turns for line in four} > {1}


def test_baselines_hold_maps_of_all_images_at_once():
    network = zoo.resnet8((8, 8, 3))
    one, two = (report(schedule(network, Machine(images_at_once=n), images=n)) for n in (1, 2))
    assert two.fp16_macs is not None and two.fp16_macs.schedule.batch == 2
    for name in (LAYERS, FULL_MAPS):
        assert two.memory.baselines[name].live == 2 * one.memory.baselines[name].live, name
    assert two.cycles_per_image < one.cycles_per_image


@pytest.mark.slow
def test_rows_of_two_images_at_once_are_those_of_whole_tensors():
    """SPEC.md C1, C2, B2: four images in two groups, with statistics over the batch of all four."""
    nodes = (
        Node("first", ConvConfig(2, 1), (INPUT,), ConvSize(3, 3, 4)), Node("relu", ReluConfig(), ("first",)),
        Node("norm", BatchNormConfig(Statistics.BATCH), ("relu",)),
        Node("last", ConvConfig(), ("norm",), ConvSize(1, 1, 2)),
    )  # fmt: skip
    network = Network("small", (6, 6, 3), nodes, "last")
    model = synthetic(network, 5, 4)
    assert model.samples is not None
    found = schedule(network, Machine(images_at_once=2), images=4)
    x, dlogits = (jnp.asarray(words) for words in (model.samples.images, model.samples.dlogits))
    assert check(found, model.params, x, dlogits).rows > 0


@pytest.mark.parametrize(("images", "at_once"), [(3, 2), (2, 4)])
def test_images_that_fill_no_group_are_refused(images, at_once):
    with pytest.raises(BitrowError, match=f"images: found {images}, expected a multiple of {at_once} images_at_once"):
        schedule(zoo.resnet8((8, 8, 3)), Machine(images_at_once=at_once), images=images)
