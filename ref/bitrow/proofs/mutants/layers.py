"""Faults of batch norm and of the other layers (SPEC.md B, A)."""

from __future__ import annotations

from bitrow.proofs.mutants.mutant import Edit, Family, Mutant

_NORM, _LAYERS, _POOL = "oracle.batch_norm:", "oracle.layers:", "oracle.pool:"
_FORWARD, _BACKWARD = f"{_NORM}_channel_forward", f"{_NORM}_channel_backward"


def _norm(name: str, does: str, clause: str, target: str, old: str, new: str) -> Mutant:
    return Mutant(name, does, Family.BATCH_NORM, clause, (Edit(target, old, new),))


NORMS = (
    _norm("norm_fused", "frozen batch norm fuses its product and sum", "B1",
          f"{_NORM}_affine", "map_words(functools.partial(fp16.add, mode=mode), np.uint16, ay, b)",
          "map_words(lambda ai, yi, bi: fp16.fma(ai, yi, bi, mode), np.uint16, a, y, b)"),
    _norm("norm_fma_split", "the fma option rounds the product, too", "B1",
          f"{_NORM}_affine", "fp16.fma(ai, yi, bi, mode)", "fp16.add(fp16.mul(ai, yi, mode), bi, mode)"),
    _norm("norm_gradient_of_the_neighbour", "a frozen channel's gradient takes its neighbour's a", "B1",
          f"{_NORM}backward_frozen", "np.uint16, a, wanted", "np.uint16, np.roll(a, 1), wanted"),
    _norm("variance_negated", "the variance is E[x]^2 - E[x^2]", "B2",
          _FORWARD, 'acc.sub(t["s2m"], t["mean_sq"])', 'acc.sub(t["mean_sq"], t["s2m"])'),
    _norm("variance_not_clamped", "a negative variance is not clamped to 0", "B2",
          _FORWARD, 'acc.positive_part(t["var_raw"])', 't["var_raw"]'),
    _norm("variance_drops_nan", "a NaN variance is clamped to 0", "B2",
          "oracle.reduce:Arithmetic.positive_part", "return self.fmt.nan_bits", "return 0"),
    _norm("mean_by_division", "the mean is s1 / M, not s1 * m", "B2",
          _FORWARD, 'acc.mul(s1, m)', "acc.div(s1, acc.div(acc.one, m))"),
    _norm("mean_square_reassociated", "the squared mean is (s1*s1) * (m*m)", "B2",
          _FORWARD, 'acc.mul(t["mean"], t["mean"])', "acc.mul(acc.mul(s1, s1), acc.mul(m, m))"),
    _norm("root_of_the_reciprocal", "r is sqrt(1 / var_eps), not 1 / std", "B2",
          _FORWARD, 'acc.div(acc.one, t["std"])', 'acc.sqrt(acc.div(acc.one, t["var_eps"]))'),
    _norm("eps_after_the_root", "eps is added after the root", "B2",
          _FORWARD, 't["std"] = acc.sqrt(t["var_eps"])',
          't["std"] = acc.add(acc.sqrt(t["var"]), acc.host_value(eps))'),
    _norm("a16_rounded_twice", "a16 is the FP16 product of gamma and r, each rounded to FP16 before", "B2",
          _FORWARD, 'acc.to_fp16(t["a"], mode)',
          'fp16.mul(acc.to_fp16(acc.host_value(gamma), mode), acc.to_fp16(t["r"], mode), mode)'),
    _norm("host_values_truncated", "gamma, beta and eps become FP16 by truncation", "B2",
          "oracle.reduce:Arithmetic.host_value", "FloatMode())",
          "FloatMode(type(self.mode.rounding).TOWARD_ZERO))"),
    _norm("gradient_centered_on_dz", "dgamma is centered with the order of its difference turned", "B3",
          _BACKWARD, 'acc.sub(t2, t["mean_t1"])', 'acc.sub(t["mean_t1"], t2)'),
    _norm("gradient_takes_a16", "ar takes a after its rounding to FP16", "B3",
          _BACKWARD, 't["ar"] = acc.mul(a, r)',
          't["ar"] = acc.mul(softfloat.round_number(acc.fmt, softfloat.unpack(FP16, acc.to_fp16(a, mode))), r)'),
    _norm("gradient_reassociated", "ar_dgamma is a * (r * dgamma)", "B3",
          _BACKWARD, 'acc.mul(t["ar"], t["dgamma"])', 'acc.mul(a, acc.mul(r, t["dgamma"]))'),
    _norm("gradient_mean_added", "q adds p * mean", "B3",
          _BACKWARD, 'acc.sub(t["at1_m"], t["p_mean"])', 'acc.add(t["at1_m"], t["p_mean"])'),
    _norm("gradient_fused", "adz + py is fused with its first product", "B3",
          f"{_NORM}backward_batch", 'map_words(add, np.uint16, taps["adz"], taps["py"])',
          'map_words(lambda i, g, p: fp16.fma(i, g, p, mode), np.uint16, a16, dz, taps["py"])'),
    _norm("gradient_offset_first", "q16 is added before py", "B3",
          f"{_NORM}backward_batch", 'map_words(add, np.uint16, taps["adz_py"], taps["q16"])',
          'map_words(lambda i, p, q: add(add(i, q), p), np.uint16, taps["adz"], taps["py"], taps["q16"])'),
)  # fmt: skip


