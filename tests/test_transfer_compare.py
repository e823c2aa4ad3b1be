"""Simulated beside bit-accurate training: no word differs with power-of-two scales, and why one does with others."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import small_cli
from bitrow import cli, zoo
from bitrow.config import ConvConfig
from bitrow.contract import conv as contract_conv
from bitrow.errors import BitrowError
from bitrow.formats import AccOverflow, Accumulator, Dequantize, Fxp
from bitrow.host import Scales
from bitrow.layers import conv
from bitrow.transfer import compare_run
from bitrow.transfer.compare import Comparison, compare
from bitrow.transfer.compare_cause import RoundingCause, explain
from bitrow.transfer.training import Trainer
from transfer_samples import digits, trainer

STEPS = len(digits().target.train.y) // 32


GRADIENT = "fxp4-stochastic-delayed"  # one policy and gradient for all: their programs are compiled once


@pytest.fixture(scope="module", autouse=True)
def small_in_zoo():
    """For this module alone: other tests go through the zoo."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.NETWORKS, "small", small_cli.build)
        yield


def pair(power_of_two: bool) -> tuple[Trainer, Trainer]:
    """The bit-accurate trainer and the simulated one."""
    accurate, simulated = (
        trainer("lite_residual", f"{kind}-{GRADIENT}", power_of_two) for kind in ("bit_accurate", "simulated")
    )
    return accurate, simulated


@pytest.mark.slow
def test_powers_of_two_keep_every_word_for_an_epoch():
    """SPEC.md E2: every word of every layer in every step; and both trainings end with the same bits."""
    found = compare(*pair(True))
    assert found.certified and found.holds
    assert (found.steps, found.images, found.differing, found.difference) == (STEPS, 32 * STEPS, 0, None)
    each = 64 + 3 * 64 + 16 + 4 * 16 + 4 + 5  # the input; stem, its norm and ReLU; pool; the block; average; logits
    assert found.words == found.images * each
    assert found.parted is None and found.digests[0] == found.digests[1]


@pytest.mark.slow
def test_the_first_difference_of_general_scales_is_explained():
    """SPEC.md E3, D3: the step, the word and the roundings between its two values, told and counted."""
    found = compare(*pair(False))
    first = found.difference
    assert first is not None and not found.certified and found.holds
    assert found.differing > 0 and found.parted is not None and found.digests[0] != found.digests[1]
    assert first.layer in ("stem", "c1") and first.words > 0 and first.why is not None
    assert first.why.words[0] == first.simulated != first.accurate == first.why.words[-1]
    assert first.why.causes and RoundingCause.NONE not in first.why.causes
    assert first.why.product == first.why.acc * first.why.scale
    counted = dict(first.tally)
    assert "none" not in counted and max(counted.values()) <= min(first.words, 256) <= sum(counted.values())
    told = found.lines()
    assert f"step {first.step}, image {first.image}, {first.layer}[" in told[1] and "cause: " in told[3]
    assert json.loads(json.dumps(found.to_json()))["difference"]["why"]["acc"] == first.why.acc


def test_trainers_of_other_states_are_refused():
    with pytest.raises(BitrowError, match="begin in different states"):
        compare(pair(True)[0], pair(False)[1])


def test_the_command(tmp_path, capsys):
    """What it prints and writes; exit status 1 where a difference contradicts SPEC.md E2, and 0 for others."""
    names = ("--network", "small", "--policy", "lite_residual", "--numerics", f"simulated-{GRADIENT}", "--seeds", "1")
    plan = (*names, "--epochs", "2", "--pretrain-epochs", "0", "--tune-epochs", "0", "--power-of-two", "--quiet")
    assert cli.run(["transfer", *plan, "--compare", "--out", str(tmp_path / "out")]) == 0
    (told,) = capsys.readouterr().out.splitlines()
    assert told.startswith(f"lite_residual {GRADIENT} seed 0: {2 * STEPS} steps, {64 * STEPS} images, ")
    assert "every forward pass has the same bits (E2 holds for every convolution)" in told
    assert told.endswith("trained states the same")
    (one,) = json.loads((tmp_path / "out" / "compare.json").read_text())["comparisons"]
    assert one["found"]["difference"] is None and one["found"]["certified"] and one["found"]["differing"] == 0
    assert one["found"]["digests"][0] == one["found"]["digests"][1]


