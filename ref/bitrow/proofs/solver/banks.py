"""Rows in banks: when a window's rows and the rows that arrive meanwhile lie in different banks (`pipeline.banks`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import z3

from bitrow.pipeline.banks import window_clashes
from bitrow.proofs.claim import Counterexample, Outcome
from bitrow.proofs.solver.query import find

LARGEST_STRIDE = 3  # of the exhaustive part
LARGEST_BANKS = 12
LARGEST_RING = 26


def unbounded_free() -> list[Any]:
    """With B >= K + S no two of the K + S live rows are a multiple of B apart: integers of any size."""
    kernel, stride, banks, first, second, times = z3.Ints("kernel stride banks first second times")
    return [
        kernel >= 1, stride >= 1, banks >= kernel + stride,
        first < second, second - first < kernel + stride,
        second - first == times * banks,
    ]  # fmt: skip


def unbounded_clash() -> list[Any]:
    """With B < K + S every window has two rows in one bank: rows iS and iS + B, whatever i."""
    kernel, stride, banks, start = z3.Ints("kernel stride banks start")
    first, second = start, start + banks
    live = z3.And(first >= start, second < start + kernel + stride, first != second)
    return [kernel >= 1, stride >= 1, banks >= 1, banks < kernel + stride, start >= 0, z3.Not(live)]


def _multiple(number: Any, banks: Any) -> Any:
    """What every multiple of B is: 0, or at least B away from it (`multiples_are_far`)."""
    return z3.Or(number == 0, number >= banks, number <= -banks)


def multiples_are_far() -> list[Any]:
    """The fact that the next proof uses, so that its terms stay linear."""
    times, banks = z3.Ints("times banks")
    return [banks >= 1, z3.Not(_multiple(times * banks, banks))]


def ring_free() -> list[Any]:
    """A ring of N slots is free where N <= B, or B >= K + S and N mod B is 0 or at least K + S.

    Two live rows, `span` apart, are in slots s and s + span, or, past the ring's end, in s and s + span - N. They
    share a bank where that distance is a multiple of B; N - span is one just where N mod B - span is.
    """
    kernel, stride, banks, slots, span, rest = z3.Ints("kernel stride banks slots span rest")
    live = kernel + stride
    free = z3.Or(slots <= banks, z3.And(banks >= live, z3.Or(rest == 0, rest >= live)))
    behind = z3.And(_multiple(slots - span, banks), _multiple(rest - span, banks))
    return [
        kernel >= 1, stride >= 1, banks >= 1, slots >= 1, span >= 1,
        span < live, span < slots, rest >= 0, rest < banks, z3.Implies(slots < banks, rest == slots),
        free, z3.Or(_multiple(span, banks), behind),
    ]  # fmt: skip


PROOFS: dict[str, Callable[[], list[Any]]] = {
    "an unbounded ring with B >= K + S has no clash": unbounded_free,
    "an unbounded ring with B < K + S has one in every window": unbounded_clash,
    "multiples of B are 0 or B away": multiples_are_far,
    "a ring of N slots is free under its condition": ring_free,
}


def proof(index: int) -> Outcome:
    """The outcome of one of `PROOFS`, over integers of any size."""
    name = list(PROOFS)[index]
    model = find(PROOFS[name]())
    if model is None:
        return Outcome(1)
    operands = tuple((str(each), str(model[each]), str(model[each])) for each in model.decls())
    return Outcome(1, Counterexample(operands, "rows in one bank", name, "solver"))


def is_free(kernel: int, stride: int, slots: int, banks: int) -> bool:
    """The condition: `slots` 0 is an unbounded ring."""
    live = kernel + stride
    if slots == 0:
        return banks >= live
    return slots <= banks or (banks >= live and (slots % banks == 0 or slots % banks >= live))


def against_the_code(kernel: int) -> Outcome:
    """`window_clashes` finds a clash exactly where the condition says that there is one; all small sizes."""
    cases = 0
    beside: list[tuple[int, int, int, int]] = []
    for stride in range(1, LARGEST_STRIDE + 1):
        for banks in range(1, LARGEST_BANKS + 1):
            for slots in range(LARGEST_RING + 1):
                clashes = window_clashes(kernel, stride, slots, banks)
                cases += 1
                if bool(clashes) == is_free(kernel, stride, slots, banks):
                    names = ("kernel", "stride", "slots", "banks")
                    sizes = (kernel, stride, slots, banks)
                    operands = tuple((n, str(v), str(v)) for n, v in zip(names, sizes, strict=True))
                    expected = "no clash" if is_free(*sizes) else "a clash"
                    return Outcome(cases, Counterexample(operands, str(clashes[:1]), expected, "the condition"))
                if clashes and slots and banks >= kernel + stride:
                    beside.append((banks, slots, stride, kernel))
    if not beside:
        return Outcome(cases)
    banks, slots, stride, kernel = min(beside)
    clash = window_clashes(kernel, stride, slots, banks)[0]
    note = f"K={kernel} S={stride} B={banks}: a ring of {slots} slots puts rows {clash.rows} in one bank"
    return Outcome(cases, note=note)