def _layer(name: str, does: str, clause: str, target: str, old: str, new: str) -> Mutant:
    return Mutant(name, does, Family.LAYERS, clause, (Edit(target, old, new),))


OTHERS = (
    _layer("relu_passes_at_zero", "relu passes the gradient where x is +0", "A1",
           f"{_LAYERS}relu_passes", "fp16.is_positive(x)", "0 <= x <= FP16.infinity_bits"),
    _layer("relu_keeps_minus_zero", "relu keeps the sign of what it clips", "A1",
           f"{_LAYERS}relu", "        return 0\n", "        return x & 0x8000\n"),
    _layer("relu_drops_nan", "relu turns NaN into 0", "A1", f"{_LAYERS}relu", "return FP16.nan_bits", "return 0"),
    _layer("relu6_passes_at_six", "relu6 passes the gradient where x is 6", "A1",
           f"{_LAYERS}relu_passes", "x >= _SIX", "x > _SIX"),
    _layer("relu_flushes", "relu takes subnormals for zero", "A1",
           "oracle.fp16:is_positive", "0 < a <=", "0x3FF < a <="),
    _layer("pool_last_maximum", "the last maximum of a window wins", "A2",
           f"{_POOL}_winner", "max(candidates,", "max(reversed(candidates),"),
    _layer("pool_ignores_nan", "NaN loses in max pool", "A2",
           f"{_POOL}_order", "return FP16.infinity_bits + 1", "return -FP16.infinity_bits - 1"),
    _layer("pool_orders_zeros", "+0 is greater than -0 in max pool", "A2",
           f"{_POOL}_order", "return -magnitude if a & FP16.sign_mask else magnitude",
           "return -magnitude - (magnitude == 0) / 2 if a & FP16.sign_mask else magnitude"),
    _layer("pool_padding_wins", "a row of padding competes as zeros", "A2",
           f"{_POOL}max_forward", "x[image, at].tolist() for kh, at in enumerate(row_sources[i]) if at is not None",
           "(x[0, 0] * 0 if at is None else x[image, at]).tolist() for kh, at in enumerate(row_sources[i])"),
    _layer("pool_last_gradient_wins", "an input that wins twice keeps the last gradient only", "A2",
           f"{_POOL}_gathered", "        return 0\n", "        return 0\n    won = won[-1:]\n"),
    _layer("average_inverse_in_fp16", "1/n of an average is rounded to FP16", "A3",
           f"{_POOL}_inv_n", "fp32.read(fp32.from_fraction(Fraction(1, kernel[0] * kernel[1])))",
           "fp16.read(softfloat.from_fraction(FP16, Fraction(1, kernel[0] * kernel[1])))"),
    _layer("average_sum_to_fp16", "the sum of an average is rounded to FP16 before it is scaled", "A3",
           f"{_POOL}avg_forward", "softfloat.mul(FP16, fp32.read(s), inv_n, config.mode)",
           "softfloat.mul(FP16, fp16.read(fp16.from_float32(s, config.mode)), inv_n, config.mode)"),
    _layer("average_through_float32", "the product of an average is rounded to FP32 first", "A3",
           f"{_POOL}avg_forward", "softfloat.mul(FP16, fp32.read(s), inv_n, config.mode)",
           "fp16.from_float32(softfloat.mul(FP32, fp32.read(s), inv_n), config.mode)"),
    _layer("head_products_in_fp16", "the head rounds its products to FP16", "A4",
           f"{_LAYERS}_products", "softfloat.mul(FP32, fp16.read(a, mode), fp16.read(b, mode))",
           "fp16.to_float32(fp16.mul(a, b, mode))"),
    _layer("head_sum_to_fp16", "the head rounds its sum to FP16 before the bias", "A4",
           f"{_LAYERS}linear_forward", "softfloat.add(FP16, fp32.read(s), fp32.read(b), config.mode)",
           "softfloat.add(FP16, fp16.read(fp16.from_float32(s, config.mode)), fp32.read(b), config.mode)"),
    _layer("head_sum_through_float32", "the head adds its bias in FP32, then rounds to FP16", "A4",
           f"{_LAYERS}linear_forward", "softfloat.add(FP16, fp32.read(s), fp32.read(b), config.mode)",
           "fp16.from_float32(fp32.add(s, b), config.mode)"),
    _layer("head_gradient_transposed", "the head's gradient takes the weights of the neighbouring input", "A4",
           f"{_LAYERS}linear_backward", "weight[None]", "np.roll(weight, 1, axis=0)[None]"),
)  # fmt: skip

LAYERS = (*NORMS, *OTHERS)
