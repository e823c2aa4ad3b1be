"""What `bitrow prove mutants` does, as a function of plain arguments; no command-line parsing here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bitrow import terminal
from bitrow.errors import BitrowError
from bitrow.faults import catalogue
from bitrow.files import check_outputs, write_report, write_text
from bitrow.proofs.mutants import report
from bitrow.terminal import Column

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

COMMAND = "bitrow prove mutants --markdown docs/mutants.md"


def mutants(
    folders: Sequence[Path],
    *,
    json_file: Path | None = None,
    markdown: Path | None = None,
    quiet: bool = False,
    console: Console | None = None,
) -> bool:
    """Judge every mutant by the sets in `folders` and by all properties, and print what finds it.

    `json_file` "-" prints the report as JSON instead of tables. Returns whether every mutant is found by what must
    find it: one of the datapath by a case of the set, one of the row pipeline by a property.

    Raises:
        BitrowError: a folder without a set, a set that differs from the sound oracle; a file that cannot be written.
    """
    from bitrow.progress import bar

    for folder in folders:
        if not folder.is_dir():
            raise BitrowError(f"{folder}: found no vector set, expected one there or at --set DIR")
    check_outputs({"--json": json_file, "--markdown": markdown}, folders)
    with bar("mutants", len(catalogue.MUTANTS), quiet) as advance:
        found = report.run(folders, catalogue.MUTANTS, advance)
    if markdown is not None:
        write_text(markdown, report.markdown(found, COMMAND))
    write_report(json_file, report.to_json(found))
    if str(json_file) != "-":
        _print(found, console)
    return not found.survivors


def _print(found: report.MutantReport, console: Console | None) -> None:
    console = console or terminal.console()
    for title, header, rows in report.TABLES:
        terminal.put_table(_table(title, header, [row for row in rows(found) if title != "Cases" or row[2]]), console)
    terminal.put_line(report.summary(found), console)
    if found.survivors:
        terminal.put_line(f"survivors: {', '.join(found.survivors)}", console, style="bold red")


def _table(title: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    shown = title if title != "Cases" else "Cases that alone find a mutant"
    table = terminal.table(shown, [Column(name) for name in header])
    for row in rows:
        terminal.add_row(table, row, style="bold red" if "SURVIVES" in row else "")
    return table
