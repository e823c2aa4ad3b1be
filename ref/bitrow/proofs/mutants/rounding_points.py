"""One fault for every rounding point of the contract: truncated there, and rounded as stated everywhere else.

A set that finds them all holds, for each named intermediate, a word that its rounding decides.
"""

from __future__ import annotations

from collections.abc import Iterable

from bitrow.proofs.mutants.mutant import Edit, Family, Mutant

_FXP, _CONV, _NORM = "oracle.fxp:", "oracle.conv:", "oracle.batch_norm:"
_LAYERS, _POOL, _REDUCE = "oracle.layers:", "oracle.pool:", "oracle.reduce:"


def _cut(mode: str) -> str:
    """The text of a mode that truncates, and is as the mode in the text `mode` otherwise."""
    return f"FloatMode(type({mode}.rounding).TOWARD_ZERO, {mode}.overflow, {mode}.flush)"


def _point(name: str, clause: str, target: str, old: str, new: str, what: str = "") -> Mutant:
    does = f"{what or name.replace('_', ' ')} is truncated"
    return Mutant(f"{name}_truncated", does, Family.POINTS, clause, (Edit(target, old, new),))


def _in_mode(name: str, clause: str, target: str, old: str, mode: str = "mode", what: str = "") -> Mutant:
    """A point whose operation takes the mode last in `old`."""
    head, _, tail = old.rpartition(mode)
    return _point(name, clause, target, old, head + _cut(mode) + tail, what)


UNITS = (
    _in_mode("t", "Q1", f"{_FXP}quantize", "fp16.mul(x, inv_scale, mode)"),
    _in_mode("drawn_t", "Q3", f"{_FXP}quantize_stochastic", "fp16.mul(x, inv_scale, mode)", what="t of drawn codes"),
    _in_mode("deq", "D1", f"{_FXP}dequantize", "fp16.read(scale, mode), mode)", what="deq of a fused dequantizer"),
    _in_mode("acc_fp16", "D2", f"{_FXP}dequantize", "fp16.from_int32(acc, mode)"),
    _in_mode("two_step_deq", "D2", f"{_FXP}dequantize", "fp16.mul(acc_fp16, scale, mode)",
             what="deq of a two_step dequantizer"),
    _in_mode("biased_y", "D3", f"{_CONV}forward", "add = functools.partial(fp16.add, mode=config.mode)",
             "config.mode", "the sum of deq and bias"),
    _in_mode("dy_folded", "C2", f"{_CONV}backward", "functools.partial(fp16.mul, mode=config.mode)", "config.mode"),
    _in_mode("scaled_dx_sum", "C3", f"{_CONV}_scaled_sums", "scale, config.mode)", "config.mode",
             "dx_deq of an FP16 gradient"),
    _point("dx_sum", "C3", "oracle.float_sum:_fp32_of_units", "magnitude, -24)",
           f"magnitude, -24, {_cut('softfloat.NEAREST')})", "the running sum of an FP16 gradient"),
    _in_mode("added", "A2", f"{_LAYERS}add_forward", "mode=config.mode)", "config.mode", "the residual sum"),
    _in_mode("accumulated", "A5", f"{_LAYERS}accumulate", "mode=mode)", what="the sum of a value's gradients"),
    _in_mode("head_y", "A4", f"{_LAYERS}linear_forward", "fp32.read(b), config.mode)", "config.mode", "the head's y"),
    _in_mode("head_dx", "A4", f"{_LAYERS}linear_backward", "fp16.from_float32, mode=config.mode)", "config.mode",
             "the head's dx"),
    _in_mode("pooled_dx", "A2", f"{_POOL}_gathered", "fp16.add(total, dy, mode)",
             what="the gradient of a shared winner"),
    _in_mode("average", "A3", f"{_POOL}avg_forward", "inv_n, config.mode)", "config.mode", "y of an average"),
    _in_mode("average_dx", "A3", f"{_POOL}avg_backward", "fp16.read(g, mode), inv_n, mode)", what="dx of an average"),
    _point("inv_n", "A3", f"{_POOL}_inv_n", "fp32.from_fraction(Fraction(1, kernel[0] * kernel[1]))",
           f"softfloat.from_fraction(FP32, Fraction(1, kernel[0] * kernel[1]), {_cut('softfloat.NEAREST')})"),
    _point("tree", "B2", f"{_REDUCE}tree", "map_words(arithmetic.add,",
           f"map_words(Arithmetic(arithmetic.fmt, {_cut('arithmetic.mode')}).add,", "each sum of a tree"),
    _point("running", "B2", f"{_REDUCE}running", "map_words(arithmetic.add,",
           f"map_words(Arithmetic(arithmetic.fmt, {_cut('arithmetic.mode')}).add,", "each running sum over rows"),
    _point("m", "B2", f"{_REDUCE}Arithmetic.reciprocal", "FloatMode())", f"{_cut('self.mode')})"),
)  # fmt: skip