def test_a_difference_against_the_proof_is_a_failure(monkeypatch):
    """SPEC.md E2: certified and yet different is what the command exits for."""
    wrong = Comparison(1, 1, 1, 1, True, None, None, ("", ""))
    assert not wrong.holds and replace(wrong, certified=False).holds and replace(wrong, differing=0).holds
    monkeypatch.setattr(compare_run, "run", lambda *_: [compare_run.Compared("bias", "fp16", 0, wrong)])
    assert cli.run(["transfer", "--compare", "--quiet"]) == cli.DIFFERS


def _element(config, weight, codes, x_scale, w_scale, simulated=None):
    """The explanation of a 1x1 output, a sum of codes times weights [k,1,1,1], by the oracle's word for it.

    `simulated` makes the other word from the one with the products rounded, which it is by default.
    """
    params = conv.make_params(config, "c", weight, Scales(x_scale, w_scale, 1.0))
    x = (np.asarray(codes) / np.float64(params.x_inv_scale)).astype(np.float16).view(np.uint16).reshape(-1, 1, 1)
    words = {name: np.asarray(getattr(params, name)).view(np.uint16) for name in ("x_inv_scale", "scale")}
    taps = contract_conv.FORWARD.oracle(config, words | {"x": x[None], "weight_code": weight})
    assert taps["x_code"].ravel().tolist() == list(codes)
    accurate, scale = int(taps["y"][0, 0, 0, 0]), np.float16(x_scale)
    once = explain(config, params, scale, x, (0, 0, 0), accurate, accurate).words[1]
    other = once if simulated is None else simulated(once)
    return explain(config, params, scale, x, (0, 0, 0), other, accurate)


def _column(*values):
    return np.array(values, np.int8).reshape(-1, 1, 1, 1)


def test_each_rounding_is_found():
    """SPEC.md E2, E3, D2, D3, M2: one sum for each cause, with this cause alone."""
    plain = _element(ConvConfig(), _column(3, -2), [5, 7], 0.5, 0.25)
    assert plain.causes == () and plain.acc == plain.total == 1 and plain.exact == Fraction(1, 8)

    host = _element(ConvConfig(), _column(5, 1), [7, 6], 0.262207031250, 0.151733398437500)
    assert host.acc == 41 and host.causes == (RoundingCause.SCALE,) and host.scale != host.x_scale * host.w_scale

    wide = ConvConfig(x_format=Fxp(8), weight_format=Fxp(8), dequantize=Dequantize.TWO_STEP)
    twice = _element(wide, _column(127, 4), [127, 1], 0.5, 0.625)
    assert twice.causes == (RoundingCause.TWO_STEP,) and twice.acc > 2048

    narrow = ConvConfig(accumulator=Accumulator(8, AccOverflow.WRAP))
    wrapped = _element(narrow, _column(7, 7, 7), [7, 7, 7], 0.5, 0.5)
    assert wrapped.causes == (RoundingCause.REGISTER,) and (wrapped.acc, wrapped.total) == (147 - 256, 147)

    summed = _element(ConvConfig(), _column(3, -2), [5, 7], 0.5, 0.25, lambda word: word + 1)
    assert summed.causes == (RoundingCause.SUM,)


def test_float32_products_move_a_word():
    """SPEC.md E3: one product of 28 bits, searched for: float32 rounds it to a tie of FP16 that it is not."""
    a, b = np.meshgrid(np.arange(1024, 2048), np.arange(1024, 2048))
    product = a * b * 49
    unit = 1 << (np.floor(np.log2(product)).astype(int) - 11)  # half an ulp of FP16
    beside = product % (2 * unit) - unit
    near = (beside != 0) & (abs(beside) < unit >> 13)
    causes = set()
    for left, right in zip(a[near][:40], b[near][:40], strict=True):
        found = _element(ConvConfig(), _column(7), [7], float(left) / 1024, float(right) / 1024)
        causes |= set(found.causes)
        assert found.exact == Fraction(49 * int(left) * int(right), 1 << 20)
    assert RoundingCause.PRODUCTS in causes and RoundingCause.NONE not in causes
