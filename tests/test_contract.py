"""The contract as data: what is no line is refused by name, and a new operation is its program and its kernel."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from bitrow.config import AddConfig, BatchNormConfig, LayerConfig, Statistics
from bitrow.contract import batch_norm, interpreter, operations
from bitrow.contract.encoding import Role
from bitrow.contract.operation import Operation
from bitrow.contract.program import Program, parse_line
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode, Rounding
from bitrow.ops import fp16
from bitrow.vectors import generate
from bitrow.vectors.coverage import line_bins
from bitrow.vectors.files import store
from bitrow.vectors.files.check import check
from bitrow.vectors.judge import kernels
from bitrow.vectors.problem import Problem
from bitrow.vectors.stimulus.problems import pair_words
from bitrow.vectors.stimulus.stream import Stream


def test_a_line_is_read_in_all_its_parts() -> None:
    """SPEC.md T1: role, name, format, axes, operation, operands, rounding and conditions."""
    line = parse_line("out z : acc, n h w c = fma a16 y b16 rounding up if fma and not biased")
    assert (line.role, line.name, line.format, line.layout) == (Role.OUTPUT, "z", "acc", "n h w c")
    assert (line.op, line.operands, line.rounding) == ("fma", ("a16", "y", "b16"), "up")
    assert line.guard == (("fma", True), ("biased", False))
    assert line.holds({"fma": True, "biased": False}) and not line.holds({"fma": True, "biased": True})
    kept = parse_line("kept mean : acc, c")
    assert kept.saved and kept.given and kept.role is Role.INPUT
    assert parse_line("let inv_n : 32 = reciprocal").role is None


@pytest.mark.parametrize(("text", "message"), [
    ("y 16 = add a b", "contract line: found 'y 16 = add a b', expected NAME : FORMAT"),
    ("y : 17, c = add a b", "contract line y: found the format '17', expected one of 16, 32"),
])  # fmt: skip
def test_what_is_no_line_is_refused(text: str, message: str) -> None:
    with pytest.raises(BitrowError) as caught:
        parse_line(text)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_unknown_operands_and_operations_are_refused() -> None:
    """An operand that no earlier line names; an operation that the interpreter has not."""
    with pytest.raises(BitrowError, match="contract toy y: found the operand 'b', expected a name of an earlier line"):
        Program("toy", "in a : 16, c\nout y : 16, c = add a b")
    with pytest.raises(BitrowError, match=r"toy\.forward y: found the operation 'blend', expected one of add, "):
        toy("blend x x")


def test_an_operation_that_reports_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the interpreter can do and coverage has no row for stops the import."""
    monkeypatch.setattr(interpreter, "KNOWN", interpreter.KNOWN | {"blend"})
    with pytest.raises(BitrowError, match="coverage: found blend in one of contract and REPORTS, expected both"):
        importlib.reload(line_bins)
    monkeypatch.undo()
    importlib.reload(line_bins)


@pytest.mark.parametrize(("declared", "missing"), [
    ({}, "label"), ({"label": "half"}, "output_shape"),
    ({"label": "half", "output_shape": lambda self, where, size, inputs: inputs[0]}, "row_plan"),
])  # fmt: skip
def test_a_layer_that_is_half_declared_is_named(declared: dict[str, object], missing: str) -> None:
    """What a configuration does not say of its layer stops the import of its module."""
    with pytest.raises(BitrowError, match=f"HalfConfig: found no {missing}, expected one"):
        type("HalfConfig", (LayerConfig,), declared)


def test_a_fault_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md B2: the operation with one line rounded otherwise gives other words there, and the same before."""
    config = BatchNormConfig(Statistics.BATCH)
    given = {
        "y": np.arange(0x3000, 0x3000 + 96, dtype=np.uint16).reshape(2, 3, 4, 4),
        "gamma": np.full(4, 0x3F800001, np.uint32), "beta": np.zeros(4, np.uint32),
        "eps": np.array(0x3727C5AC, np.uint32),
    }  # fmt: skip
    operation = batch_norm.FORWARD_BATCH
    sound, text = operation.oracle(config, given), operation.program.text
    try:
        operation.program.rewrite(text.replace("= sqrt var_eps", "= sqrt var_eps rounding up"))
        faulty = operation.oracle(config, given)
    finally:
        operation.program.rewrite(text)
    assert (faulty["std"] >= sound["std"]).all() and (faulty["std"] != sound["std"]).any()
    assert all((faulty[name] == sound[name]).all() for name in ("yy", "s1", "mean", "var_eps"))
    assert all((operation.oracle(config, given)[name] == words).all() for name, words in sound.items())


def toy(body: str = "sub x half") -> Operation:
    """An operation of one new program: x minus half of x, by way of a tap."""
    program = Program("toy", f"""
        in  x    : 16, n h w c
            two  : 16, n h w c = add x x
            half : 16, n h w c = div x two
        out y    : 16, n h w c = {body}
    """)  # fmt: skip
    return Operation("toy.forward", program, AddConfig, lambda config: ("F2", "T1"), by_rows=True)


def test_a_new_operation_is_its_program_and_its_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md V1 to V5: ports, bins, rows and files of it follow; a set of it is written, sound, and recomputed."""
    operation, mode = toy(), FloatMode(Rounding.UP)

    def kernel(config, arrays, tap):
        two = fp16.add(arrays["x"], arrays["x"], config.mode)
        half = fp16.div(arrays["x"], two, config.mode)
        tap("two", two)
        tap("half", half)
        return {"y": fp16.sub(arrays["x"], half, config.mode)}

    monkeypatch.setattr(operations, "OPERATIONS", (*operations.OPERATIONS, operation))
    monkeypatch.setattr(kernels, "KERNELS", {**kernels.KERNELS, operation: kernel})
    x = pair_words(Stream("toy", 1), mode, 2 * 8 * 4 * 4)["a"].reshape(2, 8, 4, 4)
    problem = Problem("toy_up", operation, AddConfig(mode), {"x": x})
    made = generate.generate(tmp_path / "set", [problem], 1, "toy")
    assert check(made.path) == [] and made.rows[0].bins > 10
    case = store.read_case(made.path, "toy_up")
    assert [tensor.name for tensor in case.tensors] == ["x", "two", "half", "y"]
    assert generate.recompute(case) == []
    rows = [(1, 7), (0, 0)]
    whole, part = (operation.oracle(problem.config, problem.given, chosen) for chosen in (None, rows))
    assert all((part[name] == [words[n, h] for n, h in rows]).all() for name, words in whole.items())
