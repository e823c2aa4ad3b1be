"""The solver's claims hold, and each kind of them is found false where its function is broken on purpose."""

from __future__ import annotations

import functools

import pytest

from bitrow.formats import FP16, AccOverflow, Accumulator, FloatMode, Rounding
from bitrow.ops import lfsr, mac, softfloat
from bitrow.proofs.claim import Effort
from bitrow.proofs.solver import CLAIMS, accumulator, dequantize, query, rounding
from bitrow.proofs.solver import lfsr as lfsr_claims
from bitrow.proofs.solver.modes import modes

CLAIM = {claim.name: claim for claim in CLAIMS}


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


def test_a_dropped_sticky_bit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md F2: decoded, smallest, and the oracle says so."""
    shift = softfloat.shift_right_sticky
    monkeypatch.setattr(softfloat, "shift_right_sticky", lambda *words: shift(*words) & softfloat.u32(0xFFFFFFFE))
    found = query.answer(rounding.round_pack(FP16, FloatMode())).counterexample
    assert found is not None and found.judge == "oracle" and found.found != found.expected
    assert {name: word for name, word, _ in found.operands}["significand"] == "0x40000001"


def test_a_flipped_rounding_bit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md F3: ties that go up instead of to even."""

    def up_at_ties(rounding_mode, sign, quotient, rest, half):
        return rest >= half

    monkeypatch.setattr(softfloat, "_increment", up_at_ties)
    found = query.answer(rounding.round_pack(FP16, FloatMode())).counterexample
    assert found is not None and found.judge == "oracle"


def test_a_lost_limb_of_a_product_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md F2: rounding that forgets the product's sign."""
    pack = softfloat.round_pack
    monkeypatch.setattr(softfloat, "round_pack", lambda sign, *rest: pack(sign & softfloat.u32(0), *rest))
    found = query.answer(dequantize.mul(FloatMode())).counterexample
    assert found is not None and found.judge == "oracle"


def test_a_register_one_bit_short_is_found() -> None:
    """SPEC.md M2."""
    found = query.answer(accumulator.wrap(16, lambda value, bits: mac.wrap(value, bits - 1))).counterexample
    assert found is not None and found.found != found.expected

    def narrow(acc, product, _):
        return mac.saturating_add(acc, product, Accumulator(15, AccOverflow.SATURATE))

    assert query.answer(accumulator.saturate(16, narrow)).counterexample is not None


def test_a_skipped_matrix_of_a_jump_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md Q3: a jump of a traced count that leaves out its 8 steps."""
    jump = lfsr.jump
    monkeypatch.setattr(lfsr, "jump", lambda state, steps: jump(state, steps & 0xFFF7))
    asked = lfsr_claims.jump()
    model = query.find([*asked.given, asked.violation, asked.words["state"].term == 1])  # from one state: sooner found
    assert model is not None
    found = asked.explain({name: query.value_of(model, word) for name, word in asked.words.items()})
    assert found.judge == "oracle, by stepping" and found.found != found.expected
    assert int({name: word for name, word, _ in found.operands}["steps"]) & 8


def test_other_taps_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md Q3: a generator of other taps steps otherwise, and its period is not 65,535."""
    taps = 0xB401

    def step(state: int) -> int:
        return (state >> 1) ^ (taps if state & 1 else 0)

    matrix = tuple(step(1 << bit) for bit in range(16))
    found = query.answer(lfsr_claims.step(functools.partial(lfsr._apply_array, matrix))).counterexample
    assert found is not None and found.found != found.expected
    monkeypatch.setattr(lfsr, "_step", step)
    lfsr._power.cache_clear()
    try:
        assert lfsr_claims.period().counterexample is not None
    finally:
        monkeypatch.undo()
        lfsr._power.cache_clear()
