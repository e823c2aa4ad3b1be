"""A layer of one's own goes, by what it declares, through vectors, the row pipeline and training (CONTRIBUTING.md)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_layers_of_ones_own(tmp_path: Path) -> None:
    """SPEC.md V1 to V5, T1, C4: emulated by rows, generated and recomputed, trained through; one joins three maps."""
    command = [sys.executable, str(ROOT / "tests" / "own_layers.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "pipeline c1.s1.input c2.s2.input",
        "pipeline",
        "pipeline c1.square.input c2.join.skip0 c2.join.skip2",
        "pipeline c2.join.skip0 c2.join.skip2",
        "vectors",
        "training",
    ]


def test_what_to_touch_is_true() -> None:
    """CONTRIBUTING.md names the files that a layer touches, no more than eight, and hard swish touches no others."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    told = re.search(r"\*\*A layer\.\*\* (.*?)needs no more(.*?) One with", text, re.S)
    assert told is not None
    listed, optional = ({name.replace("NAME", "hard_swish") for name in re.findall(r"`([\w/]+\.py)`", part)}
                        for part in told.groups())  # fmt: skip
    source = ROOT / "ref" / "bitrow"
    assert all((source / name).is_file() for name in listed) and len(listed) == 8, listed
    naming = re.compile(r"hard_?swish", re.I)
    touched = {path.relative_to(source).as_posix() for path in source.rglob("*.py") if naming.search(path.read_text())}
    users = {"vectors/judge/identity_digests.py", "builder.py", "zoo.py"}  # its problem's digest, networks that have it
    assert touched - optional - users == listed
