"""Claims that hold for every bit pattern because z3 finds no counterexample.

The terms are the kernels' jaxprs (`bitrow.lower`), the other side is z3's floating-point theory, linear algebra or
integers. z3 loads when a claim is checked: listing claims does without it.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from bitrow.errors import BitrowError
from bitrow.formats import FP16, FP32, FloatMode
from bitrow.proofs.claim import Claim, Effort, Method, Outcome
from bitrow.proofs.solver.modes import modes

WIDTHS = tuple(range(8, 33))  # of the accumulator (SPEC.md M2)
WINDOWS = tuple(range(1, 6))  # kernel rows, where the banks' condition is held against the code


def _module(name: str) -> Any:
    """A module of this package that needs z3.

    Raises:
        BitrowError: z3 is not installed.
    """
    if importlib.util.find_spec("z3") is None:
        raise BitrowError("solver: found no z3, expected it: pip install 'bitrow[proofs]'")
    return importlib.import_module(f"{__name__}.{name}")


def _answered(module: str, query: Callable[[Any], Any]) -> Outcome:
    return _module("query").answer(query(_module(module)))


def _by_mode(
    name: str,
    statement: str,
    clauses: tuple[str, ...],
    domain: str,
    module: str,
    query: Callable[[Any, FloatMode], Any],
) -> Claim:
    """A claim of one query for each mode."""

    def check(effort: Effort, index: int) -> Outcome:
        return _answered(module, lambda found: query(found, modes(effort)[index]))

    return Claim(
        name=f"solver.{name}",
        statement=statement,
        clauses=clauses,
        method=Method.SOLVER,
        domain=lambda effort: f"{domain}; {len(modes(effort))} modes",
        chunks=lambda effort: len(modes(effort)),
        check=check,
    )


def _one_by_one(
    name: str,
    statement: str,
    clauses: tuple[str, ...],
    domain: str,
    checks: Sequence[Callable[[], Outcome]],
    method: Method = Method.SOLVER,
) -> Claim:
    """A claim of a few checks, the same in every run."""
    return Claim(
        name=f"solver.{name}",
        statement=statement,
        clauses=clauses,
        method=method,
        domain=lambda effort: domain,
        chunks=lambda effort: len(checks),
        check=lambda effort, index: checks[index](),
    )


def _call(module: str, function: str, *arguments: Any) -> Callable[[], Outcome]:
    return lambda: getattr(_module(module), function)(*arguments)


def _width(function: str, bits: int) -> Callable[[], Outcome]:
    return lambda: _answered("accumulator", lambda found: getattr(found, function)(bits))


def _lfsr(index: int) -> Callable[[], Outcome]:
    return lambda: _answered("lfsr", lambda found: found.QUERIES[index]())


def _query(module: str, build: Callable[[Any], Any]) -> Callable[[], Outcome]:
    return lambda: _answered(module, build)


def _products_facts() -> Outcome:
    """Every fact that `products` assumes."""
    products = _module("products")
    for name in products.FACTS:
        if not products.proved(name):
            raise BitrowError(f"solver: found a counterexample to {name!r}, expected none; its queries prove nothing")
    return Outcome(len(products.FACTS))


_ROUNDING = (
    _by_mode("round_pack", "the one function that rounds does so as IEEE 754 says", ("F2", "F3", "F5", "F6"),
             "2 signs x 2^32 exponents x 2^30 + 1 significands", "rounding", lambda m, mode: m.round_pack(FP16, mode)),
    _one_by_one("round_pack_fp32", "and so for FP32", ("F9",), "2 signs x 2^32 exponents x 2^30 + 1 significands",
                [_query("rounding", lambda m: m.round_pack(FP32, FloatMode()))]),
    _by_mode("sticky", "one sticky bit stands for all the bits below it", ("F2",),
             "2 signs x 2^32 exponents x 2^61 exact significands", "rounding", lambda m, mode: m.sticky(mode)),
    _one_by_one("shift", "a right shift keeps whether ones were lost", ("F2",), "2^32 values x 2^32 amounts",
                [_query("rounding", lambda m: m.shift())]),
    _by_mode("from_float32", "FP32 to FP16 rounds once", ("F10",), "2^32 words", "rounding",
             lambda m, mode: m.convert(FP32, FP16, mode)),
    _one_by_one("to_float32", "FP16 to FP32 is exact", ("F10",), "2^16 words",
                [_query("rounding", lambda m: m.convert(FP16, FP32, FloatMode()))]),
    _by_mode("from_int32", "integers to FP16 round once", ("F10",), "2^32 integers", "rounding",
             lambda m, mode: m.from_int32(mode)),
)  # fmt: skip

_PRODUCTS = (
    _one_by_one("products", "what the next claims assume of products of significands", ("F2",), "facts of bit-vectors",
                [_products_facts]),
    _by_mode("mul", "the integer multiplier rounds the exact product once", ("F2", "F4"), "2^32 pairs of words",
             "dequantize", lambda m, mode: m.mul(mode)),
    _by_mode("fused", "the fused dequantizer rounds the exact product once", ("D1",),
             "2^32 accumulators x 30,720 scales", "dequantize", lambda m, mode: m.fused(mode)),
    _by_mode("two_step_short", "two_step equals fused up to |acc| = 2^11, whatever the scale", ("D1", "D2"),
             "4,097 accumulators x 30,720 scales", "dequantize", lambda m, mode: m.agree_on_short_sums(mode)),
    _by_mode("two_step_powers", "two_step equals fused up to |acc| = 65504 where the scale is a power of two",
             ("D1", "D2"), "131,009 accumulators x 30 scales", "dequantize",
             lambda m, mode: m.agree_on_powers_of_two(mode)),
    _one_by_one("two_step_differs", "beyond, two_step and fused differ", ("D1", "D2"),
                "accumulators beyond each condition, upward",
                [_call("dequantize", "disagreement", powers) for powers in (False, True)],
                Method.SEARCH),
)  # fmt: skip

_REGISTERS = (
    _one_by_one("wrap", "wrapping is order-free: once at the end is after every product, in any order and grouping",
                ("M2",), "2^96 triples of terms in each of 25 widths",
                [_width("wrap", bits) for bits in WIDTHS]),
    _one_by_one("saturate", "a saturating addition is the exact sum, clamped", ("M2",),
                "every register and product in each of 25 widths",
                [_width("saturate", bits) for bits in WIDTHS]),
    _one_by_one("saturate_order", "saturating is not order-free: the smallest sum that depends on it", ("M2",),
                "three products, 16 bits", [_call("accumulator", "saturate_needs_order")], Method.SEARCH),
)  # fmt: skip

_GENERATOR = (
    _one_by_one("lfsr_step", "a step is Q3's shift and exclusive-or; a jump takes the matrices of its count's bits",
                ("Q3",), "2^16 states, 2^16 states x 65,535 counts",
                [_lfsr(i) for i in range(2)]),
    _one_by_one("lfsr_jump", "the matrix of 2^k steps takes as many steps", ("Q3",), "2^16 states x 16 powers",
                [_call("lfsr", "powers", k) for k in range(16)], Method.EXHAUSTIVE),
    _one_by_one("lfsr_period", "every nonzero state has the period 65,535", ("Q3",), "linear algebra over GF(2)",
                [_call("lfsr", "period")], Method.RATIONAL),
)  # fmt: skip

_BANKS = (
    _one_by_one("banks", "K + S live rows lie in different banks iff B >= K + S; in a ring of N slots iff N <= B, or "
                "also N mod B is 0 or at least K + S", (), "integers of any size: four lemmas",
                [_call("banks", "proof", i) for i in range(4)]),
    _one_by_one("banks_code", "window_clashes finds a clash exactly where that says there is one", (),
                "K <= 5, S <= 3, B <= 12, N <= 26",
                [_call("banks", "against_the_code", k) for k in WINDOWS], Method.EXHAUSTIVE),
)  # fmt: skip

CLAIMS: tuple[Claim, ...] = (*_ROUNDING, *_PRODUCTS, *_REGISTERS, *_GENERATOR, *_BANKS)
