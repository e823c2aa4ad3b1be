"""Units in SystemVerilog against the contract: read by yosys, decided by solvers, tried by oracle and netlist."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitrow import cli, tools
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode, Overflow, Rounding
from bitrow.proofs.rtl import btor, command, decide, exhaustive, solvers, units, yosys
from bitrow.proofs.rtl.binding import RtlTiming
from bitrow.proofs.rtl.trial import attempt
from bitrow.proofs.rtl.verdict import PROVED, REFUTED
from bitrow.vectors import found
from rtl_samples import BENCH, BENCH_SAMPLES, FOLDER, SAMPLES, RtlSample

z3 = pytest.importorskip("z3", reason="needs z3 (extra proofs)")

from bitrow.lower.smt import Smt  # noqa: E402
from bitrow.lower.walk import lower  # noqa: E402
from bitrow.proofs.rtl import alignment, products, question, terms  # noqa: E402


def _missing() -> str:
    """What is not installed that reads and decides units; "" where all is."""
    try:
        yosys.command()
        solvers.installed()
    except BitrowError as error:
        return str(error)
    return ""


needs_tools = pytest.mark.skipif(bool(_missing()), reason=_missing() or "all there")
FUSED = next(each for each in BENCH_SAMPLES if each.top == "fp16_fma")
FILES = [str(FOLDER / name) for name in ("fp16.sv", "fxp.sv")]


def sample(top: str, operation: str) -> RtlSample:
    return next(each for each in SAMPLES if (each.top, each.operation) == (top, operation))


def prove(*arguments: str) -> int:
    try:
        return cli.run(["prove", "rtl", *arguments])
    except SystemExit as leave:
        return int(leave.code or 0)


# circuits
def nodes() -> Iterator[tuple[btor.CircuitNode, tuple[int, ...]]]:
    """Every operation on words of some widths, its operands' bits beside it."""
    for bits in (1, 3, 8):
        for name in btor.OPERATIONS:
            if name in ("iff", "implies") and bits > 1:
                continue
            if name == "slice":
                yield btor.CircuitNode(name, bits, (0,), (bits, 1)), (bits + 2,)
            elif name in ("uext", "sext"):
                yield btor.CircuitNode(name, bits + 2, (0,), (2,)), (bits,)
            elif name == "ite":
                yield btor.CircuitNode(name, bits, (0, 1, 2)), (1, bits, bits)
            elif name == "concat":
                yield btor.CircuitNode(name, bits + 2, (0, 1)), (bits, 2)
            else:
                one = name.startswith("red") or name in terms._COMPARED
                count = 1 if name in ("not", "inc", "dec", "neg", "redand", "redor", "redxor") else 2
                yield btor.CircuitNode(name, 1 if one else bits, tuple(range(count))), (bits,) * count


def test_numbers_and_terms_of_a_circuit_agree() -> None:
    """Two readings of BTOR2, one in integers, one in the solver's words, on the edges of every operation."""
    seen = 0
    for node, bits in nodes():
        edges = [sorted({0, 1, (1 << n) - 1, 1 << (n - 1), random.Random(n).getrandbits(n)}) for n in bits]
        for words in itertools.product(*edges):
            number = btor.CircuitNumbers().apply(node, words, bits)
            given = [z3.BitVecVal(word, n) for word, n in zip(words, bits, strict=True)]
            term = z3.simplify(terms.Terms().apply(node, given, bits))
            assert (term.size(), term.as_long()) == (node.bits, number), (node, words)
            seen += 1
    assert seen > 1_000


