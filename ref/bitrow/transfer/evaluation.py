"""The accuracy of a module taken apart, as one compiled program on every device of a mesh."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from bitrow.transfer.data import Images
from bitrow.transfer.network_module import Parts
from bitrow.transfer.numerics import AXIS, COMPILED


def evaluate(parts: Parts, mesh: Mesh, images: Images, classes: int = 0) -> float:
    """Share of images whose largest logit is their label's; of `classes` the first so many count, of 0 all."""
    batch = min(256, 1 << max(0, len(images.y) - 1).bit_length())
    batch = max(batch, mesh.size)
    steps = -(-len(images.y) // batch)
    order = np.full(steps * batch, -1, np.int32)
    order[: len(images.y)] = np.arange(len(images.y), dtype=np.int32)
    static = _Evaluation(parts.structure, mesh, classes)
    right = _evaluate(static, parts._replace(structure=None), images.x, images.y, order.reshape(steps, batch))
    return int(right) / len(images.y)


class _Evaluation(NamedTuple):
    """What an evaluation is compiled for."""

    structure: Any
    mesh: Mesh
    classes: int


@functools.partial(jax.jit, static_argnums=0, compiler_options=COMPILED)
def _evaluate(how: _Evaluation, parts: Parts, x: Array, y: Array, order: Array) -> Array:
    """Images that are right; one program for all policies of a structure."""

    def run(parts: Parts, x: Array, y: Array, order: Array) -> Array:
        def step(right: Array, index: Array) -> tuple[Array, None]:
            logits = parts._replace(structure=how.structure).join()(x[index])
            logits = logits[:, : how.classes] if how.classes else logits
            found = jnp.argmax(logits, axis=1).astype(jnp.int32)
            return right + ((found == y[index]) & (index >= 0)).sum(dtype=jnp.int32), None

        right, _ = lax.scan(step, jnp.int32(0), order)
        return lax.psum(right, AXIS)

    specs = (P(), P(), P(), P(None, AXIS))
    return jax.shard_map(run, mesh=how.mesh, in_specs=specs, out_specs=P(), check_vma=False)(parts, x, y, order)
