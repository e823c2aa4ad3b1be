"""The corpus of words once found: replayed, in the suite, fed by false claims and failing tests (SPEC.md V4, V5)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bitrow.config import ConvConfig
from bitrow.contract.units import UNITS
from bitrow.errors import BitrowError
from bitrow.formats import FXP8, UFXP4, Accumulator, Dequantize, FloatMode, Overflow, Rounding
from bitrow.proofs import record
from bitrow.vectors import catalog, found
from bitrow.vectors.generate import run_kernel
from bitrow.vectors.judge import identity
from bitrow.vectors.problem import Problem
from kernel_judges import same

RECORDS = found.load()


@pytest.mark.parametrize("one", RECORDS, ids=lambda one: one.problem.name)
def test_recorded_words_stay_right(one: found.Found) -> None:
    """SPEC.md V5: the outputs that were recorded, by the oracle and by the kernel compiled whole."""
    problem = one.problem
    operation = problem.operation
    same("oracle", problem, found.outputs(problem), one.expected)
    words = run_kernel(operation, problem.config, problem.given, compiled=True)
    same("compiled", problem, {name: words[name] for name in operation.outputs}, one.expected)
    assert one.by and one.why


def test_records_are_cases_of_the_suite() -> None:
    """SPEC.md V4: each is a directed vector of `standard`, its words from no stream; none is of `smoke`."""
    entries = {entry.name: entry for entry in catalog.standard()}
    for problem in (one.problem for one in RECORDS):
        for seed in (1, 2):
            built = catalog.build(entries[problem.name], seed)
            assert (built.operation, built.config) == (problem.operation, problem.config)
            assert all((built.given[name] == words).all() for name, words in problem.given.items())
    assert not [entry.name for entry in catalog.smoke() if entry.name.startswith(found.PREFIX)]


ENCODINGS = ("fp16_fma_wide", "quantize_stochastic", "dequantize_long", "conv_stochastic_backward")


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_line_gives_its_problem_back(name: str, tmp_path: Path) -> None:
    """SPEC.md V2: words of every encoding, scalars, shapes and configurations survive, with the oracle's outputs."""
    problem = identity.problems()[name]
    file = tmp_path / "found.jsonl"
    file.write_text(found.line(problem, "a test", "to see it again") + "\n")
    (one,) = found.load(file)
    assert one.problem.name == f"found_{name}" and (one.by, one.why) == ("a test", "to see it again")
    assert (one.problem.operation, one.problem.config) == (problem.operation, problem.config)
    for words, expected in ((one.problem.given, problem.given), (one.expected, found.outputs(problem))):
        assert set(words) == set(expected)
        for key, array in expected.items():
            assert words[key].dtype == array.dtype and words[key].shape == array.shape
            assert np.array_equal(words[key], array)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda line: "{", "line 2: found no JSON"),
        (lambda line: "[]", r"line 2: found '\[\]', expected a FoundRecord"),
        (lambda line: line.replace('"by"', '"who"'), "line 2: found field 'who', expected one of name"),
        (lambda line: line.replace("3c00", "3c0x"), "line 2: found words that cannot be read"),
        (lambda line: line.replace("[[1]", "[[2]"), "line 2: found words that cannot be read"),
        (lambda line: line.replace("nearest_away", "nearest"), "line 2 config.rounding: found 'nearest'"),
        (lambda line: line.replace("fp16.add", "fp16.plus"), "found 'fp16.plus'"),
        (lambda line: line, "line 2: found found_add_simplest_tie again"),
    ],
)
def test_bad_lines_are_refused(edit, message: str, tmp_path: Path) -> None:
    """SPEC.md V4: one line with the file, the line's number, and what was expected."""
    good = found.CORPUS.read_text().splitlines()[0]
    file = tmp_path / "found.jsonl"
    file.write_text(f"{good}\n{edit(good)}\n")
    with pytest.raises(BitrowError, match=message) as caught:
        found.load(file)
    assert "\n" not in str(caught.value)


def row(claim: str, **operands: str) -> dict:
    """A false claim, as the report has it."""
    shown = [{"name": name, "word": word, "meaning": ""} for name, word in operands.items()]
    return {"claim": claim, "counterexample": {"operands": shown, "found": "0x0000 (0)", "expected": "", "judge": ""}}


UP = FloatMode(Rounding.UP, Overflow.SATURATE, flush=True)
FALSE = {
    "fp16.fma": (
        row("fp16.fma", a="0x3800", b="0x0001", c="0x8000", mode="up/saturate/flush"), UP,
        {"a": np.array([0x3800]), "b": np.array([1]), "c": np.array([0x8000])},
    ),
    "fp16.from_int32": (
        row("fp16.from_int32", x="0xffffffff", mode="up/saturate/flush"), UP, {"i": np.array([-1])},
    ),
    "fxp.quantize": (
        row("fxp.quantize", x="0x4800", x_inv_scale="0x3c00", format=repr(UFXP4), tap="t", mode="up/saturate/flush"),
        ConvConfig(x_format=UFXP4, mode=UP), {"x": np.full((1, 1, 1, 1), 0x4800), "x_inv_scale": np.array(0x3C00)},
    ),
    "fxp.dequantize": (
        row("fxp.dequantize", acc="0xfffffffe", scale="0x0400", method="two_step", acc_bound=str((1 << 23) - 1)),
        ConvConfig(accumulator=Accumulator(24), dequantize=Dequantize.TWO_STEP),
        {"acc": np.full((1, 1, 1, 1), -2), "scale": np.array(0x0400)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("claim", FALSE)
def test_a_counterexample_becomes_a_record(claim: str, tmp_path: Path) -> None:
    """SPEC.md F3, Q1, D2: operands, mode and configuration of a false claim, as a line that loads; added once."""
    false, config, given = FALSE[claim]
    file = tmp_path / "found.jsonl"
    file.write_text(found.CORPUS.read_text())
    for _ in range(2):
        (said,) = record.append([false, {"claim": "other", "counterexample": None}], file)
    *before, new = found.load(file)
    assert len(before) == len(RECORDS) and said == f"{claim}: recorded in {file} as {new.problem.name}"
    assert (new.problem.operation.name, new.problem.config) == (claim, config)
    assert set(new.problem.given) == set(given)
    for name, words in given.items():
        assert np.array_equal(new.problem.given[name], words)
    assert new.by == f"bitrow prove claims {claim}" and "0x0000" in new.why


def test_what_is_no_case_is_told(tmp_path: Path) -> None:
    """SPEC.md V4: a claim about no operation is named, and no file appears."""
    file = tmp_path / "none.jsonl"
    assert record.append([row("theorem.E1", direction="forward")], file) == [
        "theorem.E1: not recorded: its counterexample is no case of an operation"
    ]
    assert not file.exists()


def test_a_failing_property_prints_a_line() -> None:
    """SPEC.md V4: what a property test of the kernels says can be added to the corpus as it is."""
    problem = Problem("drawn", UNITS["add"], FloatMode(), {name: np.array([0x3C00], np.uint16) for name in "ab"})
    with pytest.raises(AssertionError, match="found 0x0, expected 0x4000") as caught:
        same("eager", problem, {"y": np.array([0], np.uint16)}, found.outputs(problem))
    text = str(caught.value).splitlines()[-1]
    assert found._record(text, "here").problem.given["a"] == 0x3C00
    assert FXP8 in record.FORMATS and UFXP4 in record.FORMATS
