"""The exhaustive claims: judges that agree with the oracle, kernels made wrong on purpose and what is said of them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitrow.formats import FP16, FloatMode, Overflow, Rounding
from bitrow.ops import fp16, fxp, mac, softfloat
from bitrow.oracle import fp16 as oracle
from bitrow.oracle import softfloat as exact
from bitrow.proofs import judges
from bitrow.proofs.claim import Effort
from bitrow.proofs.exhaustive import dequantize, finding, fixed, fma, kernels, pairs, smallest_triple, words

DEFAULT = kernels.GROUPS[0]


@pytest.fixture
def only_default_modes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One program for an operation instead of four, forgotten afterwards."""
    monkeypatch.setattr(kernels, "GROUPS", (DEFAULT,))
    kernels._program.cache_clear()
    yield
    kernels._program.cache_clear()


def ties_away_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """One rounding bit flipped: nearest_away drops its ties."""
    right = softfloat._increment

    def wrong(rounding, sign, quotient, rest, half):
        if rounding is Rounding.NEAREST_AWAY:
            return rest > half
        return right(rounding, sign, quotient, rest, half)

    monkeypatch.setattr(softfloat, "_increment", wrong)


def test_brackets_round_as_the_oracle_does() -> None:
    """SPEC.md F3, F5, F6: bracketed float64 values in every mode equal exact rationals rounded once."""
    draw = np.random.default_rng(5)
    every = judges.VALUES[: judges.INFINITY]
    middles = (every[1:] + every[:-1]) / 2
    values = np.concatenate([every[::97], middles[::89], middles[::83] * (1 + 2.0**-40), middles[::79] * (1 - 2.0**-40),
                             draw.uniform(0, 70000, 200), [65504, 65519.999, 65520, 65535.9, 65536, 1e300, 2.0**-30]])
    values = np.concatenate([values, -values])
    for mode in kernels.MODES:
        found = judges.signed(values).rounded(mode).tolist()
        expected = [exact.from_fraction(FP16, Fraction(v), mode, int(np.signbit(v))) for v in values.tolist()]
        assert found == expected, mode


def test_brackets_with_an_error() -> None:
    """SPEC.md F2, F3: a float64 sum and its error stand for the exact sum, also where the sum is a midpoint."""
    middles = (judges.VALUES[1 : judges.INFINITY] + judges.VALUES[: judges.INFINITY - 1]) / 2
    value = np.concatenate([middles[::61], judges.VALUES[1:31744:67]])
    for error in (2.0**-80, -(2.0**-80), 0.0):
        for mode in DEFAULT:
            found = judges.signed(value, np.full_like(value, error)).rounded(mode).tolist()
            expected = [exact.from_fraction(FP16, Fraction(v) + Fraction(error), mode) for v in value.tolist()]
            assert found == expected, (error, mode)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
def test_pair_judge_is_the_oracle(name: str) -> None:
    """SPEC.md F2, F3, F4, F5, F6: expected words of drawn and special pairs, all four signs, in every mode."""
    block = np.array([0, 1, 0x3FF, 0x400, 0x3C01, 0x7BFF, 0x7C00, 0x7E01], np.uint16)
    draw = np.random.default_rng(7)
    second = np.concatenate([[0, 1, 0x3FF, 0x400, 0x7BFF, 0x7C00, 0x7C01, 0x3C01], draw.integers(0, 1 << 15, 4)])
    judge = pairs.PairJudge(name, block)
    both = {False: judge, True: judge.flushed()}
    for mode in kernels.MODES:
        found = both[mode.flush].expected(mode)
        for k, a in enumerate(block.tolist()):
            for b in second.tolist():
                for sa, sb in ((0, 0), (0, 1), (1, 0), (1, 1)):
                    expected = getattr(oracle, name)(a | sa << 15, b | sb << 15, mode)
                    assert found[sa, k, sb, b] == expected, (hex(a), hex(b), sa, sb, mode)


def test_domains_are_whole() -> None:
    """SPEC.md F1: the chunks of the pairs' full domain hold each first magnitude once, quick ones are among them."""
    claim = pairs.CLAIMS[0]
    assert claim.chunks(Effort.FULL) * pairs.PER_CHUNK == 1 << 15
    assert len(np.unique(pairs.QUICK)) == pairs.PER_CHUNK and pairs.QUICK.max() < 1 << 15
    assert sorted(finding.simplest_words().tolist()) == list(range(1 << 16))
    assert {mode for group in kernels.GROUPS for mode in group} == {
        FloatMode(r, o, f) for r in Rounding for o in Overflow for f in (False, True)
    }


