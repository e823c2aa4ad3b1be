"""`--force` replaces what bitrow wrote, as it wrote it, and nothing else: nobody's data is lost (SPEC.md V5)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from bitrow import asides, cli
from bitrow.errors import BitrowError
from bitrow.vectors.files import atomic, owned, schema, store
from bitrow.vectors.files.check import check
from test_vectors_store_atomic import contents, leftovers, refused, writer
from vectors_samples import EXTRA, conv_case, frozen_case, write


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write(tmp_path / "set", frozen_case())


def by_hand(folder: Path, files: dict[str, bytes], **changes: object) -> Path:
    """A folder of somebody's own files, with a manifest that lists them and their checksums."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    listed = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    manifest = {"schema": 1, "spec_version": 1, **EXTRA, "certificates": {}, "cases": [], "files": listed} | changes
    (folder / "manifest.json").write_bytes(schema.to_json(manifest))
    return folder


def test_files_listed_by_hand_are_not_a_sets(tmp_path: Path) -> None:
    """SPEC.md V1, V5: with right checksums, too, a manifest does not make a photograph a vector."""
    photos = {"cat.jpg": b"meow", "trip/dog.jpg": b"wuff"}
    hidden = {"trip/.hex": b"", "trip/x.hex.bak": b""}
    manifests: list[tuple[dict[str, bytes], dict[str, object]]] = [
        (photos, {}), (photos, {"cases": ["trip"]}), (hidden, {"cases": ["trip"]}),
        ({"trip/x.hex": b"00\n"}, {}), ({"../x.hex": b"00\n"}, {"cases": [".."]}),
    ]  # fmt: skip
    for number, (files, changes) in enumerate(manifests):
        folder = by_hand(tmp_path / str(number), files, **changes)
        before = contents(folder)
        assert "not a vector set" in refused(folder, force=True)
        assert contents(folder) == before and leftovers(tmp_path) == []


EDITS: dict[str, tuple[Callable[[Path], object], str]] = {
    "words": (lambda out: (out / "frozen" / "y.hex").write_text("0000\n"), "frozen/y.hex changed"),
    "one letter": (lambda out: append(out / "frozen" / "frozen.h", "\n"), "frozen/frozen.h changed"),
    "arrays": (lambda out: append(out / "frozen" / "case.npz", "x"), "frozen/case.npz changed"),
    "manifest": (lambda out: append(out / "manifest.json", "\n"), "not a vector set"),
    "a key twice": (lambda out: twice(out / "manifest.json"), "not a vector set"),
    "no manifest": (lambda out: (out / "manifest.json").unlink(), "not a vector set"),
    "another folder": (lambda out: (out / "mine").mkdir(), "mine/, which is no part"),
    "another file": (lambda out: (out / "frozen" / "notes").write_text(""), "frozen/notes, which is no part"),
    "a journal": (lambda out: (out / owned.JOURNAL).write_text(""), "which is no part"),
    "a link": (lambda out: (out / "frozen" / "l").symlink_to("/etc/passwd"), "frozen/l, which is no part"),
    "a link for a file": (lambda out: linked(out / "frozen" / "y.hex"), "frozen/y.hex, which is no part"),
    "a link for a case": (lambda out: linked(out / "frozen"), "frozen, which is no part"),
    "a pipe for a file": (lambda out: piped(out / "frozen" / "y.hex"), "frozen/y.hex, which is no part"),
}


def append(path: Path, text: str) -> None:
    path.write_bytes(path.read_bytes() + text.encode())


def twice(path: Path) -> None:
    path.write_text(path.read_text().replace("{", '{\n "seed": 1,', 1))


def linked(path: Path) -> None:
    path.rename(path.parent.parent / "moved")
    path.symlink_to(path.parent.parent / "moved")


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("kind", EDITS)
def test_what_has_changed_is_not_replaced(out: Path, kind: str) -> None:
    """SPEC.md V5: a set that somebody has worked on is somebody's."""
    edit, text = EDITS[kind]
    edit(out)
    before, names = contents(out), sorted(path.name for path in out.parent.iterdir())
    assert text in refused(out, force=True)
    assert contents(out) == before and sorted(path.name for path in out.parent.iterdir()) == names


