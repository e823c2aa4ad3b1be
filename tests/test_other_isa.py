"""`make other-isa` without an emulator: what it downloads, how it judges, its one-line errors.

An emulator that a test writes answers with prepared lines; guest.py itself runs on this machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitrow.errors import BitrowError
from bitrow.vectors.judge.identity_digests import DIGESTS
from other_isa import __main__ as program
from other_isa import install, judge
from other_isa.guest import TRIPLES, triples
from other_isa.processors import PROCESSORS

N1, A72 = PROCESSORS["neoverse-n1"], PROCESSORS["cortex-a72"]
LOCK = install.LOCK.read_text()

# objdump's words for the unguarded product and sum, with FP16 arithmetic and without.
FUSED = """
0000000000000000 <select_bitcast-convert_fusion>:
  54:\t4e450c67 \tfmla\tv7.8h, v3.8h, v5.8h
  58:\t1f420c20 \tfmadd\th0, h1, h2, h3
  5c:\t4ef8f8e3 \tfabs\tv3.8h, v7.8h
  60:\t6e401c41 \tfmul\tv1.8h, v2.8h, v0.8h
  64:\t1f020c20 \tfmadd\ts0, s1, s2, s3
"""
APART = """
  30:\t0e217864 \tfcvtl\tv4.4s, v3.4h
  40:\t6e24dca4 \tfmul\tv4.4s, v5.4s, v4.4s
  44:\t0e216884 \tfcvtn\tv4.4h, v4.4s
  64:\t4e25d484 \tfadd\tv4.4s, v4.4s, v5.4s
