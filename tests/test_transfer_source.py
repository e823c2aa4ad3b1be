"""What is kept of the source task: its accuracy after transfer against the functional network's, and replay."""

from __future__ import annotations

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitrow import network as run
from bitrow.calibrate import LeastSquares
from bitrow.errors import BitrowError
from bitrow.transfer import epoch, experiment, kept, network_module, pretrain, source, training
from bitrow.transfer.data import Transfer
from bitrow.transfer.epoch import State
from bitrow.transfer.numerics import parse
from bitrow.transfer.recipe import Recipe, Replay
from bitrow.transfer.training import Trainer
from transfer_samples import digits, small

PLAN = experiment.ExperimentPlan(("bias",), ("bit_accurate",), 1, epochs=2)


@functools.cache
def found() -> pretrain.Pretrained:
    """Three epochs on the source, so that its head knows something."""
    first, none = pretrain.Fit(3, 1e-2), pretrain.Fit(0, 1e-3)
    return pretrain.pretrain(small(), digits().source, 0, first, none, LeastSquares())


@functools.cache
def trainer(policy: str, numerics: str, replay: float = 0.0) -> Trainer:
    plan = replace(PLAN, replay=replay)
    return experiment.make_trainer(plan, digits(), found(), policy, numerics, 0, jax.devices()[:1])


@functools.cache
def trained(policy: str, numerics: str, replay: float = 0.0) -> State:
    return experiment.train(trainer(policy, numerics, replay), digits(), None)[0]


def judged(built: Trainer, state: State, replay: bool = False) -> float:
    """The source's accuracy by `network.forward` on the contract's parameters, the head's columns put in here."""
    module = built.module(state)
    params = network_module.to_params(module)
    head = found().tuned.params["head"]
    weight, bias = jnp.asarray(head.weight, jnp.float16), head.bias
    if replay:
        weight, bias = params["head"].weight[:, 5:], params["head"].bias[5:]
    params["head"] = params["head"]._replace(weight=weight, bias=bias)
    network = pretrain.new_head(module.network, 5)
    test = digits().source.test
    logits = jax.jit(lambda x: run.forward(network, params, x)[0])(jnp.asarray(test.x, jnp.float16))
    return float((np.argmax(np.asarray(logits, np.float32), 1) == test.y).mean())


def measured(policy: str, numerics: str, replay: float = 0.0) -> source.SourceAccuracy:
    task = source.task(digits(), found(), parse(numerics))
    assert task is not None
    return source.measure(trainer(policy, numerics, replay), trained(policy, numerics, replay), task)


@pytest.mark.slow
def test_accuracy_on_the_source_is_the_functional_networks():
    """SPEC.md A4: before and after transfer, with the pretrained head on the network as it is then."""
    score = measured("bias", "bit_accurate")
    built = trainer("bias", "bit_accurate")
    assert score == (judged(built, built.start()), judged(built, trained("bias", "bit_accurate")))
    assert score.before > 0.3 and score.after != score.before


@pytest.mark.parametrize("numerics", ["float32", "bit_accurate"])
def test_a_frozen_network_forgets_nothing(numerics):
    score = measured("head", numerics)
    assert score.after == score.before > 0.3


@pytest.mark.slow
def test_replay_keeps_more_of_the_source():
    """SPEC.md A4: the source's columns of the head train beside the target's, and are what is measured."""
    with_replay, without = measured("bias", "bit_accurate", 0.25), measured("bias", "bit_accurate")
    built = trainer("bias", "bit_accurate", 0.25)
    assert with_replay.before == without.before and with_replay.after > without.after
    assert with_replay.after == judged(built, trained("bias", "bit_accurate", 0.25), True)
    assert built.network.node("head").size.c_out == 10 and built.program.steps == len(digits().target.train.y) // 24
    module = trainer("bias", "bit_accurate").module(trainer("bias", "bit_accurate").start())
    before = built.module(built.start()).layers["head"].weight.get_value()
    assert np.array_equal(before[:, :5], module.layers["head"].weight.get_value())


