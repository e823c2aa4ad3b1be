"""Steps that read what no tensor holds are recomputed, too: a configuration's words, gates, masks (SPEC.md A1, A8, A9).

The faulty words are made step by step with the scalar oracle, one of them truncated.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from bitrow.contract.arithmetic import clip_passes, clipped
from bitrow.formats import FloatMode, Rounding
from bitrow.oracle import fp16 as scalar
from bitrow.oracle.arrays import map_words
from bitrow.vectors.case import Case
from bitrow.vectors.diagnose.diagnosis import diagnose
from bitrow.vectors.files import store
from bitrow.vectors.files.dump import Dump
from bitrow.vectors.files.hexfile import file_words

GOLDEN = Path(__file__).parents[1] / "golden"
_FAULT = "truncation (toward zero) instead of nearest-even"
TRUNCATE = FloatMode(rounding=Rounding.TOWARD_ZERO)
_mul = functools.partial(map_words, functools.partial(scalar.mul, mode=TRUNCATE), np.uint16)


def _forward(case: Case) -> np.ndarray:
    scaled = _mul(case.tensor("x").data, np.uint16(case.config.alpha))
    shifted = map_words(scalar.add, np.uint16, scaled, np.uint16(case.config.beta))
    return map_words(clipped, np.uint16, shifted)


def _backward(case: Case) -> np.ndarray:
    slope = _mul(case.tensor("dy").data, np.uint16(case.config.alpha))
    return np.where(map_words(clip_passes, bool, case.tensor("y").data), slope, np.uint16(0))


def _gated(case: Case) -> np.ndarray:
    return _mul(case.tensor("x").data, case.tensor("gate").data)


FAULTS = {
    "hard_sigmoid_forward": ("y", _forward, "scaled"),
    "hard_sigmoid_backward": ("dx", _backward, "every FP16 operation"),  # the only rounding
    "multiply_gate_forward": ("y", _gated, "every FP16 operation"),
}


@functools.cache
def _case(name: str) -> Case:
    return store.read_case(GOLDEN / "v3", name)


@pytest.mark.parametrize("name", FAULTS)
def test_a_truncated_step_is_named(name: str) -> None:
    case, (tap, faulty, step) = _case(name), FAULTS[name]
    golden, words = (file_words(np.asarray(data), case.tensor(tap).encoding).reshape(-1)
                     for data in (case.tensor(tap).data, faulty(case)))  # fmt: skip
    assert (words != golden).any()
    found = diagnose(case, tap, Dump(words, np.zeros(words.size, bool)))
    assert found.explained, str(found)
    assert any(one.complete and one.name == f"{_FAULT} in {step}" for one in found.verdicts), str(found)


@pytest.mark.slow
def test_no_operation_is_left_out() -> None:
    """The last bit of every third word of an operation's last output: whatever it may be, it is looked at."""
    smallest: dict[str, Case] = {}
    for case in (case for version in ("v1", "v2", "v3", "v4") for case in store.read_set(GOLDEN / version)):
        known = smallest.setdefault(case.operation.name, case)
        if sum(one.data.size for one in case.tensors) < sum(one.data.size for one in known.tensors):
            smallest[case.operation.name] = case
    assert len(smallest) > 40
    for name, case in smallest.items():
        output = [one for one in case.tensors if one.role.value == "output"][-1]
        words = file_words(np.asarray(output.data), output.encoding).reshape(-1).copy()
        words[::3] ^= 1
        found = diagnose(case, output.name, Dump(words, np.zeros(words.size, bool)))
        assert found.mismatches == len(words[::3]) and found.guesses, name