def test_a_circuit_is_read_with_its_registers() -> None:
    text = """1 sort bitvec 4
2 sort bitvec 1
3 input 1 a ; unit.sv:1
4 state 1 s
5 add 1 3 4
6 next 1 4 5
7 output 4 y
8 slice 2 -4 3 3
9 output 8 top"""
    circuit = btor.read(text)
    assert circuit.registers([circuit.outputs["top"]]) == [4]
    cycles = btor.run(
        circuit, btor.CircuitNumbers(), lambda cycle, number, node: cycle + 1 if node.name == "a" else 6, 2
    )
    assert [cycle.value(circuit.outputs["y"]) for cycle in cycles] == [6, 7, 9]
    assert [cycle.value(circuit.outputs["top"]) for cycle in cycles] == [1, 1, 0]
    with pytest.raises(BitrowError, match="found a memory"):
        btor.read("1 sort bitvec 4\n2 sort array 1 1")
    with pytest.raises(BitrowError, match="found the operation saddo"):
        btor.read("1 sort bitvec 4\n2 input 1 a\n3 saddo 1 2 2")


def test_a_choice_that_is_decided_reads_no_more_than_it_needs() -> None:
    """What a tied input leaves out costs nothing: neither numbers nor terms are made of it."""
    circuit = btor.read("1 sort bitvec 1\n2 input 1 load\n3 input 1 a\n4 input 1 b\n5 ite 1 2 3 4\n6 output 5 y")
    asked: list[str] = []

    def given(algebra: btor.Algebra, tied: int) -> object:
        def free(cycle: int, number: int, node: btor.CircuitNode) -> object:
            asked.append(node.name)
            return algebra.const(tied, 1) if node.name == "load" else algebra.const(1, 1)

        return btor.run(circuit, algebra, free, 0)[0].value(circuit.outputs["y"])

    for tied, chosen in ((0, "b"), (1, "a")):
        for algebra in (btor.CircuitNumbers(), terms.Terms()):
            given(algebra, tied)
            assert asked == ["load", chosen]
            asked.clear()
    word = z3.BitVec("load", 1)
    cycle = btor.run(circuit, terms.Terms(), lambda at, number, node: z3.BitVec(node.name, 1), 0)[0]
    assert cycle.value(circuit.outputs["y"]).eq(z3.If(word == 1, z3.BitVec("a", 1), z3.BitVec("b", 1)))


# contracts
def computed(contract: units.RtlContract, drawn: list[dict[str, int]]) -> list[dict[str, int]]:
    """What the terms that solvers are given say of words."""
    free = {port.name: z3.BitVec(port.name, port.bits) for port in contract.inputs}
    carried = [question._carried(port, free[port.name]) for port in contract.inputs]
    made = lower(lambda *words: contract.kernel(**dict(zip(free, words, strict=True))), Smt(), *carried)
    found = []
    for words in drawn:
        put = [(free[port.name], z3.BitVecVal(words[port.name], port.bits)) for port in contract.inputs]
        values = {name: z3.simplify(z3.substitute(word.term, *put)) for name, word in made.items()}
        found.append(
            {
                name: int(z3.is_true(each))
                if z3.is_bool(each)
                else each.as_signed_long()
                if made[name].signed
                else each.as_long()
                for name, each in values.items()
            }
        )
    return found


@pytest.mark.parametrize("name", units.names())
def test_each_unit_is_its_operation(name: str) -> None:
    """SPEC.md F2, Q1, Q3, Q5, D1, M2, A2, B1: what solvers are given of a unit is the oracle's."""
    contract, draw = units.build(name), random.Random(2)
    drawn = [{port.name: draw.randint(port.low, port.high) for port in contract.inputs} for _ in range(6)]
    assert computed(contract, drawn) == [contract.oracle(words) for words in drawn]


def test_a_units_options_are_its_contract() -> None:
    """SPEC.md F3, F5, F6: of the modes the kernel follows all."""
    assert {"fp16.add", "fxp.quantize", "fxp.dequantize", "mac.step", "batch_norm.forward", "lfsr.step", "max"} <= {
        *units.names()}  # fmt: skip
    drawn = [{"a": a, "b": b} for a, b in ((0x0001, 0x3BFF), (0x7BFF, 0x7BFF), (0x3C01, 0x3C01))]
    seen = []
    for mode in (FloatMode(), FloatMode(Rounding.UP), FloatMode(overflow=Overflow.SATURATE), FloatMode(flush=True)):
        contract = units.build("fp16.mul", units.UnitOptions(mode))
        found = computed(contract, drawn)
        assert found == [contract.oracle(words) for words in drawn]
        seen.append(str(found))
    assert len(set(seen)) == 4
    with pytest.raises(BitrowError, match=r"--as: found 'fp16\.pow', expected one of fp16\.add"):
        units.build("fp16.pow")


