"""The emulated rows of a schedule equal the whole-tensor model, forward and backward (SPEC.md C1, C2, B2, B3, A5)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bitrow import network as whole
from bitrow import zoo
from bitrow.config import BatchNormConfig, ConvConfig, Statistics
from bitrow.contract.operations import LAYERS
from bitrow.errors import BitrowError
from bitrow.formats import Fxp, Gradient, QuantRounding
from bitrow.graph import Network
from bitrow.pipeline import check as check_module
from bitrow.pipeline.check import check, order_of, slots_of
from bitrow.pipeline.command import check_rows
from bitrow.pipeline.emulator import Emulator, layer_order
from bitrow.pipeline.policies import layer_by_layer, row_pipelined, row_pipelined_overlap
from bitrow.pipeline.rings import RingKind
from bitrow.pipeline.schedule import schedule
from bitrow.synthetic import synthetic
from draws import examples
from network_samples import every_layer, joined
from pipeline_samples import machines, networks

POLICIES = (layer_by_layer, row_pipelined, row_pipelined_overlap)


def words(x: object) -> np.ndarray:
    return np.asarray(x).view(np.uint16)


def small(**options: object) -> Network:
    """Every kind of layer on odd maps, with frozen statistics where `options` have no others."""
    return every_layer(**{"batch_norm": BatchNormConfig(), **options})  # type: ignore[arg-type]


def check_drawn(data: st.DataObject, barrier: bool) -> None:
    """Any network on any machine; what is refused is not run."""
    net = data.draw(networks(barrier=barrier, layers=5))
    images, lanes = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))
    try:
        model = synthetic(net, data.draw(st.integers(1, 99)), images * lanes)
        training = data.draw(st.booleans())
        found = schedule(net, data.draw(machines()), data.draw(st.sampled_from(POLICIES)), images, training=training)
    except BitrowError:  # a gradient that no loss scale saves, or a machine too small
        assume(False)
    samples = model.samples
    assert samples is not None
    checked = check(found, model.params, jnp.asarray(samples.images), jnp.asarray(samples.dlogits))
    assert checked.words > 0


@examples(4, shrink=False)
@given(st.data())
def test_drawn_networks_on_drawn_machines(data: st.DataObject) -> None:
    """Kernels 1 to 7, strides, padding, depthwise, shortcuts, pools, odd maps smaller than kernels; any machine."""
    check_drawn(data, barrier=False)


@pytest.mark.slow
@examples(60, shrink=False)
@given(st.data())
def test_many_drawn_networks_on_drawn_machines(data: st.DataObject) -> None:
    """The same, many more, with statistics of the batch among them (SPEC.md B2, B3)."""
    check_drawn(data, barrier=data.draw(st.booleans()))


@pytest.mark.parametrize("images", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_batch_statistics_in_rows(images: int) -> None:
    """Sums wait for the whole batch; logits, dx, dgamma and dbeta are the whole-tensor model's (SPEC.md B2, B3, B4)."""
    net = small(batch_norm=BatchNormConfig(Statistics.BATCH))
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


def test_activations_and_concatenations_in_rows() -> None:
    """What a hard swish keeps, and rows of a concatenation's size behind and before it (SPEC.md A6, A7)."""
    net = joined()
    model = synthetic(net, 5, 2)
    assert model.samples is not None
    found = schedule(net, images=2)
    assert {ring.kind for ring in found.rings} >= {RingKind.KEPT, RingKind.SKIP}
    assert check(found, model.params, jnp.asarray(model.samples.images), jnp.asarray(model.samples.dlogits)).rows


@pytest.mark.parametrize("options", [
    pytest.param({"conv": ConvConfig(dy_rounding=QuantRounding.STOCHASTIC)}, id="stochastic"),
    pytest.param({"conv": ConvConfig(gradient=Gradient.FP16)}, id="fp16", marks=pytest.mark.slow),
    pytest.param({"conv": ConvConfig(fold=True, x_format=Fxp(8, False)), "bias": True}, id="folded",
                 marks=pytest.mark.slow),
])  # fmt: skip
def test_other_convolutions_in_rows(options: dict[str, object]) -> None:
    """LFSR words jump to each row's place; FP16 gradients keep their order; scales of channels, biases, unsigned codes
    that are too wide for an int8 product (SPEC.md Q3, C1, C2, C3).
    """
    net = small(**options)
    model = synthetic(net, 5, 2)
    assert model.samples is not None
    found = schedule(net, images=2)
    assert check(found, model.params, jnp.asarray(model.samples.images), jnp.asarray(model.samples.dlogits)).rows


@pytest.mark.slow
def test_pairs_of_rows_and_lanes_side_by_side() -> None:
    """A forward pass alone computes two rows in a step, for each of three lanes (SPEC.md C1, A1, A2, A3)."""
    net = small()
    model = synthetic(net, 5, 6)
    assert model.samples is not None
    found = schedule(net, images=2, training=False)
    emulator = Emulator(net, order_of(found), images=2, lanes=3, slots=slots_of(found), training=False)
    assert (emulator.steps.size == 2).sum() > len(found) // 3
    assert check(found, model.params, jnp.asarray(model.samples.images)).rows