"""


def test_instructions_are_counted_by_what_they_compute_on() -> None:
    assert judge.count(FUSED) == judge.Code(half=3, half_fused=2, single_fused=1)
    assert judge.count(APART) == judge.Code()
    assert judge.count("  0:\t65c00820 \tfmad\tz0.h, p0/m, z1.h, z0.h\n").half_fused == 1
    assert judge.count("  0:\t04404be4 \tfmlal\tv4.4s, v31.4h, v0.4h\n") == judge.Code(1, 1, 0)


@pytest.mark.parametrize("name", PROCESSORS)
def test_cpuinfo_says_what_llvm_looks_for(name: str) -> None:
    lines = dict(line.split("\t: ") for line in PROCESSORS[name].cpuinfo().split("\n") if line)
    assert lines["CPU implementer"] == "0x41" and int(lines["CPU part"], 16) == PROCESSORS[name].part
    assert {"fphp", "asimdhp"} <= set(lines["Features"].split()) or not PROCESSORS[name].half


def test_features_that_llvm_cannot_see_are_an_error() -> None:
    judge.check_features(N1.features.split(), N1)
    judge.check_features([], A72)
    with pytest.raises(BitrowError, match="found features none, expected asimdhp"):
        judge.check_features([], N1)
    with pytest.raises(BitrowError, match="expected no asimdhp"):
        judge.check_features(N1.features.split(), A72)


def test_a_run_that_fuses_nothing_shows_nothing() -> None:
    judge.check_contracts(182, judge.Code(2, 2), N1)
    judge.check_contracts(0, judge.Code(), A72)
    for wrong, code, processor in ((0, judge.Code(2, 2), N1), (182, judge.Code(), N1), (1, judge.Code(), A72)):
        with pytest.raises(BitrowError, match="the unguarded product and sum: found"):
            judge.check_contracts(wrong, code, processor)


def test_words_are_judged_by_numpy_on_the_host() -> None:
    operands = triples()
    right = judge.twice_rounded(operands)
    place = np.flatnonzero(np.isfinite(right.view(np.float16)))[0]
    a, b, c = (float(x) for x in operands.view(np.float16)[:, place])
    assert right[place] == np.float16(float(np.float16(a * b)) + c).view(np.uint16)
    wrong = right.copy()
    wrong[[3, 5]] ^= 1
    assert judge.wrong_words(right.tobytes().hex(), operands) == 0
    assert judge.wrong_words(wrong.tobytes().hex(), operands) == 2
    with pytest.raises(BitrowError, match=f"found 1 words, expected {TRIPLES}"):
        judge.wrong_words("0000", operands)


def test_wheels_are_the_projects_own_pins() -> None:
    pins = install.pinned(LOCK)
    assert set(pins) <= set(LOCK.splitlines()) and [pin.split("==")[0] for pin in pins] == list(install.WHEELS)
    with pytest.raises(BitrowError, match=r"requirements.lock: found no jax, expected its pinned version"):
        install.pinned("jaxlib==1\n")


def test_commands_name_packages_and_the_folder_alone(tmp_path: Path) -> None:
    machine = install.Machine(tmp_path)
    apt = install.apt_command(machine, "amd64", "install", "--download-only", *install.PACKAGES)
    pip = install.pip_command(machine, "3.11", ["jax==0.10.2"])
    assert apt[:3] == ["apt-get", "install", "--download-only"] and f"-oDir::State={machine.apt}" in apt
    assert {"APT::Architectures::=amd64", "APT::Architectures::=arm64"} <= set(apt)
    assert "--platform=manylinux_2_28_aarch64" in pip and pip[-1] == "jax==0.10.2" and str(machine.site) in pip
    assert "://" not in " ".join(apt + pip)


def test_python_is_debians_if_bitrow_runs_on_it(tmp_path: Path) -> None:
    machine = install.Machine(tmp_path)
    link = machine.root / "usr/bin/python3"
    with pytest.raises(BitrowError, match=r"found Python none, expected one of 3\.11, 3\.12, 3\.13"):
        machine.version()
    link.parent.mkdir(parents=True)
    link.symlink_to("python3.11")
    assert machine.version() == "3.11"
    link.unlink()
    link.symlink_to("python3.9")
    with pytest.raises(BitrowError, match=r"found Python 3\.9"):
        machine.version()


def test_a_step_is_done_once_for_what_is_wanted(tmp_path: Path) -> None:
    machine = install.Machine(tmp_path)
    stamp = install.unfinished(machine, "wheels", "jax==1")
    assert stamp
    stamp.write_text("jax==1")
    assert install.unfinished(machine, "wheels", "jax==1") is None
    assert install.unfinished(machine, "wheels", "jax==2") == stamp


def test_programs_that_are_missing_or_fail_are_one_line() -> None:
    with pytest.raises(BitrowError, match=r"^no-such-apt: found no such program, expected Debian's"):
        install.run("no-such-apt", "update")
    with pytest.raises(BitrowError, match=r"found exit status 100 \(E: no network\), expected 0$"):
        install.run("sh", "-c", "echo W: first >&2; echo E: no network >&2; exit 100")


@pytest.mark.parametrize(("system", "architecture", "found"), [("Darwin", "", "Darwin"), ("Linux", "arm64", "an ARM")])
def test_machines_that_cannot_or_need_not(
    system: str, architecture: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(install.platform, "system", lambda: system)
    monkeypatch.setattr(install, "run", lambda *command: architecture)
    assert program.main(["--folder", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith(f"error: make other-isa: found {found}")


def test_a_mirror_without_arm64_is_one_line(tmp_path: Path) -> None:
    machine = install.Machine(tmp_path)
    (machine.apt / "lists").mkdir(parents=True)
    (machine.apt / "lists/mirror_dists_stable_main_binary-amd64_Packages").touch()
    with pytest.raises(BitrowError, match=r"^apt-get update: found no list of arm64 packages, expected"):
        install.check_lists(machine)
    (machine.apt / "lists/mirror_dists_stable_main_binary-arm64_Packages.lz4").touch()
    install.check_lists(machine)


def test_a_folder_that_cannot_be_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "run", lambda *command: "amd64")
    (tmp_path / "file").touch()
    assert program.main(["--folder", str(tmp_path / "file/below"), "quantize"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "found Not a directory, expected a place to write to" in error


def emulator(folder: Path, lines: list[dict[str, Any]], ends: str = "exit 0") -> None:
    """A program in QEMU's place, which gives these lines, and FUSED as objdump of whatever file."""
    folder.joinpath("lines").write_text("".join(json.dumps(line) + "\n" for line in lines))
    folder.joinpath("fused").write_text(FUSED)
    qemu = install.Machine(folder).qemu
    qemu.write_text(f'#!/bin/sh\ncase "$*" in *--version) echo QEMU;; *objdump*) cat "{folder}/fused";;\n'
                    f'*) cat "{folder}/lines"; {ends};; esac\n')  # fmt: skip
    qemu.chmod(0o755)
    (folder / "root").mkdir(exist_ok=True)


