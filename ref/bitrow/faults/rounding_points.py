"""One fault for every rounding point of the contract: truncated there, and rounded as stated everywhere else.

A set that finds them all holds, for each named intermediate, a word that its rounding decides. The points are lines of
the programs, so that a new operation's have their mutants by themselves: each is named by its line, but for those that
`POINTS` names. A unit's one line is none of them: it is the arithmetic that `arithmetic` holds the faults of.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

from bitrow.contract import operations
from bitrow.contract.arithmetic import ROUNDED
from bitrow.contract.operation import Operation
from bitrow.contract.program import Line
from bitrow.faults.apply import rows
from bitrow.faults.mutant import Edit, FaultFamily, Mutant

# What rounds as its line says; `won` and `float_macs` round in functions of their own.
ROUNDS = (*ROUNDED, "tree", "running", "partial_sums", "reciprocal")


class At(NamedTuple):
    """The lines of this name in the program of `target`, as far as they are there under `conditions`."""

    target: str
    line: str
    conditions: tuple[tuple[str, bool], ...] = ()


class RoundingPoint(NamedTuple):
    """What one mutant truncates, by name, clause, and in words where the name does not say it."""

    name: str
    clause: str
    what: str = ""
    lines: tuple[At, ...] = ()


_NORM, _CONV, _FIXED = "contract.batch_norm:", "contract.conv:", "contract.fixed_point:"
_LAYERS, _POOL, _HEAD = "contract.elementwise:", "contract.pool:", "contract.linear:"
_FUSED, _TWO_STEP, _CODES = ("two_step", False), ("two_step", True), ("float", False)


def _norms(line: str, fma: bool) -> tuple[At, ...]:
    return tuple(At(f"{_NORM}FORWARD_{kind}", line, (("fma", fma),)) for kind in ("FROZEN", "BATCH"))


def _dequantizers(line: str, *conditions: tuple[str, bool]) -> tuple[At, ...]:
    return (
        At(f"{_FIXED}DEQUANTIZE", line, conditions),
        At(f"{_CONV}FORWARD", line, conditions),
        At(f"{_CONV}BACKWARD", f"dx_{line}", (*conditions, _CODES)),
    )


# Points of several lines, and of lines that say less by their names than these do.
POINTS = (
    RoundingPoint("t", "Q1", "", (At(f"{_FIXED}QUANTIZE", "t"), At(f"{_CONV}FORWARD", "t"),
                          At(f"{_CONV}BACKWARD", "dy_t", (("drawn", False),)))),
    RoundingPoint("drawn_t", "Q3", "t of drawn codes", (At(f"{_FIXED}QUANTIZE_STOCHASTIC", "t"),
                                                At(f"{_CONV}BACKWARD", "dy_t", (("drawn", True),)))),
    RoundingPoint("deq", "D1", "deq of a fused dequantizer", _dequantizers("deq", _FUSED)),
    RoundingPoint("acc_fp16", "D2", "", _dequantizers("acc_fp16")),
    RoundingPoint("two_step_deq", "D2", "deq of a two_step dequantizer", _dequantizers("deq", _TWO_STEP)),
    RoundingPoint("biased_y", "D3", "the sum of deq and bias", (At(f"{_CONV}FORWARD", "y"),)),
    RoundingPoint(
        "scaled_dx_sum", "C3", "dx_deq of an FP16 gradient", (At(f"{_CONV}BACKWARD", "dx_deq", (("float", True),)),)
    ),
    RoundingPoint("ay", "B1", "", _norms("ay", False)),
    RoundingPoint("z", "B1", "", _norms("z", False)),
    RoundingPoint("fused_z", "B1", "z under fma", _norms("z", True)),
    RoundingPoint("frozen_dy", "B1", "dy of a frozen batch norm", (At(f"{_NORM}BACKWARD_FROZEN", "dy"),)),
    RoundingPoint("product", "B2", "yy or dzy of FP16 statistics", (At(f"{_NORM}FORWARD_BATCH", "yy"),
                                                            At(f"{_NORM}BACKWARD_BATCH", "dzy"))),
    RoundingPoint("m", "B2", "", (At(f"{_NORM}FORWARD_BATCH", "m"), At(f"{_NORM}BACKWARD_BATCH", "m"))),
    RoundingPoint("batch_dy", "B3", "dy of batch statistics", (At(f"{_NORM}BACKWARD_BATCH", "dy"),)),
    RoundingPoint("added", "A2", "the residual sum", (At(f"{_LAYERS}ADD_FORWARD", "y"),)),
    RoundingPoint("accumulated", "A5", "the sum of a value's gradients", (At(f"{_LAYERS}ACCUMULATE", "sum_"),)),
    RoundingPoint("inv_n", "A3", "", (At(f"{_POOL}AVG_FORWARD", "inv_n"), At(f"{_POOL}AVG_BACKWARD", "inv_n"))),
    RoundingPoint("average", "A3", "y of an average", (At(f"{_POOL}AVG_FORWARD", "y"),)),
    RoundingPoint("average_dx", "A3", "dx of an average", (At(f"{_POOL}AVG_BACKWARD", "scaled"),)),
    RoundingPoint("head_y", "A4", "the head's y", (At(f"{_HEAD}FORWARD", "y"),)),
    RoundingPoint("upsampled_dx", "A12", "the sum of an upsampled map's gradients",
                  (At("contract.upsample:BACKWARD", "sum_"),)),
    RoundingPoint("head_dx", "A4", "the head's dx", (At(f"{_HEAD}BACKWARD", "dx"),)),
)  # fmt: skip

# Points of every line of an operation, wherever it is.
SUMS = {
    "tree": RoundingPoint("tree", "B2", "each sum of a tree"),
    "running": RoundingPoint("running", "B2", "each running sum over rows"),
}


def targets() -> dict[str, Operation]:
    """The operations that a module of the contract names, by target; the units have no names of their own."""
    modules = (module for module in vars(operations).values() if isinstance(module, ModuleType))
    named = {
        operation: f"{module.__name__.removeprefix('bitrow.')}:{name}"
        for module in modules for name, operation in vars(module).items() if isinstance(operation, Operation)
    }  # fmt: skip
    return {named[operation]: operation for operation in operations.OPERATIONS if operation in named}


def _named(target: str, line: Line) -> Iterator[tuple[RoundingPoint, tuple[tuple[str, bool], ...]]]:
    """The points of a line by the tables above, each with the conditions that the line does not have itself."""
    if line.op in SUMS:
        yield SUMS[line.op], ()
    own = dict(line.guard)
    for point in POINTS:
        for at in point.lines:
            if at[:2] == (target, line.name) and all(own.get(name, holds) is holds for name, holds in at.conditions):
                yield point, tuple(condition for condition in at.conditions if condition[0] not in own)


def _truncated(text: str, conditions: tuple[tuple[str, bool], ...]) -> str:
    """A line that truncates; under `conditions`, of one at most, and rounded as it was where they do not hold."""
    head, _, guard = text.partition(" if ")
    under = [guard] if guard else []
    for name, holds in conditions:
        here, elsewhere = (name, f"not {name}") if holds else (f"not {name}", name)
        sides = (" and ".join([*under, side]) for side in (here, elsewhere))
        return "{0} rounding toward_zero if {1}\n{0} if {2}".format(head, *sides)
    return f"{head} rounding toward_zero" + (f" if {guard}" if guard else "")


def _mutant(point: RoundingPoint, edits: list[Edit]) -> Mutant:
    does = f"{point.what or point.name.replace('_', ' ')} is truncated"
    return Mutant(f"{point.name}_truncated", does, FaultFamily.POINTS, point.clause, tuple(edits))


def derived() -> tuple[Mutant, ...]:
    """A mutant for every point that is a line, or several, in the order of the contract."""
    found: dict[RoundingPoint, list[Edit]] = {}
    owners = {point.name: "" for point in (*POINTS, *SUMS.values())}
    for target, operation in targets().items():
        program = operation.program
        for line, text in zip(program.lines, rows(program.text), strict=True):
            if line.op not in ROUNDS:
                continue
            name = line.name
            if owners.setdefault(name, target) != target:  # an earlier operation has a line of this name
                name = f"{operation.name.replace('.', '_')}_{name}"
            for point, conditions in list(_named(target, line)) or [(RoundingPoint(name, program.name.split()[0]), ())]:
                found.setdefault(point, []).append(Edit(target, text, _truncated(text, conditions)))
    return tuple(_mutant(point, edits) for point, edits in found.items())


_CUT = "FloatMode(type({0}.rounding).TOWARD_ZERO, {0}.overflow, {0}.flush)"
FUNCTIONS = (
    _mutant(RoundingPoint("pooled_dx", "A2", "the gradient of a shared winner"),
            [Edit("contract.windows:_gathered", "total, dy, mode)", f"total, dy, {_CUT.format('mode')})")]),
    _mutant(RoundingPoint("dx_sum", "C3", "the running sum of an FP16 gradient"),
            [Edit("oracle.float_sum:_fp32_of_units", "magnitude, -24)",
                  f"magnitude, -24, {_CUT.format('softfloat.NEAREST')})")]),
)  # fmt: skip

ROUNDING_POINTS = (*derived(), *FUNCTIONS)