@pytest.mark.usefixtures("only_default_modes")
def test_a_flipped_rounding_bit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md F3: the claim is false, and its counterexample is the simplest: 1 + 2^-11, a tie."""
    ties_away_lost(monkeypatch)
    false = pairs.check("add", Effort.FULL, 240).counterexample
    assert false is not None
    assert false.operands == (
        ("a", "0x3c00", "1"), ("b", "0x1000", "0.00048828125"), ("mode", "nearest_away/infinity", ""),
    )  # fmt: skip
    assert (false.found, false.expected, false.judge) == ("0x3c00 (1)", "0x3c01 (1.0009765625)", "oracle")
    a, b = 0x3C00, 0x1000
    assert oracle.add(a, b, FloatMode(Rounding.NEAREST_AWAY)) == 0x3C01


@pytest.mark.usefixtures("only_default_modes")
def test_words_made_wrong_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md F10: conversions, too; the simplest integer and FP32 number that are ties."""
    ties_away_lost(monkeypatch)
    false = words._check_int32(Effort.QUICK, 0).counterexample
    assert false is not None and false.operands[0] == ("x", "0x00000801", "2049") and false.judge == "oracle"
    false = words._check_float32(Effort.QUICK, 3).counterexample
    assert false is not None and false.operands[0] == ("x", "0x3f801000", "1.00048828125") and false.judge == "oracle"


@pytest.mark.usefixtures("only_default_modes")
def test_right_words_pass() -> None:
    """SPEC.md F10, A1: a chunk of each claim of one operand holds, and counts what it covers."""
    outcome = words._check_int32(Effort.FULL, 513)
    assert outcome.counterexample is None and outcome.cases == 5 * words.PER_CHUNK and len(outcome.digest) == 64
    assert words._check_relu(Effort.FULL, 0).counterexample is None
    wide = words._check_every(words.TO_FLOAT32, ((FloatMode(), FloatMode(flush=True)),), Effort.FULL, 0)
    assert wide.counterexample is None and wide.cases == 1 << 17


def test_fma_judge_is_the_oracle() -> None:
    """SPEC.md F2, F3: sums that float64 cannot hold, cancellation, and zeros of both signs."""
    a = np.array([0x3C01, 0x0001, 0x7BFF, 0x8000, 0x3BFF], np.uint16)[:, None]
    b = np.array([0x3FFF, 0x8001, 0x0400, 0x3C01], np.uint16)[:, None, None]
    c = np.array([0x0000, 0x8000, 0x0001, 0x83FF, 0xBC01, 0x7BFF, 0x3FFF, 0xC000], np.uint16)
    a, b, c = (np.ascontiguousarray(x).reshape(-1) for x in np.broadcast_arrays(a, b, c))
    for mode in kernels.MODES:
        operands = [judges.flushed(x) if mode.flush else x for x in (a, b, c)]
        found = fma.FmaJudge(*operands).expected(mode).tolist()
        triples = zip(a.tolist(), b.tolist(), c.tolist(), strict=True)
        assert found == [oracle.fma(*triple, mode) for triple in triples], mode


