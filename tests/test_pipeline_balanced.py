"""The default machine is the balanced one: no neighbour has a smaller product of time, energy and area."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from bitrow.pipeline.ablate import NETWORKS
from bitrow.pipeline.balanced import AXES, compared, markdown, neighbours, ranked, search_of, searched
from bitrow.pipeline.banks import window_clashes
from bitrow.pipeline.explore import machines
from bitrow.pipeline.explore_front import Candidate
from bitrow.pipeline.machine import DEFAULT_MACHINE, Mapping
from bitrow.pipeline.schedule import schedule
from bitrow.zoo import build


def test_no_neighbour_of_the_default_is_better():
    """Over the four networks; each neighbour differs in one kind of lanes, the banks or the mapping."""
    around = list(neighbours(DEFAULT_MACHINE))
    assert len(set(around)) == 9 and DEFAULT_MACHINE not in around
    found = compared([DEFAULT_MACHINE, *around])
    assert len(found) == 10 and found[0].machine == DEFAULT_MACHINE and found[0].product < found[1].product
    page = (Path(__file__).parents[1] / "docs" / "pipeline.md").read_text()
    assert markdown(found, len(found)) in page
    for one in found:
        each = [run.seconds * sum(run.microjoules) / 2 * sum(run.mm2) / 2 for run in one.runs.values()]
        assert list(one.runs) == list(NETWORKS)
        assert math.log(one.product) == pytest.approx(sum(map(math.log, each)) / len(each))


def test_the_search_has_the_default_and_its_neighbours_between_its_ends():
    asked = list(machines(search_of("vgg8")))
    assert len(asked) == len(set(asked)) == 512 and {DEFAULT_MACHINE, *neighbours(DEFAULT_MACHINE)} <= set(asked)
    assert all(list(values) == sorted(values) for name, values in AXES if name != "mapping")


def test_a_machine_that_one_network_cannot_use_is_not_ranked():
    found = compared([DEFAULT_MACHINE], ("resnet20",))[0].runs["resnet20"]
    other = Candidate(found.machine, found.point._replace(cycles=1), found.images)
    small = found._replace(machine=next(neighbours(DEFAULT_MACHINE)))
    assert [one.machine for one in ranked({"a": [found, small], "b": [other]})] == [DEFAULT_MACHINE]


def test_no_window_of_the_default_meets_itself_in_a_bank():
    """The bank rule, ring by ring; a mapping that traces take (V6)."""
    assert DEFAULT_MACHINE.mapping in (Mapping.ROW, Mapping.SPLIT)
    for name in NETWORKS:
        found = schedule(build(name), images=2)
        for ring, slots in zip(found.rings, found.slots, strict=True):
            if ring.banked and ring.kernel > 1:
                span = found.layout.span[ring.index]
                assert not window_clashes(ring.kernel, ring.stride, slots, span, DEFAULT_MACHINE.ports), ring.name


@pytest.mark.slow
def test_the_whole_search_finds_the_default(tmp_path):
    found = searched(tmp_path)
    assert found[0].machine == DEFAULT_MACHINE
    page = (Path(__file__).parents[1] / "docs" / "pipeline.md").read_text()
    assert markdown(found) in page
    assert re.search(rf"All {len(found)} of them run all four networks", page)
