"""Faults of the FP16 and FP32 units: rounding, sticky and guard bits, subnormals, overflow, zeros, NaN (SPEC.md F)."""

from __future__ import annotations

from bitrow.faults.mutant import Edit, FaultFamily, Mutant

_SOFT = "oracle.softfloat:"
_AWAY, _ROUND, _OVER = f"{_SOFT}_rounds_away", f"{_SOFT}round_to", f"{_SOFT}_overflowed"
_EVEN = "rest > half or (rest == half and odd)"
_ROUNDED = "contract.arithmetic:rounded"


def _rounding(name: str, does: str, clause: str, target: str, old: str, new: str) -> Mutant:
    return Mutant(name, does, FaultFamily.ROUNDING, clause, (Edit(target, old, new),))


def _special(name: str, does: str, clause: str, target: str, old: str, new: str, *more: Edit) -> Mutant:
    return Mutant(name, does, FaultFamily.SPECIAL, clause, (Edit(target, old, new), *more))


def _alignment(op: str, second: str) -> Mutant:
    """An adder's or subtracter's own: what its alignment shifts out below guard and round bit is forgotten."""
    cut = (
        f"pair = [a, {second}]\n"
        "    if all(x.kind is NumberKind.FINITE for x in pair):\n"
        "        larger = max(pair, key=lambda x: x.significand and (x.significand.bit_length() + x.exponent + 99))\n"
        "        lead = larger.exponent - 2\n"
        "        lost = [max(lead - x.exponent, 0) for x in pair]\n"
        "        pair = [x._replace(significand=x.significand >> n << n) for x, n in zip(pair, lost)]\n"
        "    return softfloat.add(self.fmt, *pair, self.mode)"
    )
    return _rounding(
        f"{op}_alignment_sticky_dropped", f"{op} forgets what its alignment shifts out: no sticky bit", "F2",
        f"contract.arithmetic:Rounder.{op}", f"return softfloat.add(self.fmt, a, {second}, self.mode)", cut,
    )  # fmt: skip


DIRECTIONS = (
    _rounding(
        "nearest_even_as_away", "nearest_even rounds ties away from zero", "F3",
        _AWAY, f"return {_EVEN}", "return rest >= half",
    ),
    _rounding(
        "nearest_even_as_truncation", "nearest_even truncates", "F3",
        _AWAY, f"return {_EVEN}", "return False",
    ),
    _rounding("nearest_even_as_odd", "nearest_even rounds ties to odd", "F3", _AWAY, "and odd)", "and not odd)"),
    _rounding(
        "nearest_away_as_even", "nearest_away rounds ties to even", "F3",
        _AWAY, "return rest >= half", f"return {_EVEN}",
    ),
    _rounding(
        "up_as_down", "up rounds toward -infinity", "F3",
        _AWAY, "return rest > 0 and not sign", "return rest > 0 and bool(sign)",
    ),
    _rounding(
        "up_as_away_from_zero", "up rounds every magnitude up", "F3",
        _AWAY, "return rest > 0 and not sign", "return rest > 0",
    ),
    _rounding(
        "down_as_up", "down rounds toward +infinity", "F3",
        _AWAY, "return rest > 0 and bool(sign)", "return rest > 0 and not sign",
    ),
    _rounding(
        "down_as_truncation", "down truncates", "F3",
        _AWAY, "return rest > 0 and bool(sign)", "return False",
    ),
    _rounding(
        "toward_zero_as_nearest_even", "toward_zero rounds to nearest even", "F3",
        _AWAY, "    return False", f"    return {_EVEN}",
    ),
)  # fmt: skip

