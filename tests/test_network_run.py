"""Whole-tensor passes: equal to layers composed by hand, to jit, to one image at a time (SPEC.md C, B, A).

Most tests run operation by operation, by small programs that all of them share.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitrow import network as run
from bitrow.config import AddConfig, BatchNormConfig, ConvConfig, ReluConfig
from bitrow.errors import BitrowError
from bitrow.formats import FP16, AccOverflow, Accumulator, FloatMode, Gradient, QuantRounding, Rounding
from bitrow.graph import INPUT, ConvSize, Network, Node
from bitrow.layers import activation, batch_norm, conv, linear, pool, residual
from bitrow.layers.batch_norm import FrozenParams
from bitrow.ops.tap import prefixed
from bitrow.synthetic import synthetic
from bitrow.vectors import generate
from bitrow.vectors.judge import networks, stepwise
from network_samples import BATCH, assert_same_bits, branches, every_layer, forward, joined, training_pass

FROZEN = every_layer(BatchNormConfig())
NORM = Network("norm", (7, 8, 4), (Node("n", BATCH, (INPUT,)),), "n")


def sample(network, count=2, seed=3):
    model = synthetic(network, seed, count)
    return model.params, jnp.asarray(model.samples.images), jnp.asarray(model.samples.dlogits)


def by_hand(network, params, x, dlogits):
    """`every_layer` written out, gradients summed where m1 is read twice."""
    taps = {}

    def tap(prefix):
        return prefixed(taps.__setitem__, prefix + "/")

    config = {node.name: node.config for node in network.nodes}
    c1, mask1 = conv.forward(config["c1"], params["c1"], x, tap("c1/forward"))
    n1, saved1 = batch_norm.forward_batch(config["n1"], params["n1"], c1, tap("n1/forward"))
    r1 = activation.forward(config["r1"], n1, tap("r1/forward"))
    m1, index = pool.max_forward(config["m1"], r1, tap("m1/forward"))
    c2, mask2 = conv.forward(config["c2"], params["c2"], m1, tap("c2/forward"))
    n2 = batch_norm.forward_frozen(config["n2"], params["n2"], c2, tap("n2/forward"))
    total = residual.forward(config["sum"], n2, m1, tap("sum/forward"))
    r2 = activation.forward(config["r2"], total, tap("r2/forward"))
    a1 = pool.avg_forward(config["a1"], r2, tap("a1/forward"))
    logits = linear.forward(config["head"], params["head"], a1.reshape(len(x), 16), tap("head/forward"))

    dhead = linear.backward(config["head"], params["head"], dlogits, tap("head/backward"))
    da1 = pool.avg_backward(config["a1"], dhead.reshape(a1.shape), r2.shape[1:3], tap("a1/backward"))
    dr2 = activation.backward(config["r2"], activation.passes(config["r2"], total), da1, tap("r2/backward"))
    dn2 = batch_norm.backward_frozen(config["n2"], params["n2"], dr2, tap("n2/backward"))
    dc2 = conv.backward(config["c2"], params["c2"], mask2, dn2, tap("c2/backward"))
    dm1_sum = residual.accumulate([dr2, dc2])
    taps["m1/fan_out/sum_1"] = dm1_sum
    dm1 = pool.max_backward(config["m1"], index, dm1_sum, r1.shape[1:3], tap("m1/backward"))
    dr1 = activation.backward(config["r1"], activation.passes(config["r1"], n1), dm1, tap("r1/backward"))
    dn1, dgamma, dbeta = batch_norm.backward_batch(config["n1"], saved1, dr1, tap("n1/backward"))
    dx = conv.backward(config["c1"], params["c1"], mask1, dn1, tap("c1/backward"))
    grads = {"n1": run.BatchNormGrad(dgamma, dbeta)}
    return run.TrainingPass(logits, dx, grads, taps)


def test_a_pass_is_its_layers_composed():
    """SPEC.md C1, C2, B1 to B4, A1 to A5, T1: values, gradients and every tap, bit for bit."""
    network = every_layer(bias=True)
    params, x, dlogits = sample(network)
    expected = stepwise.run(lambda given: by_hand(network, *given), (params, x, dlogits))
    assert_same_bits(training_pass(network, params, x, dlogits), expected)
    assert np.count_nonzero(expected.dx) > 20  # the gradient has not died on its way


def test_a_jitted_pass_has_the_eager_bits():
    """SPEC.md F2: compiled whole or operation by operation."""
    params, x, dlogits = sample(FROZEN)
    eager = training_pass(FROZEN, params, x, dlogits)
    jitted = jax.jit(run.training_pass, static_argnums=0)
    assert_same_bits(jitted(FROZEN, params, x, dlogits), eager)
    assert np.count_nonzero(eager.dx) > 20


@pytest.mark.slow
def test_activations_and_concatenations_in_a_network():
    """SPEC.md A6, A7, A5: the whole pass is its layers by the contract; each input of a concatenation gets its part."""
    model = synthetic(joined(), 3, 1)
    # the last compares the whole network
    steps = list(networks.problems(model, "joined", slice(1), generate.run_problem))
    by_name = {problem.name: problem for problem in steps}
    assert len(steps) == 11 + 9 + 2  # all but the two concatenations go back by an operation; h1 and the input fan out
    dy = by_name["joined_r1_backward"].operation.oracle(ReluConfig(), by_name["joined_r1_backward"].given)["dx"]
    given = by_name["joined_h2_backward"].given
    np.testing.assert_array_equal(given["dy"], dy[..., 4:])
    assert len(np.unique(given["dy"])) > 20


@pytest.mark.parametrize(
    "config",
    [
        ConvConfig(),
        ConvConfig(gradient=Gradient.FP16),
        ConvConfig(fold=True),
        ConvConfig(accumulator=Accumulator(12, AccOverflow.WRAP)),
    ],
    ids=["fxp", "fp16", "fold", "wrap"],
)
def test_images_do_not_see_each_other(config):
    """SPEC.md B1, C2: with frozen statistics a batch is as many batches of one, taps and all."""
    network = every_layer(BatchNormConfig(), conv=config)
    params, x, dlogits = sample(network)
    whole = training_pass(network, params, x, dlogits)
    for i in range(len(x)):
        one = training_pass(network, params, x[i : i + 1], dlogits[i : i + 1])
        assert_same_bits(one.logits, whole.logits[i : i + 1])
        assert_same_bits(one.dx, whole.dx[i : i + 1])
        for name, value in one.taps.items():
            if "running" not in name and "level" not in name:
                assert_same_bits(value, whole.taps[name][i : i + 1], name)
    assert np.count_nonzero(whole.dx) > 20


def test_images_see_each_other_through_batch_statistics():
    """SPEC.md B2: the counterpart, so that the test above could fail."""
    params, x, _ = sample(NORM)
    whole, _ = forward(NORM, params, x)
    single, _ = forward(NORM, params, x[:1])
    assert not np.array_equal(np.asarray(whole[:1]), np.asarray(single))


def ones(order, values):
    params = {}
    for name in order:
        a = jnp.asarray([values[name]], jnp.float16)
        params[name] = FrozenParams(a, jnp.zeros(1, jnp.float16))
    return params


@pytest.mark.parametrize(
    ("order", "sums"),
    [
        (("big", "one", "two"), (2.0, 2050.0)),
        (("one", "big", "two"), (2048.0, 2048.0)),
        (("one", "two", "big"), (2048.0, 2048.0)),
    ],
)
def test_fan_out_adds_the_last_consumer_first(order, sums):
    """SPEC.md A5: 2048 + 1 is a tie that rounds away, so every other order gives another sum."""
    network = branches(order)
    x = jnp.ones((1, 1, 2, 1), jnp.float16)
    result = training_pass(network, ones(order, {"big": 2048, "one": 1, "two": 1}), x, x)
    found = [float(result.taps[f"input/fan_out/sum_{k}"][0, 0, 0, 0]) for k in (1, 2)]
    assert tuple(found) == sums and float(result.dx[0, 0, 0, 0]) == sums[1]
    assert "input/fan_out/sum_3" not in result.taps


def test_fan_out_rounds_in_the_networks_mode():
    """SPEC.md A5, F3: 2048 + 1 is 2050 when rounding up."""
    order = ("big", "one")
    params = ones(order, {"big": 2048, "one": 1})
    x = jnp.ones((1, 1, 2, 1), jnp.float16)
    for mode, expected in ((FloatMode(), 2048.0), (FloatMode(Rounding.UP), 2050.0)):
        network = branches(order, mode)
        assert float(training_pass(network, params, x, x).dx[0, 0, 0, 0]) == expected


def test_a_value_added_to_itself_gets_its_gradient_twice():
    """SPEC.md A2, A5."""
    nodes = (Node("r", ReluConfig(), (INPUT,)), Node("s", AddConfig(), ("r", "r")))
    network = Network("twice", (1, 2, 1), nodes, "s")
    x = jnp.asarray([[[[1.0], [-1.0]]]], jnp.float16)
    result = training_pass(network, {}, x, jnp.full((1, 1, 2, 1), 3.0, jnp.float16))
    assert result.logits.tolist() == [[[[2.0], [0.0]]]]
    assert result.dx.tolist() == [[[[6.0], [0.0]]]]


@pytest.mark.parametrize("accumulator", [pytest.param(FP16, marks=pytest.mark.slow), None])
def test_gradients_of_batch_statistics(accumulator):
    """SPEC.md B3, B4: dgamma and dbeta of every such layer, also when dx is not asked for."""
    batch = BATCH if accumulator is None else BatchNormConfig(BATCH.statistics, accumulator=accumulator)
    network = every_layer(batch)
    params, x, dlogits = sample(network)

    def both_ways(given):
        params, x, dlogits = given
        _, saved = run.forward(network, params, x)
        taps = {}
        without = run.backward(network, params, saved, dlogits, taps.__setitem__, need_input_grad=False)
        return run.backward(network, params, saved, dlogits), without, taps

    (dx, grads), (none, same), taps = stepwise.run(both_ways, (params, x, dlogits))
    assert dx is not None and none is None and set(grads) == {"n1"}
    assert grads["n1"].dgamma.dtype == (jnp.float32 if accumulator is None else jnp.float16)
    assert_same_bits(same, grads)
    assert not [name for name in taps if name.startswith("c1/")] and "n1/backward/dgamma" in taps


def test_batch_norm_on_the_input_keeps_its_gradients():
    """SPEC.md B4: it reads the input, and still forms dgamma without dx."""
    params, x, dy = sample(NORM)
    _, saved = forward(NORM, params, x)
    none, grads = stepwise.run(
        lambda given: run.backward(NORM, *given, need_input_grad=False), (params, saved, dy)
    )
    assert none is None and np.count_nonzero(grads["n"].dgamma) == 4


def test_only_what_backward_reads_is_saved():
    """SPEC.md Q4, A1, A2: masks, winners, y of batch statistics; nothing for add, average, frozen norm."""
    network = every_layer()
    params, x, _ = sample(network)
    _, saved = forward(network, params, x)
    assert set(saved) == {"c1", "n1", "r1", "m1", "c2", "r2", "head"}
    for name in ("c1", "r1", "c2", "r2"):
        assert saved[name].dtype == jnp.bool_, name
    assert saved["m1"].dtype == jnp.uint8 and saved["head"].shape == (2, 16)


def differentiated(network, params, x, dlogits):
    """`network.apply` and its gradients by JAX's reverse mode; integers have none."""

    def run_back(given):
        params, x, dlogits = given
        logits, pull = jax.vjp(lambda p, x: run.apply(network, p, x), params, x)
        cotangents, dx = pull(dlogits)
        return logits, jax.tree.map(lambda leaf: leaf if leaf.dtype != jax.dtypes.float0 else None, cotangents), dx

    return stepwise.run(run_back, (params, x, dlogits))


