"""Arrays on a mesh of devices: what JAX asks of a program where axes are explicit. Off such a mesh nothing changes."""

from __future__ import annotations

import jax
from jax import Array, lax
from jax.sharding import PartitionSpec
from jaxtyping import Shaped

from bitrow.doors import guard


def reshape(x: Shaped[Array, "..."], shape: tuple[int, ...]) -> Shaped[Array, "..."]:
    """x in another shape whose first axis is x's; it stays split as it is, along the first axis only."""
    split = _split(x)
    if not any(split):
        return x.reshape(shape)
    return lax.reshape(x, shape, out_sharding=PartitionSpec(split[0]))


def gathered(x: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    """x whole on every device: what is added in one order cannot be split."""
    return jax.sharding.reshard(x, PartitionSpec()) if any(_split(x)) else x


def varying(x: Shaped[Array, "..."]) -> frozenset[str]:
    """The axes of `shard_map` along which x differs."""
    return frozenset(jax.typeof(x).manual_axis_type.varying)


def _split(x: Array) -> tuple[object, ...]:
    return tuple(jax.typeof(x).sharding.spec)


guard(__name__)
