"""Compiled programs are kept between commands, where that can be done, and change no bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bitrow import compile_cache

CASE = "fp16_add_nearest_even"


def generate(out: Path, cache: str) -> subprocess.CompletedProcess[str]:
    """`bitrow generate` of one case, with the cache that BITROW_CACHE names."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {"BITROW_CACHE": cache}
    command = [sys.executable, "-m", "bitrow", "generate", "--suite", CASE, "--out", str(out)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def kept(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*-cache")}


def test_the_next_command_compiles_nothing(tmp_path: Path) -> None:
    """The same set, from the programs that the first command left; a spoilt one is compiled anew."""
    cache, sets = tmp_path / "cache", [tmp_path / name for name in ("first", "second", "third")]
    left = []
    for out in sets[:2]:
        result = generate(out, str(cache))
        assert (result.returncode, result.stderr) == (0, "")
        left.append(kept(cache))
    assert left[0] and left[1] == left[0]
    for path in cache.rglob("*-cache"):
        path.write_bytes(path.read_bytes()[:100])
    result = generate(sets[2], str(cache))
    assert (result.returncode, result.stderr) == (0, "")
    for path in sets[0].rglob("*.hex"):
        assert [(out / path.relative_to(sets[0])).read_bytes() for out in sets] == [path.read_bytes()] * 3


@pytest.mark.parametrize("where", ["off", "a file"])
def test_without_a_cache(where: str, tmp_path: Path) -> None:
    """Off, or where no folder can be made, every command compiles for itself and says nothing of it."""
    (tmp_path / "file").write_text("mine")
    result = generate(tmp_path / "set", "off" if where == "off" else str(tmp_path / "file"))
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "file").read_text() == "mine" and not kept(tmp_path)


def test_a_folder_for_each_processor_and_jaxlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Programs of another processor, or of another jaxlib, are never loaded."""
    monkeypatch.setenv("BITROW_CACHE", str(tmp_path))
    here = compile_cache.folder("1.0")
    assert here is not None and here.parent == tmp_path
    monkeypatch.setattr("bitrow.processor.flags", lambda: "sse4_2 avx2")
    assert len({here, compile_cache.folder("1.0"), compile_cache.folder("1.1")}) == 3
    monkeypatch.delenv("BITROW_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert str(compile_cache.folder("1.0")).startswith(str(tmp_path / "home" / "bitrow"))
