"""Usage: PYTHONPATH=tests python -m other_isa [--processor NAME] [--folder DIR] [PROBLEM ...]

Exit status: 0 if all bits are the oracle's, 1 if some differ, 2 if the machine could not be had or shows nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bitrow.errors import BitrowError
from bitrow.vectors.identity_digests import DIGESTS
from other_isa import judge
from other_isa.guest import triples
from other_isa.install import ROOT, Machine, install, run
from other_isa.processors import PROCESSORS, Processor


def guest_environment(machine: Machine, dump: Path) -> dict[str, str]:
    """The emulated process's: no variable of the host's Python or JAX reaches it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "XLA", "JAX", "LD_"))}
    return kept | {
        "PYTHONPATH": os.pathsep.join([str(machine.site), str(ROOT / "ref")]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "XLA_FLAGS": f"--xla_dump_to={dump}",
    }


def guest_lines(machine: Machine, processor: Processor, dump: Path, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The lines of guest.py as they come.

    Raises:
        BitrowError: the process failed; with the last line of its log.
    """
    cpuinfo = machine.root / "proc/cpuinfo"  # under -L, QEMU opens this file for /proc/cpuinfo
    cpuinfo.parent.mkdir(exist_ok=True)
    cpuinfo.write_text(processor.cpuinfo())
    shutil.rmtree(dump, ignore_errors=True)
    dump.mkdir()
    guest, log = str(Path(__file__).with_name("guest.py")), machine.folder / "guest.log"
    command = machine.command("python3", processor.cpu, guest, str(dump), *names)
    with log.open("w") as errors, subprocess.Popen(
        command, env=guest_environment(machine, dump), stdout=subprocess.PIPE, stderr=errors, text=True
    ) as process:  # fmt: skip
        assert process.stdout
        yield from map(json.loads, process.stdout)
    if process.returncode:
        last = (log.read_text().strip().splitlines() or ["no message"])[-1]
        raise BitrowError(f"{log}: found exit status {process.returncode} ({last[:200]}), expected 0")


def code(machine: Machine, dump: Path, line: Mapping[str, Any]) -> judge.Code:
    """What the machine code of a line's programs computes with."""
    paths = [str(dump / name) for name in line["objects"]]
    return judge.count(run(*machine.command("aarch64-linux-gnu-objdump", "max", "-d", *paths)) if paths else "")


def check_sums(lines: Iterator[dict[str, Any]], machine: Machine, dump: Path, processor: Processor) -> list[str]:
    """The product and sum that must be fused, and `mul_add`, which must not; its name if it is wrong."""
    operands, differ = triples(), []
    for _ in range(2):
        line = next(lines)
        wrong, found = judge.wrong_words(line["words"], operands), code(machine, dump, line)
        print(f"{line['kernel']}: {wrong} of {operands.shape[1]} words wrong; instructions: {found}", flush=True)
        if line["kernel"] == "narrowed":
            judge.check_contracts(wrong, found, processor)
        elif wrong:
            differ.append(line["kernel"])
    return differ


def check(machine: Machine, name: str, names: Sequence[str]) -> list[str]:
    """Run everything on one processor; the names of what differs."""
    processor, dump = PROCESSORS[name], machine.folder / "dump"
    lines = guest_lines(machine, processor, dump, names)
    first = next(lines)
    qemu = run(str(machine.qemu), "--version").splitlines()[0]
    shown = ", ".join(f"{key} {value}" for key, value in first["versions"].items())
    print(f"{name} (-cpu {processor.cpu}), {qemu}; {shown}", flush=True)
    judge.check_features(first["features"], processor)
    differ = check_sums(lines, machine, dump, processor)
    count = len(names or DIGESTS)
    for index, line in enumerate(lines, 1):
        same = judge.verdict(line)
        differ += [] if same else [line["problem"]]
        print(f"[{index}/{count}] {line['problem']}: {'same bits' if same else 'DIFFERS'}, {line['seconds']} s; "
              f"instructions: {code(machine, dump, line)}", flush=True)  # fmt: skip
    return differ


def main(arguments: Sequence[str]) -> int:
    """The exit status; every error is one line."""
    parser = argparse.ArgumentParser(prog="make other-isa", description="the fixed problems on an emulated processor")
    parser.add_argument("--processor", choices=sorted(PROCESSORS), default="neoverse-n1")
    parser.add_argument("--folder", type=Path, default=ROOT / "out/other_isa")
    parser.add_argument("problems", nargs="*", metavar="PROBLEM")
    given, start = parser.parse_args(arguments), time.perf_counter()
    try:
        unknown = [name for name in given.problems if name not in DIGESTS]
        if unknown:
            raise BitrowError(f"PROBLEM: found {unknown[0]!r}, expected a name of bitrow.vectors.identity_digests")
        machine = Machine(given.folder.resolve())
        install(machine)
        differ = check(machine, given.processor, given.problems)
    except BitrowError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    minutes = (time.perf_counter() - start) / 60
    print(f"{len(differ)} differ: {', '.join(differ)}" if differ else "all bits are the oracle's", f"({minutes:.1f} min)")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
