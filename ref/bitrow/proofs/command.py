"""What `bitrow prove claims` does, as functions of plain arguments; no command-line parsing here."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitrow import asides, terminal
from bitrow.executors.team import Where, opened
from bitrow.files import check_outputs, write_report, write_text
from bitrow.proofs import page, recheck, record, registry, runner, saved
from bitrow.proofs.claim import Claim, Counterexample, Effort
from bitrow.proofs.results import Job, Results, file_name, new
from bitrow.terminal import Column

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@dataclass(frozen=True)
class ClaimsRun:
    """What `bitrow prove claims` checks: the claims that `patterns` name, or all.

    An unfinished run of the same kind in the folder `state` is taken up where it stopped, unless `fresh`, wherever it
    ran and whatever `where` says now.
    """

    state: Path
    patterns: Sequence[str] = ()
    effort: Effort = Effort.QUICK
    fresh: bool = False


@dataclass(frozen=True)
class ClaimFiles:
    """Where what was found of claims goes; None: nowhere."""

    json_file: Path | None = None
    markdown: Path | None = None
    record: Path | None = None

    def check(self, inputs: Iterable[Path]) -> None:
        """Refuse files that are read. Raises: BitrowError as `check_outputs`."""
        check_outputs({"--json": self.json_file, "--markdown": self.markdown, "--record": self.record}, inputs)


def prove(
    run: ClaimsRun, files: ClaimFiles = ClaimFiles(), where: Where = Where(), *, quiet: bool = False,
    console: Console | None = None,
) -> bool:  # fmt: skip
    """Check claims, print the table, write what was found; whether every claim holds.

    Raises:
        BitrowError: an unknown claim, an unfinished run of another version, a file that cannot be written, workers
            that end or are not fit.
    """
    claims = registry.select(run.patterns)
    results = new(claims, run.effort)
    target = run.state / file_name(results, not run.patterns)
    partial = target.with_suffix(".partial.json")
    files.check([target, partial])
    with asides.alone(target, "this choice of claims"), opened(where, len(results.jobs())) as team:
        if os.path.lexists(partial) and not run.fresh:
            results = saved.resume(partial, results)
            recheck.recheck(claims, results, f"{partial} (--fresh starts over)", team)
        with progress(results, quiet) as advance:

            def save(job: Job) -> None:
                saved.save(results, partial)
                advance(job)

            runner.run(claims, results, team, save)
        saved.save(results, target)
        partial.unlink(missing_ok=True)
    return show(claims, results, str(target), files, console)


@contextlib.contextmanager
def progress(results: Results, quiet: bool) -> Iterator[Callable[[Job], None]]:
    """A bar of chunks on standard error, where that is a terminal; names the claim that has just advanced."""
    if quiet or not sys.stderr.isatty():
        yield lambda job: None
        return
    from rich import progress as shown

    columns = (shown.TextColumn("{task.description}", markup=False), shown.BarColumn(), shown.MofNCompleteColumn(),
               shown.TimeElapsedColumn(), shown.TimeRemainingColumn())  # fmt: skip
    total = len(results.jobs())
    with shown.Progress(*columns, console=terminal.console(stderr=True), transient=True) as bar:
        task = bar.add_task("prove", total=total, completed=total - len(results.left()))
        yield lambda job: bar.update(task, advance=1, description=f"prove {job.claim}")


def _digest(results: Results, name: str) -> str:
    """SHA-256 over the chunks' digests in hex, in order; "" where the claim has none."""
    texts = [done.outcome.digest for _, done in sorted(results.done.get(name, {}).items())]
    return hashlib.sha256("".join(texts).encode()).hexdigest() if any(texts) else ""


def _counterexample_json(found: Counterexample | None) -> dict[str, Any] | None:
    if found is None:
        return None
    operands = [{"name": name, "word": word, "meaning": meaning} for name, word, meaning in found.operands]
    return {"operands": operands, "found": found.found, "expected": found.expected, "judge": found.judge}


