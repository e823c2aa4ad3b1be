"""`bitrow certify`: does this machine give the contract's bits, in whatever form and under whatever flags?

In this process: kernels compiled whole without taps as users run them, with taps, operation by operation, under vmap,
in two halves, sharded over the devices present; whole programs (`programs`); and the compiled code itself, read
(`compiled`). In processes of their own: every instruction set that the processor has, XLA's flags, one thread, eight
devices. Every digest is held against the oracle's; the certificate says of each form which problems it does not apply
to, and why.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bitrow import processor, terminal
from bitrow.backend import compiled, program_digests, programs
from bitrow.contract import conv
from bitrow.errors import BitrowError
from bitrow.files import write_report
from bitrow.reading.values import parse_json
from bitrow.terminal import Column
from bitrow.vectors.judge import identity, stepwise
from bitrow.vectors.judge.identity_digests import DIGESTS
from bitrow.vectors.operations import Words, to_words
from bitrow.vectors.problem import Problem
from bitrow.versions import versions


class Way(NamedTuple):
    """A process of its own: XLA's flags, the form that runs there, and whether it has one thread on one processor."""

    flags: str = ""
    form: str = "jit"
    one_thread: bool = False


# XLA's name of an instruction set, and the processor's feature that it needs. AVX512 does not keep LLVM from FP16's.
LEVELS = {
    "SSE4_2": "sse4_2", "AVX": "avx", "AVX2": "avx2", "AVX512": "avx512f", "AVX512_VNNI": "avx512_vnni",
    "AVX512_BF16": "avx512_bf16", "AMX": "amx_bf16", "AMX_FP16": "amx_fp16",
}  # fmt: skip
CPU_WAYS = {
    "unoptimized": Way("--xla_backend_optimization_level=0"),
    "no_excess_precision": Way("--xla_allow_excess_precision=false"),
    "one_thread": Way("--xla_cpu_multi_thread_eigen=false", one_thread=True),
    "eight_devices": Way("--xla_force_host_platform_device_count=8", "sharded"),
}
GPU_WAYS = {
    "no_excess_precision": Way("--xla_allow_excess_precision=false"),
    "unoptimized": Way("--xla_backend_optimization_level=0"),
    "no_autotune": Way("--xla_gpu_autotune_level=0"),
    "no_triton": Way("--xla_gpu_enable_triton_gemm=false"),
}
# Programs that every process of its own runs, too: each kind once. `full` runs all of them there.
EVERYWHERE = ("training frozen", "rows fp16", "step lite_residual bit_accurate")


def levels() -> dict[str, Way]:
    """A way for every instruction set that this processor has."""
    have = processor.features()
    return {name.lower(): Way(f"--xla_cpu_max_isa={name}") for name, feature in LEVELS.items() if feature in have}


_LEADING = ("n", "element", "run")


def _batched(problem: Problem) -> list[str]:
    """Inputs whose leading axis may be cut."""
    return [name for name, line in problem.operation.inputs.items() if line.axes and line.axes[0] in _LEADING]


def not_divisible(problem: Problem) -> str:
    """Why parts of the leading axis may not be computed apart; "" where they may."""
    if "gamma" in problem.given:
        return "its statistics are those of the whole batch"
    if "seed" in problem.given and problem.operation is conv.BACKWARD:
        return "an element's random word depends on its place in the whole batch"
    return ""


def _words(found: dict[str, Any]) -> Words:
    return {name: to_words(array) for name, array in found.items()}


def _stepped(problem: Problem) -> Words:
    return _words(stepwise.run(identity.kernel(problem), identity.given_arrays(problem)[1]))


def _mapped(problem: Problem) -> Words:
    """Each image, or element, by itself under vmap."""
    arrays, names, run = identity.given_arrays(problem)[1], _batched(problem), identity.kernel(problem)
    whole = {name: array for name, array in arrays.items() if name not in names}
    one = jax.jit(jax.vmap(lambda part: run(whole | {name: value[None] for name, value in part.items()})))
    found = _words(one({name: arrays[name] for name in names}))
    return {name: words.reshape(words.shape[0], *words.shape[2:]) for name, words in found.items()}


