"""`bitrow certify`: do this machine's kernels give the contract's bits, in whatever form and under whatever flags?

In this process: compiled whole, operation by operation, under vmap, in two halves, sharded over the devices present. In
processes of their own: XLA's flags and instruction sets. Every digest is held against the oracle's.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bitrow.errors import BitrowError
from bitrow.files import write_report
from bitrow.proofs import machine
from bitrow.proofs.shards import versions
from bitrow.vectors import identity, operations, stepwise
from bitrow.vectors.identity_digests import DIGESTS
from bitrow.vectors.operations import Words, to_words
from bitrow.vectors.problems import Problem

CPU_WAYS = {
    "default": "",
    "sse4_2": "--xla_cpu_max_isa=SSE4_2",
    "avx2": "--xla_cpu_max_isa=AVX2",
    "unoptimized": "--xla_backend_optimization_level=0",
    "no_excess_precision": "--xla_allow_excess_precision=false",
    "eight_devices": "--xla_force_host_platform_device_count=8",
}
GPU_WAYS = {
    "default": "",
    "no_excess_precision": "--xla_allow_excess_precision=false",
    "unoptimized": "--xla_backend_optimization_level=0",
    "no_autotune": "--xla_gpu_autotune_level=0",
    "no_triton": "--xla_gpu_enable_triton_gemm=false",
}
_LEADING = ("n", "element", "run")


def _batched(problem: Problem) -> list[str]:
    """Inputs whose leading axis may be cut."""
    operation = operations.find(problem.operation, problem.config)
    return [name for name in operation.inputs if operation.port(name).layout.split(" ")[0] in _LEADING]


def _divisible(problem: Problem) -> bool:
    """Whether parts of the leading axis may be computed apart: no batch statistics, no place in a generator's run."""
    return "gamma" not in problem.given and not (problem.operation == "conv.backward" and "seed" in problem.given)


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
    count = max(count for count in (1, 2, 4, 8) if count <= len(jax.devices()))
    mesh = Mesh(np.array(jax.devices()[:count]), ("n",))
    placed = {
        name: jax.device_put(array, NamedSharding(mesh, PartitionSpec("n") if name in names else PartitionSpec()))
        for name, array in arrays.items()
    }
    return _words(jax.jit(identity.kernel(problem))(placed))


FORMS: dict[str, Callable[[Problem], Words]] = {
    "jit": identity.compiled, "eager": _stepped, "vmap": _mapped, "split": _halves, "sharded": _sharded,
}  # fmt: skip


def check_form(form: str) -> dict[str, Any]:
    """One form of execution in this process, as a row of the certificate."""
    start = time.perf_counter()
    chosen = identity.problems() if form == "jit" else identity.SHORT  # the other forms: one problem of each kind
    names = [name for name in chosen if form not in ("vmap", "split") or _divisible(identity.problems()[name])]
    wrong = identity.differing(names, FORMS[form])
    first = identity.first_difference(identity.problems()[next(iter(wrong))], FORMS[form]) if wrong else ""
    return {"check": form, "flags": os.environ.get("XLA_FLAGS", ""), "problems": len(names), "differ": sorted(wrong),
            "first": first, "seconds": round(time.perf_counter() - start, 2)}  # fmt: skip


def run_way(flags: str) -> dict[str, Any]:
    """What `python -m bitrow.vectors.identity` prints in a process with these XLA flags.

    Raises:
        BitrowError: the process failed.
    """
    command = [sys.executable, "-m", "bitrow.vectors.identity"]
    environment = {**os.environ, "XLA_FLAGS": flags, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise BitrowError(f"XLA_FLAGS={flags!r}: found a process that failed: {last[:200]}")
    return json.loads(result.stdout)


def check_way(way: str, flags: str) -> dict[str, Any]:
    """The compiled kernels under flags, as a row of the certificate."""
    start = time.perf_counter()
    try:
        found = run_way(flags)["digests"]
        differ, first = sorted(name for name in DIGESTS if found[name] != DIGESTS[name]), ""
    except BitrowError as error:
        differ, first = sorted(DIGESTS), str(error)
    return {"check": f"flags: {way}", "flags": flags, "problems": len(DIGESTS), "differ": differ, "first": first,
            "seconds": round(time.perf_counter() - start, 2)}  # fmt: skip


def certificate() -> dict[str, Any]:
    """All checks of this machine."""
    forms = [check_form(form) for form in FORMS]
    ways = CPU_WAYS if jax.default_backend() == "cpu" else GPU_WAYS
    with ThreadPoolExecutor(2) as pool:
        rows = forms + list(pool.map(lambda way: check_way(way, ways[way]), ways))
    return {
        "schema": "bitrow-certificate-1",
        "passes": not any(row["differ"] for row in rows),
        "versions": versions() | {"python": platform.python_version()},
        "platform": jax.default_backend(),
        "devices": [device.device_kind for device in jax.devices()],
        "cpu": machine.cpu_model(),
        "system": platform.platform(),
        "digests": DIGESTS,
        "checks": rows,
    }


def certify(json_file: Path | None = None) -> bool:
    """`bitrow certify`: run the checks, print the table, write the certificate; whether all pass.

    Raises:
        BitrowError: the file cannot be written.
    """
    from rich.console import Console
    from rich.table import Table

    found = certificate()
    write_report(json_file, found)
    if str(json_file) == "-":
        return found["passes"]
    table = Table(title=f"{found['platform']}: {', '.join(found['devices'])}; {found['cpu']}", title_justify="left")
    for name in ("check", "problems", "verdict", "seconds"):
        table.add_column(name, overflow="fold")
    for row in found["checks"]:
        verdict = f"{len(row['differ'])} differ: {row['first'] or row['differ'][0]}" if row["differ"] else "same bits"
        table.add_row(row["check"], str(row["problems"]), verdict, f"{row['seconds']:.1f}")
    console = Console()
    console.print(table)
    console.print("certified" if found["passes"] else "not certified: the kernels do not give the contract's bits here")
    return found["passes"]
