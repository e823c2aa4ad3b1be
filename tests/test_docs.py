"""What stands as code in the documents: each command is one that exists, each file and each line of Python is run."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from bitrow.cli.group import root

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "golden/README.md", "notebooks/README.md",
         *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md")))  # fmt: skip
SYNOPSIS = "docs/cli.md"  # its commands have words in capitals for what a user has
COMMAND = re.compile(r"(\.venv/bin/)?(bitrow|make|pip|python|dask) (?!-c)")
# Who runs the blocks that say their language.
RUN_BY = {
    "README.md": "test_package.py",
    "docs/c-model.md": "test_c_compilers.py",
    "docs/flags.md": "test_flags.py",
    "docs/model_in_the_loop.md": "test_model_in_the_loop.py",
    "docs/own_loop.md": "test_transfer_own_loop.py",
    "docs/pipeline.md": "test_pipeline_explore.py",
    "docs/sv-reference.md": "test_sv_text.py",
    "docs/vectors.md": "test_package.py",
    "golden/README.md": "test_cocotb_example.py",
}


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of each block."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```(\w*)[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(page: str) -> dict[str, Any]:
    """What the page's Python leaves behind, one block after the other, in the working folder."""
    left: dict[str, Any] = {}
    python = "\n".join(text for language, text in blocks(page) if language == "python")
    exec(compile(python, page, "exec"), left)
    return left


def lines(page: str) -> Iterator[list[str]]:
    """The words of each command in a block without a language; beside a prompt all else is output."""
    for text in (text.replace("\\\n", " ") for language, text in blocks(page) if not language):
        for line in re.findall(r"^\$ (.*)$", text, re.MULTILINE) or text.splitlines():
            for part in line.split(" && ") if COMMAND.match(line) else ():
                words = shlex.split(part, comments=True)
                yield [words[0].removeprefix(".venv/bin/"), *words[1:]]


def of_group(command: click.Command, words: list[str]) -> tuple[click.Command, list[str]]:
    """The command below a group that words name, and what is left of them."""
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, words
        command, words = command.commands[words[0]], words[1:]
    return command, words


def check_names(words: list[str]) -> None:
    """A line with placeholders: its command exists, and has the options."""
    if words[:1] == ["COMMAND"]:
        return
    command, left = of_group(root, words)
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help", "--version"}
    asked = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", " ".join(left).split(" -- ")[0]))
    assert asked <= known, (words, asked - known)


def check_dask(words: list[str]) -> None:
    from distributed.cli import dask_scheduler, dask_worker

    {"scheduler": dask_scheduler.main, "worker": dask_worker.main}[words[0]].make_context(words[0], words[1:])


def check(page: str, words: list[str]) -> None:
    """A command that is there, with options and values that it takes."""
    match words[0]:
        case "bitrow" if page == SYNOPSIS:
            check_names(words[1:])
        case "bitrow":
            command, left = of_group(root, words[1:])
            command.make_context(" ".join(words), left)
        case "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
        case "dask":
            check_dask(words[1:])
        case "pip":
            known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            for extras in re.findall(r"(?:bitrow|\.)\[(.*?)\]", " ".join(words)):
                assert set(extras.split(",")) <= set(known), words
        case "python" if words[1].endswith(".py"):
            script = (ROOT / words[1]).read_text(encoding="utf-8")
            assert all(f'"{each}"' in script for each in words[2:] if each.startswith("--")), words


@pytest.mark.parametrize("page", PAGES)
def test_each_command_is_one_that_exists(page: str) -> None:
    """Commands in blocks are read by the command line itself, with every option and value, and not run."""
    for words in lines(page):
        check(page, words)
    for span in re.findall(r"(?<!`)`bitrow ([^`]*)`(?!`)", (ROOT / page).read_text(encoding="utf-8")):
        check_names(shlex.split(span))


def test_a_command_that_is_none_is_found() -> None:
    assert sum(len(list(lines(page))) for page in PAGES) > 60
    for wrong in ("prove claims --shard 1/2", "verfy set", "explore resnet8 --fps fast"):
        with pytest.raises((click.ClickException, AssertionError)):
            check("docs/cluster.md", ["bitrow", *wrong.split()])
    with pytest.raises(AssertionError):
        check_names(["prove", "claims", "[--shard", "I/N]"])
    with pytest.raises(click.ClickException):
        check("docs/cluster.md", ["dask", "worker", "--workers", "2"])
    with pytest.raises(AssertionError):
        check("README.md", ["make", "everything"])