def row(claim: Claim, results: Results) -> dict[str, Any]:
    """One claim of a run, as the table and the JSON report show it."""
    done = [done for _, done in sorted(results.done.get(claim.name, {}).items())]
    false = results.counterexample(claim.name)
    mine = [job for job in results.jobs() if job.claim == claim.name]
    notes = dict.fromkeys(chunk.outcome.note for chunk in done if chunk.outcome.note)
    return {
        "claim": claim.name,
        "statement": claim.statement,
        "clauses": list(claim.clauses),
        "method": claim.method.value,
        "domain": claim.domain(results.effort),
        "chunks": [len(done), len(mine)],
        "cases": sum(chunk.outcome.cases for chunk in done),
        "verdict": "false" if false else "holds" if len(done) == len(mine) else "unfinished",
        "seconds": round(sum(chunk.seconds for chunk in done), 2),
        "digest": _digest(results, claim.name),
        "notes": list(notes),
        "counterexample": _counterexample_json(false),
    }


def report(claims: Mapping[str, Claim], results: Results) -> dict[str, Any]:
    """The JSON report of a run."""
    rows = [row(claims[name], results) for name in results.chunks]
    return {
        "schema": "bitrow-prove-report-1",
        "effort": results.effort.value,
        "versions": dict(results.versions),
        "machines": list(results.machines),
        "holds": bool(rows) and all(row["verdict"] == "holds" for row in rows),
        "claims": rows,
    }


def counterexample_lines(row: Mapping[str, Any]) -> list[str]:
    """A false claim in words."""
    false = row["counterexample"]
    given = ", ".join(f"{o['name']} = {o['word']}" + (f" ({o['meaning']})" if o["meaning"] else "")
                      for o in false["operands"])  # fmt: skip
    return [
        f"{row['claim']} is false: {row['statement']}",
        f"  {given}",
        f"  found {false['found']}, expected {false['expected']}, says the {false['judge']}",
    ]


def _table(found: Mapping[str, Any]) -> Table:
    columns = [Column(name, name in ("cases", "seconds"))
               for name in ("claim", "clauses", "method", "domain", "cases", "verdict", "seconds")]  # fmt: skip
    table = terminal.table(f"bitrow prove claims --{found['effort']}", columns)
    for line in found["claims"]:
        verdict = page.verdict(line)
        style = {"holds": "", "false": "bold red"}.get(line["verdict"], "yellow")
        clauses = " ".join(line["clauses"])
        cells = (line["claim"], clauses, line["method"], line["domain"], f"{line['cases']:,}", verdict,
                 f"{line['seconds']:.1f}")  # fmt: skip
        terminal.add_row(table, cells, style)
    table.add_section()
    total = sum(line["seconds"] for line in found["claims"])
    cases = sum(line["cases"] for line in found["claims"])
    terminal.add_row(table, ("total", "", "", "", f"{cases:,}", "", f"{total:.1f}"))
    return table


def show(
    claims: Mapping[str, Claim],
    results: Results,
    where: str,
    files: ClaimFiles,
    console: Console | None,
) -> bool:
    """Print the table and each counterexample, or the JSON where it goes to standard output; whether all hold."""
    found = report(claims, results)
    write_report(files.json_file, found)
    if files.markdown is not None:
        chosen = [] if list(results.chunks) == list(registry.claims()) else [f"'{name}'" for name in results.chunks]
        command = " ".join(["bitrow prove claims", *chosen, f"--{results.effort.value} --markdown {files.markdown}"])
        write_text(files.markdown, page.markdown(found, command))
    recorded = record.append(found["claims"], files.record) if files.record is not None else []
    if str(files.json_file) == "-":
        return found["holds"]
    console = console or terminal.console()
    terminal.put_table(_table(found), console)
    for line in found["claims"]:
        if line["counterexample"]:
            for text_line in counterexample_lines(line):
                terminal.put_line(text_line, console)
    for text_line in (*recorded, f"results in {where}"):
        terminal.put_line(text_line, console)
    return found["holds"]
