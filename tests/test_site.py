"""The site of the documentation: it builds without a warning, and has the pages that it should have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bitrow.cli.group import root

pytest.importorskip("mkdocs", reason="needs the extra docs")
pytest.importorskip("mkdocs_click", reason="needs the extra docs")
pytest.importorskip("mkdocstrings", reason="needs the extra docs")
ROOT = Path(__file__).parents[1]


def test_the_site_builds(tmp_path: Path) -> None:
    """Strictly: each page stands in the navigation, each link and anchor leads somewhere; each command has its help."""
    command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    commands = (tmp_path / "cli" / "index.html").read_text(encoding="utf-8")
    for name in root.commands:
        assert f"bitrow {name}" in commands
    assert "<h2" in (tmp_path / "SPEC" / "index.html").read_text(encoding="utf-8")
    assert "bitrow.layers.conv.backward" in (tmp_path / "python" / "index.html").read_text(encoding="utf-8")
