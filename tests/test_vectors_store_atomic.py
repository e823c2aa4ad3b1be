"""A vector set appears whole or not at all, and nothing that exists is lost (SPEC.md V5)."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bitrow.errors import BitrowError
from bitrow.vectors.files import atomic, store
from bitrow.vectors.files.check import check
from vectors_samples import EXTRA, conv_case, frozen_case, write

TESTS = Path(__file__).parent

WRITER = """
import os, signal, sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from vectors_samples import EXTRA, conv_case, frozen_case
from bitrow.vectors.files import atomic, owned, store

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def cases():
    yield conv_case("one")
    yield frozen_case("two")
    print("half", flush=True)
    {between}
    yield conv_case("three")

{before}
store.write_set(Path({out!r}), cases(), EXTRA, force={force})
print("done", flush=True)
"""


def writer(out: Path, force: bool, between: str = "pass", before: str = "") -> subprocess.Popen[str]:
    """A process that writes a set of three cases; `between` and `before` are code that it runs."""
    code = WRITER.format(tests=str(TESTS), out=str(out), force=force, between=between, before=before)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code], text=True, **pipes)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def leftovers(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.name.startswith(".")]


def test_kill_while_writing_leaves_nothing(tmp_path: Path) -> None:
    """SPEC.md V5: killed half way, there is no set; the next run cleans up and writes one."""
    out = tmp_path / "set"
    process = writer(out, False, between="die()")
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not out.exists()
    (partial,) = leftovers(tmp_path)
    assert partial.name.startswith(".set.bitrow-partial-") and (partial / "two").is_dir()
    write(out)
    assert check(out) == [] and leftovers(tmp_path) == []


def test_kill_while_replacing_keeps_the_old_set(tmp_path: Path) -> None:
    """SPEC.md V5: killed half way through --force, the old set is whole and untouched."""
    out = write(tmp_path / "set", frozen_case())
    before = contents(out)
    process = writer(out, True, between="die()")
    process.communicate()
    assert process.returncode == -signal.SIGKILL and contents(out) == before
    write(out, conv_case(), force=True)
    assert check(out) == [] and store.case_names(out) == ["conv"] and leftovers(tmp_path) == []


STAGES = {
    "after sync": "atomic._sync = lambda folder: die()",
    "before exchange": "atomic.exchange = lambda a, b: die()",
    "after exchange": "swap = atomic.exchange; atomic.exchange = lambda a, b: (swap(a, b), die())",
    "while deleting the old one": "atomic.owned.remove = lambda *a, **k: die()",
    "between two renames": (
        "atomic.exchange = lambda a, b: False; move = os.rename; "
        "os.rename = lambda a, b: (move(a, b), str(b).endswith('bitrow-previous') and die())"
    ),
}


@pytest.mark.parametrize("stage", STAGES)
def test_kill_at_each_stage_of_a_replacement(tmp_path: Path, stage: str) -> None:
    """SPEC.md V5: killed anywhere in the swap, the old or new set is there; a next run mends the rest."""
    out = write(tmp_path / "set", frozen_case())
    before = contents(out)
    process = writer(out, True, before=STAGES[stage])
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    if stage == "between two renames":
        assert not out.exists()
        with pytest.raises(BitrowError), atomic.new_folder(out, True):
            raise BitrowError("only to clean up")
    assert check(out) == []
    assert contents(out) == before or store.case_names(out) == ["one", "two", "three"]
    write(out, conv_case(), force=True)
    assert check(out) == [] and store.case_names(out) == ["conv"] and leftovers(tmp_path) == []


def test_two_runs_at_once(tmp_path: Path) -> None:
    """SPEC.md V5: a run does not delete what another one is still writing."""
    out = tmp_path / "set"
    process = writer(out, False, between="sys.stdin.read()")
    try:
        assert process.stdout is not None and process.stdout.readline() == "half\n"
        write(out, frozen_case())
        assert len(leftovers(tmp_path)) == 1
        before = contents(out)
    finally:
        process.terminate()
        process.communicate()
    assert contents(out) == before


def test_the_slower_of_two_runs_is_refused(tmp_path: Path) -> None:
    """SPEC.md V5: a set that appeared meanwhile is not overwritten."""
    out = tmp_path / "set"

    def cases():
        yield conv_case()
        write(out, frozen_case())

    with pytest.raises(BitrowError, match="appeared meanwhile"):
        store.write_set(out, cases(), EXTRA)
    assert store.case_names(out) == ["frozen"] and leftovers(tmp_path) == []


def test_a_failing_producer_leaves_nothing(tmp_path: Path) -> None:
    """SPEC.md V5: whatever the cases raise, no new set appears and the old one stays."""
    out = write(tmp_path / "set", frozen_case())
    before = contents(out)

    def cases():
        yield conv_case()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write_set(out, cases(), EXTRA, force=True)
    with pytest.raises(KeyboardInterrupt):
        store.write_set(tmp_path / "new", cases(), EXTRA)
    assert contents(out) == before and [p.name for p in tmp_path.iterdir()] == ["set"]


def test_replacement_without_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md V5: where names cannot be swapped in one step, two renames do."""
    monkeypatch.setattr(atomic, "exchange", lambda source, target: False)
    out = write(tmp_path / "set", frozen_case())
    write(out, conv_case(), force=True)
    assert store.case_names(out) == ["conv"] and check(out) == [] and leftovers(tmp_path) == []


