"""Units in SystemVerilog against the contract: read by yosys, decided by solvers, tried by oracle and netlist."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitrow import tools
from bitrow.errors import BitrowError
from bitrow.proofs.rtl import command, decide, exhaustive, solvers, units, yosys
from bitrow.proofs.rtl.binding import RtlTiming
from bitrow.proofs.rtl.trial import attempt
from bitrow.proofs.rtl.verdict import PROVED, REFUTED
from bitrow.vectors import found
from rtl_samples import BENCH, BENCH_SAMPLES, SAMPLES
from rtl_tools import FILES, FUSED, needs_tools, prove, sample

pytest.importorskip("z3", reason="needs z3 (extra proofs)")

from bitrow.proofs.rtl import question


@needs_tools
@pytest.mark.parametrize(("top", "operation"), [("fp16_max", "max"), ("lfsr16", "lfsr.step"), ("pack2", "fxp.pack"),
                                                ("mac_lane", "mac.step")])  # fmt: skip
def test_a_unit_is_proved(top: str, operation: str) -> None:
    """SPEC.md A2, Q3, Q5, M2: with registers from any state."""
    held, verdict = command.proved(sample(top, operation).proof())
    assert (verdict.verdict, verdict.method, verdict.counterexample) == (PROVED, "solver", None)
    assert held.contract.points >= 1 << 8


@needs_tools
def test_a_quantizer_is_proved_with_its_product_free() -> None:
    """SPEC.md Q1, Q4: 2^31 pairs, through a multiplier that no solver sees."""
    held = command.bound(sample("quantizer", "fxp.quantize").proof())
    assert question.shared(held) is not None
    run = decide._Run(held, decide.RtlLimits(), lambda text: None, lambda text: None)
    verdict = run.solved()
    assert verdict is not None and verdict.verdict == PROVED


@needs_tools
@pytest.mark.parametrize("fault", ["BUG_TRUNCATE", "BUG_ZERO_SIGN", "BUG_NO_ALIGNED_STICKY"])
def test_a_faulty_adder_is_refuted(fault: str) -> None:
    """SPEC.md F2: by a word on which numpy says so, too."""
    held, verdict = command.proved(sample("fp16_add", "fp16.add").proof(fault))
    trial = verdict.counterexample
    assert verdict.verdict == REFUTED and trial is not None
    a, b = (np.array(trial.words[name], np.uint16).view(np.float16) for name in ("a", "b"))
    assert int((a + b).view(np.uint16)) == trial.expected["y"] != trial.found["y"]
    for port, place in itertools.product(held.contract.inputs, range(16)):  # no bit of it can be left out
        if trial.words[port.name] >> place & 1:
            less = attempt(held, {**trial.words, port.name: trial.words[port.name] & ~(1 << place)}, {})
            assert less is not None and not less.differing(held)


@needs_tools
def test_a_solver_refutes_what_no_trial_does() -> None:
    """A word that differs on one input in 2^32 is the solver's to find."""
    held = command.bound(sample("fp16_max", "max").proof("BUG_LATER_WINS"))
    run = decide._Run(held, decide.RtlLimits(), lambda text: None, lambda text: None)
    verdict = run.asked(question.exact(held), cut=False)
    assert verdict is not None and verdict.verdict == REFUTED and verdict.counterexample is not None
    assert verdict.counterexample.differing(held) and verdict.solver in solvers.SOLVERS


@needs_tools
def test_a_wrong_latency_is_refuted() -> None:
    """SPEC.md Q3: after two cycles a register that steps once is not what one step gives."""
    right = sample("lfsr16", "lfsr.step")
    _, verdict = command.proved(replace(right, timing=RtlTiming("clk", 2)).proof())
    assert verdict.verdict == REFUTED


@needs_tools
def test_a_pipelined_unit_is_tried_from_any_state() -> None:
    held, verdict = command.proved(sample("fp16_add_piped", "fp16.add").proof("BUG_UNREGISTERED"))
    assert verdict.verdict == REFUTED and verdict.counterexample is not None
    assert held.timing.latency == 2 and held.constant == {"en": 1, "clk": 0, "rst": 0}


@needs_tools
def test_the_command_says_it_and_records_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md V4: status, report and record; the record is a vector that the oracle computes anew."""
    record, report = tmp_path / "found.jsonl", tmp_path / "report.json"
    given = [*FILES, "--top", "fp16_max", "--as", "max", "--define", "BUG_NAN_LOSES"]
    assert prove(*given, "--json", str(report), "--record", str(record)) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("fp16_max as max: refuted (trial; 2^32 inputs; ") and "y: the unit gives" not in said[0]
    read = json.loads(report.read_text())
    assert (read["verdict"], read["clauses"], read["ports"]["a"]) == ("refuted", ["A2", "F4"], "a")
    assert {each["name"] for each in read["counterexample"]["results"]} <= {"y", "index"}
    (kept,) = found.load(record)
    outputs = found.outputs(kept.problem)
    assert all(np.array_equal(kept.expected[name], outputs[name]) for name in outputs)


def test_the_list_has_every_operation(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md F2, M2, Q3: with words and widths."""
    monkeypatch.setenv("COLUMNS", "200")
    assert prove("--list") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in units.names()) and "acc[24] x[4] weight[4]" in said


