"""Faults of batch norm and of the other layers (SPEC.md B, A)."""

from __future__ import annotations

from bitrow.faults.mutant import Edit, FaultFamily, Mutant, neighbours

_FROZEN, _FORWARD = "contract.batch_norm:FORWARD_FROZEN", "contract.batch_norm:FORWARD_BATCH"
_BACKWARD, _WORDS = "contract.batch_norm:BACKWARD_BATCH", "contract.arithmetic:"


def _norm(name: str, does: str, clause: str, *edits: Edit) -> Mutant:
    return Mutant(name, does, FaultFamily.BATCH_NORM, clause, edits)


def _step(name: str, does: str, clause: str, target: str, old: str, *new: str) -> Mutant:
    return _norm(name, does, clause, Edit(target, old, "\n".join(new)))


NORMS = (
    _norm("norm_fused", "frozen batch norm fuses its product and sum", "B1",
          Edit(_FROZEN, "out z : 16, n h w c = add ay b if not fma", "out z : 16, n h w c = fma a y b if not fma"),
          Edit(_FORWARD, "out z : 16, n h w c = add ay b16 if not fma",
               "out z : 16, n h w c = fma a16 y b16 if not fma")),
    _norm("norm_fma_split", "the fma option rounds the product, too", "B1",
          Edit(_FROZEN, "out z : 16, n h w c = fma a y b if fma",
               "let product : 16, n h w c = mul a y if fma\nout z : 16, n h w c = add product b if fma"),
          Edit(_FORWARD, "out z : 16, n h w c = fma a16 y b16 if fma",
               "let product : 16, n h w c = mul a16 y if fma\nout z : 16, n h w c = add product b16 if fma")),
    _norm("norm_gradient_of_the_neighbour", "a frozen channel's gradient takes its neighbour's a", "B1",
          neighbours("B1 backward", "a")),
    _step("variance_negated", "the variance is E[x]^2 - E[x^2]", "B2",
          _FORWARD, "var_raw : acc, c = sub s2m mean_sq", "var_raw : acc, c = sub mean_sq s2m"),
    _step("variance_not_clamped", "a negative variance is not clamped to 0", "B2",
          _FORWARD, "var : acc, c = positive var_raw", "var : acc, c = copy var_raw"),
    _step("variance_drops_nan", "a NaN variance is clamped to 0", "B2",
          f"{_WORDS}positive_part", "return fmt.nan_bits", "return 0"),
    _step("mean_by_division", "the mean is s1 / M, not s1 * m", "B2",
          _FORWARD, "mean : acc, c = mul s1 m", "let count : acc = div 1 m", "mean : acc, c = div s1 count"),
    _step("mean_square_reassociated", "the squared mean is (s1*s1) * (m*m)", "B2",
          _FORWARD, "mean_sq : acc, c = mul mean mean", "let s1_sq : acc, c = mul s1 s1", "let m_sq : acc = mul m m",
          "mean_sq : acc, c = mul s1_sq m_sq"),
    _step("root_of_the_reciprocal", "r is sqrt(1 / var_eps), not 1 / std", "B2",
          _FORWARD, "r : acc, c = div 1 std", "let inverse : acc, c = div 1 var_eps", "r : acc, c = sqrt inverse"),
    _step("eps_after_the_root", "eps is added after the root", "B2",
          _FORWARD, "std : acc, c = sqrt var_eps", "let root : acc, c = sqrt var", "std : acc, c = add root eps"),
    _step("a16_rounded_twice", "a16 is the FP16 product of gamma and r, each rounded to FP16 before", "B2",
          _FORWARD, "a16 : 16, c = convert a", "let gamma_acc : acc, c = convert gamma",
          "let gamma16 : 16, c = convert gamma_acc", "let r16 : 16, c = convert r", "a16 : 16, c = mul gamma16 r16"),
    _step("host_values_truncated", "gamma, beta and eps become FP16 by truncation", "B2",
          f"{_WORDS}_host", "FloatMode())", "FloatMode(Rounding.TOWARD_ZERO))"),
    _step("gradient_centered_on_dz", "dgamma is centered with the order of its difference turned", "B3",
          _BACKWARD, "centered : acc, c = sub t2 mean_t1", "centered : acc, c = sub mean_t1 t2"),
    _step("gradient_takes_a16", "ar takes a after its rounding to FP16", "B3",
          _BACKWARD, "ar : acc, c = mul a r", "let a_16 : 16, c = convert a", "ar : acc, c = mul a_16 r"),
    _step("gradient_reassociated", "ar_dgamma is a * (r * dgamma)", "B3",
          _BACKWARD, "ar_dgamma : acc, c = mul ar dgamma", "let r_dgamma : acc, c = mul r dgamma",
          "ar_dgamma : acc, c = mul a r_dgamma"),
    _step("gradient_mean_added", "q adds p * mean", "B3",
          _BACKWARD, "q : acc, c = sub at1_m p_mean", "q : acc, c = add at1_m p_mean"),
    _step("gradient_fused", "adz + py is fused with its first product", "B3",
          _BACKWARD, "adz_py : 16, n h w c = add adz py", "adz_py : 16, n h w c = fma a16 dz py"),
    _step("gradient_offset_first", "q16 is added before py", "B3",
          _BACKWARD, "out dy : 16, n h w c = add adz_py q16", "let adz_q : 16, n h w c = add adz q16",
          "out dy : 16, n h w c = add adz_q py"),
)  # fmt: skip