def refused(out: Path, force: bool = False) -> str:
    with pytest.raises(BitrowError) as caught:
        write(out, frozen_case(), force=force)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_existing_folders_are_refused(tmp_path: Path) -> None:
    """SPEC.md V5: sets need --force; other folders and files are refused with it, too."""
    out = write(tmp_path / "set", frozen_case())
    before = contents(out)
    assert "use --force" in refused(out)
    (out / "notes.txt").write_text("mine")
    assert "notes.txt, which is no part of the vector set" in refused(out, force=True)
    (out / "notes.txt").unlink()
    (out / "frozen" / "deep").mkdir()
    assert "frozen/deep/, which is no part" in refused(out, force=True)
    (out / "frozen" / "deep").rmdir()
    assert contents(out) == before
    other = tmp_path / "photos"
    other.mkdir()
    (other / "cat.jpg").write_bytes(b"meow")
    assert "not a vector set" in refused(other, force=True) and "found an existing folder" in refused(other)
    (other / "manifest.json").write_text("{}")
    assert "not a vector set" in refused(other, force=True)
    assert (other / "cat.jpg").read_bytes() == b"meow"
    plain = tmp_path / "file"
    plain.write_text("mine")
    assert "found a file" in refused(plain, force=True) and plain.read_text() == "mine"
    assert leftovers(tmp_path) == []


def test_a_symbolic_link_keeps_pointing(tmp_path: Path) -> None:
    """SPEC.md V5: replacing through a link replaces the set, not the link."""
    write(tmp_path / "real", frozen_case())
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link", conv_case(), force=True)
    assert (tmp_path / "link").is_symlink() and store.case_names(tmp_path / "real") == ["conv"]


def test_an_empty_folder_may_be_replaced(tmp_path: Path) -> None:
    """SPEC.md V5: an empty folder holds nothing to lose, but only --force takes it."""
    (tmp_path / "set").mkdir()
    assert "found an existing folder" in refused(tmp_path / "set")
    write(tmp_path / "set", frozen_case(), force=True)
    assert check(tmp_path / "set") == []


def test_parents_that_cannot_be_written(tmp_path: Path) -> None:
    """SPEC.md V5: no parent, a file as parent, a parent without permission: one line each."""
    assert "found no folder" in refused(tmp_path / "no" / "set")
    (tmp_path / "file").write_text("")
    assert "found no folder" in refused(tmp_path / "file" / "set")
    if os.geteuid() == 0:
        locked = Path("/proc/self")  # the one place where the superuser cannot create files either
    else:
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)
    assert "cannot be written" in refused(locked / "set")


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """SPEC.md V5: a file that cannot grow ends in one line and without a set."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for size in (100, 700, 2000, 5000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
        try:
            with pytest.raises(BitrowError, match="set: cannot be written: File too large"):
                write(tmp_path / "set", conv_case(), frozen_case())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert list(tmp_path.iterdir()) == []
    signal.signal(signal.SIGXFSZ, handler)


def test_leftovers_of_other_names_stay(tmp_path: Path) -> None:
    """SPEC.md V5: only leftovers of the same set are deleted."""
    other = tmp_path / ".other.bitrow-partial-00000000"
    other.mkdir()
    mine = tmp_path / ".set.bitrow-partial-00000000"
    (mine / "conv").mkdir(parents=True)
    write(tmp_path / "set", frozen_case())
    assert other.is_dir() and not mine.exists()


def test_termination_cleans_up(tmp_path: Path) -> None:
    """SPEC.md V5: an interrupt unwinds and leaves nothing at all."""
    handler = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # a job in the background has none
    process = writer(tmp_path / "set", False, between="sys.stdin.read()", before=handler)
    assert process.stdout is not None and process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGINT)
    process.wait()  # its standard input stays open: nothing but the signal ends it
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGINT and "KeyboardInterrupt" in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("turn", range(5))
def test_undone_while_another_thread_writes(tmp_path: Path, turn: int) -> None:
    """SPEC.md V5: what is stopped in mid-write goes whole, however fast its writer adds to it."""

    def fill(folder: Path) -> None:
        with contextlib.suppress(BitrowError), contextlib.closing(store.SetFiles(folder, tmp_path / "set")) as files:
            for number in range(100_000):
                files.write(f"case/{number}.hex", [b"0\n"])

    with pytest.raises(BitrowError, match="stopped"), atomic.new_folder(tmp_path / "set", False) as folder:
        writer = threading.Thread(target=fill, args=(folder,))
        writer.start()
        while not (folder / "case" / f"{20 * turn}.hex").exists():
            pass
        raise BitrowError("stopped")
    writer.join()
    assert leftovers(tmp_path) == []


def test_an_unfinished_set_that_was_taken_away_does_not_come_back(tmp_path: Path) -> None:
    """SPEC.md V5: a thread that still writes makes no folder anew in place of the one that a signal has removed."""
    (tmp_path / "begun").mkdir()
    with contextlib.closing(store.SetFiles(tmp_path / "begun", tmp_path / "set")) as files:
        files.write("case/sub/0.hex", [b"0\n"])
        (tmp_path / "begun").rename(tmp_path / "moved")
        with pytest.raises(BitrowError, match="set: cannot be written: No such file or directory"):
            files.write("case/sub/1.hex", [b"0\n"])
    assert [path.name for path in tmp_path.iterdir()] == ["moved"]