@pytest.mark.usefixtures("only_default_modes")
def test_a_false_fma_has_the_simplest_triple(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md F2, F3: a lost tie is shown on the triple that is simplest in all three operands: half of the least."""
    ties_away_lost(monkeypatch)
    false = fma.check(Effort.QUICK, 1).counterexample
    assert false is not None and false.judge == "oracle"
    assert false.operands == (
        ("a", "0x3800", "0.5"), ("b", "0x0001", "5.9604644775390625e-8"), ("c", "0x0000", "0"),
        ("mode", "nearest_away/infinity", ""),
    )  # fmt: skip
    assert oracle.fma(0x3800, 0x0001, 0x0000, FloatMode(Rounding.NEAREST_AWAY)) == 0x0001


def test_the_simplest_triple_of_many_bits() -> None:
    """SPEC.md F1: where no simple triple is wrong, each operand of the one noticed becomes as simple as it can."""
    length = np.array([finding.simplicity(word)[1] for word in range(1 << 16)])
    least = (4, 3, 2)

    def evaluate(triples: np.ndarray, mode: FloatMode) -> tuple[np.ndarray, np.ndarray]:
        return (length[triples] >= least).all(axis=1).astype(np.uint16), np.zeros(len(triples), np.uint16)

    triple, found, expected = smallest_triple.descend((0x7BFF, 0xBABD, 0x0155), evaluate, FloatMode())
    simplest = [next(w for w in finding.simplest_words().tolist() if length[w] >= bits) for bits in least]
    assert list(triple) == simplest and (found, expected) == (1, 0)


@pytest.mark.usefixtures("only_default_modes")
def test_a_double_rounding_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md F2, D1: without the round to odd, fma and the dequantizer round twice somewhere."""
    monkeypatch.setattr(fp16, "add_odd", lambda a, b, a_leads=False: a + b)
    dequantize._program.cache_clear()
    false = fma.check(Effort.QUICK, 1).counterexample
    assert false is not None and false.judge == "oracle"
    false = dequantize.check(Effort.QUICK, 5).counterexample
    dequantize._program.cache_clear()
    assert false is not None and false.judge == "oracle" and ("method", "fused", "") in false.operands


@pytest.mark.usefixtures("only_default_modes")
def test_an_integer_product_rounded_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md D1: the int32 product of 31 bits, rounded to float32's 24 and then to FP16's 11."""

    def twice(acc: jax.Array, scale: jax.Array, mode: FloatMode) -> jax.Array:
        return fp16.round_once(acc.astype(jnp.float32) * fp16.widen(scale), mode)

    monkeypatch.setattr(fxp, "_scale_integer", twice)
    dequantize._program.cache_clear()
    tally = finding.Tally()
    dequantize._check_significands(dequantize.INTEGER, np.arange(1 << 19, 1 << 20, 1021), tally)
    dequantize._program.cache_clear()
    assert tally.counterexample is not None and tally.counterexample.judge == "oracle"
    assert ("acc_bound", str(1 << 20), "") in tally.counterexample.operands


@pytest.mark.usefixtures("only_default_modes")
def test_a_clip_one_too_far_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md Q1: the simplest word whose code is clipped one too low, and its tap."""
    monkeypatch.setattr(fxp, "_clip", lambda value, fmt: jnp.clip(value, fmt.min, fmt.max - 1).astype(jnp.int8))
    fixed._quantizers.cache_clear()
    tally = finding.Tally()
    fixed._check_scales([1.0], fixed.FXP4, ((FloatMode(),),), tally)
    fixed._quantizers.cache_clear()
    assert tally.counterexample is not None
    assert tally.counterexample.operands[:2] == (("x", "0x4800", "8"), ("x_inv_scale", "0x3c00", "1"))
    assert (tally.counterexample.found, tally.counterexample.expected) == ("0x6 (6)", "0x7 (7)")


def test_codes_and_accumulators_of_the_full_domains() -> None:
    """SPEC.md D1, Q1, F8: chunks cover each accumulator significand and each scale once, and a chunk of each holds."""
    assert len(fixed.every_scale()) == 28673 and fixed.every_scale()[-1] == 2.0**14
    assert fixed._check_products(Effort.QUICK, 0).counterexample is None
    chunks = dequantize.CLAIMS[0].chunks(Effort.FULL) - 4 - dequantize.STEPPED_CHUNKS
    assert chunks * dequantize.PER_CHUNK == dequantize.LAST - dequantize.FIRST + dequantize.INTEGER
    assert dequantize.STEPPED_CHUNKS << 20 == 2 * dequantize.LAST


@pytest.mark.parametrize(("name", "row"), [("OF_PRODUCTS", (0, -4, 4, 8, 8, 24)), ("OF_CODES", (0, 4, 0, -4, 0, 1))])
def test_a_wrong_number_of_the_transforms_is_found(
    name: str, row: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPEC.md M1: F(4, 3) with one number changed is not the convolution."""
    claim = {claim.name: claim for claim in fixed.CLAIMS}["fxp.four_by_three"]
    assert claim.check(Effort.QUICK, 0).counterexample is None
    monkeypatch.setattr(mac, name, (*getattr(mac, name)[:-1], row))
    assert claim.check(Effort.QUICK, 0).counterexample is not None


def test_transforms_that_leave_int8_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md M1: magnitudes taken although a transformed code needs nine bits."""
    claim = {claim.name: claim for claim in fixed.CLAIMS}["fxp.four_by_three"]
    monkeypatch.setattr(mac, "three_wide_fits", lambda magnitudes, bound: max(magnitudes) < 14)
    assert claim.check(Effort.QUICK, 0).counterexample is not None
