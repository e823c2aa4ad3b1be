"""Flax modules: the same numbers as their own calls, batch norms as they are stored, what is no layer by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from bitrow import model_file
from bitrow.config import AvgPoolConfig, ConvConfig, MaxPoolConfig
from bitrow.importers.calibration import float_twin, float_twins
from bitrow.importers.command import ImportOptions, ImportRefused, import_module, read_module
from bitrow.importers.emit import FloatNetwork
from bitrow.importers.layers import CodeBits
from bitrow.importers.operators import Normalize
from bitrow.importers.traced import TracedModule
from hostile_samples import refuses

SHAPE = (8, 8, 3)


class Residual(nnx.Module):
    """A shortcut, both kinds of pool, a gate, a joined map, a head behind a flattened map."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Conv(3, 4, (3, 3), strides=2, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.depthwise = nnx.Conv(4, 4, (3, 3), feature_group_count=4, use_bias=False, kernel_dilation=2, rngs=rngs)
        self.point, self.head = nnx.Linear(4, 4, rngs=rngs), nnx.Linear(2 * 2 * 8, 5, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        key = jax.random.key(3)
        self.norm.mean[...], self.norm.var[...] = jax.random.normal(key, 4), jnp.array([3e-4, 1.0, 0.01, 2.0])
        self.norm.scale[...], self.norm.bias[...] = jnp.array([1.5, -0.7, 0.3, 2.0]), jax.random.normal(key, 4)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.norm(self.first(x)))
        x = x + nnx.relu6(self.point(self.depthwise(x)))
        x = jax.nn.hard_swish(x) * nnx.sigmoid(jnp.mean(x, axis=(1, 2), keepdims=True))
        y = nnx.avg_pool(x, (3, 3), (2, 2), "SAME", count_include_pad=False)
        x = jnp.concatenate([nnx.max_pool(x, (3, 3), (2, 2), "SAME"), y], axis=-1)
        return self.head(self.dropout(x.reshape(x.shape[0], -1)))


class Plain(linen.Module):
    """As linen's examples are written."""

    @linen.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = linen.Conv(4, (3, 2), (2, 1), padding=((1, 0), (0, 1)))(x)
        x = linen.relu(linen.BatchNorm(use_running_average=not train)(x))
        x = linen.avg_pool(x, (2, 2), (1, 2), padding="SAME")
        return linen.Dense(3)(x.mean(axis=(1, 2)))


IMAGES = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)


def _assert_same(made: FloatNetwork, call: Callable[[jax.Array], jax.Array]) -> None:
    expected = np.asarray(call(jnp.asarray(IMAGES)))
    got = float_twin(made, IMAGES).reshape(expected.shape)
    assert np.abs(got - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())


