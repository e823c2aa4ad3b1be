"""Compiled programs are kept between commands, where that can be done, and change no bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bitrow import compile_cache

# A command's beginning, and a program that takes longer to compile than what is not kept.
SCRIPT = """
from bitrow.cli import needs
needs.jax()
import jax, numpy as np
from bitrow.ops import fp16
words = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
print(np.asarray(jax.jit(fp16.div)(words, words[::-1])).tobytes().hex())
"""


def command(cache: str) -> subprocess.CompletedProcess[str]:
    """The quotients of many words, with the cache that BITROW_CACHE names."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {"BITROW_CACHE": cache}
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT], env=environment, capture_output=True,
                           text=True, check=False)  # fmt: skip
    assert (found.returncode, found.stderr) == (0, "")
    return found


def kept(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*-cache")}


def test_the_next_command_compiles_nothing(tmp_path: Path) -> None:
    """The same bits, from the programs that the first command left; a spoilt one is compiled anew."""
    cache = tmp_path / "cache"
    first = command(str(cache))
    left = {name: when for name, when in kept(cache).items() if name.startswith("jit_div-")}
    again = command(str(cache))
    assert left and {name: when for name, when in kept(cache).items() if name.startswith("jit_div-")} == left
    for path in cache.rglob("*-cache"):
        path.write_bytes(path.read_bytes()[:100])
    assert command(str(cache)).stdout == again.stdout == first.stdout


@pytest.mark.parametrize("where", ["off", "a file"])
def test_without_a_cache(where: str, tmp_path: Path) -> None:
    """Off, or where no folder can be made, every command compiles for itself and says nothing of it."""
    (tmp_path / "file").write_text("mine")
    command("off" if where == "off" else str(tmp_path / "file"))
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