@needs_tools
def test_a_faulty_fused_sum_is_refuted_in_a_part() -> None:
    """SPEC.md F4: by a solver, in the first part, of special words."""
    held = command.bound(FUSED.proof("nan_sign"))
    verdict = decide._Run(held, decide.RtlLimits(), lambda text: None, lambda text: None).parted()
    assert verdict is not None and (verdict.verdict, verdict.method) == (REFUTED, "solver")
    assert verdict.counterexample is not None and verdict.counterexample.differing(held)


@needs_tools
def test_a_product_that_is_shown_is_no_fused_sum() -> None:
    """SPEC.md B1: a norm that rounds twice is no question of how far its words lie apart."""
    held = command.bound(next(each for each in BENCH_SAMPLES if each.top == "norm_frozen").proof())
    assert decide._Run(held, decide.RtlLimits(), lambda text: None, lambda text: None).parted() is None


ANYWHERE = {
    "an initial value": "logic wrong = 0; always @(posedge clk) wrong <= wrong;",
    "no value": "wire wrong;",
    "an undefined one": "wire wrong; assign wrong = 1'bx;",
    "two that are alike": "logic one, other; always @(posedge clk) if (first[0]) {one, other} <= {2{first[1]}};"
                          "wire wrong = one != other;",
}  # fmt: skip


@needs_tools
@pytest.mark.parametrize("case", ANYWHERE)
def test_what_is_not_said_may_be_anything(case: str, tmp_path: Path) -> None:
    """A unit that only a register's initial value makes right, or a choice of what is undefined, is refuted."""
    text = f"""module own (input logic clk, input logic [3:0] first, second, output logic [7:0] packed_byte);
  {ANYWHERE[case]}
  always @(posedge clk) packed_byte <= {{second, first}} ^ {{8{{wrong}}}};
endmodule
"""
    (tmp_path / "own.sv").write_text(text)
    source = yosys.RtlSource([tmp_path / "own.sv"], "own")
    proof = command.RtlProof(source, "fxp.pack", ports={"packed": "packed_byte"}, timing=RtlTiming("clk", 1))
    assert command.proved(proof)[1].verdict == REFUTED


@needs_tools
def test_what_cannot_be_run_says_why() -> None:
    """SPEC.md B1: 2^48 inputs are too many to run, registers are not run at all."""
    wide = command.bound(sample("norm_frozen", "batch_norm.forward").proof())
    assert exhaustive.possible(wide) == "its inputs are 2^48, more than 2^32"
    assert exhaustive.possible(command.bound(sample("lfsr16", "lfsr.step").proof())) == "the unit has registers"
    with pytest.raises(BitrowError, match="--method exhaustive: its inputs are 2\\^48"), exhaustive.compiled(wide):
        pass


@needs_tools
def test_a_question_without_an_answer_is_undecided(capsys: pytest.CaptureFixture[str]) -> None:
    """No verdict is neither 0 nor 1."""
    given = [*FILES, "--top", "fp16_div", "--as", "fp16.div", "--method", "solver", "--time-limit", "0.1"]
    assert prove(*given) == 2
    caught = capsys.readouterr()
    assert "fp16_div as fp16.div: undecided (solver; 2^32 inputs; " in caught.out
    assert caught.err.startswith("bitrow: fp16_div: undecided as fp16.div: no answer within 0.1 s")


@needs_tools
@pytest.mark.slow
def test_a_compiled_unit_runs_on_every_input() -> None:
    """SPEC.md Q5: all pairs of codes, right and wrong; by verilator, which reads the files anew."""
    if tools.verilator() is None:
        pytest.skip("needs verilator")
    for defines, wanted in (((), PROVED), (("BUG_NIBBLES",), REFUTED)):
        held = command.bound(sample("pack2", "fxp.pack").proof(*defines))
        run = decide._Run(held, decide.RtlLimits(), lambda text: None, lambda text: None)
        assert run.ran().verdict == wanted
    held = command.bound(sample("pack2", "fxp.pack").proof())
    assert decide.decide(held, decide.RtlLimits(seconds=1e-6)).method == "exhaustive"  # solvers had no time
    held = command.bound(next(each for each in BENCH_SAMPLES if each.top == "fp16_relu").proof())  # includes a file
    assert decide.decide(held, decide.RtlLimits(method="exhaustive")).verdict == PROVED


@needs_tools
@pytest.mark.parametrize(("top", "fault"), [("fp16_mul", "infinity_times_zero"), ("fxp_quantize", "mask_exclusive")])
def test_a_switch_of_the_bench_is_refuted(top: str, fault: str) -> None:
    """SPEC.md F4, Q4: `bitrow prove rtl` on the design that `make bench-rtl` runs, a string given as a macro."""
    unit = next(each for each in BENCH_SAMPLES if each.top == top)
    assert command.proved(unit.proof(fault))[1].verdict == REFUTED


def test_every_fault_is_in_the_sources() -> None:
    """At least twenty, each a macro of the sample units, or a switch of the bench's design."""
    text = "".join(Path(name).read_text() for name in FILES)
    faults = {(each.top, fault) for each in SAMPLES for fault in each.faults}
    assert len(faults) >= 20 and all(f"def {fault}\n" in text or f"elsif {fault}\n" in text for _, fault in faults)
    switches = (BENCH / "bugs.sv").read_text()
    faults = {(each.top, fault) for each in BENCH_SAMPLES for fault in each.faults}
    assert len(faults) >= 20 and all(f"`SWITCH({fault})" in switches for _, fault in faults)
