"""Kernels in other transformations, on no images, and under JAX's own switches: the same bits, or a refusal."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from bitrow import fp16, network
from bitrow.config import AvgPoolConfig, BatchNormConfig, ConvConfig, LinearConfig, MaxPoolConfig, ReluConfig
from bitrow.errors import BitrowError
from bitrow.formats import Accumulator
from bitrow.graph import ConvSize, Network, Node
from bitrow.host import Scales
from bitrow.layers import batch_norm, conv, linear, pool
from bitrow.ops import half_casts
from bitrow.synthetic import synthetic

RNG = np.random.default_rng(5)
X = jnp.asarray(RNG.normal(size=(4, 4, 4, 2)), jnp.float16)
PARTS = PartitionSpec("parts")


def convolution(kernel=(3, 3, 2, 2), **settings):
    config = ConvConfig(**settings)
    return config, conv.make_params(config, "c", RNG.integers(-8, 8, kernel), Scales(0.25, 0.25, 0.25))


def passes(forward, x):
    """The output of `forward` and the gradient of x that it gives back for its own output."""
    y, pull = jax.vjp(forward, x)
    return y, pull(y)[0]


def both(config, params):
    return functools.partial(passes, lambda x: conv.apply(config, params, x))


NORM = batch_norm.BatchParams(jnp.ones(2, jnp.float32), jnp.ones(2, jnp.float32), jnp.float32(0.5))
HEAD = linear.LinearParams(jnp.ones((32, 3), jnp.float16), jnp.ones(3, jnp.float32))
LAYERS = {
    "conv": both(*convolution(padding=1)),
    "fp16 gradient": both(*convolution(padding=1, gradient="fp16")),
    "saturating": both(*convolution(padding=1, accumulator=Accumulator(9, "saturate"))),
    "stride 2": both(*convolution(padding=1, stride=2)),
    "1x1 stride 2": both(*convolution((1, 1, 2, 3), stride=2)),
    "depthwise": both(*convolution((3, 3, 1, 2), padding=1, groups=2)),
    "max pool": functools.partial(passes, lambda x: pool.apply_max(MaxPoolConfig(3, 2, 1), x)),
    "average pool": functools.partial(passes, lambda x: pool.apply_avg(AvgPoolConfig(2), x)),
    "head": functools.partial(passes, lambda x: linear.apply(LinearConfig(), HEAD, x.reshape(x.shape[0], 32))),
    "batch": functools.partial(passes, lambda x: batch_norm.apply_batch(BatchNormConfig("batch"), NORM, x)),
}


@functools.cache
def on_one_device(name):
    return jax.jit(LAYERS[name])(X)


def mesh(kind):
    return jax.make_mesh((4,), ("parts",), axis_types=(kind,), devices=jax.devices()[:4])


def same(found, expected):
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return all(np.array_equal(np.asarray(a).view(np.uint16), np.asarray(b).view(np.uint16)) for a, b in pairs)


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "batch"])
def test_shard_map_gives_the_same_bits(name):
    split = jax.shard_map(LAYERS[name], mesh=mesh(AxisType.Auto), in_specs=PARTS, out_specs=PARTS)
    assert same(jax.jit(split)(X), on_one_device(name))


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.slow] if name == "batch" else []) for name in LAYERS
])  # fmt: skip
def test_explicit_meshes_give_the_same_bits(name):
    explicit = mesh(AxisType.Explicit)
    with jax.set_mesh(explicit):
        found = jax.jit(LAYERS[name])(jax.device_put(X, NamedSharding(explicit, PARTS)))
    assert same(found, on_one_device(name))


def test_statistics_of_parts_are_refused():
    split = jax.shard_map(LAYERS["batch"], mesh=mesh(AxisType.Auto), in_specs=PARTS, out_specs=PARTS)
    with pytest.raises(BitrowError, match="batch norm y: found parts along parts, expected the whole batch"):
        jax.jit(split)(X)


CONFIG, PARAMS = convolution(padding=1, dy_rounding="stochastic")
ELEMENTS = 4 * 4 * 2


def part(x, start):
    return passes(lambda x: conv.apply_part(CONFIG, PARAMS, x, start), x)


def test_parts_take_their_own_words():
    """SPEC.md Q3: the words of a part begin at the number of its first element."""
    whole = both(CONFIG, PARAMS)
    expected = jax.jit(whole)(X)
    assert same(jax.jit(part, static_argnums=1)(X, 0), expected)
    mapped = jax.jit(jax.vmap(part))(X[:, None], jnp.arange(4, dtype=jnp.uint32) * ELEMENTS)
    assert same([v.reshape(X.shape) for v in mapped], expected)
    on = {"mesh": mesh(AxisType.Auto), "in_specs": PARTS, "out_specs": PARTS}
    split = jax.shard_map(lambda x: part(x, jax.lax.axis_index("parts") * ELEMENTS), **on)
    assert same(jax.jit(split)(X), expected)
    with pytest.raises(BitrowError, match="gradient start: found one for all parts along parts") as caught:
        jax.jit(jax.shard_map(whole, **on))(X)
    assert "\n" not in str(caught.value)


def test_networks_take_parts():
    """SPEC.md Q3 for a network: `first_image`."""
    config = ConvConfig(padding=1, dy_rounding="stochastic")
    nodes = Node("c", config, ("input",), ConvSize(3, 3, 2)), Node("r", ReluConfig(), ("c",))
    small = Network("small", (4, 4, 2), nodes, "r")
    model = synthetic(small, count=2)

    @functools.partial(jax.jit, static_argnums=2)
    def dx(x, dlogits, first_image):
        _, saved = network.forward(small, model.params, x)
        return network.backward(small, model.params, saved, dlogits, first_image=first_image)[0]

    x, dlogits = (jnp.asarray(v) for v in (model.samples.images, model.samples.dlogits))
    parts = [dx(x[i : i + 1], dlogits[i : i + 1], i) for i in range(2)]
    assert same(jnp.concatenate(parts), dx(x, dlogits, 0))
    assert not same(jnp.concatenate([parts[0], dx(x[1:], dlogits[1:], 0)]), dx(x, dlogits, 0))


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "batch"])
def test_no_images_give_empty_arrays(name):
    y, dx = jax.jit(LAYERS[name])(X[:0])
    assert y.shape == (0, *jax.eval_shape(LAYERS[name], X)[0].shape[1:]) and dx.shape == (0, 4, 4, 2)
    assert y.dtype == dx.dtype == jnp.float16


def test_no_images_have_no_statistics():
    with pytest.raises(BitrowError, match="batch norm: found 0 elements a channel, expected 1 or more"):
        batch_norm.forward_batch(BatchNormConfig("batch"), NORM, X[:0])


SWITCHES = {
    "debug_nans": lambda: jax.debug_nans(True),
    "debug_infs": lambda: jax.debug_infs(True),
    "disable_jit": lambda: jax.disable_jit(True),
    "x64": lambda: jax.enable_x64(True),
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_jaxs_switches_change_nothing(switch):
    """The trial of casts, which the first FP16 operation makes, has NaNs and infinities of its own."""
    expected = on_one_device("stride 2")
    half_casts.casts_are_exact.cache_clear()
    try:
        with SWITCHES[switch]():
            assert float(fp16.add(jnp.float16(1), jnp.float16(2**-10))) == 1 + 2**-10
            assert half_casts.casts_are_exact(jax.default_backend())
            if switch != "disable_jit":  # whose every operation is compiled for itself
                assert same(jax.jit(LAYERS["stride 2"])(X), expected)
    finally:
        half_casts.casts_are_exact.cache_clear()
