"""SPEC.md is complete: every clause says where it comes from, and some test cites it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPEC = (ROOT / "SPEC.md").read_text()
CLAUSES = re.findall(r"^\*\*([A-Z]\d+)\*\*", SPEC, re.MULTILINE)
CITATION = re.compile(r"SPEC\.md((?:[ ,]|and|to|[A-Z]\d+)+)")


def cited() -> set[str]:
    """Clauses that follow a "SPEC.md" in the tests; "F3 to F6" counts as its ends, "F3, F5" as both."""
    found: set[str] = set()
    for path in (ROOT / "tests").glob("test_*.py"):
        if path.name == Path(__file__).name:
            continue
        for group in CITATION.findall(path.read_text()):
            found.update(re.findall(r"[A-Z]\d+", group))
    return found


def test_clauses_are_numbered_without_gaps() -> None:
    for letter in dict.fromkeys(c[0] for c in CLAUSES):
        numbers = [int(c[1:]) for c in CLAUSES if c[0] == letter]
        assert numbers == list(range(1, len(numbers) + 1)), letter


@pytest.mark.parametrize("clause", CLAUSES)
def test_clause_names_its_source(clause: str) -> None:
    line = next(line for line in SPEC.splitlines() if line.startswith(f"**{clause}**"))
    assert re.match(rf"\*\*{clause}\*\* \*\[(from the paper|our choice)", line), line


@pytest.mark.parametrize("clause", CLAUSES)
def test_clause_is_cited_by_a_test(clause: str) -> None:
    assert clause in cited()


def test_citations_name_existing_clauses() -> None:
    assert cited() <= set(CLAUSES)