def test_apply_is_forward_with_backward_as_its_rule():
    """SPEC.md C2, C4: JAX's reverse mode gives the same bits; frozen parameters get zeros."""
    params, x, dlogits = sample(FROZEN)
    expected = training_pass(FROZEN, params, x, dlogits)
    logits, cotangents, dx = differentiated(FROZEN, params, x, dlogits)
    assert_same_bits(logits, expected.logits)
    assert_same_bits(dx, expected.dx)
    assert np.count_nonzero(dx) > 20
    for name in ("head", "n1", "c1"):
        assert not any(np.any(leaf) for leaf in cotangents[name] if leaf is not None and leaf.dtype == jnp.float16)


def test_apply_reaches_gamma_and_beta():
    """SPEC.md B3, B4: batch statistics' gradients as float32."""
    params, x, dy = sample(NORM)
    expected = training_pass(NORM, params, x, dy)
    _, cotangents, dx = differentiated(NORM, params, x, dy)
    assert_same_bits(dx, expected.dx)
    assert_same_bits(cotangents["n"].gamma, expected.grads["n"].dgamma)
    assert_same_bits(cotangents["n"].beta, expected.grads["n"].dbeta)
    assert np.count_nonzero(cotangents["n"].gamma) == 4


def test_stochastic_gradients_follow_the_seeds():
    """SPEC.md Q3: the same seed the same codes, another seed others."""
    stochastic = ConvConfig(dy_rounding=QuantRounding.STOCHASTIC)
    network = every_layer(BatchNormConfig(), conv=stochastic)
    params, x, dlogits = sample(network)
    first = training_pass(network, params, x, dlogits)
    assert_same_bits(training_pass(network, params, x, dlogits), first)
    reseeded = {
        name: p._replace(seed=jnp.uint16(4711)) if hasattr(p, "seed") else p for name, p in params.items()
    }
    second = training_pass(network, reseeded, x, dlogits)
    assert_same_bits(second.logits, first.logits)
    assert not np.array_equal(np.asarray(second.dx), np.asarray(first.dx))


