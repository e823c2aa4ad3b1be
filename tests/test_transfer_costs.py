"""Costs of the host and of float32 itself: by hand, and against what JAX's float32 backward pass really keeps."""

from __future__ import annotations

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from bitrow import synthetic, zoo
from bitrow.graph import Network
from bitrow.pipeline.cost_tables import ENERGY_PJ, Range
from bitrow.transfer import kept, network_module
from bitrow.transfer.accounting import account
from bitrow.transfer.accounting_float import account_float, weights_kib
from bitrow.transfer.accounting_host import FP32_MUL, arithmetic, host_cost
from bitrow.transfer.numerics import Numerics, TrainingNumerics
from bitrow.transfer.recipe import Recipe
from test_transfer_accounting import HEAD, _small, _trained
from transfer_samples import trainer


def test_figures_are_horowitzs() -> None:
    """FP32 multiply 3.7 pJ and add 0.9 pJ at 45 nm (ISSCC 2014), scaled as all others."""
    assert FP32_MUL.cost == (pytest.approx(3.7 * 0.51, abs=0.01), pytest.approx(3.7 * 0.64, abs=0.01))
    assert ENERGY_PJ["fp32_add"].cost == (pytest.approx(0.9 * 0.51, abs=0.01), pytest.approx(0.9 * 0.64, abs=0.01))


def test_the_hosts_share_by_hand() -> None:
    """100 numbers under Adam, 32 images to an update: 8 products, 4 sums, 7 words of DRAM each."""
    sent, dram = Range(1.0, 2.0), ENERGY_PJ["dram_bit"].cost
    found = host_cost(100, 1000, sent, Recipe(32))
    low = 100 * (8 * 1.89 + 4 * 0.46 + 7 * 32 * dram.low) / 32 * 1e-6
    assert found.update.low == pytest.approx(low) and found.state_kib == 100 * 2 * 4 / 1024
    assert found.gradients.high == pytest.approx(1000 * (2.37 + 0.58) * 1e-6)
    assert found.total.low == pytest.approx(1.0 + low + 1000 * 2.35e-6)
    twice = host_cost(100, 1000, sent, Recipe(32, optimizer="sgd", accumulate=2))
    # an update of 64 images: two of the batch's sums, and 3 words each for the mean's
    assert twice.update.high == pytest.approx(100 * (3 * 2.37 + 3 * 0.58 + 9 * 32 * dram.high) / 64 * 1e-6)
    assert twice.state_kib == 100 * 4 / 1024
    assert found.as_dict()["host_update_uj_low"] == found.update.low


def _kept_bytes(network: Network, trained: list[str]) -> int:
    """Of an image, what jax.vjp keeps of a float32 module that trains these; traced, not run."""
    model = synthetic.synthetic(network, seed=3)
    module = network_module.from_params(model.network, model.params, TrainingNumerics(Numerics.FLOAT32))
    parts = network_module.take_apart(module)

    def pullback(values: dict[str, jax.Array], x: jax.Array) -> object:
        return jax.vjp(lambda values: parts._replace(params={**parts.params, **values}).join()(x), values)[1]

    values, x = {name: parts.params[name] for name in trained}, jnp.zeros((13, *network.input_shape))
    leaves = jax.tree.leaves(jax.eval_shape(pullback, values, x))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves if 13 in leaf.shape) // 13


@pytest.mark.parametrize("policy", ["head", "bias", "full"])
def test_float32_keeps_no_less_than_is_counted(policy: str) -> None:
    """The least that a program can keep: JAX's own derivatives keep inputs of frozen convolutions, and ReLUs' twice."""
    network = _small()
    trained = _trained(network, policy)
    kept_bytes, counted = _kept_bytes(network, trained), account_float(network, trained).program_kib * 1024
    assert kept_bytes == counted if policy == "head" else counted < kept_bytes < 4 * counted


def test_float32_by_hand() -> None:
    """As `test_small_network_by_hand`, without quantizers, in 32 bits, and with the gradients of weights as its own."""
    network, stem, block = _small(), 13 * 6 * 4 * 3 * 2, 13 * 6 * 4 * 3 * 4
    found, accelerator = (each(network, _trained(network, "full")) for each in (account_float, account))
    assert found.macs_forward == stem + block == accelerator.macs_forward
    assert found.macs_backward == accelerator.macs_backward + accelerator.host_macs
    assert found.fp_forward == accelerator.fp_forward - 240 - 180  # dequantized outputs, quantized inputs
    # inputs of two convolutions, two batch norms and the head; masks of two ReLUs (24 bits to a row of 3 bytes)
    assert found.saved_kib * 8192 == 32 * (60 + 120 + 120 + 120 + 120) + 2 * 5 * 24
    assert (found.host_kib, found.host_macs, found.host_energy_uj) == (0, 0, (0, 0))
    products = found.macs_forward + 120 * 2 + 360  # of batch norms and the head
    additions = found.macs_forward + found.fp_forward - (120 * 2 + 360)
    assert found.energy_forward_uj == pytest.approx(arithmetic(products, additions).times(1e-6))


def test_weights_in_either() -> None:
    """Codes of 4 bits, FP16 batch norms, biases and head, whose own bias is FP32; or 32 bits each."""
    network = _small()
    convs, norms, bias, head = 9 * 4 * (2 + 4), 4 * 4, 4, 360
    assert weights_kib(network, HEAD, in_float=False) * 8192 == 4 * convs + 16 * (norms + bias + head) + 32 * 3
    assert weights_kib(network, HEAD, in_float=True) * 8192 == 32 * (convs + norms + bias + head + 3)
    assert weights_kib(network, [*HEAD, "prompt/delta"], in_float=True) * 8192 == 32 * (
        convs + norms + bias + head + 3 + math.prod(network.input_shape)
    )


def test_rows_of_a_run_are_of_what_it_runs_on() -> None:
    found, other = (kept.costs(trainer("bias", name, False), "bias") for name in ("float32", "bit_accurate"))
    assert (found["machine"], other["machine"]) == ("float32 operations alone", "accelerator")
    assert found["host_kib"] == 0 < other["host_kib"] and list(found) == list(other)
    assert found["saved_kib"] * 8192 == 16 * 4 + 8 * 2 + 2 * 8 * 2 + 32 * 4  # two ReLUs, winners, the head's input
    assert found["weights_kib"] > other["weights_kib"]
    assert found["host_total_uj_low"] == found["host_update_uj_low"] < other["host_total_uj_low"]


@pytest.mark.parametrize("policy", ["bias", "full"])
def test_the_documented_costs(policy: str) -> None:
    """docs/transfer.md has what resnet8 at 32x32x3 costs on the host under Adam, and in float32 by itself."""
    network = zoo.resnet8((32, 32, 3), 4)
    trained = _trained(network, policy)
    found, alone = account(network, trained), account_float(network, trained)
    host = host_cost(found.trainable, found.host_macs, found.host_energy_uj, Recipe(32))
    figures = [_text(each) for each in (host.sent, host.gradients, host.update)]
    row = [f"`{policy}`", *figures, f"{host.state_kib:.1f}", f"{alone.saved_kib:.2f}", _text(alone.energy_per_image_uj)]
    text = (Path(__file__).parent.parent / "docs" / "transfer.md").read_text()
    assert f"| {' | '.join(row)} |" in text, row


def _text(found: Range) -> str:
    return f"{found.low:.2f} to {found.high:.2f}"
