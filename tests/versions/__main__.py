"""Usage: PYTHONPATH=tests python -m versions [--newest PYTHON] [--folder DIR] [--markdown FILE] [CHECK ...]

Without names, every check. Exit status: 0 if all pass, 1 if one does not, 2 if an environment could not be made.
"""

from __future__ import annotations

import argparse
import contextlib
import filecmp
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHOWN = ("jax", "jaxlib", "numpy", "flax", "optax", "hypothesis", "jaxtyping", "safetensors", "click", "rich")
TESTS = [str(ROOT / f"tests/test_{name}.py") for name in ("golden_words", "contract", "spec")]
SET = ROOT / "golden/v1"


class Unmade(Exception):
    """An environment that could not be made, in one line."""


@dataclass(frozen=True)
class Environment:
    """What is installed, how its versions are chosen, and the checks that apply."""

    title: str
    python: str
    extras: str
    resolution: str
    checks: tuple[str, ...]


@dataclass
class Row:
    """An environment's versions, and each check's outcome."""

    title: str
    versions: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        return all(outcome.startswith("passed") for outcome in self.outcomes.values())


def run(*command: str, log: Path | None = None) -> str:
    """Standard output of a command that must pass."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "ref"), "BITROW_CACHE": "off"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if log is not None:
        log.write_text(done.stdout + done.stderr)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines() or ["nothing said"]
        raise Unmade(f"{Path(command[0]).name} {command[1]}: {last[-1][:200]}")
    return done.stdout


def interpreter(*names: str) -> str:
    """The first of these that runs, by its own path, else this one; version managers have names that lead nowhere."""
    for found in filter(None, map(shutil.which, names)):
        with contextlib.suppress(Unmade):
            return run(found, "-c", "import sys; print(sys.executable)").strip()
    return sys.executable


def installer(folder: Path) -> str:
    """uv, which can choose the lowest versions; in an environment of its own."""
    run(sys.executable, "-m", "venv", str(folder))
    run(str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "uv")
    return str(folder / "bin/uv")


def make(uv: str, environment: Environment, folder: Path) -> tuple[str, dict[str, str]]:
    """The environment's Python, and what is installed beside it."""
    run(uv, "venv", "--quiet", "--python", environment.python, str(folder))
    python = str(folder / "bin/python")
    run(uv, "pip", "install", "--quiet", "--python", python, "--resolution", environment.resolution,
        f"{ROOT}{environment.extras}")  # fmt: skip
    listed = run(uv, "pip", "freeze", "--python", python)
    found = dict(line.split("==") for line in listed.splitlines() if "==" in line)
    version = run(python, "-c", "import platform; print(platform.python_version())").strip()
    return python, {"python": version} | {name: found.get(name, "none") for name in SHOWN}


def check(name: str, python: str, folder: Path) -> None:
    """One check in an environment; raises Unmade where it does not pass."""
    made, log = folder / "set", folder / f"{name}.log"
    bitrow = (python, "-m", "bitrow")
    match name:
        case "generate":
            run(*bitrow, "generate", "--suite", "smoke", "--seed", "1", "--out", str(made), "--quiet", log=log)
            names = sorted(str(path.relative_to(SET)) for path in SET.rglob("*") if path.is_file())
            _, other, lacking = filecmp.cmpfiles(SET, made, names, shallow=False)
            differ = [name for name in other + lacking if name != "manifest.json"]  # which names the versions
            if differ:
                raise Unmade(f"generate: found other words than golden/v1's in {differ[:3]}")
        case "verify":
            run(*bitrow, "verify", str(made), "--no-recompute", log=log)
        case "tests":
            run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, log=log)
        case "transfer":
            short = "--quiet --width 0.25 --seeds 1 --pretrain-epochs 1 --tune-epochs 1 --epochs 1"
            one = "--policy bias+lite_residual --numerics bit_accurate"
            run(*bitrow, "transfer", "--out", str(folder / "results"), *short.split(), *one.split(), log=log)
        case "certify":
            run(*bitrow, "certify", log=log)
        case "bench":
            page = str(ROOT / "docs/model_in_the_loop.md")
            run(python, str(ROOT / "tests/versions/light.py"), str(SET), page, str(folder), log=log)


def row(uv: str, environment: Environment, folder: Path, asked: Sequence[str]) -> Row:
    """Make the environment, run its checks, delete it; the logs of the checks stay."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    found = Row(environment.title)
    python, found.versions = make(uv, environment, folder / "venv")
    for name in environment.checks:
        if asked and name not in asked:
            continue
        start = time.perf_counter()
        try:
            check(name, python, folder)
            found.outcomes[name] = f"passed, {time.perf_counter() - start:.0f} s"
        except Unmade as error:
            found.outcomes[name] = f"FAILED: {error}"
        print(f"{environment.title}: {name}: {found.outcomes[name]}", flush=True)
    shutil.rmtree(folder / "venv")
    return found


def table(rows: Sequence[Row]) -> str:
    """The outcomes in Markdown, an environment a column."""
    lines = [["", *(each.title for each in rows)], ["---"] * (len(rows) + 1)]
    lines += [[name, *(each.versions[name] for each in rows)] for name in ("python", *SHOWN)]
    names = dict.fromkeys(name for each in rows for name in each.outcomes)
    lines += [[f"`{name}`", *(each.outcomes.get(name, "") for each in rows)] for name in names]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def main(arguments: Sequence[str]) -> int:
    """The exit status; every error is one line."""
    full, light = ("generate", "verify", "tests", "transfer", "certify"), ("bench",)
    parser = argparse.ArgumentParser(prog="make versions", description="the quick checks on the ends of the ranges")
    newest = interpreter("python3.13", "python3.12")
    parser.add_argument("--newest", default=newest, metavar="PYTHON", help="the interpreter of the newest versions")
    parser.add_argument("--folder", type=Path, default=ROOT / "out/versions")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there, too")
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=", ".join((*full, *light)))
    given = parser.parse_args(arguments)
    unknown = [name for name in given.checks if name not in (*full, *light)]
    if unknown:
        print(f"error: CHECK: found {unknown[0]!r}, expected one of {', '.join((*full, *light))}", file=sys.stderr)
        return 2
    environments = (
        Environment("lowest", sys.executable, "[dev]", "lowest-direct", full),
        Environment("newest", given.newest, "[dev]", "highest", full),
        Environment("without JAX, lowest", sys.executable, "", "lowest-direct", light),
        Environment("without JAX, newest", given.newest, "", "highest", light),
    )
    try:
        uv = installer(given.folder / "uv")
        rows = [row(uv, each, given.folder / each.title.replace(", ", "-").replace(" ", "-"), given.checks)
                for each in environments if not given.checks or set(given.checks) & set(each.checks)]  # fmt: skip
    except Unmade as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(given.folder / "uv", ignore_errors=True)
    text = f"{platform.platform()}\n\n{table(rows)}"
    print(text)
    if given.markdown:
        given.markdown.write_text(table(rows))
    return 0 if all(each.sound for each in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
