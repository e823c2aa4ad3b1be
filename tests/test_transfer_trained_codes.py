"""Weights that train as codes: their grid, the rounding of a step, quantization-aware scaling, and whole trainings."""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from bitrow.config import ConvConfig
from bitrow.errors import BitrowError
from bitrow.formats import FXP4, FXP8, Fxp
from bitrow.pipeline.cost_tables import ENERGY_PJ, Range
from bitrow.transfer import checkpoint, experiment, hashed, kept, network_module, numerics, own_loop, policies, sparse
from bitrow.transfer import modules as M
from bitrow.transfer import trained_codes as tc
from bitrow.transfer.accounting_host import FP32_ADD, FP32_MUL, CodedWeights, host_cost
from bitrow.transfer.compare import compare
from bitrow.transfer.epoch import State
from bitrow.transfer.recipe import Recipe
from bitrow.transfer.training import Trainer
from test_transfer_own_loop import images, mean_loss
from transfer_samples import digits, trainer

SCALES = np.array([0.25, 0.5, 0.125, 0.0625], np.float16)  # of each output channel


def grid(w_scale: Any = SCALES, fmt: Fxp = FXP4) -> tc.CodeGrid:
    return tc.CodeGrid(fmt, jnp.asarray(w_scale, jnp.float16))


def weights(seed: int = 0, fmt: Fxp = FXP4, w_scale: np.ndarray = SCALES) -> tuple[np.ndarray, np.ndarray]:
    """Codes f32[3,3,2,4], and the weights that they are."""
    codes = np.random.default_rng(seed).integers(fmt.min, fmt.max + 1, (3, 3, 2, 4)).astype(np.float32)
    return codes, codes * w_scale.astype(np.float32)


def recording(optimizer: optax.GradientTransformation, steps: list) -> optax.GradientTransformation:
    """The optimizer, whose updates are kept."""

    def update(gradients: Any, state: Any, params: Any) -> tuple[Any, Any]:
        found = optimizer.update(gradients, state, params)
        steps.append(found[0])
        return found

    return optax.GradientTransformation(optimizer.init, update)


@pytest.mark.parametrize("fmt", [FXP4, FXP8, Fxp(3, narrow=True), Fxp(4, signed=False)])
def test_a_step_is_right_on_average_and_stays_within_the_codes(fmt: Fxp) -> None:
    """Of 256 words that are spread evenly, the mean of what a step in 256ths becomes is the step, exactly."""
    words = jnp.arange(256, dtype=jnp.uint32) << jnp.uint32(24)
    for code in range(fmt.min, fmt.max + 1):
        for step in (Fraction(k, 256) for k in (-700, -256, -255, -100, -1, 0, 1, 3, 128, 255, 256, 600)):
            each = jnp.full(256, float(step), jnp.float32)
            found = np.asarray(tc.rounded_step(jnp.full(256, code, jnp.float32), each, words, fmt))
            free = np.array([code + (abs(step) + Fraction(255 - n, 256)) // 1 * (1 if step > 0 else -1)
                             for n in range(256)])  # fmt: skip
            assert sum(free - code) == 256 * step
            np.testing.assert_array_equal(found, np.clip(free.astype(np.float32), fmt.min, fmt.max))


def test_words_are_the_same_for_numpy_and_in_a_program() -> None:
    """And none in common between steps, seeds and weights; half of their bits are ones."""
    program = jax.jit(lambda seed, count: hashed.words(jnp, seed, count, 1, 4096))
    given = {(seed, count): hashed.words(np, seed, count, 1, 4096) for seed in (0, 1) for count in (0, 1, 7)}
    for (seed, count), words in given.items():
        np.testing.assert_array_equal(np.asarray(program(jnp.uint32(seed), jnp.uint32(count))), words)
        ones = np.unpackbits(words.view(np.uint8)).mean()
        assert len(set(words.tolist())) > 4090 and abs(ones - 0.5) < 5 * 0.5 / np.sqrt(32 * 4096)
    every = [*given.values(), hashed.words(np, 0, 0, 2, 4096)]
    assert max(int((a == b).sum()) for n, a in enumerate(every) for b in every[:n]) <= 1


