"""Strict globals for every test: shapes and dtypes checked, no implicit promotion of dtype or rank."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

# Before JAX starts: eight host devices, so that sharding is tested on any machine; flags that are given stay, and win.
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=8 {os.environ.get('XLA_FLAGS', '')}".strip()

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # as the commands have it
# Programs are compiled once for all workers and commands, and stay for the next run.
os.environ.setdefault("BITROW_CACHE", str(Path(__file__).parents[1] / "out" / "cache"))

from jaxtyping import install_import_hook

install_import_hook(["bitrow.ops", "bitrow.layers"], "beartype.beartype")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

from bitrow import compile_cache, jax_switches  # noqa: E402
from c_library import c_model  # noqa: E402, F401
from draws import USUAL  # noqa: E402
from recording import pytest_addoption, pytest_configure, pytest_runtest_makereport  # noqa: E402, F401
from sv_simulators import sv_files  # noqa: E402, F401

compile_cache.use(jax)
jax_switches.collect_seldom()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # thousands of small programs
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

hypothesis.settings.register_profile(
    "bitrow", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
# New examples, ten times as many; one failure of each test, made small.
hypothesis.settings.register_profile(
    "nightly", hypothesis.settings.get_profile("bitrow"), derandomize=False, max_examples=10 * USUAL,
    report_multiple_bugs=False, phases=set(hypothesis.Phase) - {hypothesis.Phase.explain},
)  # fmt: skip
hypothesis.settings.load_profile("bitrow")


@pytest.fixture(scope="module", autouse=True)
def what_is_kept_is_searched_once() -> Iterator[None]:
    """Compiled programs stay: millions of objects that no later garbage collection has to look at again."""
    yield
    gc.collect()
    gc.freeze()
