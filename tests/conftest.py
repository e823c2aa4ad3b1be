"""Strict globals for every test: shapes and dtypes checked, no implicit promotion of dtype or rank."""

from __future__ import annotations

import os

# Before JAX starts: eight host devices, so that sharding is tested on any machine; flags that are given stay, and win.
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=8 {os.environ.get('XLA_FLAGS', '')}".strip()

from jaxtyping import install_import_hook

install_import_hook(["bitrow.ops", "bitrow.layers"], "beartype.beartype")

import hypothesis  # noqa: E402
import jax  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

hypothesis.settings.register_profile(
    "bitrow", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("bitrow")
