"""The bits of golden/v1 do not depend on how XLA compiles or where it runs (SPEC.md F2, V4)."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bitrow.vectors.files import store

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "golden" / "v1"
WAYS = {
    "sse4_2": ("--xla_cpu_max_isa=SSE4_2", None),
    "avx2": ("--xla_cpu_max_isa=AVX2", None),
    "unoptimized": ("--xla_backend_optimization_level=0", None),
    "no_excess_precision": ("--xla_allow_excess_precision=false", None),
    "one_thread": ("", 1),
    "two_threads": ("", 2),
    "eight_devices": ("--xla_force_host_platform_device_count=8", None),
}


def committed_digest(names: list[str]) -> str:
    """The digest that `backend_digest` prints, of the files as they are committed."""
    digest = hashlib.sha256()
    for name in names:
        for path in sorted((GOLDEN / name).glob("*.hex"), key=lambda path: path.stem):
            digest.update(f"{name}/{path.stem}\n".encode() + path.read_bytes())
    return digest.hexdigest()


# test_golden makes the whole set anew with the default flags, eight devices and all processors.
DONE_ELSEWHERE = ("two_threads", "eight_devices")
SHARED = tuple(way for way in WAYS if way not in DONE_ELSEWHERE)
RUN = ("avx2", "unoptimized")  # in every run; the others, and all cases in each, by `make slow`


def share(way: str) -> list[str]:
    """A way's part of the cases: all ways together run all. (`certify` runs each kernel in every way.)"""
    return store.case_names(GOLDEN)[SHARED.index(way) :: len(SHARED)]


@pytest.mark.parametrize("way", RUN)
def test_the_ways_share_the_cases(way: str) -> None:
    recompute(way, share(way))


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_regenerated_golden_is_the_same(way: str) -> None:
    recompute(way, store.case_names(GOLDEN))


def recompute(way: str, names: list[str]) -> None:
    flags, cpus = WAYS[way]
    if cpus and cpus > len(os.sched_getaffinity(0)):
        pytest.skip(f"needs {cpus} processors, this machine has {len(os.sched_getaffinity(0))}")
    command = [sys.executable, str(ROOT / "tests" / "backend_digest.py"), str(GOLDEN), str(cpus or 0), *names]
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu",
                   "JAX_ENABLE_COMPILATION_CACHE": "false"}  # fmt: skip
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    digest, devices, processors = result.stdout.split()
    assert digest == committed_digest(names)
    assert int(devices) == (8 if way == "eight_devices" else 1)
    assert cpus is None or int(processors) == cpus