def test_batches_of_a_replay():
    """8 of 32 are the source's; an epoch takes each image of the target at most once, and each source image in turn."""
    built, targets = trainer("bias", "bit_accurate", 0.25), len(digits().target.train.y)
    sources = len(digits().source.train.y)
    order = built.order(1)
    assert order.shape == (built.program.steps, 32) and (order[:, :24] < targets).all()
    assert len(set(order[:, :24].ravel())) == order[:, :24].size
    again = order[:, 24:].ravel()
    assert (again >= targets).all() and len(set(again)) == min(again.size, sources)
    assert not np.array_equal(built.order(2), order) and np.array_equal(built.order(1), order)
    labels = built.images.y[order]
    assert (labels[:, :24] < 5).all() and (labels[:, 24:] >= 5).all()
    few = Replay(training.Images(digits().source.train.x[:3], digits().source.train.y[:3]), 5)
    every = Trainer(built.module(built.start()), experiment.policies.parse("bias"), built.recipe,
                    digits().target.train, jax.devices()[:1], few).order(0)[:, 24:].ravel()  # fmt: skip
    assert {int(np.sum(every == targets + k)) - every.size // 3 for k in range(3)} <= {0, 1}


def test_each_image_has_the_loss_of_its_own_task():
    """The gradient of the other task's logits is zero, and that of its own the softmax's over five classes."""
    program = trainer("bias", "float32", 0.25).program
    rng = np.random.default_rng(0)
    logits, y = rng.standard_normal((32, 10)).astype(np.float32) * 4, rng.integers(0, 10, 32).astype(np.int32)
    loss, right, dlogits = epoch._loss(program, jnp.asarray(logits), jnp.asarray(y), jnp.float32(1))
    total, hits = 0.0, 0
    for row, label, found_row in zip(logits.astype(np.float64), y, np.asarray(dlogits), strict=True):
        own = slice(5, 10) if label >= 5 else slice(0, 5)
        odds = np.exp(row[own]) / np.exp(row[own]).sum()
        wanted = np.zeros(10)
        wanted[own] = odds
        wanted[label] -= 1
        np.testing.assert_allclose(found_row, wanted, atol=1e-6)
        total, hits = total - np.log(odds[label - own.start]), hits + (np.argmax(row[own]) == label - own.start)
    assert float(loss) == pytest.approx(total, rel=1e-6) and int(right) == hits


def test_figures_of_a_run_name_both_tasks():
    built, state = trainer("bias", "bit_accurate"), trained("bias", "bit_accurate")
    task, rows = source.task(digits(), found(), parse("bit_accurate")), [{"test_accuracy": 0.5}]
    done = kept.finish(("bias", "bit_accurate", 0), built, state, rows, task)
    assert (done.source_before, done.source_accuracy) == measured("bias", "bit_accurate")
    assert kept.finish(("bias", "bit_accurate", 0), built, state, rows).source_accuracy is None
    all_targets = Transfer(digits().source.__class__("s", (), digits().source.train, digits().source.test),
                           digits().target)  # fmt: skip
    assert source.task(all_targets, found(), parse("bit_accurate")) is None
    with pytest.raises(BitrowError, match=r"--replay: found a share of 0\.5 and no source images"):
        experiment.check(replace(PLAN, replay=0.5, model_file=experiment.Path("m")), all_targets)


@pytest.mark.parametrize("share", [0.01, 0.99, 1.0, -0.5, float("nan")])
def test_shares_that_cannot_be(share):
    with pytest.raises(BitrowError, match=r"replay: found .* of a batch of 32, expected a share of at least one image"):
        Recipe(replay=share)


def test_a_share_needs_its_images():
    built = trainer("bias", "bit_accurate")
    with pytest.raises(BitrowError, match=r"replay: found a share of 0\.25 and 0 source images, expected both or none"):
        Trainer(built.module(built.start()), experiment.policies.parse("bias"), replace(built.recipe, replay=0.25),
                digits().target.train)  # fmt: skip
