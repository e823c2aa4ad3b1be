"""The frozen FXP convolution, forward and input gradient, one scalar at a time (SPEC.md Q, M, D, C).

Inputs and results are dicts of integer bit arrays: uint16 for FP16 and LFSR words, uint32 for FP32, int8
(uint8 for unsigned formats) for codes, int32 for accumulators, uint8 for masks. Taps bear SPEC.md's names.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np

from bitrow.config import ConvConfig, output_size
from bitrow.errors import BitrowError
from bitrow.formats import FP16, FP32, Accumulator, AccOverflow, FloatMode, Fxp, Gradient, QuantRounding
from bitrow.oracle import fp16, fp32, fxp, gather, lfsr, softfloat
from bitrow.oracle.arrays import Row, Words, chosen_rows, lead, map_words, need, take
from bitrow.oracle.gather import Gather
from bitrow.oracle.softfloat import Kind

_ONE = softfloat.integer(1)


def code_dtype(fmt: Fxp) -> type:
    """The numpy carrier of codes of `fmt`."""
    return np.int8 if fmt.signed else np.uint8


def input_rows(
    config: ConvConfig, x_shape: tuple[int, ...], weight_shape: tuple[int, ...], rows: Iterable[Row] | None
) -> list[Row]:
    """The rows of x that output `rows` read: those of `forward`'s taps t, x_code and mask, in order."""
    sources = gather.forward_sources(x_shape[1], weight_shape[0], config.stride, config.padding)
    return gather.touched(sources, x_shape, rows)


def gradient_rows(
    config: ConvConfig,
    x_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    dy_shape: tuple[int, ...],
    rows: Iterable[Row] | None,
) -> list[Row]:
    """The rows of dy that dx `rows` read: those of `backward`'s taps dy_folded to dy_code, in order."""
    sources = gather.gradient_sources(x_shape[1], dy_shape[1], weight_shape[0], config.stride, config.padding)
    return gather.touched(sources, dy_shape, rows)


def forward(config: ConvConfig, inputs: Words, rows: Iterable[Row] | None = None) -> Words:
    """Forward pass of C1 with every tap.

    Args:
        config: the layer.
        inputs: x uint16 `[n, h, w, c_in]`, weight_code `[kh, kw, c_in/groups, c_out]`, x_inv_scale uint16
            `[]`, scale uint16 `[]` or `[c_out]`, and bias uint16 `[c_out]` if the layer has one.
        rows: the output rows wanted, all where None.

    Returns:
        t, x_code, mask `[n, h, w, c_in]`; acc, acc_running `[K, n, oh, ow, c_out]` (under `saturate`), acc_fp16
        (two_step), deq, y `[n, oh, ow, c_out]`. With `rows`, `n, oh` become one axis of those rows, and `n, h`
        one axis of `input_rows`.

    Raises:
        BitrowError: shapes that do not fit, or an accumulator that M2 refuses.
    """
    rows = None if rows is None else list(rows)
    x, weight, inv_scale, scale = need(inputs, "x", "weight_code", "x_inv_scale", "scale")
    _check_shapes(config, weight.shape, x.shape)
    read = input_rows(config, x.shape, weight.shape, rows)
    plan = gather.forward_gather(weight, x.shape[1:3], config.stride, config.padding, config.groups)
    taps = _quantized(take(x, read), inv_scale, config.x_format, config.mode, None)
    oh = len(plan.rows)
    targets = chosen_rows(rows, x.shape[0], oh)
    sums = _accumulate(config.accumulator, plan, _by_row(read, taps[1]), targets)
    results = _dequantized(config, sums[0], scale)
    deq = results["deq"]
    bias = inputs.get("bias")
    results["y"] = deq if bias is None else map_words(_adder(config.mode), np.uint16, deq, np.asarray(bias))
    source_lead = lead(None if rows is None else read, *x.shape[:2])
    target_lead = lead(rows, x.shape[0], oh)
    out = dict(zip(("t", "x_code", "mask"), (_spread(tap, source_lead) for tap in taps), strict=True))
    out["acc"] = _spread(sums[0], target_lead)
    if sums[1] is not None:
        out["acc_running"] = _spread(sums[1], target_lead, running=True)
    return out | {name: _spread(tap, target_lead) for name, tap in results.items()}