def test_a_network_without_head_gives_its_map():
    """SPEC.md C1: output and dlogits keep their four axes."""
    nodes = (Node("c", ConvConfig(), (INPUT,), ConvSize(2, 3, 5)),)
    network = Network("map", (6, 5, 2), nodes, "c")
    params, x, dy = sample(network)
    result = training_pass(network, params, x, dy)
    assert result.logits.shape == (2, 5, 3, 5) and result.dx.shape == (2, 6, 5, 2)


def test_per_channel_scales_without_fold_have_no_gradient():
    """SPEC.md C2: refused in the backward pass; the forward pass is fine."""
    node = Node("c", ConvConfig(), (INPUT,), ConvSize(3, 3, 4, per_channel=True))
    network = Network("channels", (7, 8, 2), (node,), "c")
    params, x, dlogits = sample(network)
    _, saved = forward(network, params, x)
    with pytest.raises(BitrowError, match="one per tensor or fold"):
        run.backward(network, params, saved, dlogits)


BAD_PARAMS = {
    "missing": (lambda p: {k: v for k, v in p.items() if k != "c2"}, "every_layer c2: found nothing"),
    "superfluous": (lambda p: p | {"r1": p["c1"]}, "every_layer r1: found parameters"),
    "type": (lambda p: p | {"n1": p["n2"]}, "every_layer n1: found FrozenParams, expected BatchParams"),
    "shape": (lambda p: p | {"c1": p["c2"]}, "every_layer c1 weight_code: found int8[3, 3, 2, 4]"),
    "dtype": (
        lambda p: p | {"head": p["head"]._replace(bias=p["head"].bias.astype(jnp.float16))},
        "every_layer head bias: found float16[3], expected float32[3]",
    ),
    "bias": (
        lambda p: p | {"c2": p["c2"]._replace(bias=jnp.zeros(4, jnp.float16))},
        "every_layer c2 bias: found an array, expected nothing",
    ),
    "no scale": (
        lambda p: p | {"c2": p["c2"]._replace(dx_scale=None)},
        "every_layer c2 dx_scale: found nothing",
    ),
}


