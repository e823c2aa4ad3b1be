"""The commands in the documents' blocks, run in a folder that has what their page supposes; or the reason why not."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bitrow import cli
from test_docs import PAGES, ROOT, SYNOPSIS, blocks, lines, run

# What is not run here, by what it begins with, and who does it or why nobody.
LEFT = {
    "make": "makes an environment; these tests run in one",
    "pip": "installs; `make dist` does",
    "dask": "is a machine of a cluster; test_executors.py starts some",
    "bitrow bench-audit": "runs a reader's bench; test_bench_audit.py has some",
    "bitrow explore": "takes minutes; test_pipeline_explore.py has small searches",
    "bitrow generate --layer-file conv.toml": "is test_package.py's",
    "bitrow generate --network resnet20 --input-size 48x64 --images photos/": "takes a reader's pictures",
    "bitrow generate --suite standard": "takes an hour; test_executors.py",
    "bitrow import face_detection_front.tflite": "takes a file of others; test_import_real.py",
    "bitrow import light_bvlc_alexnet.onnx": "takes a file of others; test_import_real.py",
    "bitrow import mnist-conv.onnx": "is test_docs.py's, in Python",
    "bitrow pipeline face.safetensors": "takes a file of others",
    "bitrow pipeline mnist.safetensors": "takes what is imported",
    "bitrow pipeline resnet20 --images 2": "takes as long as all others; test_row_trace.py has small runs",
    "bitrow prove claims --full": "takes a day; `make exhaustive`",
    "bitrow prove rtl *.sv": "takes a reader's unit; `make prove-rtl`",
    "bitrow prove rtl adder.sv": "takes a reader's unit; `make prove-rtl`",
    "bitrow prove rtl mac.sv": "takes a reader's unit; `make prove-rtl`",
    "bitrow transfer": "takes hours; test_docs.py walks docs/paths.md's, test_executors.py a cluster's",
    "bitrow verify vectors": "takes the standard suite; test_executors.py",
    "python benchmarks/study.py": "takes a day, and pictures",
    "python golden/bench/run.py": "takes a simulator; test_docs.py walks docs/paths.md's",
}
# What is quick enough for every `make test`, in seconds of processors: 0.1 to 1.2, all of them 3.
QUICK = (
    "bitrow export constants", "bitrow generate --network mine.safetensors --list", "bitrow inspect",
    "bitrow pipeline resnet20 --machine", "bitrow pipeline vgg8", "bitrow prove rtl --list",
    "bitrow verify golden/v4 --dut",
)  # fmt: skip
COMMANDS = [(page, shlex.join(words)) for page in PAGES if page != SYNOPSIS for words in lines(page)]


def begins(command: str, beginnings: object) -> list[str]:
    """Those of several beginnings that a command has."""
    assert isinstance(beginnings, tuple | dict)
    return [each for each in beginnings if f"{command} ".replace("'", "").startswith(f"{each} ")]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """docs/own.md's network and machine, under the names that the pages have for them."""
    folder, before = tmp_path_factory.mktemp("own"), Path.cwd()
    os.chdir(folder)
    try:
        run("docs/own.md")
    finally:
        os.chdir(before)
    (machine,) = (text for language, text in blocks("docs/own.md") if language == "toml")
    (costs,) = (text for _, text in blocks("docs/pipeline.md") if text.startswith("[energy_pj"))
    (folder / "mine.toml").write_text(machine)
    (folder / "costs.toml").write_text(costs)
    shutil.copy(folder / "mine.safetensors", folder / "model.safetensors")
    return folder


@pytest.fixture
def folder(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that has a checkout's sets and a reader's files."""
    shutil.copytree(own, tmp_path, dirs_exist_ok=True)
    (tmp_path / "golden").symlink_to(ROOT / "golden")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def supposed(command: str) -> None:
    """What a page's reader has by then: a design's dumps; a name that is free."""
    words = shlex.split(command)
    if "--dut" in words:
        dumps = Path(words[words.index("--dut") + 1])
        dumps.unlink(missing_ok=True)
        dumps.symlink_to(words[2])  # a design that is right
    for option in ("--out", "--vectors"):
        if option in words and "--force" not in words:
            shutil.rmtree(words[words.index(option) + 1], ignore_errors=True)


def done(page: str, wanted: Callable[[str], bool]) -> Iterator[str]:
    """Run a page's commands, one after the other."""
    for _, command in (each for each in COMMANDS if each[0] == page and wanted(each[1])):
        supposed(command)
        assert cli.run(shlex.split(command)[1:]) == 0, command
        yield command


def quick(command: str) -> bool:
    return bool(begins(command, QUICK))


def slow(command: str) -> bool:
    return not quick(command) and not begins(command, LEFT)


@pytest.mark.parametrize("page", sorted({page for page, command in COMMANDS if quick(command)}))
def test_quick_commands_are_run(page: str, folder: Path) -> None:
    assert list(done(page, quick))


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({page for page, command in COMMANDS if slow(command)}))
def test_other_commands_are_run(page: str, folder: Path) -> None:
    """With the quick ones between them, whose files they may read."""
    assert list(done(page, lambda command: not begins(command, LEFT)))


def test_each_command_is_run_or_left_for_a_reason() -> None:
    """A beginning in the lists is that of some command; none is in both; a test that is named is there."""
    for beginning in (*QUICK, *LEFT):
        assert any(begins(command, (beginning,)) for _, command in COMMANDS), beginning
    for _, command in COMMANDS:
        assert len(begins(command, LEFT)) + quick(command) <= 1, command
        assert begins(command, LEFT) or command.startswith("bitrow "), command
    named = {word.rstrip(",;'s") for reason in LEFT.values() for word in reason.split() if word.startswith("test_")}
    for name in named:
        assert (ROOT / "tests" / name.removesuffix("'")).is_file(), name
