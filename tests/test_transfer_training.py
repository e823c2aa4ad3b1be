"""Transfer training: modules' bits, frozen parameters, masks alone saved, resumed runs, batches split over devices."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitrow import calibrate, float_model, host
from bitrow import network as run
from bitrow.calibrate import LeastSquares
from bitrow.config import BatchNormConfig, ConvConfig, LinearConfig, ReluConfig
from bitrow.errors import BitrowError
from bitrow.formats import Fxp, QuantRounding
from bitrow.graph import INPUT, ConvSize, LinearSize, Network, Node
from bitrow.host import Scales
from bitrow.layers import conv
from bitrow.oracle import lfsr
from bitrow.transfer import checkpoint, convolution, experiment, kept, network_module, numerics, policies, sparse
from bitrow.transfer.accounting import account
from bitrow.transfer.data import Images, Task, Transfer
from bitrow.transfer.loss_scale import LossScale
from bitrow.transfer.numerics import Numerics
from bitrow.transfer.recipe import Recipe
from bitrow.transfer.training import Trainer
from network_samples import assert_same_bits, every_layer, joined

NETWORK = every_layer(BatchNormConfig())
PLAIN = Network(
    "plain", (3, 4, 1),
    (
        Node("c1", ConvConfig(), (INPUT,), ConvSize(1, 1, 2)), Node("n1", BatchNormConfig(), ("c1",)),
        Node("r1", ReluConfig(), ("n1",)), Node("c2", ConvConfig(), ("r1",), ConvSize(1, 1, 2, bias=True)),
        Node("n2", BatchNormConfig(), ("c2",)), Node("head", LinearConfig(), ("n2",), LinearSize(3)),
    ),
    "head",
)  # fmt: skip


def images(count: int = 40, network: Network = NETWORK) -> Images:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((count, *network.input_shape)).astype(np.float16).astype(np.float32)
    return Images(x, rng.integers(0, 3, count).astype(np.int32))


def module(
    name: str = "bit_accurate", power_of_two: bool = True, network: Network = NETWORK
) -> network_module.NetworkModule:
    arithmetic = numerics.parse(name)
    network = numerics.with_gradient(network, arithmetic.gradient)
    model = float_model.initialize(network, 2)
    head = model.params["head"]
    weight = np.random.default_rng(5).standard_normal(head.weight.shape) / 4
    model.params["head"] = head._replace(weight=jnp.asarray(weight, jnp.float32))
    found, rule = images(network=network), LeastSquares(power_of_two)
    scales = calibrate.forward_scales(network, model, found.x, rule)
    dy = calibrate.gradient_scales(network, model, scales, found.x, found.y, rule).dy_scale
    params = calibrate.make_params(network, model, scales, dy)
    return network_module.from_params(network, params, arithmetic, model, scales)


def trainer(
    policy: str, name: str = "bit_accurate", devices: int = 1, batch: int = 8, network: Network = NETWORK
) -> Trainer:
    built, chosen = module(name, network=network), policies.parse(policy)
    policies.prepare(built, chosen, 1)
    recipe = Recipe(batch, 1e-2, 3, loss_scale=16.0)
    return Trainer(built, chosen, recipe, images(network=network), jax.devices()[:devices])


def both(built, x, dy):
    logits, pull = jax.vjp(built, x)
    return logits, pull(dy)[0]


@pytest.mark.parametrize("network", [
    pytest.param(NETWORK, id=NETWORK.name), pytest.param(joined(), id="joined", marks=pytest.mark.slow),
])  # fmt: skip
def test_a_module_is_the_network_forward_and_backward(network):
    """SPEC.md A5, A6, A7, C2: the same bits as the functional network, and its parameters come back."""
    built = module(power_of_two=False, network=network)
    params = network_module.to_params(built)
    x = jnp.asarray(images(4, network).x, jnp.float16)
    dy = jnp.asarray(np.random.default_rng(0).standard_normal((4, 3)), jnp.float16)

    def functional(x, dy):
        logits, saved = run.forward(built.network, params, x)
        return logits, run.backward(built.network, params, saved, dy)[0]

    found = jax.jit(lambda x, dy: both(built, x, dy))(x, dy)
    assert_same_bits(found, jax.jit(functional)(x, dy))
    logits = found[0]
    assert_same_bits(jax.jit(network_module.take_apart(built).join())(x), logits)
    assert_same_bits(network_module.to_params(network_module.from_params(
        built.network, params, numerics.parse("bit_accurate"))), params)  # fmt: skip


def test_simulated_is_bit_accurate_with_powers_of_two():
    """SPEC.md E2, E3: forward and backward, every image; with general scales some logits differ."""
    x = jnp.asarray(images().x, jnp.float16)
    differs = []
    for power_of_two in (True, False):
        built = module(power_of_two=power_of_two)
        dy = jnp.ones((40, 3), jnp.float16)
        bits = jax.jit(lambda x, dy, built=built: both(built, x, dy))(x, dy)
        built.set_attributes(numerics=Numerics.SIMULATED)
        simulated = jax.jit(lambda x, dy, built=built: both(built, x, dy))(x, dy)
        differs.append(int((np.asarray(bits[0]).view("u2") != np.asarray(simulated[0]).view("u2")).sum()))
        if power_of_two:
            assert_same_bits(simulated, bits)
    assert differs[0] == 0 and differs[1] > 0


def test_weight_codes_are_the_hosts():
    """SPEC.md F7: the codes made in the program are calibration's, at ties and beside them, too."""
    scale = np.float16(0.3)
    midpoints = (np.arange(-10, 10) + 0.5).astype(np.float32) * np.float32(scale)
    near = [midpoints, np.nextafter(midpoints, np.float32(9)), np.nextafter(midpoints, np.float32(-9))]
    weight = np.concatenate([*near, np.random.default_rng(0).standard_normal(4)]).astype(np.float32)[None, None, None]
    found, inside = convolution.weight_codes(jnp.asarray(weight), jnp.float16(scale), Fxp(4))
    assert_same_bits(found, host.weight_codes(weight, np.float64(scale), Fxp(4)))
    assert 0 < int(inside.sum()) < inside.size


