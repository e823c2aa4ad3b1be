"""What solvers are asked of units in SystemVerilog: circuits and contracts as terms, facts of products, cases."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest

from bitrow.errors import BitrowError
from bitrow.formats import FloatMode, Overflow, Rounding
from bitrow.proofs.rtl import btor, command, decide, solvers, units
from rtl_tools import FUSED, needs_tools, sample

z3 = pytest.importorskip("z3", reason="needs z3 (extra proofs)")

from bitrow.lower.smt import Smt  # noqa: E402
from bitrow.lower.walk import lower  # noqa: E402
from bitrow.proofs.rtl import alignment, products, question, terms  # noqa: E402


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
