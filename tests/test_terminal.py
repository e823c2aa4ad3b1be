"""The writer of text: what a file or an argument says does nothing to a terminal, and no figure is lost."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest
from rich.console import Console

from bitrow import terminal
from bitrow.errors import BitrowError
from hostile_samples import clean, refused, run, vector_set

ODD_NAMES = ["\x1b[31mred", "a\nb", "a\tb", "\u202eevil", "\u200bhidden", "[bold]x[bad", "\x07bell", "a\x7fb",
             "é\x9b2J"]  # fmt: skip


@hypothesis.given(st.text(st.characters(codec=None)), st.integers(20, 300))
@hypothesis.example("\x1b]0;title\x07", 100)
@hypothesis.example("\ud800", 100)
@hypothesis.example("x" * 200_000, 100)
@hypothesis.example("\u2028\u2029\x85\x1c", 100)
def test_plain_text_is_printable_and_short_and_stays_so(text: str, most: int) -> None:
    found = terminal.plain(text, most)
    assert found.isprintable() and "\n" not in found
    assert len(found) <= 10 * (most + 40)
    assert terminal.plain(found) == found
    found.encode()
    if text.isprintable() and len(text) <= most:
        assert found == text


def test_an_error_is_a_line_whatever_it_names() -> None:
    for name in ODD_NAMES:
        assert str(BitrowError(f"{name}: found nothing")).isprintable()
    assert len(str(BitrowError("x" * 200_000))) < 1_100
    assert "[200,000 characters]" in str(BitrowError("x" * 200_000))
    assert str(BitrowError("\x1b[0m")) == "\\x1b[0m"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_of_files_do_nothing(tmp_path: Path, name: str) -> None:
    refused("inspect", tmp_path / name)
    refused("verify", tmp_path / name)
    refused("pipeline", tmp_path / f"{name}.safetensors")
    refused("pipeline", "resnet8", "--policy", name)
    refused("transfer", "--data", tmp_path / name)
    refused("prove", "merge", tmp_path / name)
    refused("generate", "--out", tmp_path / "set", "--suite", name)
    refused(name)
    (tmp_path / name).write_bytes(b"3c00\n\x1b[31m\n")
    refused("inspect", tmp_path / name, words="non-hex word '\\x1b[31m'")
    (tmp_path / name).write_bytes(b"3c00\n")
    assert clean(run("inspect", tmp_path / name)).status == 0
    vector_set(tmp_path / "set" / name)
    assert clean(run("verify", tmp_path / "set" / name, "--no-recompute")).status == 0


@pytest.mark.parametrize("name", [*ODD_NAMES, "[/]"])
def test_names_in_machines_do_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f"name = {json.dumps(name)}\n".replace("\x7f", "\\u007f"), encoding="utf-8")
    printed = clean(run("pipeline", "resnet8", "--forward-only", "--machine", path))
    assert printed.status == 0 and f"{terminal.plain(name)}, 500 MHz" in printed.printed
    path.write_text(path.read_text(encoding="utf-8") + "lanes = 1\n", encoding="utf-8")
    refused("pipeline", "resnet8", "--machine", path)


def _table() -> str:
    rows = [["[red]one[/]", "123,456,789"], ["x" * 300, "987,654,321"], ["\x1b[2J", ":smile:"]]
    out = io.StringIO()
    before, sys.stdout = sys.stdout, out
    try:
        terminal.put_table(terminal.table("[bold]t[/]", [terminal.Column("a"), terminal.Column("b", True)], rows))
        terminal.put_line("[/] :smile: \x1b[0m")
    finally:
        sys.stdout = before
    return out.getvalue()


@pytest.mark.parametrize("columns", ["", "0", "-1", "10", "80", "x", "1" * 30])
def test_a_table_in_a_file_keeps_everything_in_one_line(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = _table().splitlines()
    for words in ("[bold]t[/]", "[red]one[/]", "x" * 300, "987,654,321", "\\x1b[2J", ":smile:", "[/] :smile: \\x1b[0m"):
        assert sum(words in line for line in lines) >= 1, words


@pytest.mark.parametrize("width", [40, 80, 120, 300])
def test_a_table_of_many_figures_keeps_them_whole_on_a_terminal(width: int) -> None:
    """At 80 columns, where it does not fit, each row is listed with the names of its figures."""
    columns = [terminal.Column("network"), terminal.Column("arithmetic")]
    columns += [terminal.Column(f"figure {number}", True) for number in range(9)]
    figures = [[f"{row}.{number}{number},123,456" for number in range(9)] for row in (1, 2)]
    rows = [["resnet", "FXP4 + dequantizer", *cells] for cells in figures]
    out = io.StringIO()
    terminal.put_table(terminal.table("Runs", columns, rows), Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    for row in rows:
        for name, cell in zip(columns[2:], row[2:], strict=True):
            assert sum(cell in line for line in lines) == 1
            assert width == 300 or any(f"{name.name} {cell}" in line for line in lines)


PROGRAM = """
import sys
from bitrow import cli
sys.exit(cli.run(sys.argv[1:]))
"""


@pytest.mark.parametrize("encoding", ["ascii", "utf-16", *(pytest.param(name, marks=pytest.mark.slow)
                                                           for name in ("cp437", "utf-8"))])  # fmt: skip
def test_every_encoding_will_do(tmp_path: Path, encoding: str) -> None:
    """A report in a file keeps its figures where the encoding lacks the lines between them."""
    (tmp_path / "a.toml").write_text('name = "µ ± 猫"\n', encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "0"}
    command = [sys.executable, "-c", PROGRAM, "pipeline", "resnet8", "--forward-only", "--machine", tmp_path / "a.toml"]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode(encoding)
    assert re.search(r"cycles .* [0-9,]+ ", text) and "500 MHz" in text
    command[3:] = ["inspect", tmp_path / "猫µ"]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 2 and len(done.stderr.decode(encoding).splitlines()) == 1


def test_ablation_redirected_keeps_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    from bitrow.pipeline import ablate, command

    monkeypatch.setenv("COLUMNS", "40")
    found = command.ablate(command.AblationRun(["resnet8"], ["techniques"], images=1))
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    terminal.put_table(command._ablation_table(found))
    lines = [line for line in out.getvalue().splitlines() if "resnet8" in line]
    assert len(lines) == len(found)
    for line, point in zip(lines, found, strict=True):
        assert all(text(point) in line for _, text in ablate.COLUMNS)