def _halves(problem: Problem) -> Words:
    """Two calls on a half each."""
    arrays, names, run = identity.given_arrays(problem)[1], _batched(problem), jax.jit(identity.kernel(problem))
    size = len(arrays[names[0]]) // 2
    cuts = (slice(None, size), slice(size, None))
    parts = [_words(run(arrays | {name: arrays[name][cut] for name in names})) for cut in cuts]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _sharded(problem: Problem) -> Words:
    """The leading axis over as many of the devices as divide it."""
    arrays, names = identity.given_arrays(problem)[1], _batched(problem)
    mesh = Mesh(np.array(programs.own_devices()), ("n",))
    placed = {
        name: jax.device_put(array, NamedSharding(mesh, PartitionSpec("n") if name in names else PartitionSpec()))
        for name, array in arrays.items()
    }
    return _words(jax.jit(identity.kernel(problem))(placed))


def _tapped(problem: Problem) -> Words:
    return identity.compiled(problem, tapped=True)


FORMS: dict[str, Callable[[Problem], Words]] = {
    "jit": identity.compiled, "tapped": _tapped, "eager": _stepped, "vmap": _mapped, "split": _halves,
    "sharded": _sharded,
}  # fmt: skip


def applicable(form: str) -> tuple[list[str], dict[str, str]]:
    """The problems that a form computes, and why it does not compute the others."""
    cut = form in ("vmap", "split")
    reasons = {name: not_divisible(problem) if cut else "" for name, problem in identity.problems().items()}
    return [name for name, why in reasons.items() if not why], {name: why for name, why in reasons.items() if why}