def test_each_block_that_says_its_language_is_run() -> None:
    """By a test that reads it from the page; SPEC.md's programs are the oracle's own (test_spec.py)."""
    here = {"docs/cluster.md", "docs/import.md", "docs/own.md", "docs/traces.md"}
    spoken = {page for page in PAGES if any(language for language, _ in blocks(page))}
    assert spoken == here | set(RUN_BY)
    for page, test in RUN_BY.items():
        text = (ROOT / "tests" / test).read_text(encoding="utf-8")
        assert Path(page).name in text and '```' in text, (page, test)


@pytest.mark.filterwarnings("ignore")  # dask's own, of ports
def test_the_scheduler_of_a_queue() -> None:
    """docs/cluster.md's lines ask for jobs of one worker each, in its environment; none is there yet."""
    pytest.importorskip("dask_jobqueue", reason="needs dask-jobqueue")
    cluster = run("docs/cluster.md")["cluster"]
    try:
        script = cluster.job_script().splitlines()
        assert "#SBATCH -n 1" in script and "#SBATCH -t 08:00:00" in script and not cluster.workers
        (begin, work) = (next(n for n, line in enumerate(script) if text in line)
                         for text in ("source bitrow/bin/activate", "distributed.cli.dask_worker"))  # fmt: skip
        assert begin < work and cluster.scheduler_address in script[work]
    finally:
        cluster.close()


@pytest.mark.slow
def test_the_import_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/import.md's lines, on a small file of that name and a folder of pictures; then a module of flax."""
    pytest.importorskip("onnxruntime", reason="needs onnxruntime, of the extra dev")
    from hostile_samples import png
    from onnx_samples import OnnxGraph

    graph = OnnxGraph((1, 1, 8, 8))
    hidden = graph.add("Relu", graph.add("Conv", "x", graph.normal(4, 1, 3, 3, scale=0.3)))
    flat = graph.add("Flatten", graph.add("GlobalAveragePool", hidden))
    graph.save(tmp_path, graph.add("Gemm", flat, graph.normal(5, 4), graph.normal(5), transB=1)).rename(
        tmp_path / "mnist-conv.onnx")  # fmt: skip
    (tmp_path / "digits").mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        (tmp_path / "digits" / f"{number}.png").write_bytes(png(pixels))
    monkeypatch.chdir(tmp_path)
    left = run("docs/import.md")
    assert left["model_file"].load("mnist.safetensors").network.input_shape == (8, 8, 1)
    assert any(line.startswith("convolutions within E3") for line in left["report"].lines())


@pytest.mark.slow
def test_the_trace_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md V6: docs/traces.md's lines write a set that is sound."""
    from bitrow import cli

    monkeypatch.chdir(tmp_path)
    run("docs/traces.md")
    assert cli.run(["verify", "trace", "--no-recompute"]) == 0
    assert (tmp_path / "trace" / "banks" / "500").is_dir()


def test_the_network_and_the_machine_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/own.md: the file that its Python writes, is that network, and takes longer on the machine of its TOML."""
    from bitrow import lookup
    from bitrow.pipeline.machine import DEFAULT_MACHINE, load_machine
    from bitrow.pipeline.schedule import schedule

    monkeypatch.chdir(tmp_path)
    left = run("docs/own.md")
    (described,) = (text for language, text in blocks("docs/own.md") if language == "toml")
    Path("mine.toml").write_text(described)
    network, machine = lookup.find_network("mine.safetensors"), load_machine("mine.toml")
    assert network == left["network"] and machine.fxp_lanes == 256 != DEFAULT_MACHINE.fxp_lanes
    assert schedule(network, machine).cycles > schedule(network, DEFAULT_MACHINE).cycles


def shown(page: str) -> Iterator[tuple[str, list[str]]]:
    """Each command beside a prompt, and what the page says that it prints."""
    for language, text in blocks(page):
        for part in text.split("$ ")[1:] if not language else ():
            command, *output = part.splitlines()
            yield command, output


@pytest.mark.slow
def test_the_ways_in_are_walked(tmp_path: Path) -> None:
    """docs/paths.md, a command after the other: the lines that it shows, whatever their order, and its accuracies."""
    if not shutil.which("iverilog") and not shutil.which("verilator"):
        pytest.skip("needs a simulator")
    (tmp_path / "golden").symlink_to(ROOT / "golden")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for command, output in shown("docs/paths.md"):
        done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == ("--bug" in command), (command, done.stderr)
        assert not output or sorted(done.stdout.split("\n")[:-1]) == sorted(output), command
    page = (ROOT / "docs/paths.md").read_text(encoding="utf-8")
    with (tmp_path / "results" / "results.csv").open() as stream:
        for row in csv.DictReader(stream):
            line = rf"^\| `{row['policy']}` \|.* {float(row['accuracy_mean']):.1%} \|"
            assert re.search(line, page, re.MULTILINE), row