@pytest.mark.parametrize("policy", ["lite_residual", "full"])
def test_what_is_saved(policy):
    """SPEC.md C4, Q4: a frozen convolution hands its mask to the backward pass; a trained one its codes as well."""
    built, chosen = module(), policies.parse(policy)
    policies.prepare(built, chosen, 1)
    parts = network_module.take_apart(built)
    names = policies.trained(built.network, chosen, parts.params)
    x = jnp.asarray(images(4).x, jnp.float16)

    def pullback(trained):
        return jax.vjp(lambda trained: parts._replace(params=parts.params | trained).join()(x), trained)[1]

    pull = jax.eval_shape(pullback, {name: parts.params[name] for name in names})
    saved = [leaf for leaf in jax.tree.leaves(pull) if getattr(leaf, "ndim", 0) == 4 and leaf.shape[0] == 4]
    maps = [(str(leaf.dtype), leaf.shape) for leaf in saved if leaf.shape[1:3] == (4, 4)]  # of c2's input
    assert ("int8", (4, 4, 4, 4)) in maps if policy == "full" else not any(kind == "int8" for kind, _ in maps)
    assert any(kind == "bool" for kind, _ in maps)


@pytest.mark.parametrize("policy", policies.NAMES)
def test_frozen_parameters_keep_every_bit(policy):
    """SPEC.md C4: an epoch of every policy, also a zero's sign, which an added zero would change; the others move."""
    built = trainer(policy, network=PLAIN)
    state = built.start()
    zeros = {name: value.at[(0,) * value.ndim].set(-0.0) for name, value in state.params.items()}
    state = built.place(state._replace(params=zeros))
    after, metrics = built.epoch(state, 0)
    moved = {n for n in state.params if np.asarray(state.params[n]).tobytes() != np.asarray(after.params[n]).tobytes()}
    expected = {"layers/head/weight", "layers/head/bias"}
    match policy:
        case "bias":
            expected |= {"layers/n1/shift", "layers/n2/shift", "layers/c2/bias"}
        case "lite_residual":
            expected |= {name for name in state.params if name.startswith("branches/")}
        case "prompt":
            expected |= {"prompt/delta"}
        case "last_1":
            expected |= {"layers/c2/weight", "layers/c2/bias", "layers/n2/scale", "layers/n2/shift"}
        case "full":
            expected = set(state.params)
    assert built.program.trained == expected
    assert moved <= expected and "layers/head/weight" in moved and (policy == "head" or len(moved) > 2)
    assert np.isfinite(np.asarray(metrics.loss)).all()


