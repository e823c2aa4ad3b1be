"""Values that are computed once and stored, whatever XLA would rather do with them.

XLA's CPU backend fuses cheap elementwise chains into every reader, again for each term of a sum that the reader
adds, and it drops optimization barriers before it fuses. The FP16 arithmetic here is long chains of cheap
operations: without a stop, one loop computes a layer's values dozens of times, and LLVM takes seconds to compile it.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Shaped

from bitrow.doors import guard


def once(x: Shaped[Array, "*s"]) -> Shaped[Array, "*s"]:
    """x, stored: it passes a loop that never turns. XLA cannot know, so that no fusion crosses it; it copies nothing.

    Not differentiable in reverse; meant for the two halves of a `jax.custom_vjp`.
    """
    if not isinstance(x, jax.core.Tracer):
        return x
    never = lax.optimization_barrier(jnp.bool_(False))
    value: Any = x
    return lax.while_loop(lambda value: never, jnp.zeros_like, value)


guard(__name__)
