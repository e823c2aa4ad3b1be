"""The solver's claims hold, and each kind of them is found false where its function is broken on purpose."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import z3

from bitrow.formats import FP16, AccOverflow, Accumulator, FloatMode, Rounding
from bitrow.ops import lfsr, mac, softfloat
from bitrow.proofs.claim import Effort
from bitrow.proofs.solver import CLAIMS, accumulator, dequantize, query, rounding
from bitrow.proofs.solver import lfsr as lfsr_claims
from bitrow.proofs.solver.modes import modes
from bitrow.proofs.solver.symbols import lift, symbolic

CLAIM = {claim.name: claim for claim in CLAIMS}
WORDS = np.random.default_rng(5)


def test_quick_and_full_ask_every_query() -> None:
    """SPEC.md F3, M2, D1, D2, Q3: each claim is in either run; --quick has every rounding, --full every mode."""
    assert {"round_pack", "wrap", "two_step_short", "two_step_powers", "two_step_differs", "lfsr_step", "lfsr_jump",
            "lfsr_period", "banks", "banks_code"} <= {name.removeprefix("solver.") for name in CLAIM}  # fmt: skip
    assert len(set(modes(Effort.FULL))) == 20 and set(modes(Effort.QUICK)) < set(modes(Effort.FULL))
    assert {(m.rounding, m.flush) for m in modes(Effort.QUICK)} == {(r, f) for r in Rounding for f in (False, True)}
    for claim in CLAIMS:
        quick, full = claim.chunks(Effort.QUICK), claim.chunks(Effort.FULL)
        assert quick == full or (quick, full) == (len(modes(Effort.QUICK)), 20), claim.name


@pytest.mark.parametrize("name", sorted(set(CLAIM) - {"solver.two_step_differs", "solver.saturate_order"}))
def test_first_chunk_of_each_claim_holds(name: str) -> None:
    """SPEC.md F2, F3, F5, F6, F9, F10, D1, D2, M2, Q3: no word is a counterexample."""
    outcome = CLAIM[name].check(Effort.QUICK, 0)
    assert outcome.counterexample is None and outcome.cases > 0


@pytest.mark.parametrize("name", ["solver.two_step_differs", "solver.saturate_order"])
def test_searches_find_what_has_to_exist(name: str) -> None:
    """SPEC.md D1, D2, M2: outside their conditions, two_step is not fused and saturating is not order-free."""
    outcome = CLAIM[name].check(Effort.QUICK, 0)
    assert outcome.counterexample is None
    assert ("2049" if name.endswith("differs") else "gives") in outcome.note


def broken_sticky(value, amount):
    """The kernel's shift without its sticky bit."""
    return symbolic(softfloat.shift_right_sticky)(value, amount) & softfloat.u32(0xFFFFFFFE)


def test_a_dropped_sticky_bit_is_found() -> None:
    """SPEC.md F2: decoded, smallest, and the oracle says so."""
    function = symbolic(softfloat.round_pack, shift_right_sticky=broken_sticky)
    found = query.answer(rounding.round_pack(FP16, FloatMode(), function)).counterexample
    assert found is not None and found.judge == "oracle" and found.found != found.expected
    assert {name: word for name, word, _ in found.operands}["significand"] == "0x40000001"


def test_a_flipped_rounding_bit_is_found() -> None:
    """SPEC.md F3: ties that go up instead of to even."""

    def up_at_ties(rounding_mode, sign, quotient, rest, half):
        return rest >= half

    function = symbolic(softfloat.round_pack, _increment=up_at_ties)
    found = query.answer(rounding.round_pack(FP16, FloatMode(), function)).counterexample
    assert found is not None and found.judge == "oracle"


def test_a_lost_limb_of_a_product_is_found() -> None:
    """SPEC.md F2: rounding that forgets the product's sign."""

    def unsigned(sign, *rest):
        return symbolic(softfloat.round_pack)(sign & softfloat.u32(0), *rest)

    found = query.answer(dequantize.mul(FloatMode(), symbolic(softfloat.mul, round_pack=unsigned))).counterexample
    assert found is not None and found.judge == "oracle"


def test_a_register_one_bit_short_is_found() -> None:
    """SPEC.md M2."""
    wrap = symbolic(mac.wrap)
    found = query.answer(accumulator.wrap(16, lambda value, bits: wrap(value, bits - 1))).counterexample
    assert found is not None and found.found != found.expected
    short = symbolic(mac.saturating_add)

    def narrow(acc, product, _):
        return short(acc, product, Accumulator(15, AccOverflow.SATURATE))

    assert query.answer(accumulator.saturate(16, narrow)).counterexample is not None


def test_other_taps_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md Q3: a generator of other taps steps otherwise, and its period is not 65,535."""
    taps = 0xB401

    def step(state: int) -> int:
        return (state >> 1) ^ (taps if state & 1 else 0)

    matrix = tuple(step(1 << bit) for bit in range(16))
    found = query.answer(lfsr_claims.step(lambda state: symbolic(lfsr._apply_array)(matrix, state))).counterexample
    assert found is not None and found.found != found.expected
    monkeypatch.setattr(lfsr, "_step", step)
    lfsr._power.cache_clear()
    try:
        assert lfsr_claims.period().counterexample is not None
    finally:
        monkeypatch.undo()
        lfsr._power.cache_clear()


def concrete(symbol) -> int:
    return z3.simplify(symbol.term).as_long()


def test_symbols_compute_what_the_kernels_compute() -> None:
    """SPEC.md F2: the symbolic twin of each operation gives the kernel's word, on drawn words."""
    words = WORDS.integers(0, 1 << 16, (24, 2)).astype(np.uint32)
    for name in ("add", "mul", "div", "sub"):
        kernel, twin = getattr(softfloat, name), symbolic(getattr(softfloat, name))
        expected = np.asarray(kernel(jnp.asarray(words[:, 0]), jnp.asarray(words[:, 1]), FP16))
        found = [concrete(twin(lift(a), lift(b), FP16)) for a, b in words]
        assert found == expected.tolist()
