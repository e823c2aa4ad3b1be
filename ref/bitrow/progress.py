"""A progress bar on standard error, where that is a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol

from bitrow import terminal


class Advance(Protocol):
    """Called after each step with its name, and with the number of steps where it was not known before."""

    def __call__(self, name: str, total: int | None = None) -> None: ...


def _silent(name: str, total: int | None = None) -> None:
    """The bar that is not shown."""


@contextlib.contextmanager
def bar(task: str, total: int | None, quiet: bool) -> Iterator[Advance]:
    """A bar of `total` steps; nothing where `quiet` or where standard error is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield _silent
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=terminal.console(stderr=True), transient=True) as progress:
        handle = progress.add_task(task, total=total)

        def advance(name: str, total: int | None = None) -> None:
            if total is not None:
                progress.update(handle, total=total)
            progress.update(handle, advance=1, description=terminal.plain(f"{task} {name}", 200))

        yield advance