DISCARDED_BITS = (
    _rounding(
        "sticky_dropped", "the bits below guard and round bit are forgotten", "F2",
        _ROUND, "rest = significand & ((1 << shift) - 1)",
        "rest = significand & ((1 << shift) - 1) & -(1 << max(shift - 2, 0))",
    ),
    _rounding(
        "guard_dropped", "the first discarded bit is forgotten", "F2",
        _ROUND, "rest = significand & ((1 << shift) - 1)", "rest = significand & ((1 << shift - 1) - 1)",
    ),
    _rounding(
        "guard_one_place_low", "half an ulp is taken one place too low", "F2",
        _ROUND, "1 << (shift - 1))", "(1 << (shift - 1)) >> 1)",
    ),
    _rounding(
        "double_rounding", "every result is rounded to two bits more first, then to the format", "F2",
        _ROUND, "    unit = max(",
        "    spare = max(significand.bit_length() - limits.fraction - 3, 0)\n"
        "    if spare:\n"
        "        significand, exponent = (significand + (1 << spare - 1)) >> spare, exponent + spare\n"
        "    unit = max(",
    ),
    _rounding(
        "division_without_sticky", "the remainder of a division is forgotten", "F2",
        f"{_SOFT}_divide", "quotient << 1 | (remainder != 0)", "quotient << 1",
    ),
    _rounding(
        "root_without_sticky", "the remainder of a square root is forgotten", "F2",
        f"{_SOFT}sqrt", "root << 1 | (root * root != radicand)", "root << 1",
    ),
    _rounding(
        "addend_shifted_out", "an addend 13 or more places below the other is dropped, without a sticky bit", "F2",
        f"{_SOFT}add", "    if x.sign == y.sign:\n",
        "    if min(total, other) and abs(total.bit_length() - other.bit_length()) > fmt.fraction_bits + 2:\n"
        "        total, other = (total, 0) if total > other else (0, other)\n"
        "    if x.sign == y.sign:\n",
    ),
    _alignment("add", "b"),
    _alignment("sub", "negated(b)"),
    _rounding(
        "fma_rounds_twice", "fma rounds its product before it adds", "F2",
        "contract.arithmetic:Rounder.fma", "softfloat.fma(self.fmt, a, b, c, self.mode)",
        "softfloat.add(self.fmt, softfloat.unpack(self.fmt, self.mul(a, b)), c, self.mode)",
    ),
    _rounding(
        "from_int32_truncates", "integers become FP16 by truncation", "F10",
        _ROUNDED, "rounder(line, config)",
        "rounder(replace(line, rounding='toward_zero')"
        " if line.op == 'convert' and formats[0] in ('int', 'reg') else line, config)",
    ),
    _rounding(
        "from_float32_truncates", "FP32 becomes FP16 by truncation", "F10",
        _ROUNDED, "rounder(line, config)",
        "rounder(replace(line, rounding='toward_zero')"
        " if line.op == 'convert' and formats[0] in ('32',) else line, config)",
    ),
)  # fmt: skip

SUBNORMALS = (
    _special(
        "inputs_flushed", "subnormal operands are always read as zero", "F5",
        "oracle.fp16:read", "mode.flush", "True",
        Edit("contract.sums:_partial_sums", "arithmetic.add",
             "lambda a, b: arithmetic.add(*(word if word & 0x7C00 else word & 0x8000 for word in (a, b)))"),
    ),
    _special(
        "inputs_not_flushed", "flush does not reach operands", "F5", "oracle.fp16:read", "mode.flush", "False",
    ),
    _special(
        "results_flushed", "subnormal results always become zero", "F5",
        _ROUND, "if mode.flush and", "if",
    ),
    _special(
        "results_not_flushed", "flush does not reach results", "F5", _ROUND, "if mode.flush and", "if False and",
    ),
    _special(
        "flushed_before_rounding", "flush takes results that only rounding lifts to the smallest normal number", "F5",
        _ROUND, "magnitude >> limits.fraction == 0",
        "significand.bit_length() + exponent <= limits.least + limits.fraction",
    ),
    _special(
        "flushed_to_positive", "flush forgets the sign of zero", "F5",
        _ROUND, "        magnitude = 0\n", "        return 0\n",
    ),
    _special(
        "fp32_flushes", "FP32 operands that are subnormal are read as zero", "F9",
        "oracle.reduce:Arithmetic.read", "self.mode.flush", "self.mode.flush or self.fmt != FP16",
        Edit("contract.arithmetic:reader", "else fp32.read",
             "else functools.partial(softfloat.unpack, FP32, flush=True)"),
        Edit("contract.arithmetic:_host", "flush and result == FP16", "flush or result == FP32"),
    ),
    _special(
        "to_float32_flushes", "FP16 subnormals widen to zero", "F10",
        "oracle.fp16:to_float32", "read(a, mode)", "softfloat.unpack(FP16, a, True)",
        Edit(_ROUNDED, "reader(name, to.fmt, config) for",
             "reader(name, to.fmt, FloatMode(flush=True) if line.op == 'widen' else config) for"),
    ),
)  # fmt: skip