def test_less_than_a_set_is_replaced(out: Path) -> None:
    """SPEC.md V5: of a set whose deletion was begun there is nothing to lose."""
    (out / "frozen" / "y.hex").unlink()
    shutil.rmtree(out / "frozen" / "case.npz", ignore_errors=True)
    write(out, conv_case(), force=True)
    assert check(out) == [] and leftovers(out.parent) == []


@pytest.mark.parametrize("name", ["frozen/deep", "frozen"])
def test_a_folder_that_cannot_be_read(out: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """SPEC.md V5: what cannot be seen is not ours."""
    (out / name).mkdir(exist_ok=True)
    (out / name / "mine").write_text("mine")
    (out / name).chmod(0)
    if os.geteuid() == 0:  # who reads everything
        scan = os.scandir

        def scandir(path: str | Path):
            if Path(path) == out / name:
                raise PermissionError(13, "Permission denied", str(path))
            return scan(path)

        monkeypatch.setattr(os, "scandir", scandir)
    assert f"{name}/ that cannot be read (Permission denied)" in refused(out, force=True)
    monkeypatch.undo()
    (out / name).chmod(0o755)
    assert (out / name / "mine").read_text() == "mine" and leftovers(out.parent) == []


def photographs(out: Path) -> None:
    shutil.rmtree(out)
    out.mkdir()
    (out / "cat.jpg").write_bytes(b"meow")


def plain(out: Path) -> None:
    shutil.rmtree(out)
    out.write_text("mine")


MEANWHILE: dict[str, Callable[[Path], object]] = {
    "a file": lambda out: (out / "notes.txt").write_text("mine"),
    "a changed file": lambda out: (out / "frozen" / "y.hex").write_text("mine"),
    "a folder": lambda out: (out / "mine").mkdir(),
    "another folder in its place": photographs,
    "a file in its place": plain,
}


def write_beside(out: Path, deed: Callable[[Path], object]) -> None:
    def cases():
        yield conv_case()
        deed(out)

    store.write_set(out, cases(), EXTRA, force=True)


@pytest.mark.parametrize("deed", MEANWHILE)
@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("late", [False, True])
def test_what_comes_while_a_set_is_written(
    out: Path, monkeypatch: pytest.MonkeyPatch, deed: str, exchange: bool, late: bool
) -> None:
    """SPEC.md V5: put there while cases are computed, or between the last look and the swap: it is there afterwards."""
    if not exchange:
        monkeypatch.setattr(atomic, "exchange", lambda source, target: False)
    seen: list[object] = []

    def do(target: Path) -> None:
        MEANWHILE[deed](target)
        seen.append(contents(target) if target.is_dir() else target.read_text())

    if late:
        monkeypatch.setattr(atomic, "_sync", lambda folder: do(out))
    with pytest.raises(BitrowError, match="the new set is not in its place") as caught:
        write_beside(out, (lambda target: None) if late else do)
    assert "\n" not in str(caught.value)
    assert (contents(out) if out.is_dir() else out.read_text()) == seen[0] and leftovers(out.parent) == []


def test_a_set_that_goes_meanwhile(out: Path) -> None:
    """SPEC.md V5: its place is free."""
    write_beside(out, shutil.rmtree)
    assert check(out) == [] and store.case_names(out) == ["conv"] and leftovers(out.parent) == []


@pytest.mark.parametrize("exchange", [True, False])
def test_what_comes_into_the_old_set_stays_aside(out: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool) -> None:
    """SPEC.md V5: put into the old set after the swap, by who still had it open: kept, and told where."""
    if not exchange:
        monkeypatch.setattr(atomic, "exchange", lambda source, target: False)
    remove = owned.remove

    def late(folder: Path, known: owned.Content, growing: bool = False) -> bool:
        if schema.MANIFEST in known.files and not growing:
            (folder / "frozen" / "notes").write_text("mine")
        return remove(folder, known, growing)

    monkeypatch.setattr(owned, "remove", late)
    with pytest.raises(BitrowError, match="is replaced, but what was put into the old set meanwhile stays in"):
        write(out, conv_case(), force=True)
    monkeypatch.undo()
    (aside,) = leftovers(out.parent)
    assert contents(aside) == {"frozen/notes": b"mine"} and store.case_names(out) == ["conv"] and check(out) == []
    assert "notes, which is no part" in refused(out, force=True) and contents(aside) == {"frozen/notes": b"mine"}


LEFT: dict[str, Callable[[Path], object]] = {
    "a file beside": lambda partial: (partial / "notes").write_text("mine"),
    "a file inside": lambda partial: (partial / "one" / "notes.hex").write_text("mine"),
    "a changed file": lambda partial: (partial / "one" / "x.hex").write_text("mine"),
    "no journal": lambda partial: (partial / owned.JOURNAL).unlink(),
}


@pytest.mark.parametrize("kind", LEFT)
def test_what_lies_in_a_killed_runs_folder_stays(out: Path, kind: str) -> None:
    """SPEC.md V5: a leftover is deleted where its journal accounts for all of it; else a line says what to look at."""
    process = writer(out, True, between="die()")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    (partial,) = leftovers(out.parent)
    LEFT[kind](partial)
    before = contents(partial)
    assert f"a killed run left {partial}: found" in refused(out, force=True)
    assert contents(partial) == before and check(out) == []
    shutil.rmtree(partial)
    write(out, conv_case(), force=True)
    assert leftovers(out.parent) == []


def test_a_folder_kept_aside_comes_back(out: Path) -> None:
    """SPEC.md V5: moved away by a run that was killed before it moved the new one in; whosever it is."""
    previous = out.parent / atomic.previous_name("set")
    shutil.rmtree(out)
    previous.mkdir()
    (previous / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(BitrowError), atomic.new_folder(out, False) as _:
        raise BitrowError("only to clean up")
    assert contents(out) == {"cat.jpg": b"meow"} and leftovers(out.parent) == []
    out.rename(previous)
    write(out.parent / "new", frozen_case())
    (out.parent / "new").rename(out)
    assert "cat.jpg" in refused(out, force=True) or "not a vector set" in refused(out, force=True)
    assert contents(previous) == {"cat.jpg": b"meow"}


def test_the_mode_of_a_replaced_set(out: Path) -> None:
    """A set that others may not read stays so."""
    out.chmod(0o700)
    write(out, conv_case(), force=True)
    assert out.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["**", "a[b]", "a*", "?", "-", "x" * 255, "é\u2028"])
def test_names_that_mean_something_to_others(tmp_path: Path, name: str) -> None:
    """SPEC.md V5: a name is a name."""
    write(tmp_path / name, frozen_case())
    write(tmp_path / name, conv_case(), force=True)
    assert check(tmp_path / name) == [] and len(list(tmp_path.iterdir())) == 1


def test_names_that_cannot_be(tmp_path: Path) -> None:
    """SPEC.md V5: a loop of links, a name too long, a path below a file: one line each."""
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert "loop of links" in refused(tmp_path / "a", force=True)
    (tmp_path / "file").write_text("")
    for name in ("x" * 256, "file/set", "a/set"):
        with pytest.raises((BitrowError, OSError)):
            write(tmp_path / name, frozen_case())
        assert cli.run(["generate", "--out", str(tmp_path / name), "--suite", "fp16_add_nearest_even"]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "file"]


def test_leftovers_of_a_moment(tmp_path: Path) -> None:
    """Made but not yet locked when its run was killed: empty, it goes, when it is old enough to be of a dead one."""
    begun = tmp_path / asides.new_name("set", "new")
    begun.mkdir()
    write(tmp_path / "set", frozen_case())
    assert begun.is_dir()
    os.utime(begun, (0, 0))
    write(tmp_path / "set", conv_case(), force=True)
    assert not begun.exists()


def test_reports_do_not_overwrite_the_set(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md V5: --json on the set's manifest, on any file or new name in it, by a link or another name."""
    before = contents(out)
    (tmp_path / "link").symlink_to(out / "frozen" / "case.npz")
    os.link(out / "manifest.json", tmp_path / "hard")
    for name in ("set/manifest.json", "set/frozen/y.hex", "set/new.json", "set/../set/manifest.json", "link"):
        assert cli.run(["verify", str(out), "--no-recompute", "--json", str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "--json: found" in error and "expected another file" in error
    assert contents(out) == before
    assert cli.run(["verify", str(out), "--no-recompute", "--json", str(tmp_path / "report.json")]) == 0
    assert json.loads((tmp_path / "report.json").read_text())["findings"] == []
    dumps = tmp_path / "out"
    shutil.copytree(out / "frozen", dumps / "frozen")
    assert cli.run(["verify", str(out), "--dut", str(dumps), "--json", str(dumps / "frozen" / "z.hex")]) == 2
    assert (dumps / "frozen" / "z.hex").read_bytes() == before["frozen/z.hex"]