class _Check:
    """One row of the certificate, timed from here on."""

    def __init__(self, name: str, form: str = "jit", flags: str | None = None) -> None:
        self._head = {"check": name, "flags": os.environ.get("XLA_FLAGS", "") if flags is None else flags, "form": form}
        self._start = time.perf_counter()

    def row(
        self, count: int, differ: list[str], first: str = "", others: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Of `count` problems; `differ` are wrong, `first` says how, `others` do not apply and why."""
        seconds = round(time.perf_counter() - self._start, 2)
        return self._head | {"problems": count, "not_applicable": others or {}, "differ": differ, "first": first,
                             "seconds": seconds}  # fmt: skip


def check_form(form: str) -> dict[str, Any]:
    """One form of execution in this process, as a row of the certificate."""
    check, (names, others) = _Check(form, form), applicable(form)
    wrong = identity.differing(names, FORMS[form])
    first = identity.first_difference(identity.problems()[next(iter(wrong))], FORMS[form]) if wrong else ""
    return check.row(len(names), sorted(wrong), first, others)


def check_programs() -> list[dict[str, Any]]:
    """Whole programs in this process, run and read, and the code of every kernel and epoch: two rows."""
    check, expected = _Check("programs"), program_digests.DIGESTS
    differ: list[str] = []
    broken: list[compiled.Violation] = []
    for name, program in programs.programs().items():
        words, found = programs.run_and_read(program)
        differ += [name] if identity.digest(words) != expected[name] else []
        broken += found
    rows = [check.row(len(programs.programs()), differ, differ[0] if differ else "")]
    check = _Check("compiled code")
    for name, function, arguments in read_alone():
        broken += compiled.audit(name, function, arguments)
    names = list(dict.fromkeys(violation.program for violation in broken))
    count = len(programs.programs()) + len(identity.problems()) + len(programs.EPOCHS)
    return [*rows, check.row(count, names, str(broken[0]) if broken else "")]


def read_alone() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """(name, function, arguments) of what is read beside the programs: kernels as users run them, and epochs."""
    for name, problem in identity.problems().items():
        yield name, jax.jit(identity.kernel(problem)), (identity.given_arrays(problem)[1],)
    for policy in programs.EPOCHS:
        yield f"epoch {policy}", *programs.epoch(policy)


def run_way(way: Way, names: Sequence[str]) -> dict[str, str]:
    """Digests of the kernels and programs called `names` that a process of its own prints.

    Raises:
        BitrowError: the process failed.
    """
    command = [sys.executable, "-m", "bitrow.backend.certify", way.form, "one" if way.one_thread else "all", *names]
    environment = {**os.environ, "XLA_FLAGS": way.flags, "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
                   "JAX_ENABLE_COMPILATION_CACHE": "false"}  # fmt: skip
    if way.one_thread:
        environment["NPROC"] = "1"
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise BitrowError(f"XLA_FLAGS={way.flags!r}: found a process that failed: {last[:200]}")
    return parse_json(result.stdout, f"XLA_FLAGS={way.flags!r}", "digests")


def check_way(name: str, way: Way, full: bool = False) -> dict[str, Any]:
    """A form under flags, as a row of the certificate."""
    check, (names, others) = _Check(f"flags: {name}", way.form, way.flags), applicable(way.form)
    expected = {key: DIGESTS[key] for key in names}
    expected |= {key: program_digests.DIGESTS[key] for key in way_programs(way.form, full)}
    first = ""
    try:
        found = run_way(way, list(expected))
        differ = sorted(key for key, text in expected.items() if found.get(key) != text)
    except BitrowError as error:
        differ, first = sorted(expected), str(error)
    return check.row(len(expected), differ, first, others)


def way_programs(form: str, full: bool) -> list[str]:
    """The programs of a process of its own; on several devices those whose batch may be split."""
    return [name for name, one in programs.programs().items()
            if (full or name in EVERYWHERE) and (one.parts or form != "sharded")]  # fmt: skip


def certificate(full: bool = False) -> dict[str, Any]:
    """All checks of this machine; `full` runs every program in every process."""
    ways = levels() | CPU_WAYS if jax.default_backend() == "cpu" else GPU_WAYS
    forms = [form for form in FORMS if form != "sharded" or len(jax.devices()) > 1]
    with ThreadPoolExecutor(2) as pool:
        apart = [pool.submit(check_way, name, way, full) for name, way in ways.items()]
        here = [pool.submit(check_form, form) for form in forms]
        whole = pool.submit(check_programs)
        rows = [*(task.result() for task in here), *whole.result(), *(task.result() for task in apart)]
    return {
        "schema": "bitrow-certificate-3",
        "passes": not any(row["differ"] for row in rows),
        "versions": versions() | {"python": platform.python_version()},
        "platform": jax.default_backend(),
        "devices": [device.device_kind for device in jax.devices()],
        "cpu": processor.cpu_model(),
        "features": list(processor.features()),
        "system": platform.platform(),
        "digests": DIGESTS | program_digests.DIGESTS,
        "checks": rows,
    }


def certify(json_file: Path | None = None, full: bool = False) -> bool:
    """`bitrow certify`: run the checks, print the table, write the certificate; whether all pass.

    Raises:
        BitrowError: the file cannot be written.
    """
    found = certificate(full)
    write_report(json_file, found)
    if str(json_file) == "-":
        return found["passes"]
    columns = [Column(name) for name in ("check", "problems", "verdict", "seconds")]
    table = terminal.table(f"{found['platform']}: {', '.join(found['devices'])}; {found['cpu']}", columns)
    for row in found["checks"]:
        verdict = f"{len(row['differ'])} differ: {row['first'] or row['differ'][0]}" if row["differ"] else "same bits"
        count = f"{row['problems']} of {row['problems'] + len(row['not_applicable'])}"
        terminal.add_row(table, (row["check"], count, verdict, f"{row['seconds']:.1f}"))
    terminal.put_table(table)
    passes = "certified" if found["passes"] else "not certified: programs here do not give the contract's bits"
    terminal.put([f"features: {' '.join(found['features']) or 'unknown'}", passes])
    return found["passes"]


def main(arguments: list[str]) -> None:
    """What a process of its own does: the digests of kernels in one form, and of programs, as JSON."""
    form, processors, *names = arguments
    if processors == "one" and hasattr(os, "sched_setaffinity"):  # before XLA starts its threads
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    kernels, whole = identity.problems(), programs.programs()
    found = {
        name: identity.digest(FORMS[form](kernels[name]) if name in kernels else programs.run(whole[name]))
        for name in names
    }
    terminal.put_json(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