# products
def test_facts_of_products_are_true() -> None:
    """What questions assume of free products holds for real ones: of random factors, shifted and halved."""
    draw = random.Random(3)
    x, y, acc, factor = z3.BitVec("x", 11), z3.BitVec("y", 11), z3.BitVec("acc", 24), z3.BitVec("factor", 11)
    zeros = products._zeros(z3.ZeroExt(8, acc), 32)
    moved = z3.ZeroExt(8, acc) << zeros

    def free(one: object, other: object, bits: int) -> products.FreeProduct:
        one, other = (z3.ZeroExt(bits - term.size(), term) for term in (one, other))
        return products.FreeProduct(one, other, z3.FreshConst(z3.BitVecSort(bits)))

    unit = [free(x, y, 48), free(acc, factor, 48)]
    kernel = [free(y, x, 32), free(x << 3, y, 32), free(z3.Extract(31, 16, moved), factor, 32),
              free(z3.Extract(15, 0, moved), factor, 32)]  # fmt: skip
    facts, same = products.known(
        unit, kernel, lambda term: products.most_bits(z3.simplify(term)), lambda formula: False
    )
    assert not same and len(facts) > 20
    for _ in range(12):
        words = [(word, z3.BitVecVal(draw.getrandbits(word.size()) >> draw.randrange(word.size()), word.size()))
                 for word in (x, y, acc, factor)]  # fmt: skip
        real = [(each.product, each.x * each.y) for each in (*unit, *kernel)]
        for fact in facts:
            assert z3.is_true(z3.simplify(z3.substitute(z3.substitute(fact, *real), *words))), fact


def test_a_product_by_a_number_is_no_free_word() -> None:
    """SPEC.md A6, A9: a slope of 1/3 or 1/6 is shifts and sums, on both sides; the product of two words is free."""
    for name, count in (("hard_sigmoid.backward", 0), ("hard_swish.backward", 1), ("fp16.mul", 1)):
        contract, kernel = units.build(name), products.KernelProducts()
        carried = [question._carried(port, z3.BitVec(port.name, port.bits)) for port in contract.inputs]
        names = [port.name for port in contract.inputs]
        lower(lambda *words, c=contract, n=names: c.kernel(**dict(zip(n, words, strict=True))), kernel, *carried)
        assert len(kernel.products.found) == count, name


# verdicts
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


