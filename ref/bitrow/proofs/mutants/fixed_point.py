"""Faults of quantizers, the LFSR, packing, accumulators and dequantizers (SPEC.md Q, M, D)."""

from __future__ import annotations

from bitrow.proofs.mutants.mutant import Edit, Family, Mutant

_FXP = "oracle.fxp:"
_CODE, _STOCHASTIC = f"{_FXP}_code_and_mask", f"{_FXP}quantize_stochastic"


def _one(family: Family, name: str, does: str, clause: str, target: str, old: str, new: str) -> Mutant:
    return Mutant(name, does, family, clause, (Edit(target, old, new),))


def _quantizer(*fault: str) -> Mutant:
    return _one(Family.QUANTIZER, *fault)


QUANTIZERS = (
    _quantizer(
        "quantizer_ties_away", "codes round ties away from zero", "Q1",
        f"{_FXP}_rint", "(2 * rest == unit and magnitude & 1)", "2 * rest == unit",
    ),
    _quantizer(
        "quantizer_truncates", "codes are truncated", "Q1",
        f"{_FXP}_rint", "        magnitude += 2 * rest > unit or (2 * rest == unit and magnitude & 1)\n", "",
    ),
    _quantizer(
        "quantizer_skips_t", "codes round the exact product, not t", "Q1",
        f"{_FXP}quantize", "    return Quantized(t, *_code_and_mask(t, fmt.min, fmt.max))",
        "    exact = softfloat.exact_product(fp16.read(x, mode), fp16.read(inv_scale, mode))\n"
        "    if exact.kind is not Kind.FINITE:\n"
        "        return Quantized(t, *_code_and_mask(t, fmt.min, fmt.max))\n"
        "    nearest = _rint(exact)\n"
        "    return Quantized(t, _clip(nearest, fmt.min, fmt.max), int(fmt.min <= nearest <= fmt.max))",
    ),
    _quantizer(
        "codes_as_if_narrow", "the smallest code is never given", "F7",
        f"{_FXP}quantize", "fmt.min, fmt.max))", "fmt.min + fmt.signed, fmt.max))",
    ),
    _quantizer(
        "narrow_codes_full", "a narrow quantizer gives the code below its smallest", "F7",
        f"{_FXP}quantize", "fmt.min, fmt.max))", "fmt.min - fmt.narrow, fmt.max))",
    ),
    _quantizer(
        "largest_code_missing", "the largest code is never given", "Q1",
        f"{_FXP}quantize", "fmt.min, fmt.max))", "fmt.min, fmt.max - 1))",
    ),
    _quantizer(
        "codes_wrap", "codes outside the range wrap", "Q1",
        _CODE, "return _clip(nearest, low, high), int", "return (nearest - low) % (high - low + 1) + low, int",
    ),
    _quantizer(
        "nan_to_largest_code", "NaN gives the largest code", "Q2",
        _CODE, "_clip(0, low, high), 0", "high, 0",
    ),
    _quantizer(
        "infinities_to_largest_code", "-infinity gives the largest code", "Q2",
        _CODE, "(low if number.sign else high), 0", "high, 0",
    ),
    _quantizer(
        "mask_exclusive", "the mask is 0 at the ends of the range", "Q4",
        _CODE, "int(low <= nearest <= high)", "int(low < nearest < high)",
    ),
    _quantizer(
        "mask_of_t", "the mask compares t, not rint(t)", "Q4",
        _CODE, "int(low <= nearest <= high)", "int(low <= softfloat.exact(number) <= high)",
    ),
    _quantizer(
        "mask_of_infinity", "the mask is 1 for infinities", "Q4",
        _CODE, "(low if number.sign else high), 0", "(low if number.sign else high), 1",
    ),
)  # fmt: skip


def _drawn(*fault: str) -> Mutant:
    return _one(Family.STOCHASTIC, *fault)


STOCHASTIC = (
    _drawn("lfsr_taps", "the LFSR has other taps, also of the full period", "Q3",
           "oracle.lfsr:step", "LFSR_TAPS", "0xD008"),
    _drawn("lfsr_shifts_left", "the LFSR steps backward", "Q3",
           "oracle.lfsr:step", "(state >> 1) ^ (LFSR_TAPS if state & 1 else 0)",
           "((state ^ LFSR_TAPS) << 1 | 1) & 0xFFFF if state & 0x8000 else state << 1"),
    _drawn("lfsr_one_step_early", "element i takes the state after i steps", "Q3",
           "oracle.lfsr:words", "start + 1", "start"),
    _drawn("lfsr_reset_each_row", "each row starts from the seed again", "Q3",
           "oracle.conv:_gradient_codes", "(n * h + i) * w * c, w * c", "0, w * c"),
    _drawn("lfsr_counts_pixels", "a jump counts pixels, not elements", "Q3",
           "oracle.conv:_gradient_codes", "(n * h + i) * w * c, w * c", "(n * h + i) * w, w * c"),
    _drawn("word_one_more", "the word is added with a carry in", "Q3",
           _STOCHASTIC, "(word << 8)", "((word + 1) << 8)"),
    _drawn("word_compared_strictly", "a sum that reaches the next integer exactly is rounded down", "Q3",
           _STOCHASTIC, "total >> 24", "(total - 1) >> 24"),
    _drawn("magnitude_rounded", "the word is added to the magnitude", "Q3",
           _STOCHASTIC, "(-scaled if number.sign else scaled) + (word << 8)",
           "(-(scaled + (word << 8) >> 24) << 24) if number.sign else scaled + (word << 8)"),
    _drawn("stochastic_narrow", "the smallest code is never drawn", "Q3",
           _STOCHASTIC, "total >> 24, fmt.min", "total >> 24, fmt.min + fmt.signed"),
    _drawn("mask_of_drawn_code", "the mask is that of the drawn code", "Q4",
           _STOCHASTIC, "fmt.max), mask)\n", "fmt.max), int(fmt.min <= total >> 24 <= fmt.max))\n"),
)  # fmt: skip