def backward(config: ConvConfig, inputs: Words, rows: Iterable[Row] | None = None) -> Words:
    """Input gradient of C2, or of C3 where the configuration says so, with every tap.

    Args:
        config: the layer.
        inputs: dy uint16 `[n, oh, ow, c_out]`, mask uint8 `[n, h, w, c_in]`, weight_code; w_scale uint16 `[]` or
            `[c_out]`; dy_inv_scale and dx_scale uint16 `[]` (C2); seed uint16 `[]` (stochastic).
        rows: the rows of dx wanted, all where None.

    Returns:
        dy_folded (with `fold`), dy_words (stochastic), dy_t, dy_code `[n, oh, ow, c_out]`, dx_acc,
        dx_acc_running, dx_acc_fp16; or for C3 dx_sum_running, dx_sum; then dx_deq, dx `[n, h, w, c_in]`. With
        `rows`, `n, h` become one axis of those rows, and `n, oh` one axis of `gradient_rows`.

    Raises:
        BitrowError: shapes that do not fit, a scale for each channel without `fold` (C2), or an accumulator
            that M2 refuses.
    """
    rows = None if rows is None else list(rows)
    dy, mask, weight, w_scale = need(inputs, "dy", "mask", "weight_code", "w_scale")
    _check_shapes(config, weight.shape, mask.shape)
    if w_scale.size != 1 and not config.fold:
        raise BitrowError(f"convolution w_scale: found {w_scale.size} scales, expected one, or fold")
    _check_gradient(config, dy.shape, weight.shape, mask.shape)
    plan = gather.gradient_gather(weight, mask.shape[1:3], config.stride, config.padding, config.groups)
    targets = chosen_rows(rows, *mask.shape[:2])
    read = gradient_rows(config, mask.shape, weight.shape, dy.shape, rows)
    gradient, source_taps = take(dy, read), {}
    if config.fold:
        gradient = map_words(functools.partial(fp16.mul, mode=config.mode), np.uint16, gradient, w_scale)
        source_taps["dy_folded"] = gradient
    running = None
    if config.gradient is Gradient.FP16:
        sums, running = _float_sums(plan, _by_row(read, gradient), targets, config.mode)
        target_taps = {"dx_sum": sums, "dx_deq": _scaled_sums(config, sums, w_scale)}
    else:
        words = _dy_words(config, inputs, dy.shape, read)
        inv_scale, dx_scale = need(inputs, "dy_inv_scale", "dx_scale")
        t, code, _ = _quantized(gradient, inv_scale, config.dy_format, config.mode, words)
        source_taps |= {"dy_t": t, "dy_code": code} | ({} if words is None else {"dy_words": words})
        sums, running = _accumulate(config.accumulator, plan, _by_row(read, code), targets)
        dequantized = _dequantized(config, sums, dx_scale)
        target_taps = {"dx_acc": sums} | {f"dx_{name}": tap for name, tap in dequantized.items()}
    target_taps["dx"] = map_words(
        lambda deq, kept: deq if kept else 0, np.uint16, target_taps["dx_deq"], take(mask, targets)
    )
    source_lead = lead(None if rows is None else read, *dy.shape[:2])
    target_lead = lead(rows, *mask.shape[:2])
    out = {name: _spread(tap, source_lead) for name, tap in source_taps.items()}
    if running is not None:
        name = "dx_sum_running" if config.gradient is Gradient.FP16 else "dx_acc_running"
        out[name] = _spread(running, target_lead, running=True)
    return out | {name: _spread(tap, target_lead) for name, tap in target_taps.items()}