def test_a_resumed_run_ends_with_the_same_bits(tmp_path):
    """Cut off after an epoch and resumed from the checkpoint; one of another run is refused."""
    data = Transfer(*(Task("t", ("a", "b", "c"), images(), images(8)) for _ in range(2)))
    built = trainer("bias", "bit_accurate-fxp4-stochastic-delayed")
    whole, rows = experiment.train(built, data, None)
    state, _ = built.epoch(built.start(), 0)
    saved = checkpoint.Checkpoints(tmp_path / "c", {"seed": 0})
    saved.save(1, state, rows[:1])
    resumed, more = experiment.train(built, data, saved)
    assert checkpoint.digest(resumed) == checkpoint.digest(whole) != checkpoint.digest(state)
    assert more == rows
    with pytest.raises(BitrowError, match="found a checkpoint of seed 0, expected 1"):
        checkpoint.Checkpoints(tmp_path / "c", {"seed": 1}).latest(built.start())
    with pytest.raises(BitrowError, match=r"found (no|an) array of this name, expected") as caught:
        saved.latest(trainer("bias", network=PLAIN).start())
    assert "\n" not in str(caught.value)
    wider = built.start()._replace(history={name: jnp.zeros(3) for name in built.start().history})
    with pytest.raises(BitrowError, match=r"found float32\[16\], expected float32\[3\]"):
        saved.latest(wider)


def test_policies_combine():
    """SPEC.md C4: what either trains; `norm` is scale and shift; head alone is the least."""
    built = module(network=PLAIN)
    policies.prepare(built, policies.parse("prompt+lite_residual"), 1)
    names = set(network_module.take_apart(built).params)
    assert {name.split("/")[0] for name in names} == {"layers", "branches", "prompt"}

    def trained(name: str) -> set[str]:
        return set(policies.trained(built.network, policies.parse(name), names & set(of_layers)))

    of_layers = [name for name in names if name.startswith("layers/")]
    assert trained("bias+last_1") == trained("bias") | trained("last_1")
    assert trained("norm+head") == trained("norm") == trained("head") | {
        f"layers/{norm}/{field}" for norm in ("n1", "n2") for field in ("scale", "shift")
    }
    assert policies.parse("bias+last_2") == policies.Policy("bias+last_2", 2)


def _pretrained(network: Network) -> tuple[network_module.NetworkModule, Images]:
    built = module(network=network)
    built.loss_scale = LossScale(16.0)
    return built, images(network=network)


def test_a_sparse_update_takes_what_contributes_most():
    """SPEC.md Q5: of all that keep as little, by accounting, what is chosen contributes most."""
    built, data = _pretrained(NETWORK)
    network, found = built.network, sparse.contributions(built, data)
    whole = sparse.choose(network, found, 64)
    assert whole.names >= {f"layers/{name}/weight" for name in found} and whole.counts == {"c1": 2, "c2": 4}
    head, shifts = {"layers/head/weight", "layers/head/bias"}, {"c1": {"layers/n1/shift", "layers/n2/shift"},
                                                                "c2": {"layers/n2/shift"}}  # fmt: skip
    every = []
    for c1 in ((), (0,), (1,), (0, 1)):
        for c2 in ((), (0, 1, 2, 3)):  # of two groups: all or none
            taken = {name: each for name, each in (("c1", c1), ("c2", c2)) if each}
            names = head | {f"layers/{name}/weight" for name in taken} | (shifts[min(taken)] if taken else set())
            counts = {name: len(each) for name, each in taken.items()}
            kept_kib = account(network, names, channels=counts).saved_kib
            every.append((found["c1"][list(c1)].sum() + found["c2"].sum() * bool(c2), kept_kib, taken))
    for budget in (0.05, 0.08, 0.15, 0.19, 0.2):
        update = sparse.choose(network, found, budget)
        assert account(network, update.names, channels=update.counts).saved_kib <= budget and head < update.names
        best = max((each for each in every if each[1] <= budget), key=lambda each: each[0])[2]
        assert dict(update.channels) == best
    with pytest.raises(BitrowError, match=r"policy sparse_0\.001: found 0\.001 KiB, expected at least .* for the head"):
        sparse.choose(network, found, 0.001)