@pytest.mark.parametrize("make", [optax.sgd, lambda rate: optax.sgd(rate, momentum=0.9)], ids=["sgd", "momentum"])
@pytest.mark.parametrize("qas", [True, False])
def test_steps_of_codes_under_sgd_are_the_masters(make: Any, qas: bool) -> None:
    """Lin et al. 2022: with QAS what is rounded is, times w_scale, bit for bit the step of a float32 master; without it
    w_scale^2 times that. What comes of it is the step rounded by the words of seed, update, weight and element.
    """
    codes, value = weights()
    steps: list = []
    rule = tc.as_codes(recording(make(0.5), steps), {"c/weight": grid()}, qas, seed=5)
    plain, scale = make(0.5), SCALES.astype(np.float32)
    params, masters = ({"c": {"weight": jnp.asarray(value), "bias": jnp.zeros(4)}} for _ in range(2))
    state, other = rule.init(params), plain.init(masters)
    for turn in range(4):
        rng = np.random.default_rng(turn)
        gradient = {"c": {"weight": jnp.asarray(rng.standard_normal(value.shape), jnp.float32), "bias": jnp.ones(4)}}
        updates, state = rule.update(gradient, state, params)
        wanted, other = plain.update(gradient, other, masters)
        step, master = (np.asarray(each["c"]["weight"]) for each in (steps[-1], wanted))
        np.testing.assert_array_equal(step * scale, master if qas else master * scale**2)
        np.testing.assert_array_equal(updates["c"]["bias"], wanted["c"]["bias"])
        words = hashed.words(np, 5, turn, 0, step.size).reshape(step.shape)
        up = words < ((np.abs(step) - np.floor(np.abs(step))) * 2.0**32).astype(np.uint32)
        codes = np.clip(codes + np.sign(step) * (np.floor(np.abs(step)) + up), -8, 7)
        params = optax.apply_updates(params, updates)
        np.testing.assert_array_equal(params["c"]["weight"], codes * scale)
    assert int(state.count) == 4 and (codes != weights()[0]).mean() > 0.02


def test_adam_does_not_see_the_scale() -> None:
    """Its steps are the rate's, in codes: with QAS and without, but for eps."""
    value, found = weights()[1], []
    gradient = {"w": jnp.asarray(np.random.default_rng(1).standard_normal(value.shape), jnp.float32)}
    for qas in (True, False):
        rule = tc.as_codes(recording(optax.adam(0.125), found), {"w": grid()}, qas)
        with jax.numpy_dtype_promotion("standard"):
            rule.update(gradient, rule.init({"w": jnp.asarray(value)}), {"w": jnp.asarray(value)})
    one, other = (np.asarray(step["w"]) for step in found)
    np.testing.assert_allclose(one, other, rtol=1e-3)
    np.testing.assert_allclose(np.abs(one), 0.125, rtol=1e-3)


@pytest.mark.parametrize("fmt", [FXP4, FXP8, Fxp(4, signed=False)])
def test_every_code_and_scale_is_exact(fmt: Fxp) -> None:
    """Scales of all FP16 significands: what is added to a weight leads to the next code's value without rounding."""
    scales = np.float16(1) + np.arange(1024, dtype=np.float16) / np.float16(1024)
    codes = np.resize(np.arange(fmt.min, fmt.max + 1, dtype=np.float32), (8, 1, 4, 1024))
    place = grid(scales, fmt)
    value = codes * scales.astype(np.float32)
    np.testing.assert_array_equal(tc.on_grid(jnp.asarray(value * np.float32(1.0001)), place), value)
    rule = tc.as_codes(optax.sgd(1.0), {"w": place})
    params = {"w": jnp.asarray(value)}
    gradient = {"w": jnp.asarray(np.random.default_rng(2).standard_normal(value.shape) * 3, jnp.float32)}
    updates, _ = rule.update(gradient, rule.init(params), params)
    after = np.asarray(optax.apply_updates(params, updates)["w"])
    found = np.rint(after / scales.astype(np.float32))
    np.testing.assert_array_equal(after, found * scales.astype(np.float32))
    assert found.min() == fmt.min and found.max() == fmt.max and (found != codes).mean() > 0.5


@functools.cache
def built(policy: str = "full", kind: str = "qas", seed: int = 0, **how: Any) -> Trainer:
    """As `transfer_samples.trainer`, by SGD unless `how` says otherwise, whose weights train so."""
    name, power_of_two = how.pop("name", "bit_accurate"), how.pop("power_of_two", False)
    first = trainer("full", name, power_of_two)
    network, chosen = first.module(first.start()), policies.parse(policy)
    policies.prepare(network, chosen, 0)
    if chosen.budget:
        sparse.apply(network, digits().target.train, chosen.budget)
    settings = {"optimizer": "sgd", "learning_rate": 0.1} | how
    recipe = replace(first.recipe, seed=seed, weights=kind, **settings)
    return Trainer(network, chosen, recipe, digits().target.train, jax.devices()[:1])


def codes_of(made: Trainer, state: State) -> dict[str, np.ndarray]:
    """Of the weights that train as codes; they lie on their grids exactly."""
    found = {}
    for name, each in made.program.grids(made.parts.constants).items():
        scale, value = np.asarray(each.w_scale, np.float32), np.asarray(state.params[name])
        found[name] = np.rint(value / scale)
        np.testing.assert_array_equal(value, found[name] * scale)
        assert each.fmt.min <= found[name].min() and found[name].max() <= each.fmt.max
    return found