RANGE = (
    _special(
        "infinity_saturates", "overflow gives the largest number where infinity is asked for", "F6",
        _OVER, "mode.overflow is Overflow.SATURATE or mode.rounding is Rounding.TOWARD_ZERO", "True",
    ),
    _special(
        "saturate_gives_infinity", "overflow ignores saturate", "F6",
        _OVER, "mode.overflow is Overflow.SATURATE or ", "",
    ),
    _special(
        "toward_zero_overflows", "toward_zero overflows to infinity", "F6",
        _OVER, " or mode.rounding is Rounding.TOWARD_ZERO", "",
    ),
    _special(
        "saturate_one_below", "saturate gives the number below the largest", "F6",
        _OVER, "TOWARD_ZERO:\n        return fmt.max_finite_bits",
        "TOWARD_ZERO:\n        return fmt.max_finite_bits - 1",
    ),
    _special(
        "directed_overflow_swapped", "up and down overflow to infinity on each other's side", "F6",
        _OVER, "Rounding.UP if sign else Rounding.DOWN", "Rounding.DOWN if sign else Rounding.UP",
    ),
    _special(
        "largest_overflows", "65504 itself overflows", "F6",
        _ROUND, "if magnitude >= limits.infinity", "if magnitude >= limits.infinity - 1",
    ),
    _special(
        "infinity_operand_saturates", "an infinite operand is taken for an overflow", "F6",
        f"{_SOFT}round_number", "return _infinity(fmt, x.sign)",
        "return (fmt.sign_mask if x.sign else 0) | _overflowed(fmt, x.sign, mode)",
    ),
    _special(
        "division_by_zero_saturates", "a number divided by zero is taken for an overflow", "F6",
        f"{_SOFT}div", "return _infinity(fmt, sign) if x.significand else fmt.nan_bits",
        "return (fmt.sign_mask * sign | _overflowed(fmt, sign, mode)) if x.significand else fmt.nan_bits",
    ),
)  # fmt: skip

SIGNS_AND_NANS = (
    _special(
        "zero_sum_negative", "x - x is -0", "F3",
        f"{_SOFT}add", "int(mode.rounding is Rounding.DOWN)", "1",
    ),
    _special(
        "zero_sum_positive_under_down", "x - x is +0 under down, too", "F3",
        f"{_SOFT}add", "int(mode.rounding is Rounding.DOWN)", "0",
    ),
    _special(
        "zero_sign_lost", "zero results are +0", "F4", _ROUND, "        return top\n", "        return 0\n",
    ),
    _special(
        "root_of_minus_zero", "sqrt(-0) is +0", "F4", f"{_SOFT}sqrt", "fmt, x.sign, 0, 0", "fmt, 0, 0, 0",
    ),
    _special(
        "invalid_sum_negative_nan", "infinity - infinity is a NaN with its sign set", "F4",
        f"{_SOFT}add", "x.sign != y.sign:\n            return fmt.nan_bits",
        "x.sign != y.sign:\n            return fmt.nan_bits | fmt.sign_mask",
    ),
    _special(
        "nan_payload_kept", "selections pass a NaN on with its payload and sign", "F4",
        "oracle.fp16:canonical", "FP16.nan_bits if is_nan(a) else a", "a",
    ),
    _special(
        "nan_payload_in_sums", "a sum returns its NaN operand as it is", "F4",
        "oracle.fp16:add", "return softfloat.add",
        "if is_nan(a):\n        return a\n    return softfloat.add",
        Edit(_ROUNDED, "operation(first(a), second(b))",
             "a if line.op in ('add', 'sub') and line.format == formats[0] == '16' and fp16.is_nan(a)"
             " else operation(first(a), second(b))"),
        Edit("contract.sums:_partial_sums", "arithmetic.add",
             "lambda a, b: a if a & 0x7FFF > 0x7C00 else arithmetic.add(a, b)"),
    ),
    _special(
        "infinity_times_zero", "infinity times zero is infinity", "F4",
        f"{_SOFT}exact_product", "and not finite.significand", "and finite.significand < 0",
    ),
)  # fmt: skip

ARITHMETIC = (*DIRECTIONS, *DISCARDED_BITS, *SUBNORMALS, *RANGE, *SIGNS_AND_NANS)
