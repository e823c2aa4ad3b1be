"""How commands end: by signals, without memory, without a place for their output, in an environment that cannot be."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bitrow import files, leave
from vectors_samples import frozen_case, write

UNIT = "fp16_add_nearest_even"
BITROW = [sys.executable, "-m", "bitrow"]
# Every signal finds a run half way: its partial folder stands, and JAX's garbage collection calls back into Python. The
# machine is not asked: that would only take time.
SLOW = """
import gc, sys, time
from bitrow import cli, leave
leave.install()
import jax
from bitrow.backend import require
require.require = lambda command: None
from bitrow.vectors import generate
def slow(problem, compute=generate.compute):
    case = compute(problem)
    if problem.name.endswith("{last}"):
        print("half", flush=True)
        while True:
            gc.collect()
            jax.numpy.zeros(3) + 1
    return case
generate.compute = slow
cli.main(sys.argv[1:])
"""


def after(first: str, command: list[str]) -> list[str]:
    """The command, in a process that has run `first`; no function of this process, which has JAX's threads."""
    code = f"import os, resource, signal, sys\n{first}\nos.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-c", code, *command]


def finish(
    *arguments: object, environment: dict[str, str] | None = None, first: str = "", **options
) -> tuple[int, str, str]:
    """A command to its end, in a process that has run `first`: status, standard output, standard error."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    command = after(first, [*BITROW, *map(str, arguments)])
    done = subprocess.run(command, text=True, env=os.environ | (environment or {}), timeout=200, check=False, **options)
    return done.returncode, done.stdout or "", done.stderr or ""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write(tmp_path / "set", frozen_case())


@pytest.mark.parametrize(("how", "said"), [
    (signal.SIGTERM, "ended by SIGTERM"), (signal.SIGINT, "interrupted"), (signal.SIGHUP, "ended by SIGHUP"),
    (signal.SIGUSR1, "ended by SIGUSR1"), (signal.SIGXCPU, "ended by SIGXCPU"),
])  # fmt: skip
def test_signals_in_the_midst_of_garbage_collections(out: Path, how: signal.Signals, said: str) -> None:
    """SPEC.md V5: one line, 128 + the signal, the old set whole, beside it what was judged; none is swallowed."""
    before = contents(out)
    command = [sys.executable, "-c", SLOW.format(last="even"), "generate", "--out", str(out), "--suite",
               "fxp_pack_fxp4", "--suite", UNIT, "--force"]  # fmt: skip
    command = after(f"signal.signal({int(how)}, signal.SIG_DFL)", command)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "half\n"
        process.send_signal(how)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (128 + how, f"bitrow: {said}\n")
    kept, whole = sorted(os.listdir(out.parent))
    assert contents(out) == before and kept.startswith(".set.bitrow-cases-") and whole == "set"


def test_ignored_signals_stay_ignored(out: Path) -> None:
    """As nohup and shells' background jobs want it."""
    ignore = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    status, _, errors = finish("verify", out, "--no-recompute", first=ignore)
    assert (status, errors) == (0, "")
    code = "import signal\nfrom bitrow import leave\nleave.install()\nprint(signal.getsignal(signal.SIGHUP).name)"
    ignored = subprocess.run(after(ignore, [sys.executable, "-c", code]), capture_output=True, text=True, check=True)
    assert ignored.stdout == "SIG_IGN\n"


STEPS = """
import os, signal, sys, threading, time
from bitrow import leave
leave.install()
with leave.undoing(lambda: print("undone", flush=True)):
    with leave.uncut():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.3)
        print("whole", flush=True)
    {after}
    time.sleep(30)
"""


def test_steps_that_belong_together_are_not_cut() -> None:
    """The signal waits for the second step, then undoes what was begun."""
    done = subprocess.run([sys.executable, "-c", STEPS.format(after="")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "whole\nundone\n", "bitrow: ended by SIGTERM\n")


def test_a_signal_after_the_end_changes_nothing() -> None:
    """The status is known and told: a late signal only hurries the end."""
    code = ("import os, signal, time\nfrom bitrow import leave\nleave.install()\nleave.said()\nleave.over(7)\n"
            "os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(30)")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")


def limited(kind: str, value: int) -> str:
    return f"resource.setrlimit(resource.{kind}, ({value}, {value}))"


@pytest.mark.parametrize("mebibytes", [146, 585, 1465])
def test_too_little_memory(out: Path, mebibytes: int) -> None:
    """`ulimit -v`: libraries in C give up with SIGABRT, SIGSEGV, SIGINT or status 1; one line, 2, the old set whole."""
    before = contents(out)
    limit = limited("RLIMIT_AS", mebibytes << 20)
    arguments = ("generate", "--suite", UNIT, "--out", out, "--force", "--quiet")
    status, printed, errors = finish(*arguments, first=limit)
    if status:  # else it was enough
        assert status == 2 and errors.count("\n") == 1 and errors.startswith("bitrow: not enough memory"), errors
        assert contents(out) == before
    else:
        assert (printed, errors) == ("", "")


NOISY = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))
from bitrow import limited
def command():
    os.write(2, b"OpenBLAS blas_thread_init: pthread_create failed for thread 1 of 2\\n")
    os.write(2, {said})
    sys.exit(2)
