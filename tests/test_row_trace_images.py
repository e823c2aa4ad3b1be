"""Images of banks (SPEC.md V6): formats, cycles, places of rows, and the runs that have none."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bitrow import zoo
from bitrow.errors import BitrowError
from bitrow.pipeline.lifetimes import placed
from bitrow.pipeline.machine import Mac, Mapping, Packing, RingRule
from bitrow.pipeline.policies import layer_by_layer
from bitrow.pipeline.schedule import schedule
from bitrow.vectors.trace.formats import ImageFormat, image_chunks, poison
from bitrow.vectors.trace.memory import depth_of
from bitrow.vectors.trace.record import check_traceable
from bitrow.vectors.trace.write import image_cycles
from row_engine import read_image
from row_trace_samples import MACHINE, NETWORK, run


def _from_intel_hex(text: str, size: int) -> list[int]:
    content: dict[int, int] = {}
    upper = 0
    for line in text.split():
        record = bytes.fromhex(line.removeprefix(":"))
        assert sum(record) & 0xFF == 0 and record[0] == len(record) - 5
        address, kind, data = int.from_bytes(record[1:3], "big"), record[3], record[4:-1]
        if kind == 4:
            upper = int.from_bytes(data, "big") << 16
        content |= {upper + address + at: byte for at, byte in enumerate(data)} if kind == 0 else {}
    flat = bytes(content[at] for at in range(len(content)))
    return [int.from_bytes(flat[at : at + size], "little") for at in range(0, len(flat), size)]


def _from_mif(text: str, size: int) -> list[int]:
    assert re.match(r"DEPTH = \d+;\nWIDTH = \d+;\nADDRESS_RADIX = HEX;\nDATA_RADIX = HEX;\nCONTENT BEGIN\n", text)
    assert text.endswith("END;\n")
    found = re.findall(r"^([0-9a-f]+) : ([0-9A-F]+);$", text, re.M)
    assert [int(address, 16) for address, _ in found] == [*range(len(found))]
    return [int(word, 16) for _, word in found]


def _from_coe(text: str, size: int) -> list[int]:
    head, _, vector = text.partition("memory_initialization_vector=\n")
    assert head == "memory_initialization_radix=16;\n" and vector.endswith(";\n")
    return [int(word, 16) for word in vector.rstrip(";\n").split(",\n")]


@pytest.mark.parametrize("width", [8, 12, 32, 100, 256])
def test_every_format_holds_the_same_words(width: int, tmp_path: Path) -> None:
    """Words that nothing has written are x in $readmemh, and dead in the others."""
    words: list[int | None] = [(0x9E3779B97F4A7C15 * (at + 1) ** 5) % (1 << width) for at in range(5000)]
    words[1::7] = [None] * len(words[1::7])
    expected = [poison(width) if word is None else word for word in words]
    assert f"{poison(32):x}" == "deaddead" and poison(width) < 1 << width
    texts = {kind: b"".join(image_chunks(words, width, kind)).decode() for kind in ImageFormat}
    (tmp_path / "bank.hex").write_text(texts[ImageFormat.READMEMH])
    assert read_image(tmp_path / "bank.hex") == {at: word for at, word in enumerate(words) if word is not None}
    readers = {ImageFormat.INTEL_HEX: _from_intel_hex, ImageFormat.MIF: _from_mif, ImageFormat.COE: _from_coe}
    for kind, reader in readers.items():
        assert reader(texts[kind], -(-width // 8)) == expected, kind


def test_cycles_of_images_are_those_that_are_asked_for() -> None:
    found = run()
    places = placed(found)
    assert image_cycles(found, places, ("7", "0", "7")) == (0, 7)
    assert image_cycles(found, places, ("ends",)) == tuple(sorted(set(found.end.tolist())))
    (peak,) = image_cycles(found, places, ("peak",))
    rows = places.rows

    def held(cycle: int) -> int:
        return int(rows.bits[(rows.written <= cycle) & (cycle < rows.dies)].sum())

    assert held(peak) == max(map(held, range(found.cycles))) > held(peak - 1)
    with pytest.raises(BitrowError, match=rf"at: found {found.cycles + 1}, expected a cycle from 0 to {found.cycles}"):
        image_cycles(found, places, ("3", str(found.cycles + 1)))
    many = run(banks=512, shared=False)
    with pytest.raises(BitrowError, match="images of banks, expected at most 65,536"):
        image_cycles(many, placed(many), ("ends",))


@pytest.mark.parametrize("rule", [RingRule.K_PLUS_S, RingRule.UNBOUNDED])
def test_rings_with_slots_of_their_own_share_no_word(rule: RingRule) -> None:
    """Each slot has its place for the whole run."""
    rows, address, depth = placed(run(packing=Packing.RINGS, ring_rule=rule))
    owners = {}
    for at in range(len(address)):
        for word in range(int(address[at]), int(address[at] + rows.words[at])):
            owner = int(rows.ring[at]), int(rows.slot[at])
            assert owners.setdefault((int(rows.bank[at]), word), owner) == owner
            assert word < depth[rows.bank[at]]
    assert len(owners) == depth.sum()


def test_a_run_without_words_of_the_contract_or_banks_has_no_trace() -> None:
    with pytest.raises(BitrowError, match="mac: found fp16, expected fxp"):
        check_traceable(run(mac=Mac.FP16))
    with pytest.raises(BitrowError, match="found layer_by_layer, expected one with rows in banks"):
        check_traceable(schedule(NETWORK, MACHINE, layer_by_layer))
    with pytest.raises(BitrowError, match="book_banks: found False"):
        check_traceable(schedule(NETWORK, MACHINE, book_banks=False))
    depthwise = schedule(zoo.build("mobilenetv2", (16, 16, 3)), replace(MACHINE, mapping=Mapping.BEST))
    with pytest.raises(BitrowError, match=r"mapping: found channel at \w+, whose rows lie group by group"):
        check_traceable(depthwise)
    with pytest.raises(BitrowError, match="images_at_once: found 2, expected 1 for a trace"):
        check_traceable(schedule(NETWORK, replace(MACHINE, images_at_once=2), images=2))
    assert check_traceable(run(mapping=Mapping.SPLIT))


def test_banks_too_large_for_images_are_refused() -> None:
    """SPEC.md V6: at most 4 million words and a billion bits."""
    for fields in ({"bank_depth": 1 << 40}, {"bank_width": 1 << 40}):
        found = run(**fields)
        with pytest.raises(BitrowError, match="expected at most 4,194,304 words and 1,073,741,824 bits in all"):
            depth_of(found, placed(found))
