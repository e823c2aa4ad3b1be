"""SIGKILL, SIGTERM and SIGINT at drawn moments of `generate --force`, `transfer` and `prove` (SPEC.md V5).

Old or new is whole, a run taken up ends with the same bytes, and what is printed is one line. One moment of each here,
in runs that do not ask the machine first; `make slow` draws twenty of each signal, asking among them.
"""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bitrow.vectors.files import store
from bitrow.vectors.files.check import check
from result_files import contents, without_seconds
from vectors_samples import frozen_case, write

SEED = 20
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
LINES = {signal.SIGTERM: "bitrow: ended by SIGTERM\n", signal.SIGINT: "bitrow: interrupted\n"}
BITROW = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background has it ignored
from bitrow import leave
leave.install()
import sys
from bitrow import cli
if sys.argv.pop(1) == "unasked":
    from bitrow.backend import require
    require.require = lambda command: None
if sys.argv[1] == "transfer":
    import small_cli
    from bitrow import zoo
    zoo.NETWORKS["small"] = small_cli.build
cli.main()
"""


class Command(NamedTuple):
    """A command, what is there before it, whether what is there is whole, and its results when it has ended."""

    arguments: Callable[[Path], list[str]]
    prepare: Callable[[Path], object]
    whole: Callable[[Path], object]
    results: Callable[[Path], Any]


def set_is_whole(folder: Path) -> None:
    assert check(folder / "set") == [] and store.case_names(folder / "set") in (["frozen"], ["fxp_pack_fxp4", UNIT])


UNIT = "fp16_add_nearest_even"


def verdicts(folder: Path) -> dict[str, Any]:
    """What was found, without the seconds that it took; the one file there."""
    (file,) = folder.iterdir()
    done = json.loads(file.read_text())["done"]
    return {claim: {n: d | {"seconds": 0} for n, d in chunks.items()} for claim, chunks in done.items()}


COMMANDS = {
    "generate": Command(
        lambda folder: ["generate", "--out", str(folder / "set"), "--suite", "fxp_pack_fxp4", "--suite", UNIT,
                        "--force", "--quiet"],
        lambda folder: write(folder / "set", frozen_case()), set_is_whole, contents,
    ),
    "transfer": Command(
        lambda folder: ["transfer", "--network", "small", "--seeds", "1", "--pretrain-epochs", "0",
                        "--tune-epochs", "0", "--epochs", "6", "--policy", "lite_residual",
                        "--numerics", "bit_accurate", "--quiet", "--checkpoint-seconds", "0",
                        "--out", str(folder), "--resume"],
        lambda folder: None, lambda folder: None, without_seconds,
    ),
    "prove": Command(
        lambda folder: ["prove", "claims", "layer.relu", "fp16.to_float32", "solver.wrap", "solver.lfsr_step",
                        "--jobs", "2", "--state", str(folder), "--quiet"],
        lambda folder: None, lambda folder: None, verdicts,
    ),
}  # fmt: skip


def begin(arguments: list[str], asked: bool) -> subprocess.Popen[str]:
    environment = os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", BITROW, "asked" if asked else "unasked", *arguments]
    return subprocess.Popen(
        command, cwd=Path(__file__).parent, env=environment, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def ready(process: subprocess.Popen[str]) -> None:
    """Until the first lines of ours have run: before them Python alone decides."""
    while process.poll() is None:
        caught = next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "SigCgt" in line)
        if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.002)


@functools.cache
def undisturbed(name: str, asked: bool) -> tuple[float, Any]:
    """Seconds that the command takes, and its results; made once."""
    import tempfile

    command, folder = COMMANDS[name], Path(tempfile.mkdtemp())
    try:
        command.prepare(folder)
        with begin(command.arguments(folder), asked) as process:
            ready(process)
            start = time.monotonic()
            _, errors = process.communicate(timeout=300)
        assert (process.returncode, errors) == (0, "")
        return time.monotonic() - start, command.results(folder)
    finally:
        shutil.rmtree(folder)


def interrupt(folder: Path, name: str, how: signal.Signals, draw: random.Random, asked: bool = False) -> None:
    command = COMMANDS[name]
    seconds, expected = undisturbed(name, asked)
    command.prepare(folder)
    with begin(command.arguments(folder), asked) as process:
        ready(process)
        time.sleep(draw.uniform(0, seconds))
        process.send_signal(how)
        _, errors = process.communicate(timeout=60)
    command.whole(folder)
    if process.returncode == 0:  # it was quicker
        assert errors == ""
    elif how is signal.SIGKILL:
        assert (process.returncode, errors) == (-how, "")
    else:
        assert (process.returncode, errors) == (128 + how, LINES[how])
        assert name == "transfer" or not [path for path in folder.iterdir() if "bitrow-partial-" in path.name]
    with begin(command.arguments(folder), asked) as process:
        _, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (0, "")
    assert command.results(folder) == expected


def drawn(number: int) -> list[tuple[str, signal.Signals, int]]:
    """Each signal once, each at another command."""
    names = list(COMMANDS)
    return [(names[(number + place) % len(names)], how, number) for place, how in enumerate(SIGNALS)]


@pytest.mark.parametrize(("name", "how", "number"), [
    pytest.param(*one, marks=[] if one[0] == "generate" else [pytest.mark.slow]) for one in drawn(0)
])  # fmt: skip
def test_a_signal_at_a_drawn_moment(tmp_path: Path, name: str, how: signal.Signals, number: int) -> None:
    interrupt(tmp_path, name, how, random.Random(f"{SEED} {name} {how} {number}"))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "how", "number"), [one for number in range(1, 21) for one in drawn(number)])
def test_twenty_of_each_signal(tmp_path: Path, name: str, how: signal.Signals, number: int) -> None:
    interrupt(tmp_path, name, how, random.Random(f"{SEED} {name} {how} {number}"), asked=True)
