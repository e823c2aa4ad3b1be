"""Faults of quantizers, the LFSR, packing, accumulators and dequantizers (SPEC.md Q, M, D)."""

from __future__ import annotations

from bitrow.faults.mutant import Edit, FaultFamily, Mutant, neighbours

_FXP, _SETTLED = "oracle.fxp:", "contract.arithmetic:settled"
_CODE, _STOCHASTIC = f"{_FXP}_code_and_mask", f"{_FXP}drawn_code"
_QUANTIZE, _DRAWN = "contract.fixed_point:QUANTIZE", "contract.fixed_point:QUANTIZE_STOCHASTIC"
_DEQUANTIZE, _FORWARD, _BACKWARD = "contract.fixed_point:DEQUANTIZE", "contract.conv:FORWARD", "contract.conv:BACKWARD"
_CODES = "functools.partial(function, fmt=code_format(_quantizer(line), config))"


def _one(family: FaultFamily, name: str, does: str, clause: str, target: str, old: str, new: str) -> Mutant:
    return Mutant(name, does, family, clause, (Edit(target, old, new),))


def _quantizer(*fault: str) -> Mutant:
    return _one(FaultFamily.QUANTIZER, *fault)


def _range(name: str, does: str, clause: str, low: str, high: str) -> Mutant:
    """The codes to nearest, not the drawn ones nor the mask, clipped to other ends."""
    codes = (
        "fmt = code_format(_quantizer(line), config)\n"
        "            if line.op == 'quantize':\n"
        f"                return lambda t: fxp._code_and_mask(t, fmt.min{low}, fmt.max{high})[0]\n"
        "            return functools.partial(function, fmt=fmt)"
    )
    return _quantizer(name, does, clause, _SETTLED, f"return {_CODES}", codes)


# FP32 holds the product of x and inv_scale exactly (F9); its words are no FP16 words, but for +0.
_EXACT = (
    Edit(_QUANTIZE, "out x_code : x, n h w c = quantize t",
         "let exact : 32, n h w c = product x x_inv_scale\nout x_code : x, n h w c = quantize exact"),
    Edit(_QUANTIZE, "out mask : mask, n h w c = inside t", "out mask : mask, n h w c = inside exact"),
    Edit(_FORWARD, "x_code : x, n h w c_in = quantize t",
         "let exact : 32, n h w c_in = product x x_inv_scale\nx_code : x, n h w c_in = quantize exact"),
    Edit(_FORWARD, "out mask : mask, n h w c_in = inside t", "out mask : mask, n h w c_in = inside exact"),
    Edit(_BACKWARD, "dy_code : dy, n oh ow c_out = quantize dy_t if not drawn and not float",
         "let exact : 32, n oh ow c_out = product dy_folded dy_inv_scale if folded and not drawn and not float\n"
         "let exact : 32, n oh ow c_out = product dy dy_inv_scale if not folded and not drawn and not float\n"
         "dy_code : dy, n oh ow c_out = quantize exact if not drawn and not float"),
    Edit(_CODE, "fp16.read(t)", "fp16.read(t) if t < 1 << 16 else fp16.softfloat.unpack(fp16.FP32, t)"),
)  # fmt: skip

QUANTIZERS = (
    _quantizer(
        "quantizer_ties_away", "codes round ties away from zero", "Q1",
        f"{_FXP}_rint", "(2 * rest == unit and magnitude & 1)", "2 * rest == unit",
    ),
    _quantizer(
        "quantizer_truncates", "codes are truncated", "Q1",
        f"{_FXP}_rint", "        magnitude += 2 * rest > unit or (2 * rest == unit and magnitude & 1)\n", "",
    ),
    Mutant("quantizer_skips_t", "codes round the exact product, not t", FaultFamily.QUANTIZER, "Q1", _EXACT),
    _range("codes_as_if_narrow", "the smallest code is never given", "F7", " + fmt.signed", ""),
    _range("narrow_codes_full", "a narrow quantizer gives the code below its smallest", "F7", " - fmt.narrow", ""),
    _range("largest_code_missing", "the largest code is never given", "Q1", "", " - 1"),
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
        _CODE, "int(low <= nearest <= high)", "int(low <= fp16.softfloat.exact(number) <= high)",
    ),
    _quantizer(
        "mask_of_infinity", "the mask is 1 for infinities", "Q4",
        _CODE, "(low if number.sign else high), 0", "(low if number.sign else high), 1",
    ),
)  # fmt: skip