limited.run(command)
"""


@pytest.mark.parametrize(("said", "shown"), [
    (b"bitrow: not enough memory\n", "bitrow: not enough memory\n"),
    (b"bitrow: other\n", "OpenBLAS blas_thread_init: pthread_create failed for thread 1 of 2\nbitrow: other\n"),
])  # fmt: skip
def test_what_libraries_say_of_too_little_memory(said: bytes, shown: str) -> None:
    """One line where memory is short, whatever a library printed before; else nothing is kept back."""
    code = NOISY.format(said=said)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, shown)


def test_no_room_for_files(out: Path, tmp_path: Path) -> None:
    """`ulimit -f 0`: one line that names the file; the old set stays."""
    before, limit = contents(out), limited("RLIMIT_FSIZE", 0)
    for arguments, name in (
        (("generate", "--suite", UNIT, "--out", out, "--force"), "set"),
        (("generate", "--suite", UNIT, "--out", tmp_path / "new"), "new"),
        (("prove", "claims", "solver.shift", "--jobs", "1", "--state", tmp_path / "state"), ".partial.json"),
        (("verify", out, "--no-recompute", "--json", tmp_path / "report"), "report"),
    ):
        status, _, errors = finish(*arguments, first=limit)
        assert status == 2 and errors.count("\n") == 1 and f"{name}: cannot be written: File too large" in errors
    assert contents(out) == before
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {Path(name).name for name in before}


def closed(*numbers: int) -> str:
    return f"for number in {numbers}: os.close(number)"


def test_standard_streams_that_are_closed_or_full(out: Path) -> None:
    """1 means that words differ and nothing else: output that is lost is 2, a lost line changes no status."""
    verify = ("verify", out, "--no-recompute")
    assert finish(*verify, first=closed(1))[::2] == (2, "bitrow: Bad file descriptor\n")
    assert finish(*verify, first=closed(0))[0] == 0
    assert finish(*verify, first=closed(2))[0] == 0
    assert finish(*verify, first=closed(0, 1, 2))[0] == 2
    assert finish("generate", "--suite", UNIT, "--out", out, "--force", "--quiet", first=closed(0, 1, 2))[0] == 0
    with Path("/dev/full").open("w") as full:
        assert finish(*verify, stderr=full)[0] == 0
        assert finish("verify", out / "none", stderr=full)[0] == 2
        assert finish(*verify, stdout=full)[::2] == (2, "bitrow: No space left on device\n")
        claims = ("prove", "claims", "solver.shift", "--jobs", "1", "--state", out.parent / "s")
        assert finish(*claims, stdout=full)[0] == 2


@pytest.mark.parametrize("arguments", [
    ("pipeline", "resnet8", "--rings"),
    ("prove", "claims", "solver.shift", "solver.to_float32", "--jobs", "1", "--state"),
    ("inspect", "3c01"),
])  # fmt: skip
def test_a_reader_that_has_gone(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """`| head -1` has read its line: nothing is said, and the status is not that of words that differ."""
    reader, writer = os.pipe()
    os.close(reader)
    last = (tmp_path,) if arguments[-1] == "--state" else ()
    status, _, errors = finish(*arguments, *last, stdout=writer)
    os.close(writer)
    assert (status, errors) == (2, "")


@pytest.mark.parametrize(("environment", "text"), [
    ({"JAX_PLATFORMS": "cuda"}, "JAX_PLATFORMS: found 'cuda', expected a platform of this machine"),
    ({"JAX_PLATFORMS": "nonsense"}, "JAX_PLATFORMS: found 'nonsense'"),
    ({"XLA_FLAGS": "--xla_no_such_flag=1"}, "XLA_FLAGS: Unknown flag in XLA_FLAGS: --xla_no_such_flag=1"),
    ({"XLA_FLAGS": "--xla_cpu_enable_fast_math=maybe"}, "XLA_FLAGS: Couldn't interpret value maybe for flag"),
    ({"XLA_FLAGS": "--xla_force_host_platform_device_count=x"}, "XLA_FLAGS: Couldn't interpret value x"),
    ({"XLA_FLAGS": "--xla_cpu_max_isa=FOO"}, "XLA_FLAGS: Unknown CPU ISA: FOO"),
    ({"XLA_FLAGS": "nonsense"}, "XLA_FLAGS: Could not open file"),
    ({"JAX_NUM_CPU_DEVICES": "-3"}, "JAX_NUM_CPU_DEVICES: found '-3', expected a number of devices"),
    ({"JAX_NUM_CPU_DEVICES": "two"}, "JAX_NUM_CPU_DEVICES: found 'two'"),
    ({"JAX_NUM_CPU_DEVICES": "0"}, "JAX_NUM_CPU_DEVICES: found '0'"),
    ({"JAX_ENABLE_X64": "maybe"}, "environment: found what JAX cannot take"),
    ({"JAX_TRANSFER_GUARD": "maybe"}, "environment: found what JAX cannot take"),
])  # fmt: skip
def test_environments_that_cannot_be(tmp_path: Path, environment: dict[str, str], text: str) -> None:
    """JAX's and XLA's variables: one line that names the variable, exit 2, nothing begun."""
    environment = {"XLA_FLAGS": ""} | environment
    status, _, errors = finish("generate", "--suite", UNIT, "--out", tmp_path / "set", environment=environment)
    assert status == 2 and errors.count("\n") == 1 and text in errors, errors
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_switches_for_debugging_change_nothing(tmp_path: Path) -> None:
    """64-bit types, NaN checks, no jit, a guard of transfers: the same set as without them."""
    switches = {"JAX_ENABLE_X64": "1", "JAX_DEBUG_NANS": "1", "JAX_DEBUG_INFS": "1", "JAX_DISABLE_JIT": "1",
                "JAX_TRANSFER_GUARD": "disallow", "XLA_FLAGS": ""}  # fmt: skip
    for name, environment in (("plain", {}), ("switched", switches)):
        arguments = ("generate", "--suite", UNIT, "--out", tmp_path / name, "--quiet")
        assert finish(*arguments, environment=environment) == (0, "", "")
    assert contents(tmp_path / "plain") == contents(tmp_path / "switched")


@pytest.mark.parametrize(("where", "index", "text"), [
    ("127.0.0.1:99999", 0, "expected HOST:PORT"), ("127.0.0.1", 1, "expected HOST:PORT"),
    pytest.param("127.0.0.1:0", 0, "expected HOST:PORT", marks=pytest.mark.slow),
    pytest.param("127.0.0.1:٣", 0, "expected HOST:PORT", marks=pytest.mark.slow),
    pytest.param("nohost.invalid:1234", 0, "expected one with an address", marks=pytest.mark.slow),
    ("nohost.invalid:1234", 1, "expected one with an address"),
    pytest.param("192.0.2.1:1234", 0, "where process 0 cannot listen", marks=pytest.mark.slow),
    ("busy", 0, "where process 0 cannot listen"),
])  # fmt: skip
def test_coordinators_that_cannot_be(where: str, index: int, text: str) -> None:
    """`transfer --coordinator`: a bad port is no segmentation fault, a bad host no wait; one line, in seconds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = f"127.0.0.1:{server.getsockname()[1]}" if where == "busy" else where
        status, _, errors = finish("transfer", "--coordinator", where, "--processes", 2, "--process", index)
    assert status == 2 and errors.count("\n") == 1 and text in errors, errors