def test_channels_that_are_not_chosen_keep_every_bit():
    """SPEC.md C4: their weights stay, the chosen ones' gradient is the whole one's, and no other codes are kept."""
    built, data = _pretrained(PLAIN)
    whole = np.asarray(sparse.contributions(built, data)["c2"])
    built.layers["c2"].set_attributes(channels=(1,))
    part = np.asarray(sparse.contributions(built, data)["c2"])
    assert part[0] == 0 and part[1] == whole[1] > 0
    built.sparse = network_module.SparseUpdate(frozenset({"layers/c2/weight", "layers/head/weight"}), (("c2", (1,)),))
    trainer = Trainer(built, policies.parse("sparse_9"), Recipe(8, 1e-2, 3, optimizer="adamw"), data, jax.devices()[:1])
    before = trainer.start()
    change = np.asarray(trainer.epoch(before, 0)[0].params["layers/c2/weight"] - before.params["layers/c2/weight"])
    assert not change[:, :, 0].any() and change[:, :, 1].all()
    done = kept.finish(("sparse_9", "bit_accurate", 0), trainer, before, [{"test_accuracy": 1.0}])
    assert done.cost["trainable"] == 2 + 24 * 3


def test_a_silent_layer_is_counted():
    """SPEC.md C2: under a loss scale far too small the codes of c2 are zero in every step; under its own in none."""
    built = trainer("bias", network=PLAIN)
    _, metrics = built.epoch(built.start(), 0)
    assert metrics.silent_layers() == {} and set(metrics.silent) == {"layers/c2/probe"}
    built.recipe = replace(built.recipe, loss_scale=2.0**-10)
    assert built.epoch(built.start(), 0)[1].silent_layers() == {"c2": built.program.steps}


def test_batches_that_are_accumulated_are_one():
    """Two batches of 8 to an update of SGD are one of 16: the same mean, in another order of float32 sums."""
    shared = {"learning_rate": 0.5, "epochs": 1, "optimizer": "sgd", "schedule": "constant"}
    found = []
    for batch, accumulate in ((8, 2), (16, 1)):
        recipe = Recipe(batch, accumulate=accumulate, **shared)
        built = Trainer(module(network=PLAIN), policies.parse("head"), recipe, images(16, PLAIN), jax.devices()[:1])
        before, (after, _) = built.start(), built.epoch(built.start(), 0)
        found.append(np.asarray(after.params["layers/head/weight"] - before.params["layers/head/weight"]))
    assert np.abs(found[1]).max() > 0.01
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["bit_accurate-fxp4-stochastic-row"])
def test_devices_change_no_bit(name):
    """SPEC.md Q3, A4: one epoch with the batch whole, halved, and in eighths."""
    digests = set()
    for devices in (1, 2, 8):
        built = trainer("lite_residual", name, devices)
        digests.add(checkpoint.digest(built.epoch(built.start(), 0)[0]))
    assert len(digests) == 1


def test_row_codes_are_codes_of_the_tensor():
    """SPEC.md C2: a row under its own power of two is a wider code of the tensor's scale, and none is clipped."""
    config = ConvConfig(padding=1, dy_format=Fxp(8))
    params = conv.make_params(config, "c", np.ones((3, 3, 2, 4), np.int8), Scales(0.5, 0.5, 2.0**-4))
    rng = np.random.default_rng(0)
    dy = (rng.standard_normal((2, 5, 6, 4)) * 2.0 ** rng.integers(-5, 1, (2, 5, 1, 1))).astype(np.float16)
    codes = np.asarray(convolution.row_codes(config, params, jnp.asarray(dy), 0), np.float64)
    t = dy.astype(np.float64) * 16
    for n in range(2):
        for h in range(5):
            k = next(k for k in range(5) if np.abs(np.rint(t[n, h] / 2**k)).max() <= 7 or k == 4)
            assert np.array_equal(codes[n, h], np.clip(np.rint(t[n, h] / 2**k), -8, 7) * 2**k)


