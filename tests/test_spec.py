"""SPEC.md is complete: every clause says where it comes from, some test cites it, and its programs are what runs."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from bitrow.contract.interpreter import KNOWN
from bitrow.contract.operations import OPERATIONS

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


PROGRAMS = re.findall(r"^```contract (.+)\n((?:.*\n)*?)```$", SPEC, re.MULTILINE)


def shown() -> dict[str, str]:
    """The text of each program in SPEC.md, by its name."""
    found: dict[str, str] = {}
    for names, text in PROGRAMS:
        parts = text.rstrip("\n").split("\n\n")
        for name, part in zip(names.split(", "), parts, strict=True):
            assert name not in found, name
            found[name] = part
    return found


def test_the_specification_is_what_runs() -> None:
    """The lines below the clauses are the lines that the interpreter runs, all of them, word for word."""
    run = {
        operation.program.name: textwrap.dedent(operation.program.text).strip("\n").rstrip()
        for operation in OPERATIONS
    }
    assert shown() == {name: "\n".join(line.rstrip() for line in text.splitlines()) for name, text in run.items()}


def test_every_operation_of_a_line_is_explained() -> None:
    notation = SPEC[SPEC.index("### Programs") : SPEC.index("## F.")]
    words = set(re.findall(r"[a-z_0-9]+", " ".join(re.findall(r"`([^`]+)`", notation))))
    assert words >= KNOWN
