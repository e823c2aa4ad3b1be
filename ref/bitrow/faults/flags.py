"""Faults of the exceptions that operations report (SPEC.md F11 to F14, Q6)."""

from __future__ import annotations

from bitrow.faults.mutant import Edit, FaultFamily, Mutant

_FLAGS = "oracle.flags:"


def _flags(name: str, does: str, clause: str, target: str, *edits: tuple[str, str]) -> Mutant:
    return Mutant(name, does, FaultFamily.FLAGS, clause, tuple(Edit(f"{_FLAGS}{target}", *edit) for edit in edits))


RAISED = (
    _flags("flags_reversed", "the bits of a word of flags lie the other way round", "F11", "raised",
           ("return OF[op](fmt, *(_read(word, source, mode) for word, source in operands), mode)",
            "found = OF[op](fmt, *(_read(word, source, mode) for word, source in operands), mode)\n"
            "    return int(f'{found:05b}'[::-1], 2)")),
    _flags("signalling_nan_quiet", "a signalling NaN raises nothing", "F12", "signalling",
           ("fmt.infinity_bits < magnitude < fmt.nan_bits", "False")),
    _flags("quiet_nan_signals", "every NaN operand raises invalid", "F12", "signalling",
           ("magnitude < fmt.nan_bits", "magnitude")),
    _flags("opposed_infinities_valid", "infinity - infinity raises nothing", "F12", "_opposed",
           ("x.sign != y.sign", "x.sign < 0")),
    _flags("fma_addend_hides_invalid", "infinity times zero plus a quiet NaN raises nothing", "F12", "fma",
           ("if _endless_times_zero(x, y):", "if _endless_times_zero(x, y) and not _nan(z):")),
    _flags("zero_by_zero_divides", "0/0 raises divide by zero", "F12", "div",
           ("Flag.DIVIDE_BY_ZERO if x.significand else Flag.INVALID", "Flag.DIVIDE_BY_ZERO")),
    _flags("infinity_by_zero_divides", "infinity / 0 raises divide by zero", "F12", "div",
           ("int(Flag.INVALID) if x.kind is y.kind is NumberKind.INFINITE else 0",
            "int(Flag.INVALID) if x.kind is y.kind is NumberKind.INFINITE else"
            " int(Flag.DIVIDE_BY_ZERO) * (_finite(y) and not y.significand and not _nan(x))")),
    _flags("root_of_minus_zero_invalid", "the root of -0 raises invalid", "F12", "sqrt",
           ("(x.kind is NumberKind.FINITE and not x.significand)",
            "(x.kind is NumberKind.FINITE and not x.significand and not x.sign)")),
    _flags("root_inexact_missing", "a root never raises inexact", "F13", "sqrt", ("else int(Flag.INEXACT)", "else 0")),
    _flags("overflow_exact", "an overflow of a number with few bits raises no inexact", "F13", "rounding",
           ("if found or delivered != exact:", "if unlimited != exact or (not found and delivered != exact):")),
    _flags("overflow_by_delivered", "what saturates or truncates to the largest number raises no overflow", "F13",
           "rounding", ("if unlimited is None or abs(unlimited) > largest", "if delivered is None")),
    _flags("underflow_when_tiny", "a tiny result raises underflow though it is exact", "F13", "rounding",
           ("if Flag.INEXACT in found and judged", "if judged")),
    _flags("underflow_by_delivered", "only a result delivered as subnormal raises underflow", "F13", "rounding",
           ("judged = exact if tininess_of(mode) is Tininess.BEFORE_ROUNDING else unlimited",
            "judged = exact if delivered is None else delivered or exact")),
    _flags("tininess_before", "tininess is always detected before rounding", "F13", "rounding",
           ("tininess_of(mode) is Tininess.BEFORE_ROUNDING", "True")),
    _flags("tininess_after", "tininess is always detected after rounding", "F13", "rounding",
           ("tininess_of(mode) is Tininess.BEFORE_ROUNDING", "False")),
    _flags("flush_exact", "a flushed result raises nothing where it was exact", "F14", "of_result",
           ("rounding(fmt, exact, _value(fmt, softfloat.from_fraction(fmt, exact, mode))",
            "rounding(fmt, exact, _value(fmt, softfloat.from_fraction(fmt, exact,"
            " FloatMode(mode.rounding, mode.overflow)))")),
    _flags("flush_underflow_alone", "a flushed result raises underflow without inexact", "F14", "rounding",
           ("return int(found)",
            "flushed = mode.flush and delivered == 0 and Flag.UNDERFLOW in found\n"
            "    return int(found & ~Flag.INEXACT if flushed else found)")),
    _flags("flushed_operand_inexact", "a flushed operand raises inexact", "F14", "raised",
           ("return OF[op](fmt, *(_read(word, source, mode) for word, source in operands), mode)",
            "found = OF[op](fmt, *(_read(word, source, mode) for word, source in operands), mode)\n"
            "    subnormal = any(source == FP16 and 0 < word & 0x7FFF < 0x400 for word, source in operands)\n"
            "    return int(Flag.INEXACT if mode.flush and subnormal and not found else found)")),
)  # fmt: skip

CODES = (
    _flags("code_outside_inexact", "a code that is clipped raises inexact, not invalid", "Q6", "to_code",
           ("if number.kind", "if number.kind is NumberKind.FINITE and not fxp.mask(t, fmt):\n"
            "        return int(Flag.INEXACT)\n    if number.kind")),
    _flags("code_whole_inexact", "every code raises inexact", "Q6", "to_code",
           ("return 0 if softfloat.exact(number).denominator == 1 else", "return")),
    _flags("drawn_code_judged_by_nearest", "a drawn code raises what the nearest one would", "Q6", "to_drawn_code",
           ("(value + Fraction(word, 1 << 16)).__floor__()", "round(value)")),
)  # fmt: skip

FLAGS = (*RAISED, *CODES)