def _check_shapes(config: ConvConfig, kernel: tuple[int, ...], x_shape: tuple[int, ...]) -> None:
    if len(kernel) != 4 or len(x_shape) != 4:
        raise BitrowError(f"convolution: found shapes {kernel} and {x_shape}, expected four axes each")
    config.check("convolution", (kernel[0], kernel[1], kernel[2], kernel[3]))
    if x_shape[3] != kernel[2] * config.groups:
        raise BitrowError(f"convolution: found {x_shape[3]} channels, expected {kernel[2] * config.groups}")


def _check_gradient(
    config: ConvConfig, dy_shape: tuple[int, ...], kernel: tuple[int, ...], x_shape: tuple[int, ...]
) -> None:
    sizes = (output_size(x_shape[i], kernel[i - 1], config.stride, config.padding) for i in (1, 2))
    expected = (x_shape[0], *sizes, kernel[3])
    if dy_shape != expected:
        raise BitrowError(f"convolution dy: found shape {dy_shape}, expected {expected}")


def _spread(tap: np.ndarray, shape: tuple[int, ...], running: bool = False) -> np.ndarray:
    """A tap's axis of rows as the leading shape wanted; a running index stays in front."""
    if running:
        return tap.reshape(tap.shape[0], *shape, *tap.shape[2:])
    return tap.reshape(*shape, *tap.shape[1:])


def _by_row(rows: list[Row], words: np.ndarray) -> dict[Row, list[list[int]]]:
    return dict(zip(rows, words.tolist(), strict=True))


def _adder(mode: FloatMode):
    return functools.partial(fp16.add, mode=mode)