@pytest.mark.parametrize("case", BAD_PARAMS)
def test_parameters_that_do_not_fit_are_refused(case):
    change, what = BAD_PARAMS[case]
    network = every_layer()
    params, x, _ = sample(network)
    if case == "shape":
        params["c2"] = params["c2"]._replace(weight_code=params["c2"].weight_code[..., :2, :])
        params["c1"] = params["c1"]._replace(weight_code=params["c1"].weight_code[:2])
        what = "every_layer c1 weight_code: found int8[2, 3, 2, 4], expected int8[3, 3, 2, 4]"
        change = dict
    with pytest.raises(BitrowError) as caught:
        run.forward(network, change(params), x)
    assert what in str(caught.value) and "\n" not in str(caught.value)


def test_inputs_that_do_not_fit_are_refused():
    network = every_layer()
    params, x, dlogits = sample(network)
    with pytest.raises(
        BitrowError, match=r"every_layer x: found float16\[2, 8, 8, 2\], expected float16\[n, 7, 8"
    ):
        run.forward(network, params, jnp.zeros((2, 8, 8, 2), jnp.float16))
    with pytest.raises(BitrowError, match=r"network.forward x: found float32\[2, 7, 8, 2\], expected float16"):
        run.forward(network, params, x.astype(jnp.float32))
    _, saved = forward(network, params, x)
    with pytest.raises(BitrowError, match=r"every_layer dlogits: found float16\[2, 1, 1, 2\]"):
        run.backward(network, params, saved, dlogits[:, :2])
