"""Usage: PYTHONPATH=tests python -m other_isa [--processor NAME] [--folder DIR] [NAME ...]

Without names, every fixed problem and untapped program.

Exit status: 0 if all bits are the oracle's and no kernel computes on FP16, 1 if not, 2 if the machine could not be had
or shows nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bitrow.backend import program_digests
from bitrow.errors import BitrowError
from bitrow.vectors.judge.identity_digests import DIGESTS
from other_isa import judge
from other_isa.guest import UNTAPPED, triples
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


def guest_lines(
    machine: Machine, processor: Processor, dump: Path, names: Sequence[str]
) -> Generator[dict[str, Any], None, None]:
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
        try:
            yield from map(json.loads, process.stdout)
        except GeneratorExit:  # nobody waits for the rest, which takes minutes
            process.kill()
            raise
    if process.returncode:
        last = (log.read_text().strip().splitlines() or ["no message"])[-1]
        raise BitrowError(f"{log}: found exit status {process.returncode} ({last[:200]}), expected 0")


def code(machine: Machine, dump: Path, line: Mapping[str, Any]) -> judge.Code:
    """What the machine code of a line's programs computes with."""
    paths = [str(dump / name) for name in line["objects"]]
    return judge.count(run(*machine.command("aarch64-linux-gnu-objdump", "max", "-d", *paths)) if paths else "")


def following(lines: Iterator[dict[str, Any]], what: str) -> dict[str, Any]:
    """The next line, of that key.

    Raises:
        BitrowError: there is none.
    """
    line = next(lines, {})
    if what not in line:
        raise BitrowError(f"the emulated machine: found {'another line' if line else 'no line'}, expected {what}")
    return line


def check_sums(lines: Iterator[dict[str, Any]], machine: Machine, dump: Path, processor: Processor) -> list[str]:
    """The product and sum that must be fused; then `mul_add`, which must not: what is wrong with it."""
    operands, faults = triples(), []
    for name in ("narrowed", "mul_add"):
        line = following(lines, "kernel")
        wrong, found = judge.wrong_words(line["words"], operands), code(machine, dump, line)
        print(f"{name}: {wrong} of {operands.shape[1]} words wrong; instructions: {found}", flush=True)
        if name == "narrowed":
            judge.check_contracts(wrong, found, processor)
        else:
            faults = judge.faults(name, not wrong, found)
    return faults


def check(machine: Machine, processor: Processor, names: Sequence[str]) -> list[str]:
    """Run everything on one processor; what is wrong, by name."""
    dump = machine.folder / "dump"
    with contextlib.closing(guest_lines(machine, processor, dump, names)) as lines:
        first = following(lines, "versions")
        qemu = run(str(machine.qemu), "--version").splitlines()[0]
        shown = ", ".join(f"{key} {value}" for key, value in first["versions"].items())
        print(f"{qemu}, -cpu {processor.cpu}; {shown}", flush=True)
        judge.check_features(first["features"], processor)
        faults = check_sums(lines, machine, dump, processor)
        for index, name in enumerate(names, 1):
            line = following(lines, "digest")
            same = line["digest"] == judge.expected(name)
            found = code(machine, dump, line)
            faults += judge.faults(name, same, found)
            print(f"[{index}/{len(names)}] {name}: {'same bits' if same else 'OTHER BITS'}, {line['seconds']} s; "
                  f"instructions: {found}", flush=True)  # fmt: skip
        if next(lines, None):
            raise BitrowError("the emulated machine: found a line too many, expected its end")
    return faults


def main(arguments: Sequence[str]) -> int:
    """The exit status; every error is one line."""
    parser = argparse.ArgumentParser(prog="make other-isa", description="the fixed problems on an emulated processor")
    parser.add_argument("--processor", choices=sorted(PROCESSORS), default="neoverse-n1")
    parser.add_argument("--folder", type=Path, default=ROOT / "out/other_isa")
    parser.add_argument("names", nargs="*", metavar="NAME")
    given, start = parser.parse_args(arguments), time.perf_counter()
    try:
        known = [*UNTAPPED, *program_digests.DIGESTS, *DIGESTS]
        unknown = [name for name in given.names if name not in known]
        if unknown:
            names = ", ".join(UNTAPPED)
            raise BitrowError(f"NAME: found {unknown[0]!r}, expected {names}, a program or a fixed problem")
        machine = Machine(given.folder.resolve())
        install(machine)
        faults = check(machine, PROCESSORS[given.processor], given.names or known)
    except BitrowError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: found {error.strerror}, expected a place to write to", file=sys.stderr)
        return 2
    minutes = (time.perf_counter() - start) / 60
    print(f"{len(faults)} at fault: {', '.join(faults)}" if faults else "all bits are the oracle's", end="")
    print(f" ({minutes:.1f} min)")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
