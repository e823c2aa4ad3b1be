"""The committed table of claims is that of the registry, with the sizes of the whole domains (SPEC.md E1 to E4, F2)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bitrow.proofs import registry
from bitrow.proofs.claim import Effort
from bitrow.proofs.exhaustive import dequantize, fma, kernels, pairs, words

PAGE = Path(__file__).parents[1] / "docs" / "claims.md"
COLUMNS = ("claim", "clauses", "statement", "method", "domain", "results", "verdict", "seconds")


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, str]]:
    """The table's rows by claim."""
    table = PAGE.read_text().partition("## By claim")[2].partition("\n## ")[0]
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines() if line.startswith("| ")]
    cells = [[cell.strip().replace(r"\|", "|") for cell in line] for line in lines]
    assert tuple(cells[0]) == COLUMNS
    return {line[0]: dict(zip(COLUMNS, line, strict=True)) for line in cells[1:]}


def test_the_table_lists_the_registry(rows: dict[str, dict[str, str]]) -> None:
    """SPEC.md E1: every claim in order, its clauses, statement, method, whole domain as the code says; each holds."""
    claims = registry.claims()
    assert list(rows) == list(claims)
    for name, claim in claims.items():
        row = rows[name]
        assert row["clauses"] == (" ".join(claim.clauses) or "-")
        assert (row["statement"], row["method"]) == (claim.statement, claim.method.value)
        assert row["domain"] == claim.domain(Effort.FULL)
        assert row["verdict"].split(";")[0] == "holds"


def test_the_sizes_are_those_of_the_whole_domains(rows: dict[str, dict[str, str]]) -> None:
    """SPEC.md F2, F10, Q1, D1: results compared, counted apart from the run; totals and chunks add up."""
    counted = {name: int(row["results"].replace(",", "")) for name, row in rows.items()}
    word, modes, roundings = 1 << 16, 20, 5
    expected = {f"fp16.{name}": word * word * modes for name in ("add", "sub", "mul", "div")}
    fractions = len(fma.FRACTIONS[Effort.FULL]) * fma.EXPONENTS
    expected["fp16.fma"] = 2 * fractions * fractions * 2 * fractions * roundings + 13**3 * modes
    expected["fp16.sqrt"], expected["fp16.to_float32"] = word * modes, word * 2
    expected["fp16.from_int32"] = word * word * roundings + words.structured_int32().size * modes
    structured = sum(each.size for each in words.structured_float32())
    expected["fp16.from_float32"] = word * word * roundings + structured * modes
    expected["layer.relu"] = word * 3 * 2
    expected["fxp.quantize"] = word * 3 * ((29 + 56) * 5 * modes + 28_673)  # t, code and mask of each
    assert expected == {name: counted[name] for name in expected}
    assert counted["fxp.dequantize"] > ((1 << 22) + (1 << 20)) * 1024 * roundings + (1 << 24) * len(dequantize.STEPPED)
    assert len(kernels.MODES) == modes and pairs.PER_CHUNK * pairs.CLAIMS[0].chunks(Effort.FULL) == 1 << 15


def test_the_page_says_how_to_make_it() -> None:
    """SPEC.md V4: the command, the versions, and a digest of each exhaustive claim over FP16 words."""
    text = PAGE.read_text()
    assert "`bitrow prove claims --full --markdown docs/claims.md`" in text
    assert f"{len(registry.claims())} of {len(registry.claims())} hold" in text
    chunks = sum(claim.chunks(Effort.FULL) for claim in registry.claims().values())
    assert f"They took {chunks:,} chunks" in text
    for name in ("jax", "numpy", "z3-solver", "source"):
        assert re.search(rf"^\| {name} \| `[^`]+` \|$", text, re.M)
    section = text.partition("## Digests")[2].partition("\n## ")[0]
    digests = re.findall(r"^\| (\S+) \| `[0-9a-f]{64}` \|$", section, re.M)
    assert set(digests) >= {f"fp16.{name}" for name in ("add", "sub", "mul", "div", "fma", "sqrt")}