def _quantized(
    x: np.ndarray, inv_scale: np.ndarray, fmt: Fxp, mode: FloatMode, words: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """t, code and mask of each element (Q1 to Q4)."""
    inverse = int(inv_scale)
    flat = x.ravel().tolist()
    if words is None:
        results = [fxp.quantize(word, inverse, fmt, mode) for word in flat]
    else:
        pairs = zip(flat, words.ravel().tolist(), strict=True)
        results = [fxp.quantize_stochastic(word, inverse, noise, fmt, mode) for word, noise in pairs]
    return (
        np.array([r.t for r in results], np.uint16).reshape(x.shape),
        np.array([r.code for r in results], code_dtype(fmt)).reshape(x.shape),
        np.array([r.mask for r in results], np.uint8).reshape(x.shape),
    )


def _dy_words(
    config: ConvConfig, inputs: Words, dy_shape: tuple[int, ...], rows: list[Row]
) -> np.ndarray | None:
    """The LFSR words of the chosen rows of dy, each row jumped to (Q3)."""
    if config.dy_rounding is not QuantRounding.STOCHASTIC:
        return None
    (seed,) = need(inputs, "seed")
    _, h, w, c = dy_shape
    noise = [lfsr.words(int(seed), (n * h + i) * w * c, w * c) for n, i in rows]
    return np.array(noise, np.uint16).reshape(len(rows), w, c)


def _accumulate(
    accumulator: Accumulator, plan: Gather, codes: dict[Row, list[list[int]]], targets: list[Row]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Accumulators `[rows, w, c]` and, under `saturate`, their running values `[K, rows, w, c]` (M1, M2)."""
    saturate = accumulator.overflow is AccOverflow.SATURATE
    reduce = fxp.mac_running if saturate else fxp.mac
    rows = [
        [
            [
                reduce(patch, kernel, accumulator)
                for patch, kernels in zip(groups, plan.kernels, strict=True)
                for kernel in kernels
            ]
            for groups in gather.patches(plan, codes, target, 0)
        ]
        for target in targets
    ]
    if not saturate:
        return np.array(rows, np.int32).reshape(_shape(plan, targets)), None
    terms = len(plan.kernels[0][0])
    running = np.moveaxis(np.array(rows, np.int32).reshape(*_shape(plan, targets), terms), -1, 0)
    return running[-1], running


def _shape(plan: Gather, targets: list[Row]) -> tuple[int, int, int]:
    return len(targets), len(plan.columns), len(plan.kernels) * len(plan.kernels[0])


def _dequantized(config: ConvConfig, acc: np.ndarray, scale: np.ndarray) -> Words:
    """acc_fp16 (two_step) and deq of each accumulator (D1, D2)."""
    accs, scales = np.broadcast_arrays(acc, scale)
    results = [
        fxp.dequantize(a, s, config.dequantize, config.mode)
        for a, s in zip(accs.ravel().tolist(), scales.ravel().tolist(), strict=True)
    ]
    taps = {"deq": np.array([r.deq for r in results], np.uint16).reshape(acc.shape)}
    first = [r.acc_fp16 for r in results if r.acc_fp16 is not None]
    return {"acc_fp16": np.array(first, np.uint16).reshape(acc.shape)} | taps if first else taps


def _scaled_sums(config: ConvConfig, sums: np.ndarray, w_scale: np.ndarray) -> np.ndarray:
    """dx_deq of C3: the exact product of dx_sum and scale, rounded once."""
    scale = _ONE if config.fold else fp16.read(int(w_scale.reshape(())), config.mode)
    return map_words(lambda s: softfloat.mul(FP16, fp32.read(s), scale, config.mode), np.uint16, sums)


def _float_sums(
    plan: Gather, dy: dict[Row, list[list[int]]], targets: list[Row], mode: FloatMode
) -> tuple[np.ndarray, np.ndarray]:
    """dx_sum `[rows, w, c]` and its running values `[K, rows, w, c]`, FP32 (C3)."""
    rows = [
        [
            [
                running_sum(patch, kernel, mode)
                for patch, kernels in zip(groups, plan.kernels, strict=True)
                for kernel in kernels
            ]
            for groups in gather.patches(plan, dy, target, None)
        ]
        for target in targets
    ]
    terms = len(plan.kernels[0][0])
    running = np.moveaxis(np.array(rows, np.uint32).reshape(*_shape(plan, targets), terms), -1, 0)
    return running[-1], running


def running_sum(words: list[int | None], codes: list[int], mode: FloatMode) -> list[int]:
    """FP32 sum of FP16 words times codes after each term, from +0; None terms are skipped (C3, F9)."""
    numbers = [None if word is None else fp16.read(word, mode) for word in words]
    if any(number is not None and number.kind is not Kind.FINITE for number in numbers):
        return _special_sum(words, codes, mode)
    total, bits, result = 0, 0, []
    for number, code in zip(numbers, codes, strict=True):
        if number is not None and number.significand and code:
            # Counted in 2^-24, of which every FP16 number is a multiple: the sum never leaves the integers.
            units = number.significand << (number.exponent + 24)
            bits, total = _fp32_of_units(total + (-units if number.sign else units) * code)
        result.append(bits)
    return result


@functools.lru_cache(maxsize=1 << 18)
def _fp32_of_units(units: int) -> tuple[int, int]:
    """`units * 2^-24` rounded to FP32, and what that is in units again."""
    bits = softfloat.round_to(FP32, int(units < 0), abs(units), -24)
    number = fp32.read(bits)
    magnitude = number.significand << (number.exponent + 24) if number.exponent >= -24 else abs(units)
    return bits, -magnitude if number.sign else magnitude


def _special_sum(words: list[int | None], codes: list[int], mode: FloatMode) -> list[int]:
    """The same by FP32 operations, for infinities and NaN: infinity times code 0 is NaN (F4)."""
    total, result = 0, []
    for word, code in zip(words, codes, strict=True):
        if word is not None:
            product = softfloat.mul(FP32, fp16.read(word, mode), softfloat.integer(code))
            total = fp32.add(total, product)
        result.append(total)
    return result