def test_a_ring_too_small_shows_in_the_bits() -> None:
    """The check is no tautology: with one slot less than the schedule needs, rows are overwritten too soon."""
    net = small()
    model = synthetic(net, 1, 1)
    assert model.samples is not None
    found = schedule(net)
    slots = slots_of(found)
    key = next(ring.name for ring in found.rings if ring.kind is RingKind.INPUT and slots[ring.name] > 2)
    x, dlogits = jnp.asarray(model.samples.images), jnp.asarray(model.samples.dlogits)
    right = Emulator(net, order_of(found), slots=slots)(model.params, x, dlogits)
    wrong = Emulator(net, order_of(found), slots={**slots, key: 1})(model.params, x, dlogits)
    assert not np.array_equal(words(right.dx), words(wrong.dx))


def test_what_rings_hold_is_compared_by_its_name() -> None:
    """SPEC.md B1: a batch norm gives z, also where its rows are a shortcut's."""
    for kind, operations in LAYERS.items():
        assert {each.result for each in operations if each.name.endswith(".forward")} == {kind.result}, kind
    net = zoo.build("resnet8", (8, 8, 3))
    held = {ring.held.tap for ring in schedule(net).rings if ring.kind is RingKind.SKIP}
    assert any(tap.endswith("/forward/z") for tap in held) and held <= set(check_module._dataflow(net))
    assert all(tap.endswith(f"/{net.node(tap.partition('/')[0]).config.result}") for tap in held)


def test_the_first_wrong_tap_of_the_dataflow_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the first that happens to be compared: forward before backward, layers in order, then last to first."""
    net = small()
    model = synthetic(net, 1, 1)
    assert model.samples is not None
    found = schedule(net)
    arguments = model.params, jnp.asarray(model.samples.images), jnp.asarray(model.samples.dlogits)
    right = check_module._whole_tensor_taps(found, *arguments)
    emulator = Emulator(net, order_of(found), slots=slots_of(found), record=True)
    rows = emulator(*arguments)
    monkeypatch.setattr(Emulator, "__call__", lambda *_: rows)
    monkeypatch.setattr(check_module, "Emulator", lambda *_, **__: emulator)
    wrong = ["dx", "c1/backward/dx", "c2/backward/dy_code", "logits", "c2/forward/mask", "r1/forward/y", "c1/forward/y"]

    def broken(*_: object) -> dict[str, np.ndarray]:
        taps = {name: np.array(value) for name, value in right.items()}
        for name in wrong:
            words = taps[name].reshape(-1).view(f"u{taps[name].dtype.itemsize}")
            words[0] ^= 1
        return taps

    monkeypatch.setattr(check_module, "_whole_tensor_taps", broken)
    while wrong:
        with pytest.raises(BitrowError) as caught:
            check(found, *arguments)
        assert str(caught.value).startswith(f"{net.name} {wrong.pop()}: image 0 row 0 word 0")


@pytest.mark.parametrize("size, training", [
    pytest.param(32, False, id="32-forward", marks=pytest.mark.slow),
    pytest.param(32, True, id="32", marks=pytest.mark.slow),
    pytest.param(224, True, id="224", marks=pytest.mark.slow),
])  # fmt: skip
def test_resnet18_whole(size: int, training: bool) -> None:
    """Every row of every layer, forward and backward, on the default machine: `bitrow pipeline resnet18 --check`."""
    found = schedule(zoo.build("resnet18", (size, size, 3)), training=training)
    said = check_rows(found, "resnet18")
    rows = int(said.split()[0].replace(",", ""))
    stages = [stage for stage in found.flow.stages if stage.head and isinstance(stage.head.config, ConvConfig)]
    assert rows >= sum(stage.out_shape[0] + stage.in_shape[0] * training for stage in stages)


@pytest.mark.slow
@pytest.mark.parametrize("name, size", [("resnet8", 32), ("resnet20", 32), ("vgg8", 32), ("mobilenetv2", 64)])
def test_named_networks_whole(name: str, size: int) -> None:
    """The others that come with a name, both directions (SPEC.md B1, C2)."""
    assert "equal the whole-tensor model" in check_rows(schedule(zoo.build(name, (size, size, 3))), name)


def test_bad_arguments_are_refused() -> None:
    net = small()
    order = layer_order(net)
    with pytest.raises(BitrowError, match=r"dlogits: found none, expected"):
        Emulator(net, order)(synthetic(net, 1, 1).params, jnp.zeros((1, 7, 8, 2), jnp.float16))
    with pytest.raises(BitrowError, match=r"x: found float16\[2, 7, 8, 2\], expected float16\[1, 7, 8, 2\]"):
        Emulator(net, order)(synthetic(net, 1, 1).params, jnp.zeros((2, 7, 8, 2), jnp.float16))
    with pytest.raises(BitrowError, match=r"ring c1.x: found 0 slots, expected 1 or more"):
        Emulator(net, order, slots={"c1.x": 0})
    with pytest.raises(BitrowError, match=r"order task 0: found FORWARD_CHAIN row 99 of stage 0, expected a task"):
        Emulator(net, order._replace(row=np.full_like(order.row, 99)))
