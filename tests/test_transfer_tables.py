"""Tables of results: paired differences against a hand-worked sample, and what the files hold."""

from __future__ import annotations

import pytest

from bitrow.transfer import command, tables
from bitrow.transfer.kept import Run
from bitrow.transfer.tables import Cell

COST = {"trainable": 1234, "saved_kib": 2.5, "optimizer_kib": 9.64, "energy_per_image_uj_low": 0.156,
        "energy_per_image_uj_high": 0.21, "host_total_uj_low": 1, "host_total_uj_high": 2}  # fmt: skip


def cell(
    numerics: str, *accuracy: float, policy: str = "last_1", kept: tuple[float | None, float | None] = (None, None)
) -> Cell:
    runs = (Run(policy, numerics, i, a, "", [], COST, *kept) for i, a in enumerate(accuracy))
    return Cell(policy, numerics, tuple(runs))


CELLS = [cell("float32", 0.80, 0.70, 0.90, 0.60), cell("bit_accurate", 0.79, 0.68, 0.87, 0.60, kept=(0.972, 0.613))]


def test_differences_are_paired_by_seed():
    """-1, -2, -3, 0 points: mean -1.5, deviation sqrt(5/3); t of three degrees at 97.5% is 3.18245 (any table)."""
    (found,) = tables.differences([*CELLS, cell("float32", 0.5, policy="head"), cell("simulated", 0.5, policy="head")])
    half = 3.182446 * (5 / 3) ** 0.5 / 2
    assert (found.policy, found.numerics, found.reference, found.seeds) == ("last_1", "bit_accurate", "float32", 4)
    assert found.mean == pytest.approx(-1.5)
    assert (found.low, found.high) == (pytest.approx(-1.5 - half, rel=1e-6), pytest.approx(-1.5 + half, rel=1e-6))
    assert found.high > 0  # unpaired means 1.5 apart would look like a loss


def test_tables_in_markdown_and_latex():
    heading = tables.title(4, 1797)
    assert heading == "Accuracy on 1,797 images of the target, %, mean ± deviation over 4 seeds"
    lines, costs = tables.markdown(CELLS, heading).splitlines(), "1,234 | 2.50 | 0.16 to 0.21 | 1.00 to 2.00 | 9.64 |"
    kept = "-1.5 [-3.6, +0.6] | 61.3 of 97.2"
    assert lines[0].startswith(heading) and lines[-1] == f"| `last_1` | bit_accurate | 73.5 ± 11.9 | {kept} | {costs}"
    assert len({line.count("|") for line in lines[2:]}) == 1
    assert lines[-2] == f"| `last_1` | float32 | 75.0 ± 12.9 |  |  | {costs}"  # no source, no difference
    latex = tables.latex(CELLS, heading)
    row = rf"last\_1 & bit\_accurate & 73.5 $\pm$ 11.9 & {kept} | {costs[:-2]} \\".replace(" | ", " & ")
    assert row in latex and r"host $\mu$J" in latex and r"95\% intervals" in latex
    assert r"\caption{Accuracy on 1,797 images of the target, \%, mean $\pm$ deviation" in latex
    assert latex.count("{") == latex.count("}")


def test_numerics_that_cost_the_same_share_a_row():
    """What a row runs on is named; accuracies stand in a table of their own, with the source's where there is one."""
    sizes = {"weights_kib": 1, "macs_forward": 2e6, "macs_backward": 0, "fp_forward": 0, "fp_backward": 3e6}
    alone = COST | sizes | {"machine": "float32 operations alone"}
    there = COST | sizes | {"machine": "accelerator"}
    cells = [Cell("bias", name, (Run("bias", name, 0, 0.5, "", [], cost, 0.9, 0.8),))
             for name, cost in (("float32", alone), ("simulated", there), ("bit_accurate", there))]  # fmt: skip
    costs, scores = command.cost_table(cells), command.table(cells, [cell.numerics for cell in cells], 9)
    assert [list(column.cells)[:2] for column in costs.columns][1:3] == [
        ["float32", "simulated, bit_accurate"], ["float32 operations alone", "accelerator"],
    ]  # fmt: skip
    assert costs.row_count == 2 and list(costs.columns[6].cells)[1] == "2.00 + 0.00"
    first = [next(iter(column.cells)) for column in scores.columns]
    assert first == ["bias", *["50.0 ± 0.0"] * 3, *["80.0 of 90.0"] * 3]