@pytest.mark.parametrize(
    ("policy", "how"),
    [("full", {}), ("last_1", {"optimizer": "momentum", "accumulate": 2}),
     ("sparse_0.2", {"optimizer": "adamw", "learning_rate": 0.2}),
     pytest.param("bias+last_1+lsq", {"kind": "codes"}, marks=pytest.mark.slow)],
)  # fmt: skip
def test_weights_stay_on_their_codes(policy: str, how: dict) -> None:
    """For two epochs of each policy: codes move, the network's own codes are these, and what is frozen stays."""
    made = built(policy, **how)
    state = made.start()
    before = codes_of(made, state)
    for epoch in range(2):
        state, metrics = made.epoch(state, epoch)
        after = codes_of(made, state)
    assert set(after) == {name for name in made.program.trained if re.fullmatch("layers/(stem|c1)/weight", name)}
    moved = {name: after[name] != before[name] for name in after}
    if how.get("kind") != "codes":  # without QAS steps are small: w_scale^2
        assert all(0 < each.mean() < 1 for each in moved.values())
    for name, channels in made.program.channels:
        rest = [c for c in range(moved[f"layers/{name}/weight"].shape[2]) if c not in channels]
        assert not moved[f"layers/{name}/weight"][:, :, rest].any()
    params = network_module.take_apart(made.module(state)).params
    for name, codes in after.items():
        layer = made.module(state).layers[name.split("/")[1]]
        np.testing.assert_array_equal(layer.to_params().weight_code, codes)
    same = {name for name, value in made.start().params.items() if np.array_equal(value, params[name])}
    assert "layers/head/weight" not in same and same >= set(params) - made.program.trained
    assert np.isfinite(np.asarray(metrics.loss)).all()


def test_what_is_drawn_is_the_seeds() -> None:
    """Two seeds see other images and draw other words; one and the same has the same bits."""
    def digest(seed: int) -> str:
        made = built(seed=seed)
        return checkpoint.digest(made.epoch(made.start(), 0)[0])

    made = built(seed=3)
    state = made.start()
    order = made.order(0)
    other = state._replace(optimizer=jax.tree.map(lambda leaf: leaf, built(seed=4).start().optimizer))
    one, two = (codes_of(made, made.advance(each, 0, order)[0]) for each in (state, other))
    assert any((one[name] != two[name]).any() for name in one)  # the same images
    assert digest(3) == digest(3) != digest(4)


def test_a_resumed_run_has_the_same_bits(tmp_path) -> None:
    made = built()
    whole, rows = experiment.train(made, digits(), None)
    state, _ = made.epoch(made.start(), 0)
    saved = checkpoint.Checkpoints(tmp_path / "c", {"seed": 0})
    saved.save(1, state, rows[:1])
    resumed, more = experiment.train(made, digits(), saved)
    assert checkpoint.digest(resumed) == checkpoint.digest(whole) != checkpoint.digest(state) and more == rows
    counts = [v for name, v in checkpoint.arrays(whole).items() if name.endswith(".count")]
    assert counts and all(int(each) == 2 * made.program.steps for each in counts)


@pytest.mark.slow
def test_simulated_and_bit_accurate_codes_are_the_same() -> None:
    """SPEC.md E2: with powers of two an epoch of either ends with equal states."""
    found = compare(*(built(power_of_two=True, name=kind) for kind in ("bit_accurate", "simulated")), 1)
    assert found.holds and found.digests[0] == found.digests[1]


def test_the_hosts_share_by_hand() -> None:
    """Of 100 numbers 40 are codes of 4 bits: less to keep and to move, a product and a sum more for each."""
    dram, none = ENERGY_PJ["dram_bit"].cost, Range(0, 0)
    how = Recipe(32, optimizer="momentum", weights="qas")
    found, masters = host_cost(100, 0, none, how, CodedWeights(40, 160)), host_cost(100, 0, none, how)
    assert masters.masters_kib * 8192 == 3200 and found.masters_kib * 8192 == 60 * 32 + 40 * 4
    assert found.state_kib == masters.state_kib == 3200 / 8192
    more = 40 * (FP32_MUL.cost.low + FP32_ADD.cost.low) - 2 * 40 * 28 * dram.low
    assert found.update.low - masters.update.low == pytest.approx(more / 32 * 1e-6)


