"""The emulated rows of a schedule equal the whole-tensor model, forward and backward (SPEC.md C1, C2, B2, B3, A5)."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from bitrow import network as whole
from bitrow import zoo
from bitrow.config import BatchNormConfig, ConvConfig, Statistics
from bitrow.errors import BitrowError
from bitrow.formats import Gradient, QuantRounding
from bitrow.graph import Network
from bitrow.pipeline.check import check, order_of, slots_of
from bitrow.pipeline.emulator import Emulator, layer_order
from bitrow.pipeline.policies import layer_by_layer, row_pipelined, row_pipelined_overlap
from bitrow.pipeline.schedule import schedule
from bitrow.synthetic import synthetic
from bitrow.zoo import Options
from pipeline_samples import machines, networks

POLICIES = (layer_by_layer, row_pipelined, row_pipelined_overlap)


def words(x: object) -> np.ndarray:
    return np.asarray(x).view(np.uint16)


def small(**options: object) -> Network:
    return zoo.resnet8((9, 7, 1), 10, 0.25, Options(**options))  # type: ignore[arg-type]


@settings(max_examples=4, phases=[Phase.explicit, Phase.generate])  # shrinking would compile for minutes
@given(st.data())
def test_drawn_networks_on_drawn_machines(data: st.DataObject) -> None:
    """Kernels 1 to 7, strides, padding, depthwise, shortcuts, pools, odd maps smaller than kernels; any machine."""
    net = data.draw(networks(barrier=False, layers=5))
    images, lanes = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))
    try:
        model = synthetic(net, data.draw(st.integers(1, 99)), images * lanes)
        found = schedule(net, data.draw(machines()), data.draw(st.sampled_from(POLICIES)), images)
    except BitrowError:  # a gradient that no loss scale saves, or a machine too small: refused, not run
        assume(False)
    samples = model.samples
    assert samples is not None
    checked = check(found, model.params, jnp.asarray(samples.images), jnp.asarray(samples.dlogits))
    assert checked.words > 0


@pytest.mark.parametrize("images", [1, 2])
def test_batch_statistics_in_rows(images: int) -> None:
    """Sums wait for the whole batch; logits, dx, dgamma and dbeta are the whole-tensor model's (SPEC.md B2, B3, B4)."""
    net = small(batch_norm=BatchNormConfig(Statistics.BATCH))
    first = [node for node in net.nodes if isinstance(node.config, BatchNormConfig)][1:]
    frozen = {node.name: replace(node, config=BatchNormConfig()) for node in first}
    net = replace(net, nodes=tuple(frozen.get(node.name, node) for node in net.nodes))
    model = synthetic(net, 3, 4)
    assert model.samples is not None
    x, dlogits = jnp.asarray(model.samples.images), jnp.asarray(model.samples.dlogits)
    found = schedule(net, policy=row_pipelined, images=images)
    emulator = Emulator(net, order_of(found), images=images, lanes=4 // images, slots=slots_of(found))
    result = emulator(model.params, x, dlogits)
    logits, saved = jax.jit(lambda p, x: whole.forward(net, p, x))(dict(model.params), x)
    dx, grads = jax.jit(lambda p, s, d: whole.backward(net, p, s, d))(dict(model.params), saved, dlogits)
    np.testing.assert_array_equal(words(result.logits), words(logits))
    np.testing.assert_array_equal(words(result.dx), words(dx))
    assert list(result.grads) == list(grads)
    for name, grad in grads.items():
        for ours, theirs in zip(result.grads[name], grad, strict=True):
            assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()


@pytest.mark.parametrize("conv", [
    ConvConfig(dy_rounding=QuantRounding.STOCHASTIC), ConvConfig(gradient=Gradient.FP16),
], ids=["stochastic", "fp16"])  # fmt: skip
def test_other_gradients_in_rows(conv: ConvConfig) -> None:
    """LFSR words jump to each row's place; FP16 gradients keep their order (SPEC.md Q3, C3)."""
    net = small(conv=conv)
    model = synthetic(net, 5, 2)
    assert model.samples is not None
    found = schedule(net, images=2)
    assert check(found, model.params, jnp.asarray(model.samples.images), jnp.asarray(model.samples.dlogits)).rows


def test_a_ring_too_small_shows_in_the_bits() -> None:
    """The check is no tautology: with one slot less than the schedule needs, rows are overwritten too soon."""
    net = small()
    model = synthetic(net, 1, 1)
    assert model.samples is not None
    found = schedule(net)
    slots = slots_of(found)
    key = next(key for key, size in slots.items() if key[0] == "edge" and size > 2)
    x, dlogits = jnp.asarray(model.samples.images), jnp.asarray(model.samples.dlogits)
    right = Emulator(net, order_of(found), slots=slots)(model.params, x, dlogits)
    wrong = Emulator(net, order_of(found), slots={**slots, key: 1})(model.params, x, dlogits)
    assert not np.array_equal(words(right.dx), words(wrong.dx))


def test_compiling_does_not_grow_with_the_image() -> None:
    """The program is the same at any number of rows: only tables and stores change their shapes."""
    texts = []
    for rows in (16, 64):
        net = zoo.resnet8((rows, 16, 3), 10, 0.25)
        emulator = Emulator(net, layer_order(net))
        x = jnp.zeros((1, rows, 16, 3), jnp.float16)
        arguments = emulator.arguments(synthetic(net, 1, 1).params, x, jnp.zeros((1, 10), jnp.float16))
        lowered = jax.jit(emulator.program()).lower(*arguments)
        texts.append(lowered.as_text().count("\n"))
    assert texts[0] == texts[1]


def test_bad_arguments_are_refused() -> None:
    net = small()
    order = layer_order(net)
    with pytest.raises(BitrowError, match=r"dlogits: found none, expected"):
        Emulator(net, order)(synthetic(net, 1, 1).params, jnp.zeros((1, 9, 7, 1), jnp.float16))
    with pytest.raises(BitrowError, match=r"x: found float16\[2, 9, 7, 1\], expected float16\[1, 9, 7, 1\]"):
        Emulator(net, order)(synthetic(net, 1, 1).params, jnp.zeros((2, 9, 7, 1), jnp.float16))
    with pytest.raises(BitrowError, match=r"ring edge 0: found 0 slots, expected 1 or more"):
        Emulator(net, order, slots={("edge", 0): 0})
    with pytest.raises(BitrowError, match=r"order task 0: found FORWARD_CHAIN row 99 of stage 0, expected a task"):
        Emulator(net, order._replace(row=np.full_like(order.row, 99)))
