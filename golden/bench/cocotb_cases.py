"""The cocotb bench: a test for each covered case, of drivers and monitors with seeded pauses.

It needs cocotb 2 and a plan (`cocotb_plan.py`), no bitrow.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, First, RisingEdge, Timer

PLANS = json.loads(Path(os.environ["BENCH_PLAN"]).read_text())
TOLD = Path(os.environ["BENCH_TOLD"])
SEED, STALLS = int(os.environ["BENCH_SEED"]), int(os.environ["BENCH_STALLS"]) / 100
RESTS = int(os.environ["BENCH_RESTS"])
IDLE = 200_000  # ns without a word: no sum takes that long


def words(path: str) -> list[int]:
    return [int(line, 16) for line in Path(path).read_text().split()]


async def load(dut: Any, loads: list[tuple[int, str]]) -> None:
    """Write parameters, a word a cycle."""
    for kind, path in loads:
        for at, word in enumerate(words(path)):
            dut.p_write.value, dut.p_kind.value, dut.p_at.value, dut.p_word.value = 1, kind, at, word
            await FallingEdge(dut.clk)
    dut.p_write.value = 0


async def drive(dut: Any, operands: list[list[int]], row: int, pauses: random.Random) -> None:
    """Give each element once; the design may make us wait, and we pause of our own accord, and rest behind a row."""
    for at in range(len(operands[0])):
        for _ in range(RESTS if row and at and at % row == 0 else 0):
            dut.in_valid.value = 0
            await FallingEdge(dut.clk)
        while pauses.random() < STALLS:
            dut.in_valid.value = 0
            await FallingEdge(dut.clk)
        dut.in_data.value = sum(operand[at % len(operand)] << 32 * place for place, operand in enumerate(operands))
        dut.in_valid.value = 1
        await taken(dut.clk, dut.in_ready)
    dut.in_valid.value = 0


async def taken(clk: Any, ready: Any) -> None:
    """Wait for a rising edge of the clock that finds the other side ready; return on the falling edge behind it."""
    while True:
        await Timer(1, "ns")  # behind the falling edge: what we gave has settled
        if ready.value == 1:
            await FallingEdge(clk)
            return
        await RisingEdge(ready)
        if clk.value == 1:  # else it rose with the sink, and counts at this very cycle's edge
            await FallingEdge(clk)


async def accept(dut: Any, pauses: random.Random) -> None:
    """Be ready, but not always."""
    while True:
        dut.out_ready.value = int(pauses.random() >= STALLS)
        await FallingEdge(dut.clk)


async def watch(dut: Any, taps: list[dict[str, Any]], found: dict[str, list[int]], wanted: int) -> None:
    """Collect what passes at rising edges, until all words are there."""
    while sum(map(len, found.values())) < wanted:
        await Timer(2, "ns")  # behind the falling edge: the drivers' words have settled
        beside, out = dut.mid_valid.value == 1, dut.out_valid.value == 1 and dut.out_ready.value == 1
        for bus, passes in ((dut.mid_data, beside), (dut.out_data, out)):
            if passes:
                word = bus.value
                for tap in taps:
                    if tap["beside"] == (bus is dut.mid_data):
                        found[tap["tensor"]].append(cut(word, tap["slot"], tap["bits"]))
        await FallingEdge(dut.clk)


def cut(bus: Any, slot: int, bits: int) -> int:
    """A tap's bits of a bus; an undriven bit makes all of them -1."""
    try:
        return int(bus) >> 32 * slot & ((1 << bits) - 1)
    except ValueError:
        text = str(bus)[::-1][32 * slot : 32 * slot + bits][::-1]
        return int(text, 2) if set(text) <= {"0", "1"} else -1


def judge(plan: dict[str, Any], found: dict[str, list[int]]) -> int:
    """Dump what was found, tell the first word of each tensor that is wrong, and how many are."""
    wrong, missing = 0, False
    lines = []
    for tap in plan["taps"]:
        golden, mine = words(tap["golden"]), found[tap["tensor"]]
        digits = -(-tap["bits"] // 4)
        text = ["x" * digits if word < 0 else f"{word:0{digits}x}" for word in mine]
        if tap["dump"]:
            Path(tap["dump"]).write_text("".join(f"{word}\n" for word in text))
        differing = [i for i, (one, other) in enumerate(zip(mine, golden, strict=False)) if one != other]
        if differing:
            at = differing[0]
            lines.append(f"{tap['tensor']}: word {at} is {text[at]}, expected {golden[at]:0{digits}x}")
        if len(mine) != len(golden):
            lines.append(f"{tap['tensor']}: {len(mine)} words, expected {len(golden)}")
            missing = True
        wrong += len(differing)
    count = sum(map(len, found.values()))
    lines.append(f"case {plan['case']}: {count} words, {wrong} wrong{', not all there' if missing else ''}")
    with TOLD.open("a") as told:
        told.write("".join(f"{line}\n" for line in lines))
    return wrong + missing


@cocotb.test()
@cocotb.parametrize(number=range(len(PLANS)))
async def case(dut: Any, number: int) -> None:
    plan, pauses = PLANS[number], random.Random(f"{SEED} {PLANS[number]['case']}")
    found: dict[str, list[int]] = {tap["tensor"]: [] for tap in plan["taps"]}
    dut.rst.value, dut.at.value, dut.p_write.value, dut.in_valid.value, dut.out_ready.value = 1, number, 0, 0, 0
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    for _ in range(3):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    await load(dut, plan["loads"])
    wanted = sum(len(words(tap["golden"])) for tap in plan["taps"])
    watching = cocotb.start_soon(watch(dut, plan["taps"], found, wanted))
    cocotb.start_soon(accept(dut, pauses))
    cocotb.start_soon(drive(dut, [words(path) for path in plan["operands"]], plan["row"], pauses))
    before = -1
    while not watching.done() and before != sum(map(len, found.values())):
        before = sum(map(len, found.values()))
        await First(watching, Timer(IDLE, "ns"))
    assert judge(plan, found) == 0, f"{plan['case']}: see what was told"