_ELEMENTS = (
    _in_mode("ay", "B1", f"{_NORM}_affine", "functools.partial(fp16.mul, mode=mode)"),
    _in_mode("z", "B1", f"{_NORM}_affine", "functools.partial(fp16.add, mode=mode)"),
    _in_mode("fused_z", "B1", f"{_NORM}_affine", "fp16.fma(ai, yi, bi, mode)", what="z under fma"),
    _in_mode("frozen_dy", "B1", f"{_NORM}backward_frozen", "mode=config.mode)", "config.mode",
             "dy of a frozen batch norm"),
    _in_mode("product", "B2", f"{_NORM}_products", "fp16.read(b, mode), acc.mode)", "acc.mode",
             "yy or dzy of FP16 statistics"),
    _in_mode("a16", "B2", f"{_NORM}_channel_forward", 'acc.to_fp16(t["a"], mode)'),
    _in_mode("b16", "B2", f"{_NORM}_channel_forward", 'acc.to_fp16(t["b"], mode)'),
    _in_mode("p16", "B3", f"{_NORM}_channel_backward", 'acc.to_fp16(t["p"], mode)'),
    _in_mode("q16", "B3", f"{_NORM}_channel_backward", 'acc.to_fp16(t["q"], mode)'),
)  # fmt: skip


def _steps(function: str, clause: str, names: str) -> Iterable[Mutant]:
    """Truncate each named step of a channel, `t[NAME] = acc.OPERATION(...)`."""
    for pair in names.split():
        name, operation = pair.split(":")
        old = f't["{name}"] = acc.{operation}('
        new = f't["{name}"] = Arithmetic(acc.fmt, {_cut("acc.mode")}).{operation}('
        yield _point(name, clause, f"{_NORM}{function}", old, new)


_FORWARD = "mean:mul s2m:mul mean_sq:mul var_raw:sub var_eps:add std:sqrt r:div a:mul mean_a:mul b:sub"
_BACKWARD = "mean_t1:mul centered:sub dgamma:mul ar:mul ar_dgamma:mul p:mul at1:mul at1_m:mul p_mean:mul q:sub"


def _elements(names: str) -> Iterable[Mutant]:
    """Truncate each elementwise step of B3, `taps[NAME] = map_words(OPERATION, ...)`."""
    for pair in names.split():
        name, operation = pair.split(":")
        old = f'taps["{name}"] = map_words({operation}, '
        new = f'taps["{name}"] = map_words(functools.partial(fp16.{operation}, mode={_cut("mode")}), '
        yield _point(f"batch_{name}" if name == "dy" else name, "B3", f"{_NORM}backward_batch", old, new,
                     "dy of batch statistics" if name == "dy" else "")  # fmt: skip


ROUNDING_POINTS = (
    *UNITS,
    *_ELEMENTS,
    *_steps("_channel_forward", "B2", _FORWARD),
    *_steps("_channel_backward", "B3", _BACKWARD),
    *_elements("adz:mul py:mul adz_py:add dy:add"),
)