def test_a_coordinator_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others give up in one line."""
    from bitrow.errors import BitrowError
    from bitrow.transfer import processes

    monkeypatch.setattr(processes, "PATIENCE", 0.5)
    begun = time.monotonic()
    with pytest.raises(BitrowError, match=r"found nobody at 127.0.0.1:1 .*expected process 0"):
        processes.join("127.0.0.1:1", 2, 1)
    assert time.monotonic() - begun < 20


def test_a_replaced_report_keeps_its_mode(tmp_path: Path) -> None:
    """600 stays 600, in every moment; a new one is as the system makes them."""
    report = tmp_path / "report.json"
    report.write_text("{}")
    report.chmod(0o600)
    with files.whole(report) as aside:
        assert aside.stat().st_mode & 0o777 == 0o600
        aside.write_text("[]")
    assert report.stat().st_mode & 0o777 == 0o600 and report.read_text() == "[]"
    files.write_json(tmp_path / "new.json", {})
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "new.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_killed_writers_file_aside_goes(tmp_path: Path) -> None:
    """At the next write of the same file; one that is still being written stays."""
    report = tmp_path / "report.json"
    program = ("import os, signal, sys\nfrom bitrow import files\n"
               "with files.whole(sys.argv[1]) as aside:\n"
               "    aside.write_text('x')\n    os.kill(os.getpid(), 9)")  # fmt: skip
    subprocess.run([sys.executable, "-c", program, str(report)], check=False)
    assert len(os.listdir(tmp_path)) == 1
    with files.whole(report) as aside:
        assert os.listdir(tmp_path) == [aside.name]
        files.write_text(report, "meanwhile")
        aside.write_text("last")
    assert report.read_text() == "last" and os.listdir(tmp_path) == ["report.json"]


def test_signals_and_their_numbers() -> None:
    """Those that end a process by themselves and are not asked for a core are all taken."""
    assert {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGXCPU} <= set(leave.SIGNALS)