@pytest.mark.parametrize("rounding", list(QuantRounding))
def test_log_codes_are_powers_of_two(rounding):
    """SPEC.md C2, Q3: every FP16 word's neighbours among 0, 1, 2, ... 64, and which of them, in rationals; no bias."""
    config = ConvConfig(dy_format=Fxp(8), dy_rounding=rounding)
    params = conv.make_params(config, "c", np.ones((1, 1, 2, 4), np.int8), Scales(0.5, 0.5, 0.25), seed=9)
    rng = np.random.default_rng(1)
    dy = np.concatenate([rng.integers(0, 1 << 16, 3000).astype(np.uint16).view(np.float16),
                         (rng.standard_normal(1096) * 4).astype(np.float16)]).reshape(1, 32, 32, 4)  # fmt: skip
    found = np.asarray(jax.jit(lambda dy: convolution.log_codes(config, params, dy, 0))(dy)).ravel().astype(int)
    words, levels = lfsr.words(9, 0, dy.size), [0, *(2**k for k in range(7))]
    for code, value, word in zip(found.tolist(), dy.ravel().tolist(), words, strict=True):
        t = 0 if value != value else Fraction(min(abs(value) * 4, 64))
        low = max(level for level in levels if level <= t)
        part = (t - low) / max(low, 1)
        up = part >= Fraction(1, 2) if rounding is QuantRounding.NEAREST_EVEN else part >= 1 - Fraction(word, 65536)
        assert code == (low + max(low, 1) * up) * (-1 if value < 0 else 1)
    within = np.abs(dy.ravel().astype(np.float64)[3000:] * 4)
    assert abs(np.abs(found[3000:]).mean() / within.mean() - 1) < 0.05


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda: policies.parse("tail"), "policy: found 'tail'"),
        (lambda: policies.parse("bias+bias"), "policy: found 'bias+bias', expected bias once"),
        (lambda: policies.parse("sparse_8+bias"), "expected a sparse update without other policies"),
        (lambda: policies.parse("sparse_0"), "expected a budget of more than 0 KiB"),
        (lambda: policies.parse("last_K"), "policy: found 'last_K'"),
        (lambda: Recipe(optimizer="rms"), "optimizer: found 'rms', expected adam, adamw, momentum, sgd"),
        (lambda: Recipe(schedule="step"), "schedule: found 'step', expected constant, cosine, linear, warmup"),
        (lambda: Recipe(accumulate=0), "accumulate: found 0"),
        (lambda: numerics.parse("bit_accurate-fxp5"), "found 'fxp5'"),
        (lambda: numerics.parse("simulated-fxp8-row"), "found codes of 8 bits"),
        (lambda: numerics.parse("simulated-fxp8-log"), "log codes: found codes of 8 bits, expected 4"),
        (lambda: trainer("last_9"), "with 2 convolutions"),
        (lambda: trainer("head", batch=64), "found 40, expected at least a batch of 64"),
        (lambda: Recipe(batch=12), "batch: found 12"),
    ],
)
def test_bad_arguments_are_one_line(what, message):
    with pytest.raises(BitrowError) as caught:
        what()
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_float_models_travel_in_safetensors(tmp_path):
    """What is written is read; another network's is refused."""
    model = float_model.initialize(NETWORK, 0)
    checkpoint.save_float(tmp_path / "m.safetensors", NETWORK, model)
    assert_same_bits(checkpoint.load_float(tmp_path / "m.safetensors", NETWORK), model)
    nodes = tuple(Node("n9", n.config, n.inputs) if n.name == "n2" else n for n in NETWORK.nodes)
    nodes = tuple(Node(n.name, n.config, tuple("n9" if i == "n2" else i for i in n.inputs), n.size) for n in nodes)
    with pytest.raises(BitrowError, match=r"m\.safetensors: found no tensor n9"):
        checkpoint.load_float(tmp_path / "m.safetensors", Network("other", NETWORK.input_shape, nodes, "head"))
    (tmp_path / "bad").write_bytes(b"no")
    with pytest.raises(BitrowError, match="no whole safetensors"):
        checkpoint.load_float(tmp_path / "bad", NETWORK)
