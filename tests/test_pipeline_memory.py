"""Memory over time: places that never overlap, peaks that files alone give again, banks too shallow."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import replace
from io import StringIO
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bitrow import zoo
from bitrow.errors import BitrowError
from bitrow.pipeline import command
from bitrow.pipeline.command import PipelineRun, ReportFiles
from bitrow.pipeline.lifetimes import _longest_first, _oldest_first, pack
from bitrow.pipeline.machine import Machine, Packing, RingRule
from bitrow.pipeline.memory_size import BASELINES, FULL_MAPS, LAYERS, memory_size
from bitrow.pipeline.occupancy import row_lives
from bitrow.pipeline.policies import POLICIES
from bitrow.pipeline.rings import SAVED
from bitrow.pipeline.schedule import schedule
from draws import examples
from pipeline_samples import machines, networks

BLOCKS = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9), st.integers(1, 7)), min_size=1, max_size=25)


@pytest.mark.parametrize("place", [_longest_first, _oldest_first])
@given(blocks=BLOCKS)
def test_blocks_that_live_together_lie_apart(place, blocks):
    born, life, words = np.array(blocks).T
    address = place(born, born + life, words).tolist()
    for (i, a), (j, b) in combinations(enumerate(address), 2):
        together = born[i] < born[j] + life[j] and born[j] < born[i] + life[i]
        assert not together or a + words[i] <= b or b + words[j] <= a
    assert min(address) == 0
    most = max(sum(w for b, n, w in blocks if b <= t < b + n) for t in range(30))
    assert most <= max(a + w for a, (_, _, w) in zip(address, blocks, strict=True)) <= sum(words)


@examples(40)
@given(networks(), machines(), st.sampled_from(list(POLICIES.values())), st.integers(1, 2), st.booleans())
def test_rows_keep_their_banks_and_their_words(network, machine, policy, images, training):
    """As the schedule booked them, and from the first writing to the last reading nobody else has them."""
    run = schedule(network, machine, policy, images, training=training)
    rows, address, depth = pack(run)
    by_bank = defaultdict(list)
    for bank, first, words, born, dies in zip(rows.bank, address, rows.words, rows.born, rows.dies, strict=True):
        assert first >= 0 and first + words <= depth[bank]
        by_bank[bank].append((born, dies, first, first + words))
    for lives in by_bank.values():
        for (b, d, low, high), (b2, d2, low2, high2) in combinations(lives, 2):
            assert b >= d2 or b2 >= d or low >= high2 or low2 >= high
    if not run.plan.whole_maps:
        for ring, number, bank in zip(rows.ring.tolist(), rows.number.tolist(), rows.bank.tolist(), strict=True):
            slot = number % run.slots[ring] if run.slots[ring] else number
            in_ring = (run.layout.offset[ring] + slot % run.layout.span[ring]) % machine.banks
            assert bank == in_ring + (0 if machine.shared else ring * machine.banks)


@examples(25)
@given(networks(), machines(), st.integers(1, 2), st.booleans())
def test_what_lives_is_the_bound(network, machine, images, training):
    """Live, then allocated, then built; no ring holds more than its slots, so rings alone never take less."""
    run = schedule(network, machine, images=images, training=training)
    memory = memory_size(run, baselines=True)
    assert max(memory.live.rows, memory.live.saved) <= memory.live.live <= memory.live.rows + memory.live.saved
    assert memory.live.live <= min(memory.live.allocated, memory.built)
    if machine.packing is Packing.LIFETIMES:
        assert memory.live.allocated <= memory.built
    assert memory.live.live <= memory.rows - memory.queue + memory.saved
    for way in memory.baselines.values():
        assert way.live <= way.allocated
    assert set(memory.baselines) == ({LAYERS, FULL_MAPS} if training else {LAYERS})


def test_unbounded_rings_take_what_they_held():
    """Rows are counted, without a bound on them as with one: the most that each ring held at once."""
    for packing in Packing:
        run = schedule(
            zoo.resnet8((16, 16, 3)), Machine(ring_rule=RingRule.UNBOUNDED, packing=packing), images=3
        )
        assert not all(run.slots)
        memory, most = memory_size(run), 0
        for ring in run.rings:
            if ring.banked and ring.kind not in SAVED:
                lives = sorted(zip(*(times.tolist() for times in row_lives(run, ring)), strict=True))
                most += ring.row_bits * max(sum(b <= born < d for b, d in lives) for born, _ in lives)
        assert memory.rows - memory.queue == most > 0
        assert memory.built >= (memory.live.live if packing is Packing.LIFETIMES else most + memory.saved)


@pytest.mark.parametrize("machine", [Machine(), Machine(packing=Packing.RINGS, ring_rule=RingRule.UNBOUNDED)])
def test_banks_too_shallow_for_what_shares_them_are_refused(machine):
    run = schedule(zoo.resnet8((16, 16, 3)), machine)
    words = memory_size(run).built // machine.bank_width // machine.banks
    deep = schedule(zoo.resnet8((16, 16, 3)), replace(machine, bank_depth=words))
    assert memory_size(deep).built == memory_size(run).built and deep.cycles == run.cycles
    shallow = schedule(zoo.resnet8((16, 16, 3)), replace(machine, bank_depth=words - 1))
    refused = rf"bank_depth: found {words - 1} words, expected {words} for .*1 words short"
    with pytest.raises(BitrowError, match=refused):
        memory_size(shallow)


# An outsider: reads the files of two commands, and nothing of the package decides.


def _peak(rows, weight) -> int:
    change = defaultdict(int)
    for row in rows:
        change[int(row["born"])] += weight(row)
        change[int(row["dies"])] -= weight(row)
    level = most = 0
    for time in sorted(change):
        level += change[time]
        most = max(most, level)
    return most


def _read(folder, name: str, policy: str, images: int, network: str, size):
    paths = folder / f"{name}.json", folder / f"{name}.csv", folder / f"{name}_baselines.csv"
    run = PipelineRun(network, input_size=size, images=images, policy=policy)
    command.pipeline(run, ReportFiles(paths[0], rows_file=paths[1], baselines_file=paths[2]),
                     console=Console(file=StringIO()))  # fmt: skip
    with open(paths[1], newline="") as file, open(paths[2], newline="") as others:
        return json.loads(paths[0].read_text()), list(csv.DictReader(file)), list(csv.DictReader(others))


def _live_kb(rows) -> dict[str, float]:
    def bits(row) -> int:
        return int(row["bits"])

    kinds = {"rows_kb": "0", "saved_kb": "1"}
    found = {name: _peak([row for row in rows if row["saved"] == kept], bits) for name, kept in kinds.items()}
    return {name: most / 8192 for name, most in (found | {"live_kb": _peak(rows, bits)}).items()}


def _depths(rows) -> dict[int, int]:
    """Words of each bank; no word is two rows' at once."""
    by_bank = defaultdict(list)
    for row in rows:
        by_bank[int(row["bank"])].append(row)
    for here in by_bank.values():
        owners = defaultdict(list)
        for row in here:
            for word in range(int(row["address"]), int(row["address"]) + int(row["words"])):
                owners[word].append((int(row["born"]), int(row["dies"])))
        for lives in owners.values():
            assert all(dies <= born for (_, dies), (born, _) in pairwise(sorted(lives)))
    return {bank: max(int(row["address"]) + int(row["words"]) for row in here) for bank, here in by_bank.items()}


