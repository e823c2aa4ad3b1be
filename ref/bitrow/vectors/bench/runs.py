"""The user's command on a vector set: passes, fails, or takes too long. And the set that it is given, to be changed.

Standard library and numpy only.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bitrow import leave, tools
from bitrow.errors import BitrowError
from bitrow.reading import records
from bitrow.vectors.case import Case
from bitrow.vectors.files import schema, store

VARIABLE = "BITROW_SET"  # the environment variable that names the set
PLACE = "{}"  # what stands for the set in the command


class Ending(enum.Enum):
    """How the command ended."""

    PASSES = "passes"
    FAILS = "fails"
    HANGS = "hangs"


class Bench:
    """A command that checks a design against the set that it is given, and says by its exit status what it found."""

    def __init__(self, command: Sequence[str], seconds: float) -> None:
        if not command:
            raise BitrowError("command: found none, expected the command that runs the bench, behind --")
        self.command, self.seconds = tuple(command), seconds

    def run(self, folder: Path) -> Ending:
        """Run the command on a set; 0 is a pass. What it prints is not shown.

        Raises:
            BitrowError: the command cannot be started.
        """
        arguments = [part.replace(PLACE, str(folder)) for part in self.command]
        try:
            process = subprocess.Popen(
                arguments, env={**os.environ, VARIABLE: str(folder)}, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BitrowError(f"command {arguments[0]}: cannot be started: {reason}") from None
        with leave.undoing(functools.partial(tools.end, process)):
            try:
                return Ending.FAILS if process.wait(self.seconds) else Ending.PASSES
            except subprocess.TimeoutExpired:
                return Ending.HANGS
            finally:
                tools.end(process)


class WorkingSet:
    """A copy of a set, `folder`, in which some cases are replaced for a while; always a sound set with checksums."""

    def __init__(self, source: Path, room: Path) -> None:
        self.source, self.room, self.folder = source, room, room / "set"
        with _writing(room):
            shutil.copytree(source, self.folder)

    def _restore(self, names: Iterable[str]) -> None:
        with _writing(self.room):
            for name in names:
                shutil.rmtree(self.folder / name, ignore_errors=True)
                shutil.copytree(self.source / name, self.folder / name)
            shutil.copyfile(self.source / schema.MANIFEST, self.folder / schema.MANIFEST)

    @contextlib.contextmanager
    def holding(self, cases: Iterable[Case]) -> Iterator[Path]:
        """The folder, with these cases in the place of those of their names."""
        manifest = schema.read_manifest(self.source)
        changed = one_set(self.room / "changed", cases, manifest)
        files = schema.read_manifest(changed)
        for name in files.cases:
            with _writing(self.room):
                shutil.rmtree(self.folder / name)
                (changed / name).rename(self.folder / name)
        shutil.rmtree(changed)
        merged = replace(
            manifest, files={**manifest.files, **files.files},
            certificates={**manifest.certificates, **files.certificates},
        )  # fmt: skip
        with _writing(self.room):
            (self.folder / schema.MANIFEST).write_bytes(schema.to_json(records.write(merged)))
        try:
            yield self.folder
        finally:
            self._restore(files.cases)


@contextlib.contextmanager
def _writing(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BitrowError(f"{place}: cannot be written: {error.strerror or error}") from error


def one_set(out: Path, cases: Iterable[Case], like: schema.Manifest) -> Path:
    """A set of these cases, of the versions and seed of another one.

    Raises:
        BitrowError: as `store.write_set`.
    """
    extra = {"seed": like.seed, "versions": records.write(like.versions), "coverage": {}}
    store.write_set(out, cases, extra)
    return out