def test_a_function_of_several_outputs() -> None:
    """Each is an output of the network; a dict's by their keys' order."""
    weight = jnp.asarray(np.random.default_rng(3).normal(size=(3, 3, 3, 4)), jnp.float32)

    def call(x: jax.Array) -> dict[str, jax.Array]:
        y = jax.lax.conv_general_dilated(x, weight, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return {"a": jax.nn.relu(y), "b": jax.nn.silu(y)}

    made = read_module(call, SHAPE).made
    assert len(made.network.outputs) == 2
    for got, expected in zip(float_twins(made, IMAGES).values(), call(jnp.asarray(IMAGES)).values(), strict=True):
        assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


def test_an_nnx_module_gives_its_numbers_and_stays_as_it_is() -> None:
    """SPEC.md B1, E2, E3: every convolution within its bound of the module's own."""
    module = Residual(nnx.Rngs(0))
    report = import_module(module, SHAPE, ImportOptions(count=2, check=True, bits=CodeBits(8, 8, 8)))
    assert report.imported is not None and report.checked is not None
    check = report.checked
    assert check.original.within == check.original.convolutions == 3 == check.codes.within
    assert check.twin.largest <= 1e-5 * check.twin.magnitude
    assert 0 < check.bits.largest < 0.2 * check.bits.magnitude
    assert not module.norm.use_running_average  # what was called was a copy
    assert model_file.to_bytes(report.imported.model)
    configs = [node.config for node in report.imported.model.network.nodes]
    pools = [type(one).__name__ for one in configs if isinstance(one, MaxPoolConfig | AvgPoolConfig)]
    assert pools == ["AvgPoolConfig", "AvgPoolConfig", "MaxPoolConfig"]
    assert [one.groups for one in configs if isinstance(one, ConvConfig)] == [1, 4, 1]
    _assert_same(report.imported.made, nnx.view(module, deterministic=True, use_running_average=True))


def test_a_batch_norm_is_read_as_it_is_stored() -> None:
    """SPEC.md B1: the fold is of its own variance and eps, not of float32's root of them."""
    module = Residual(nnx.Rngs(0))
    norms = [one.op for one in TracedModule(module, SHAPE).reading().graph.steps if isinstance(one.op, Normalize)]
    assert len(norms) == 1 and norms[0].eps == float(np.float32(1e-5))
    for name, stored in (("gamma", "scale"), ("mean", "mean"), ("var", "var")):
        assert np.array_equal(getattr(norms[0], name), getattr(module.norm, stored)[...]), name


@pytest.fixture
def usual_promotion() -> Iterator[None]:
    """linen's average pool divides by an integer, which the tests' strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.usefixtures("usual_promotion")
def test_a_linen_module_gives_its_numbers() -> None:
    module = Plain()
    variables = module.init(jax.random.key(0), jnp.zeros((1, *SHAPE)))
    found = read_module(module, SHAPE, variables=variables)
    _assert_same(found.made, lambda x: module.apply(variables, x))
    assert found.nodes[0].node == "Plain/Conv_0/conv_general_dilated_0" and found.nodes[0].layers
    with pytest.raises(ImportRefused):  # with batch statistics of its own, as in training
        read_module(lambda x: module.apply(variables, x, train=True, mutable="batch_stats")[0], SHAPE)


def test_what_has_no_layer_is_named_all_of_it() -> None:
    weight = jnp.ones((3, 3, 3, 2))

    def call(x: jax.Array) -> jax.Array:
        y = jax.lax.conv_transpose(x, weight, (2, 2), "SAME")
        x = jnp.exp(x) - jnp.sum(x, axis=(1, 2), keepdims=True)
        return jnp.concatenate([x[:, ::2], jnp.tanh(x[:, 1::2]), y[:, :4, :8, :]], axis=-1)

    with pytest.raises(ImportRefused) as caught:
        read_module(call, SHAPE)
    found = {one.operator: one.reason for one in caught.value.report.refusals}
    assert found["conv_general_dilated"].startswith("a transposed convolution")
    assert found["exp"] == found["tanh"] == found["slice"] == "an unknown primitive"


def test_sums_that_no_size_divides() -> None:
    with pytest.raises(ImportRefused, match="found sums of 8x8 windows divided by other numbers"):
        read_module(lambda x: jnp.sum(x, axis=(1, 2)) / 63, SHAPE)
    with pytest.raises(ImportRefused, match="found a window's sum that nothing divides"):
        read_module(lambda x: nnx.relu(jnp.sum(x, axis=(1, 2))), SHAPE)


def _failing(x: jax.Array) -> jax.Array:
    raise ValueError("two\nlines")


@pytest.mark.parametrize(("module", "shape", "variables", "words"), [
    (Plain(), SHAPE, None, "Plain variables: found NoneType"),
    (lambda x: x, SHAPE, {}, "variables: found some, expected none"),
    (3, SHAPE, None, "int: found a int, expected a module"),
    (lambda x: x, (8, 8), None, "input_shape: found (8, 8), expected (h, w, c)"),
    (lambda x: x, (8, 0, 3), None, "input_shape"),
    (lambda x: (), SHAPE, None, "found no output, expected some"),
    (lambda x: (jax.nn.relu(x), jnp.zeros(3)), SHAPE, None, "found no map as output"),
    (lambda x: jnp.zeros(3), SHAPE, None, "found no map as output"),
    (lambda x: x, SHAPE, None, "found no layers between input and output"),
    (_failing, SHAPE, None, "_failing: its call on [1, h, w, c] of [8, 8, 3] fails (two lines)"),
])  # fmt: skip
def test_modules_that_cannot_be(module: Any, shape: Any, variables: Any, words: str) -> None:
    refuses(lambda: read_module(module, shape, ImportOptions(), variables), words)


def test_options_of_files_are_refused() -> None:
    refuses(lambda: read_module(lambda x: x, SHAPE, ImportOptions(outputs=("x",))), "found input_size or outputs")
