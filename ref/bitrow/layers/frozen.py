"""Cotangents of frozen parameters: the accelerator has no weight-gradient path (SPEC.md C4)."""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

T = TypeVar("T")


def zero_cotangent(params: T) -> T:
    """Zeros of the cotangent type of every leaf: float0 for integers, as JAX requires."""

    def zero(leaf: jax.Array) -> jax.Array | np.ndarray:
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.zeros_like(leaf)
        return np.zeros(leaf.shape, jax.dtypes.float0)

    return jax.tree.map(zero, params)