def _allocated(rows) -> int:
    """Bits of one memory in which none is two rows' or maps' at once."""
    places = [[int(row[name]) for name in ("born", "dies", "address", "size")] for row in rows]
    living: list[list[int]] = []
    for born, dies, address, size in sorted(places):
        living = [other for other in living if other[1] > born]
        assert all(address + size <= other[2] or other[2] + other[3] <= address for other in living)
        living.append([born, dies, address, size])
    return max(address + size for _, _, address, size in places)


@pytest.mark.parametrize(("network", "size", "images"), [
    ("resnet8", (16, 16), 2), pytest.param("resnet18", None, 1, marks=pytest.mark.slow),
    pytest.param("resnet20", None, 1, marks=pytest.mark.slow), pytest.param("vgg8", None, 1, marks=pytest.mark.slow),
    pytest.param("mobilenetv2", None, 1, marks=pytest.mark.slow),
])  # fmt: skip
def test_an_outsider_gets_the_ratios_from_the_files_alone(tmp_path, network, size, images):
    table, rows, others = _read(tmp_path, "rows", "row_pipelined_overlap", images, network, size)
    theirs, maps, _ = _read(tmp_path, "maps", "layer_by_layer", images, network, size)
    machine, memory = table["machine"], table["memory"]
    ours, layers = _live_kb(rows), _live_kb(maps)
    depth = _depths(rows)
    ours["allocated_kb"] = sum(depth.values()) * machine["bank_width"] / 8192
    layers["allocated_kb"] = sum(_depths(maps).values()) * machine["bank_width"] / 8192
    built = max(depth.values()) * machine["banks"] * machine["bank_width"] / 8192
    assert memory["live"] == ours and memory["built_kb"] == built
    baseline = memory["baselines"][LAYERS]
    assert {name: baseline[name] for name in layers} == layers == theirs["memory"]["live"]
    assert baseline["ratios"] == {
        "rows": layers["rows_kb"] / ours["rows_kb"], "live": layers["live_kb"] / ours["live_kb"],
        "allocated": layers["allocated_kb"] / ours["allocated_kb"], "built": layers["allocated_kb"] / built,
    }  # fmt: skip
    for name, found in memory["baselines"].items():
        mine = [row for row in others if row["baseline"] == name]
        lives = _live_kb(mine) | {"allocated_kb": _allocated(mine) / 8192}
        assert {figure: found[figure] for figure in lives} == lives, name
    assert set(memory["baselines"]) == {row["baseline"] for row in others} == set(BASELINES)
    kinds = {row["kind"] for row in rows if row["saved"] == "1"}
    assert kinds <= {kind.value for kind in SAVED}
