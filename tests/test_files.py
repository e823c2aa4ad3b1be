"""Result files appear whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bitrow import files
from bitrow.errors import BitrowError


def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    files.write_text(target, "older\n")
    with pytest.raises(ZeroDivisionError), files.whole(target) as aside:
        aside.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "older\n" and os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_leaves_the_older_file(tmp_path: Path) -> None:
    """The limit on a file's size stands in for a disk without space: a write fails halfway."""
    target = tmp_path / "a.txt"
    files.write_text(target, "older\n")
    program = (
        "import resource, signal, sys\nfrom bitrow import files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))\n"
        "try:\n    files.write_bytes(sys.argv[1], bytes(100_000))\n"
        "except files.BitrowError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(target)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{target}: cannot be written: File too large\n"
    assert target.read_text() == "older\n" and os.listdir(tmp_path) == ["a.txt"]


def test_missing_folders_are_made_only_when_asked(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.json"
    with pytest.raises(BitrowError, match=r"a\.json: cannot be written: No such file or directory"):
        files.write_json(target, {"a": 1})
    assert not target.parent.exists()
    files.write_json(target, {"a": 1}, parents=True)
    assert files.read_json(target) == {"a": 1}


def test_a_link_is_followed_and_a_device_is_left_in_place(tmp_path: Path) -> None:
    real, link, pipe = tmp_path / "real", tmp_path / "link", tmp_path / "pipe"
    files.write_text(real, "older")
    link.symlink_to(real)
    files.write_text(link, "newer")
    assert link.is_symlink() and real.read_text() == "newer"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files.write_text(pipe, "through")
    assert os.read(reader, 100) == b"through" and pipe.is_fifo()
    os.close(reader)
