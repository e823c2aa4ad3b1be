"""The theorems' claims hold, their searches find the sharpest cases, and a wrong accumulator is found."""

from __future__ import annotations

import numpy as np
import pytest

from bitrow.errors import BitrowError
from bitrow.proofs import theorems
from bitrow.proofs.claim import Effort, Method

CLAIM = {claim.name: claim for claim in theorems.CLAIMS}


# E1 takes seconds, and is one of `make prove`'s.
@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.slow] * (name == "theorem.E1")) for name in CLAIM
])
def test_claims_hold(name: str) -> None:
    """SPEC.md E1, E2, E3, E4, M2: on drawn convolutions, and searches find what has to exist."""
    outcome = CLAIM[name].check(Effort.QUICK, 0)
    assert outcome.counterexample is None and outcome.cases > 0
    assert outcome.note or CLAIM[name].method is not Method.SEARCH


def test_searches_find_the_contract_s_limits() -> None:
    """SPEC.md E4, M2: K = 33 in FP16, K = 512 in 16 bits, either overflow."""
    assert theorems.fp16_stops(Effort.QUICK, 0).note.startswith("K = 33:")
    assert all("K = 512" in theorems.register_stops(Effort.QUICK, index).note for index in (0, 1))


def test_one_unit_in_one_accumulator_is_found() -> None:
    """SPEC.md E1, E2, E3: each check sees a sum that is wrong by one."""
    sums = theorems.draw(0)[0]
    wrong = sums._replace(acc=np.asarray(sums.acc) + 1)
    rng = np.random.default_rng
    assert theorems._e1(sums, rng(0)) is None and theorems._e1(wrong, rng(0)) is not None
    for power in (True, False):
        assert theorems._float32(sums, rng(0), power) is None
        assert theorems._float32(wrong, rng(0), power) is not None


def test_certificates_print_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md E: two rows for each convolution; an unknown name is refused."""
    theorems.print_certificates("resnet8_digits")
    text = capsys.readouterr().out
    assert text.count("forward") == text.count("gradient") == 9 and "E1 E3 E4" in text
    with pytest.raises(BitrowError, match="network: found 'nothing'"):
        theorems.certificates("nothing")