MEMORY = (
    _one(Family.MEMORY, "nibbles_swapped", "the element of lower index lies in the high nibble", "Q5",
         f"{_FXP}pack", "low | high << 4", "high | low << 4"),
    _one(Family.MEMORY, "short_codes_not_extended", "a nibble holds a short code without its sign extended", "Q5",
         f"{_FXP}pack", "code & 0xF for", "code & ((1 << fmt.bits) - 1) for"),
    _one(Family.MEMORY, "spare_nibble_filled", "the last high nibble of an odd row is not 0", "Q5",
         f"{_FXP}pack", "[0] * (len(codes) % 2)", "[15] * (len(codes) % 2)"),
)  # fmt: skip


def _accumulator(*fault: str) -> Mutant:
    return _one(Family.ACCUMULATOR, *fault)


ACCUMULATORS = (
    _accumulator("accumulator_one_bit_less", "a wrapping register has one bit less", "M2",
                 f"{_FXP}mac", "wrap(total, accumulator.bits)", "wrap(total, accumulator.bits - 1)"),
    _accumulator("wrap_as_saturate", "a wrapping register clamps", "M2",
                 f"{_FXP}mac", "wrap(total, accumulator.bits)", "_clip(total, accumulator.min, accumulator.max)"),
    _accumulator("saturate_as_wrap", "a saturating register wraps", "M2",
                 f"{_FXP}mac_running", "_clip(acc + product, low, high)", "wrap(acc + product, accumulator.bits)"),
    _accumulator("saturate_symmetric", "a saturating register never reaches its smallest value", "M2",
                 f"{_FXP}mac_running", "low, high = accumulator.min", "low, high = -accumulator.max"),
    _accumulator("saturate_one_below_largest", "a saturating register stops one below its largest value", "M2",
                 f"{_FXP}mac_running", "accumulator.min, accumulator.max", "accumulator.min, accumulator.max - 1"),
    _accumulator("saturate_at_the_end", "the sum saturates once, after its last product", "M2",
                 f"{_FXP}mac_running",
                 "return list(\n        itertools.accumulate(products, lambda acc, product: _clip(acc + product, low,"
                 " high), initial=0)\n    )[1:]",
                 "*sums, last = itertools.accumulate(products)\n    return [*sums, _clip(last, low, high)]"),
    _accumulator("first_product_lost", "the first product of a sum is lost", "M1",
                 f"{_FXP}mac", "sum(map(operator.mul, x_codes, weight_codes))",
                 "sum(list(map(operator.mul, x_codes, weight_codes))[1:])"),
)  # fmt: skip


def _dequantizer(*fault: str) -> Mutant:
    return _one(Family.DEQUANTIZER, *fault)


_FUSED = "    deq = softfloat.mul(FP16, softfloat.integer(acc), fp16.read(scale, mode), mode)"

DEQUANTIZERS = (
    _dequantizer("fused_as_two_step", "a fused dequantizer rounds the accumulator first", "D1",
                 f"{_FXP}dequantize", _FUSED,
                 "    deq = fp16.mul(fp16.from_int32(acc, mode), scale, mode)"),
    _dequantizer("two_step_as_fused", "a two_step dequantizer multiplies the whole accumulator", "D2",
                 f"{_FXP}dequantize", "fp16.mul(acc_fp16, scale, mode)",
                 "softfloat.mul(FP16, softfloat.integer(acc), fp16.read(scale, mode), mode)"),
    _dequantizer("fused_through_float32", "the product of the dequantizer is rounded to FP32 first", "D1",
                 f"{_FXP}dequantize", _FUSED,
                 "    wide = softfloat.mul(type(FP16)(8, 23), softfloat.integer(acc), fp16.read(scale, mode))\n"
                 "    deq = fp16.from_float32(wide, mode)"),
    _dequantizer("zero_accumulator_negative", "a zero accumulator gives -0", "D1",
                 f"{_FXP}dequantize", "softfloat.integer(acc)", "softfloat.integer(acc)._replace(sign=int(acc <= 0))"),
    _dequantizer("bias_fused", "the bias is added before the one rounding of the dequantizer", "D3",
                 "oracle.conv:forward", 'map_words(add, np.uint16, deq, np.asarray(inputs["bias"]))',
                 "map_words(lambda acc, s, b: softfloat.fma(FP16, softfloat.integer(acc), fp16.read(s, config.mode),"
                 ' fp16.read(b, config.mode), config.mode), np.uint16, sums["acc"], scale,'
                 ' np.asarray(inputs["bias"]))'),
    _dequantizer("scale_of_the_neighbour", "an output channel is dequantized by its neighbour's scale", "D3",
                 "oracle.conv:_dequantized", "np.broadcast_arrays(acc, scale)",
                 "np.broadcast_arrays(acc, np.roll(scale, 1))"),
    _dequantizer("bias_of_the_neighbour", "an output channel adds its neighbour's bias", "D3",
                 "oracle.conv:forward", 'np.asarray(inputs["bias"])', 'np.roll(np.asarray(inputs["bias"]), 1)'),
)  # fmt: skip

FIXED_POINT = (*QUANTIZERS, *STOCHASTIC, *MEMORY, *ACCUMULATORS, *DEQUANTIZERS)