def _drawn(*fault: str) -> Mutant:
    return _one(FaultFamily.STOCHASTIC, *fault)


STOCHASTIC = (
    _drawn("lfsr_taps", "the LFSR has other taps, also of the full period", "Q3",
           "oracle.lfsr:step", "LFSR_TAPS", "0xD008"),
    _drawn("lfsr_shifts_left", "the LFSR steps backward", "Q3",
           "oracle.lfsr:step", "(state >> 1) ^ (LFSR_TAPS if state & 1 else 0)",
           "((state ^ LFSR_TAPS) << 1 | 1) & 0xFFFF if state & 0x8000 else state << 1"),
    _drawn("lfsr_one_step_early", "element i takes the state after i steps", "Q3",
           "oracle.lfsr:words", "start + 1", "start"),
    _drawn("lfsr_reset_each_row", "each row starts from the seed again", "Q3",
           "contract.sequences:row_start", "return (n * h + i) * w * c", "return 0"),
    _drawn("lfsr_counts_pixels", "a jump counts pixels, not elements", "Q3",
           "contract.sequences:row_start", "return (n * h + i) * w * c", "return (n * h + i) * w"),
    _drawn("word_one_more", "the word is added with a carry in", "Q3",
           _STOCHASTIC, "(word << 8)", "((word + 1) << 8)"),
    _drawn("word_compared_strictly", "a sum that reaches the next integer exactly is rounded down", "Q3",
           _STOCHASTIC, "total >> 24", "(total - 1) >> 24"),
    _drawn("word_last_bit_ignored", "the last bit of the word is ignored", "Q3",
           _STOCHASTIC, "(word << 8)", "(word >> 1 << 9)"),
    _drawn("word_low_byte_ignored", "the low byte of the word is ignored", "Q3",
           _STOCHASTIC, "(word << 8)", "(word >> 8 << 16)"),
    _drawn("magnitude_rounded", "the word is added to the magnitude", "Q3",
           _STOCHASTIC, "(-scaled if number.sign else scaled) + (word << 8)",
           "(-(scaled + (word << 8) >> 24) << 24) if number.sign else scaled + (word << 8)"),
    _drawn("stochastic_narrow", "the smallest code is never drawn", "Q3",
           _STOCHASTIC, "total >> 24, fmt.min", "total >> 24, fmt.min + fmt.signed"),
    Mutant("mask_of_drawn_code", "the mask is that of the drawn code", FaultFamily.STOCHASTIC, "Q4", (
        Edit(_DRAWN, "out mask : mask, n h w c = inside t", "out mask : mask, n h w c = inside t words"),
        Edit(_SETTLED, f"return {_CODES}",
             "fmt = code_format(_quantizer(line), config)\n"
             "            wide = type('Wide', (), {'min': -(1 << 31), 'max': (1 << 31) - 1})\n"
             "            if len(line.operands) > 1 and line.op == 'inside':\n"
             "                return lambda t, word: int(not fp16.is_nan(t)\n"
             "                    and fmt.min <= fxp.drawn_code(t, word, wide) <= fmt.max)\n"
             "            return functools.partial(function, fmt=fmt)"),
    )),
)  # fmt: skip