def test_without_tools_one_line_says_which(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(yosys.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BitrowError, match=r"yosys: found none, expected it installed: pip install 'bitrow\[rtl\]'"):
        yosys.command()
    with pytest.raises(BitrowError, match="solver: found neither bitwuzla nor z3"):
        solvers.installed()
    assert tools.verilator() is None


@needs_tools
def test_cases_are_the_whole_domain() -> None:
    """A question asked in cases is asked of every pair of words."""
    held = command.bound(sample("fp16_add", "fp16.add").proof())
    cases = [case for _, case in decide._cases(held)]
    assert len(cases) > 10
    assert solvers.decide(question.text([z3.Not(z3.Or(cases))]), 60).verdict == "unsat"
    assert not list(decide._cases(command.bound(sample("pack2", "fxp.pack").proof())))


@needs_tools
def test_a_fused_sums_parts_are_the_whole_domain() -> None:
    """SPEC.md F2: special words, subnormal factors and every distance; each part has both sides in it."""
    held = command.bound(FUSED.proof())
    found = list(alignment.parts(held))
    assert len(found) > 60 and len({part.name for part in found}) == len(found)
    total = z3.BitVec("total", 8)
    sums = [z3.BitVec(name, 16) for name in ("a", "b")]
    places = [z3.If(z3.Extract(14, 10, word) == 0, z3.BitVecVal(1, 8), z3.ZeroExt(3, z3.Extract(14, 10, word)))
              for word in sums]  # fmt: skip
    every = [z3.And(*part.case) for part in found]
    question_ = question.text([total == places[0] + places[1], z3.Not(z3.Or(every))])
    assert solvers.decide(question_, 60).verdict == "unsat"
    assert solvers.decide(question.text([z3.Not(z3.Or(found[0].by_addend))]), 60).verdict == "unsat"
    assert question.commutes(held, "a", "b") and not question.commutes(held, "a", "c")
    assert not list(alignment.parts(command.bound(sample("fp16_mul", "fp16.mul").proof())))


def test_what_hangs_on_two_exponents_is_folded() -> None:
    """A sum of fields is one free word and a number, what is the same for all fields a number, the rest as it was."""
    first, second = (alignment._word(name) for name in "ab")
    region = alignment._Region((first, second), (range(1, 31), range(1, 31)), z3.BitVec("total", 8))
    fields = [z3.ZeroExt(6, word.field) for word in (first, second)]
    total = z3.ZeroExt(3, region.total)
    assert z3.simplify(region.folded(fields[0] + fields[1] - 50) == total - 50).eq(z3.BoolVal(True))
    assert z3.is_false(region.folded(first.field == 31)) and z3.is_true(region.folded(second.field != 0))
    product = region.folded(fields[0] * fields[1])
    draw = random.Random(5)
    for _ in range(50):
        a, b = (draw.getrandbits(16) & 0x83FF | draw.randint(1, 30) << 10 for _ in range(2))
        put = [(first.term, z3.BitVecVal(a, 16)), (second.term, z3.BitVecVal(b, 16))]
        assert z3.simplify(z3.substitute(product, *put)).as_long() == (a >> 10 & 31) * (b >> 10 & 31)


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


# bad input
BROKEN = "module broken (input logic [15:0] a, output logic [15:0] y);\n  assign y = a +;\nendmodule\n"
LATCH = """module latch (input logic en, input logic [15:0] a, b, output logic [15:0] y);
  always_latch if (en) y = a;
endmodule
"""
TWO = """module two (input logic clk, other, input logic [15:0] a, b, output logic [15:0] y);
  logic [15:0] s;
  always_ff @(posedge clk) s <= a;
  always_ff @(posedge other) y <= s;
endmodule
"""
NARROW = (
    "module narrow (input logic [15:0] a, input logic [7:0] b, output logic [15:0] y);\n  assign y = a;\nendmodule\n"
)
BOTH = """module both (input logic clk, input logic [15:0] a, b, output logic [15:0] y);
  logic [15:0] s;
  always_ff @(posedge clk) s <= a;
  always_ff @(negedge clk) y <= s;
endmodule
"""
BAD = {
    "no module": (["--top", "absent", "--as", "max"], "--top: found no module absent in "),
    "another word": (["--top", "fp16_max", "--as", "max", "--port", "c=a"], "--port: found 'c', expected one of a, b"),
    "another port": (
        ["--top", "fp16_max", "--as", "max", "--port", "a=A"],
        "found no port A for a, expected one of its ",
    ),
    "a port's direction": (["--top", "fp16_max", "--as", "max", "--port", "a=y"], "found an output for a of max"),
    "an input of no meaning": (["--top", "quantizer", "--as", "relu.forward", "--port", "y=t"], "found an input x_inv"),
    "no tie": (["--top", "fp16_max", "--as", "max", "--tie", "c=1"], "--tie: found c, expected an input"),
    "a wide tie": (["--top", "fp16_max", "--as", "max", "--tie", "a=65536"], "--tie a: found 65536, expected a number"),
    "no number": (["--top", "fp16_max", "--as", "max", "--tie", "a=x"], "--tie a: found 'x', expected a whole number"),
    "registers": (
        ["--top", "fp16_add_piped", "--as", "fp16.add", "--tie", "clk=0", "--tie", "rst=0", "--tie", "en=1"],
        "module fp16_add_piped: found 3 registers, the first at fp16.sv:",
    ),
    "no latency": (
        ["--top", "fp16_add_piped", "--as", "fp16.add", "--clock", "clk", "--latency", "0"],
        "--latency: found 0 with --clock clk, expected 1 or more cycles",
    ),
    "a latency left out": (["--top", "fp16_add_piped", "--as", "fp16.add", "--clock", "clk"], "--latency: found none"),
    "no clock": (["--top", "fp16_max", "--as", "max", "--latency", "1"], "--latency: found 1 without --clock"),
    "a wide clock": (
        ["--top", "fp16_max", "--as", "max", "--clock", "a", "--latency", "1"],
        "--clock a: found an input",
    ),
    "a reset of 2": (["--top", "lfsr16", "--as", "lfsr.step", "--reset", "r=2"], "--reset: found 'r=2', expected PORT"),
    "no output": (["--top", "fp16_max", "--as", "max", "--port", "y="], "--port: found no output of max to compare"),
    "no operation": (["--top", "fp16_max", "--as", "maximum"], "--as: found 'maximum', expected one of fp16.add"),
    "none at all": (["--top", "fp16_max"], "--as: found none, expected an operation; --list"),
    "no top": (["--as", "max"], "--top: found none, expected a module"),
    "a script": (["--top", "x; shell true", "--as", "max"], "--top: found 'x; shell true', expected a name"),
    "a macro's script": (["--top", "fp16_max", "--as", "max", "--define", "A=1;shell"], "--define A: found '1;shell'"),
    "a format": (
        ["--top", "pack2", "--as", "fxp.pack", "--format", "fxp9"],
        "--format: found 'fxp9', expected fxp2..8",
    ),
    "a wide code": (["--top", "pack2", "--as", "fxp.pack", "--format", "fxp8"], "fxp.pack: found codes of 8 bits"),
}
OWN = {"broken": (BROKEN, [], "own.sv:2"), "latch": (LATCH, ["--tie", "en=1"], "registers, the first at"),
       "two": (TWO, ["--clock", "clk", "--latency", "2", "--tie", "other=0"], "clocked by other"),
       "both": (BOTH, ["--clock", "clk", "--latency", "2"], "found registers of both edges of clk"),
       "narrow": (NARROW, [], "module narrow port b: found 8 bits, expected 16 for b of fp16.add")}  # fmt: skip


def refused(capsys: pytest.CaptureFixture[str], said: str, *arguments: str) -> None:
    assert prove(*arguments) == 2
    caught = capsys.readouterr()
    (line,) = caught.err.splitlines()
    assert line.startswith("bitrow: ") and said in line and not caught.out, line


@needs_tools
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, said = BAD[case]
    refused(capsys, said, *FILES, *arguments)


@needs_tools
@pytest.mark.parametrize("case", OWN)
def test_a_unit_that_cannot_be_is_one_line(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, arguments, said = OWN[case]
    (tmp_path / "own.sv").write_text(text)
    refused(capsys, said, str(tmp_path / "own.sv"), "--top", case, "--as", "fp16.add", *arguments,
            "--json", str(tmp_path / "report.json"))  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["own.sv"]


def test_files_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a b.sv").write_text(NARROW)
    refused(capsys, "found a space", str(tmp_path / "a b.sv"), "--top", "narrow", "--as", "fp16.add")
    refused(capsys, "no.sv", str(tmp_path / "no.sv"), "--top", "narrow", "--as", "fp16.add")
    refused(capsys, "FILE: found none, expected SystemVerilog files", "--top", "narrow", "--as", "fp16.add")
    source = str(FOLDER / "fp16.sv")
    refused(capsys, "--json: found ", source, "--top", "fp16_max", "--as", "max", "--json", source)