_WINDOWS = "contract.windows:"
_AVERAGE, _AVERAGE_DX = "contract.pool:AVG_FORWARD", "contract.pool:AVG_BACKWARD"
_HEAD, _HEAD_DX = "contract.linear:FORWARD", "contract.linear:BACKWARD"
_AVERAGE_Y, _HEAD_Y = "out y : 16, n oh ow c = mul sum inv_n", "out y : 16, n o = add sum bias"
_SWISH, _SWISH_Y = "contract.hard_swish:FORWARD", "out y : 16, n h w c = mul gated 0x3155"
_INVERSE, _PRODUCTS = "let inv_n : {}, n oh ow = reciprocal", "let products : 32, n i o = product wide weight"


def _layer(name: str, does: str, clause: str, *edits: Edit) -> Mutant:
    return Mutant(name, does, FaultFamily.LAYERS, clause, edits)


def _one(name: str, does: str, clause: str, target: str, old: str, *new: str) -> Mutant:
    return _layer(name, does, clause, Edit(target, old, "\n".join(new)))


OTHERS = (
    _one("relu_passes_at_zero", "relu passes the gradient where x is +0", "A1",
         f"{_WORDS}relu_passes", "fp16.is_positive(x)", "0 <= x <= FP16.infinity_bits"),
    _one("relu_keeps_minus_zero", "relu keeps the sign of what it clips", "A1",
         f"{_WORDS}relu", "        return 0\n", "        return x & 0x8000\n"),
    _one("relu_drops_nan", "relu turns NaN into 0", "A1", f"{_WORDS}relu", "return FP16.nan_bits", "return 0"),
    _one("relu6_passes_at_six", "relu6 passes the gradient where x is 6", "A1",
         f"{_WORDS}relu_passes", "x >= _SIX", "x > _SIX"),
    _one("relu_flushes", "relu takes subnormals for zero", "A1",
         "oracle.fp16:is_positive", "0 < a <=", "0x3FF < a <="),
    _one("ramp_slope_at_three", "hard swish keeps its slope at 3", "A6",
         f"{_WORDS}ramp", "< _THREE", "<= _THREE"),
    _one("ramp_drops_nan", "the derivative of hard swish at NaN is 1", "A6",
         f"{_WORDS}ramp", "return FP16.nan_bits", "return _ONE"),
    _one("hard_swish_unclamped", "the gate of hard swish has no upper end", "A6",
         _SWISH, "gate : 16, n h w c = relu6 shifted", "gate : 16, n h w c = relu shifted"),
    _one("hard_swish_sixth_truncated", "the constant 1/6 is truncated", "A6",
         _SWISH, _SWISH_Y, _SWISH_Y[:-1] + "4"),
    _one("concat_swapped", "the second map's channels come first", "A7",
         "contract.sequences:_join", "for value in maps", "for value in reversed(maps)"),
    _one("pool_last_maximum", "the last maximum of a window wins", "A2",
         f"{_WINDOWS}_winner", "max(candidates,", "max(reversed(candidates),"),
    _one("pool_ignores_nan", "NaN loses in max pool", "A2",
         f"{_WINDOWS}_order", "return FP16.infinity_bits + 1", "return -FP16.infinity_bits - 1"),
    _one("pool_orders_zeros", "+0 is greater than -0 in max pool", "A2",
         f"{_WINDOWS}_order", "return -magnitude if a & FP16.sign_mask else magnitude",
         "return -magnitude - (magnitude == 0) / 2 if a & FP16.sign_mask else magnitude"),
    _one("pool_padding_wins", "a row of padding competes as zeros", "A2",
         f"{_WINDOWS}_kept_rows", "rows[image, at] for kh, at in enumerate(sources) if at is not None",
         "np.zeros_like(rows[0, 0]).tolist() if at is None else rows[image, at] for kh, at in enumerate(sources)"),
    _one("pool_last_gradient_wins", "an input that wins twice keeps the last gradient only", "A2",
         f"{_WINDOWS}_gathered", "        return 0\n", "        return 0\n    won = won[-1:]\n"),
    _layer("average_inverse_in_fp16", "1/n of an average is rounded to FP16", "A3",
           *(Edit(target, _INVERSE.format(32), _INVERSE.format(16)) for target in (_AVERAGE, _AVERAGE_DX))),
    _one("average_sum_to_fp16", "the sum of an average is rounded to FP16 before it is scaled", "A3",
         _AVERAGE, _AVERAGE_Y, "let sum_16 : 16, n oh ow c = convert sum",
         "out y : 16, n oh ow c = mul sum_16 inv_n"),
    _one("average_through_float32", "the product of an average is rounded to FP32 first", "A3",
         _AVERAGE, _AVERAGE_Y, "let y_32 : 32, n oh ow c = mul sum inv_n", "out y : 16, n oh ow c = convert y_32"),
    _layer("head_products_in_fp16", "the head rounds its products to FP16", "A4",
           *(Edit(target, _PRODUCTS, f"let products_16 : 16, n i o = mul {given} weight\n"
                                     "let products : 32, n i o = widen products_16")
             for target, given in ((_HEAD, "x"), (_HEAD_DX, "dy")))),
    _one("head_sum_to_fp16", "the head rounds its sum to FP16 before the bias", "A4",
         _HEAD, _HEAD_Y, "let sum_16 : 16, n o = convert sum", "out y : 16, n o = add sum_16 bias"),
    _one("head_sum_through_float32", "the head adds its bias in FP32, then rounds to FP16", "A4",
         _HEAD, _HEAD_Y, "let y_32 : 32, n o = add sum bias", "out y : 16, n o = convert y_32"),
    _one("head_summed_running", "the head adds its products one after another", "A4",
         _HEAD, "sum : 32, n o = root sum_level",
         "let parts : 32, i n o = running products", "sum : 32, n o = last parts"),
    _one("head_gradient_summed_running", "the head's gradient adds its products one after another", "A4",
         _HEAD_DX, "sum : 32, n i = root sum_level",
         "let parts : 32, o n i = running products", "sum : 32, n i = last parts"),
    _one("average_summed_running", "a row of an average is added one element after another", "A3",
         _AVERAGE, "sum_running : 32, kh n oh ow c = running sum_level",
         "let parts : 32, w n oh kh ow c = running window", "let total : 32, n oh kh ow c = last parts",
         "sum_running : 32, kh n oh ow c = running total"),
    _layer("head_gradient_transposed", "the head's gradient takes the weights of the neighbouring input", "A4",
           neighbours("A4 backward", "weight")),
)  # fmt: skip

LAYERS = (*NORMS, *OTHERS)
