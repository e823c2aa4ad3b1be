"""Planted faults are named: by a simulated design and by numpy, none of them wrongly (SPEC.md F, Q, M, D, B, C, A)."""

from __future__ import annotations

import numpy as np
import pytest

import planted_faults
from bitrow.vectors import catalog, conv_suite, operations
from bitrow.vectors.case import Case
from bitrow.vectors.diagnose import readings
from bitrow.vectors.diagnose.diagnosis import Diagnosis, diagnose
from bitrow.vectors.diagnose.scene import Scene
from bitrow.vectors.files import store
from bitrow.vectors.files.dump import Dump
from bitrow.vectors.files.hexfile import file_words
from planted_faults import Fault

FAULTS = planted_faults.everything()
# Words that one fault alone does not explain, or that many would: they must not be named at all, or be named rightly.
UNNAMED = {
    ("rtl stale_row", "conv_3x3_saturate_forward"),  # a clamped register and a race
    ("rtl stale_row", "conv_5x5_unsigned_wrap_forward"),  # six words
    ("rtl quant_noclip", "fxp_quantize_fxp4"),  # what it makes of infinities is its own
    ("rtl quant_noclip", "conv_3x3_forward"),
    ("rtl symmetric_clip", "conv_5x5_unsigned_wrap_forward"),  # of unsigned codes: another fault of the design
}


def look(fault: Fault) -> Diagnosis:
    dump = Dump(fault.words, fault.undriven)
    return diagnose(planted_faults.case(fault.case), fault.tensor, dump, fault.agreed)


def right(fault: Fault, text: str) -> bool:
    return any(name in text for name in fault.named)


def cases() -> list[object]:
    """Every fault once; what the simulated design gave in further cases, and at its output alone, takes longer."""
    seen: set[str] = set()
    found = []
    for number, fault in enumerate(FAULTS):
        marks = [pytest.mark.slow] if fault.name in seen else []
        found.append(pytest.param(number, marks=marks, id=f"{fault.name}-{fault.case}-{fault.tensor}"))
        seen.add(fault.name)
    return found


@pytest.mark.parametrize("number", cases())
def test_a_planted_fault_is_named(number: int) -> None:
    """What a report says in words has the fault among the few that it names; nothing else is called close."""
    fault = FAULTS[number]
    found = look(fault)
    if (fault.name, fault.case) in UNNAMED:
        assert not found.explained and (found.closest is None or right(fault, str(found))), str(found)
    else:
        assert found.explained and right(fault, str(found)), str(found)


def test_there_are_enough_of_them() -> None:
    """At least 60 faults, of which no more than the few above are not named."""
    names = {fault.name for fault in FAULTS}
    unnamed = {name for name, _ in UNNAMED}
    assert len(names) >= 80 and len(unnamed) <= 5
    named_somewhere = {fault.name for fault in FAULTS if (fault.name, fault.case) not in UNNAMED}
    assert len(named_somewhere) >= 75 and {name.removeprefix("rtl ") for name in unnamed} <= set(planted_faults.RTL)


def test_what_sums_read_is_the_contracts() -> None:
    """SPEC.md M1, M2, C2, C3: unmoved, the indices that faults move give the oracle's sums: strides, sides, dilation,
    groups, clamped registers, FP16 gradients; transposed convolutions (C5).
    """
    problems = [catalog.build(entry, 1) for entry in (*catalog.geometry(), *conv_suite.transposed())]
    cases = [planted_faults.case(name) for name in store.case_names(planted_faults.GOLDEN) if name.startswith("conv_")]
    for problem in problems:
        words = problem.given | problem.operation.oracle(problem.config, problem.given)
        tensors = operations.tensors(problem.operation, problem.config, words)
        cases.append(Case(problem.name, problem.operation, problem.config, tensors, ()))
    looked = 0
    for case in (case for case in cases if case.operation.name.startswith("conv.")):
        last = case.tensors[-1]
        words = file_words(last.data, last.encoding).reshape(-1) ^ np.uint32(1)
        scene = Scene(case, last.name, Dump(words, np.zeros(words.size, bool)))
        reading = readings.reading_of(scene)
        assert reading is not None
        for name, sums in readings.sums_of(scene, reading, None).items():
            assert (sums.reshape(-1) == scene.golden[name].reshape(-1)).all(), (case.name, name)
            looked += 1
        whole = scene.resumed(readings.sums_of(scene, reading, None), None)
        assert whole is not None and (whole.reshape(-1) == scene.expected).all()
    assert looked > 12
