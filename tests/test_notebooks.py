"""The notebooks: run from top to bottom with no error and no warning, and are stored without outputs."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# Trained, compiled and emulated networks: up to minutes of one processor.
SLOW = {"03_batch_norm_reorganised", "05_transfer_learning", "07_your_own_network"}
SECONDS = 300  # of one cell, on a loaded machine; idle, a whole notebook takes under 15


def _cells(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def test_all_are_listed_in_order() -> None:
    names = [path.name for path in NOTEBOOKS]
    assert [name[:2] for name in names] == [f"{k:02}" for k in range(1, len(names) + 1)]
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\((\d\d_\w+\.ipynb)\)", readme) == names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_without_outputs(path: Path) -> None:
    nbformat.validate(nbformat.read(path, as_version=4))
    for cell in _cells(path):
        assert cell["metadata"] == {} and not cell.get("outputs") and cell.get("execution_count") is None
        assert not re.search(r"(?<![\w.])/(home|root|work|tmp|usr)/", _source(cell))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_teaches_in_small_steps(path: Path) -> None:
    """Text before code, short cells, a picture, and an assertion that something holds."""
    cells = _cells(path)
    assert cells[0]["cell_type"] == "markdown" and _source(cells[0]).startswith(f"# {path.name[:2]} ")
    code = [_source(cell) for cell in cells if cell["cell_type"] == "code"]
    assert max(len(text.splitlines()) for text in code) <= 40
    assert max(len(line) for text in code for line in text.splitlines()) <= 120
    assert any("plt.show()" in text for text in code) and any("assert " in text for text in code)


def test_a_network_of_ones_own_takes_few_lines() -> None:
    """Of each: imports, definition, calibration, vectors, rows and transfer, in less than 40 lines of code."""
    cells = _cells(FOLDER / "07_your_own_network.ipynb")
    code = [_source(cell) if cell["cell_type"] == "code" else "" for cell in cells]
    heads = {_source(cell).splitlines()[0]: place for place, cell in enumerate(cells)}
    imports = next(text for text in code if "import" in text)
    ends = [heads["## DS-CNN"], heads["## MobileNetV1"], heads["## To try"]]
    for begin, end in itertools.pairwise(ends):
        text = "\n".join([imports, *code[begin:end]])
        for step in ("Builder(", "calibrate.calibrate(", '"generate"', '"verify"', "check_rows(", "trainer.epoch("):
            assert step in text
        assert len([line for line in text.splitlines() if line.strip()]) < 40


RUN = [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in SLOW), id=path.stem) for path in NOTEBOOKS]


@pytest.mark.parametrize("path", RUN)
def test_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its own folder, as its reader would, with nothing written beside it; warnings are errors there, too."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONWARNINGS", "error:::__main__")
    before = sorted(FOLDER.iterdir())
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": FOLDER}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    assert sorted(FOLDER.iterdir()) == before