def test_costs_of_a_run() -> None:
    """4 bits for each weight of a convolution in place of 32, of those that train; else the update alone changes."""
    for policy, numbers in (("full", 9 * 4 + 9 * 16), ("last_1", 9 * 16)):
        found, masters = (kept.costs(built(policy, kind), policy) for kind in ("qas", "masters"))
        assert (masters["masters_kib"] - found["masters_kib"]) * 8192 == 28 * numbers
        changed = {name for name, value in found.items() if value != masters[name]}
        assert changed == {"masters_kib", *(f"host_{kind}_uj_{end}" for kind in ("update", "total")
                                            for end in ("low", "high"))}  # fmt: skip
    made = built("sparse_0.2", optimizer="adamw", learning_rate=0.2)
    found = kept.costs(made, "sparse_0.2")
    sizes = {"stem": 9 * 4, "c1": 9 * 4}  # of an input channel
    numbers = sum(made.channels[name] * size for name, size in sizes.items() if name in made.channels)
    assert (32 * found["trainable"] - found["masters_kib"] * 8192) == 28 * numbers > 0


@pytest.mark.slow
def test_a_loop_of_ones_own() -> None:
    """Two batches to an update (`optax.MultiSteps`), clipped: codes move on the grid, and the loss falls."""

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.c1, self.c2 = M.Conv(1, 8, 1, rngs=rngs), M.Conv(8, 8, (3, 3), config=ConvConfig(padding=1), rngs=rngs)
            self.linear = nnx.Linear(8, 3, rngs=rngs)

        def __call__(self, x):
            return self.linear(self.c2(self.c1(x)).mean((1, 2), dtype=jnp.float32))

    x, y = images()
    net = own_loop.calibrate(Net(nnx.Rngs(0)), x, lambda logits: mean_loss(lambda x: logits, x, y))
    with pytest.raises(BitrowError, match="codes c1: found no scales, expected a calibrated convolution"):
        own_loop.keep_codes(Net(nnx.Rngs(0)))
    net.set_attributes(numerics="float32")
    with pytest.raises(BitrowError, match="codes module/c1: found float32, expected"):
        own_loop.keep_codes(net)
    net.set_attributes(numerics="bit_accurate")
    before = np.asarray(net(x))
    grids = own_loop.keep_codes(net)
    assert list(grids) == ["module/c1/weight", "module/c2/weight"]
    np.testing.assert_array_equal(net(x), before)  # the codes are what they were
    rule = optax.chain(optax.clip_by_global_norm(1.0), tc.as_codes(optax.sgd(0.2), grids, seed=1))
    optimizer = nnx.Optimizer(net, optax.MultiSteps(rule, every_k_schedule=2), wrt=nnx.Param)

    @nnx.jit
    def step(net, optimizer, x, y):
        loss, gradients = nnx.value_and_grad(mean_loss)(net, x, y)
        optimizer.update(net, gradients)
        return loss

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        held, losses = np.asarray(net.module.c2.weight.get_value()), []
        for turn in range(40):
            losses.append(float(step(net, optimizer, x, y)))
            value = np.asarray(net.module.c2.weight.get_value())
            scale = np.asarray(grids["module/c2/weight"].w_scale, np.float32)
            np.testing.assert_array_equal(value, np.rint(value / scale) * scale)
            assert turn != 0 or (value == held).all()
    assert (value != held).any() and losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda: Recipe(weights="code"), "recipe weights: found 'code', expected "),
        (lambda: numerics.parse("bit_accurate-qas-codes"), "found 'codes', expected once"),
        (lambda: numerics.parse("float32-qas"), "expected nothing after float32, which has no codes"),
        (lambda: numerics.TrainingNumerics("float32", weights="codes"), "found weights codes, expected masters"),
        (lambda: built("bias"), "weights: found qas and policy bias, which trains no convolution's weights"),
        (lambda: built("sparse_0.008"), "policy sparse_0.008, which trains no convolution's weights"),
        (lambda: built(name="float32"),
         "weights: found qas in float32, expected masters: it has no codes"),
        (lambda: tc.as_codes(optax.sgd(1.0), {"c/weight": grid()}).init({"d": jnp.zeros(3)}),
         "codes: found parameters such as d, expected weights such as c/weight"),
        (lambda: tc.as_codes(optax.sgd(1.0), {}).update({}, None), "codes: found an update without parameters"),
        (lambda: own_loop.keep_codes(M.Relu()), "codes: found no convolution"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(what: Any, message: str) -> None:
    with pytest.raises(BitrowError) as caught:
        what()
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_plans_are_refused_before_anything_is_trained() -> None:
    plan = experiment.ExperimentPlan(("full",), ("bit_accurate", "bit_accurate-codes"))
    assert experiment.check(plan, digits()).name == "resnet8"
    experiment.check(replace(plan, policies=("sparse_2",), numerics=("float32", "simulated-fxp8-qas")), digits())
    with pytest.raises(BitrowError, match="found codes and policy bias, which trains no convolution's weights"):
        experiment.check(replace(plan, policies=("full", "bias")), digits())
    with pytest.raises(BitrowError, match="numerics: found 'float32-qas'"):
        replace(plan, numerics=("float32-qas",))
