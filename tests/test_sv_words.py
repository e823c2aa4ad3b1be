"""`export sv`: every function in a simulator against the oracle, linted, read by yosys (SPEC.md F, Q, M, D, A)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bitrow.export import hardware, hardware_modules
from sv_samples import ranks, samples
from sv_simulators import FOUND, bench, needs_simulator, results, simulate

COUNT = 2000


def agree(folder: Path, tool: str, count: int) -> None:
    """Every function on `count` words in one bench."""
    given = {word: samples(name, count) for name, word in hardware.words().items()}
    (folder / "bitrow_pkg.sv").write_text(hardware.package())
    path = bench(folder, {word: each.operands for word, each in given.items()})
    simulate(tool, folder, "bitrow_pkg.sv", path.name)
    for word, each in given.items():
        found = results(folder, word)
        if word.name == "order":
            assert ranks(found, each.operands[0])
            continue
        wrong = np.flatnonzero(found != each.expected)
        rows = [[hex(int(column[at])) for column in (*each.operands, found, each.expected)] for at in wrong[:3]]
        assert not wrong.size and found.size == count, (word.name, wrong.size, rows)


@needs_simulator
def test_every_function_and_mode(tmp_path: Path) -> None:
    """SPEC.md F2 to F6, F9, F10, Q1 to Q5, M1, M2, D1, D2, A1, A2, A6, A9: directed and drawn words, by the oracle."""
    agree(tmp_path, FOUND[0], COUNT)