def prepared(
    mul_add: int = 0, digest: str = DIGESTS["quantize"], features: str = N1.features, objects: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """guest.py's lines, with `mul_add` words of that kernel wrong; the problem's digest and object files."""
    right = judge.twice_rounded(triples())
    found, fused = right.copy(), right.copy()
    found[:mul_add] ^= 1
    fused[:9] ^= 1
    both = {"narrowed": fused, "mul_add": found}
    return [
        {"features": features.split(), "versions": {"jax": "1"}, "objects": [], "seconds": 1.0},
        *({"kernel": name, "words": words.tobytes().hex(), "objects": ["a.o"] if name == "narrowed" else [],
           "seconds": 1.0} for name, words in both.items()),
        {"name": "quantize", "digest": digest, "objects": objects, "seconds": 1.0},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "status", "says"),
    [({}, 0, "all bits are the oracle's"),
     ({"mul_add": 3}, 1, "1 at fault: mul_add (other bits)"),
     ({"digest": "0" * 64}, 1, "1 at fault: quantize (other bits)"),
     ({"objects": ["b.o"]}, 1, "1 at fault: quantize (computes on FP16)"),
     ({"features": "fpu vme"}, 2, "expected asimdhp")],
)  # fmt: skip
def test_the_exit_status_is_the_verdict(
    given: dict[str, Any], status: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(program, "install", lambda machine: None)
    emulator(tmp_path, prepared(**given))
    assert program.main(["--folder", str(tmp_path), "quantize"]) == status
    shown = capsys.readouterr()
    assert says in shown.out + shown.err
    if status < 2:
        assert f"[1/1] quantize: {'same bits' if given.get('digest') is None else 'OTHER BITS'}, 1.0 s" in shown.out
        assert "narrowed: 9 of 2048 words wrong; instructions: 3 on FP16, 2 of them fused" in shown.out
    assert (tmp_path / "root/proc/cpuinfo").read_text() == N1.cpuinfo()


def test_an_emulated_process_that_dies_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "install", lambda machine: None)
    for lines in ([], prepared()[:1], prepared()):
        emulator(tmp_path, lines, "echo qemu: uncaught target signal 4 >&2; exit 132")
        assert program.main(["--folder", str(tmp_path), "quantize"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "exit status 132 (qemu: uncaught target signal 4), expected 0" in error


def test_an_error_does_not_wait_for_the_emulated_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "install", lambda machine: None)
    emulator(tmp_path, prepared(features=""), "exec sleep 600")
    start = time.monotonic()
    assert program.main(["--folder", str(tmp_path), "quantize"]) == 2
    assert time.monotonic() - start < 300


def test_lines_that_end_early_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "install", lambda machine: None)
    for lines in ([], prepared()[:1], prepared()[:3]):
        emulator(tmp_path, lines)
        assert program.main(["--folder", str(tmp_path), "quantize"]) == 2
        assert "expected" in capsys.readouterr().err


def test_unknown_names_are_refused_before_anything_is_downloaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["--folder", str(tmp_path / "none"), "no_such"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("error: NAME: found 'no_such', expected untapped_")
    assert not (tmp_path / "none").exists()


def test_the_guest_program_runs_here(tmp_path: Path) -> None:
    """SPEC.md F2, B1: what is sent into the emulated machine gives the oracle's digests on this one."""
    names = ["fp16_add_default", "untapped_batch_norm_frozen"]
    environment = {**os.environ, "XLA_FLAGS": f"--xla_dump_to={tmp_path}"}
    guest = Path(program.__file__).with_name("guest.py")
    command = [sys.executable, str(guest), str(tmp_path), *names]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    first, narrowed, mul_add, *others = map(json.loads, result.stdout.splitlines())
    assert set(first["versions"]) == {"machine", "python", "jax", "jaxlib", "numpy"}
    assert [narrowed["kernel"], mul_add["kernel"]] == ["narrowed", "mul_add"] and narrowed["objects"]
    assert judge.wrong_words(mul_add["words"], triples()) == 0
    assert [line["name"] for line in others] == names
    assert all(line["digest"] == judge.expected(line["name"]) for line in others)
