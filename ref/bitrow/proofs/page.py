"""The report of a run of claims as a page for the docs: each claim, its domain in full, what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bitrow.markdown import section

PageRow = Mapping[str, Any]

_PAGE = """# Claims

What `bitrow prove claims --{effort}` checks, and what it found: {verdict}.
They took {chunks} chunks and {seconds} seconds of processes{machines}.
`{command}` makes this page again.

A domain stands as the claim's code says it. Under "results" stands how many words were compared, how many bit patterns
a solver's queries range over, or how many cases were tried.{digests}
"""
_DIGESTS = "\nA digest is over the digests of a claim's chunks, each over all its words: equal digests, equal results."


def verdict(row: PageRow) -> str:
    """A claim's verdict, with what a search found."""
    return "; ".join([row["verdict"], *row["notes"]])


def _claims(rows: Sequence[PageRow]) -> Iterator[tuple[str, ...]]:
    for row in rows:
        yield (row["claim"], " ".join(row["clauses"]) or "-", row["statement"], row["method"], row["domain"],
               f"{row['cases']:,}", verdict(row), f"{row['seconds']:,.1f}")  # fmt: skip


def _methods(rows: Sequence[PageRow]) -> Iterator[tuple[str, ...]]:
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        cases, seconds = (sum(row[key] for row in mine) for key in ("cases", "seconds"))
        yield method, str(len(mine)), f"{cases:,}", f"{seconds:,.1f}"
    yield "total", str(len(rows)), "", f"{sum(row['seconds'] for row in rows):,.1f}"


def markdown(found: Mapping[str, Any], command: str) -> str:
    """`command.report` as a page, with the command that makes it."""
    rows = found["claims"]
    held = sum(row["verdict"] == "holds" for row in rows)
    digests = [(row["claim"], f"`{row['digest']}`") for row in rows if row["digest"]]
    lines = [
        _PAGE.format(
            effort=found["effort"],
            verdict=f"{held} of {len(rows)} hold",
            chunks=f"{sum(row['chunks'][0] for row in rows):,}",
            seconds=f"{sum(row['seconds'] for row in rows):,.0f}",
            machines=f" on {'; '.join(found['machines'])}" if found["machines"] else "",
            command=command,
            digests=_DIGESTS if digests else "",
        )
    ]
    lines += section("By method", ("method", "claims", "results", "seconds"), _methods(rows))
    header = ("claim", "clauses", "statement", "method", "domain", "results", "verdict", "seconds")
    lines += section("By claim", header, _claims(rows))
    lines += section("Digests", ("claim", "SHA-256"), digests)
    lines += section("Versions", ("what", "version"), [(name, f"`{text}`") for name, text in found["versions"].items()])
    return "\n".join(lines)