MEMORY = (
    _one(FaultFamily.MEMORY, "nibbles_swapped", "the element of lower index lies in the high nibble", "Q5",
         f"{_FXP}pack", "low | high << 4", "high | low << 4"),
    _one(FaultFamily.MEMORY, "short_codes_not_extended", "a nibble holds a short code without its sign extended", "Q5",
         f"{_FXP}pack", "code & 0xF for", "code & ((1 << fmt.bits) - 1) for"),
    _one(FaultFamily.MEMORY, "spare_nibble_filled", "the last high nibble of an odd row is not 0", "Q5",
         f"{_FXP}pack", "[0] * (len(codes) % 2)", "[15] * (len(codes) % 2)"),
)  # fmt: skip


def _accumulator(*fault: str) -> Mutant:
    return _one(FaultFamily.ACCUMULATOR, *fault)


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


_DEQUANTIZERS = (
    (_DEQUANTIZE, "out deq : 16, n h w c", "acc", "scale", ""),
    (_FORWARD, "deq : 16, n oh ow c_out", "acc", "scale", ""),
    (_BACKWARD, "dx_deq : 16, n h w c_in", "dx_acc", "dx_scale", " and not float"),
)


def _dequantizer(name: str, does: str, clause: str, *edits: Edit) -> Mutant:
    return Mutant(name, does, FaultFamily.DEQUANTIZER, clause, edits)


def _everywhere(old: str, *new: str) -> tuple[Edit, ...]:
    """Other lines for deq in every program: {deq} is what it declares, {axes} its axes, {end} the end of its guard."""
    found = []
    for target, deq, acc, scale, end in _DEQUANTIZERS:
        words = {"deq": deq, "axes": deq.partition(", ")[2], "acc": acc, "scale": scale, "end": end}
        found.append(Edit(target, old.format(**words), "\n".join(new).format(**words)))
    return tuple(found)


_ONCE = "{deq} = mul {acc} {scale} if not two_step{end}"

DEQUANTIZERS = (
    _dequantizer("fused_as_two_step", "a fused dequantizer rounds the accumulator first", "D1", *_everywhere(
        _ONCE, "let acc_16 : 16, {axes} = convert {acc} if not two_step{end}",
        "{deq} = mul acc_16 {scale} if not two_step{end}")),
    _dequantizer("two_step_as_fused", "a two_step dequantizer multiplies the whole accumulator", "D2", *_everywhere(
        "{deq} = mul {acc}_fp16 {scale} if two_step{end}", "{deq} = mul {acc} {scale} if two_step{end}")),
    _dequantizer("fused_through_float32", "the product of the dequantizer is rounded to FP32 first", "D1", *_everywhere(
        _ONCE, "let deq_32 : 32, {axes} = mul {acc} {scale} if not two_step{end}",
        "{deq} = convert deq_32 if not two_step{end}")),
    _dequantizer("zero_accumulator_negative", "a zero accumulator gives -0", "D1", Edit(
        "contract.arithmetic:rounded", "for name in formats]",
        "for name in formats]\n"
        "    if line.op == 'mul' and formats[0] == 'reg':\n"
        "        reads[0] = lambda acc: softfloat.integer(acc)._replace(sign=int(acc <= 0))")),
    _dequantizer("bias_fused", "the bias is added before the one rounding of the dequantizer", "D3", Edit(
        _FORWARD, "out y : 16, n oh ow c_out = add deq bias if biased",
        "out y : 16, n oh ow c_out = fma acc scale bias if biased")),
    _dequantizer("scale_of_the_neighbour", "an output channel is dequantized by its neighbour's scale", "D3",
                 neighbours("C1", "scale")),
    _dequantizer("bias_of_the_neighbour", "an output channel adds its neighbour's bias", "D3",
                 neighbours("C1", "bias")),
)  # fmt: skip

FIXED_POINT = (*QUANTIZERS, *STOCHASTIC, *MEMORY, *ACCUMULATORS, *DEQUANTIZERS)
