"""The frozen FXP convolution, forward and input gradient, one scalar at a time (SPEC.md Q, M, D, C).

Inputs and results are dicts of integer bit arrays: uint16 for FP16 and LFSR words, uint32 for FP32, int8
(uint8 for unsigned formats) for codes, int32 for accumulators, uint8 for masks. Taps bear SPEC.md's names.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np

from bitrow.config import ConvConfig, output_size
from bitrow.errors import BitrowError
from bitrow.formats import FP16, AccOverflow, Accumulator, FloatMode, Fxp, Gradient, QuantRounding
from bitrow.oracle import fp16, fp32, fxp, gather, lfsr, softfloat
from bitrow.oracle.arrays import Row, Words, chosen_rows, lead, map_words, need, take
from bitrow.oracle.float_sum import running_sum
from bitrow.oracle.gather import Gather

T = TypeVar("T")
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
        t, x_code, mask `[n, h, w, c_in]`; acc, acc_running `[K, n, oh, ow, c_out]` (where M2 saturates),
        acc_fp16 (two_step), deq, y `[n, oh, ow, c_out]`. With `rows`, `n, oh` become one axis of those rows,
        and `n, h` one axis of `input_rows`.

    Raises:
        BitrowError: shapes that do not fit, or an accumulator that M2 refuses.
    """
    rows = None if rows is None else list(rows)
    x, weight, inv_scale, scale = need(inputs, "x", "weight_code", "x_inv_scale", "scale")
    _check_shapes(config, weight.shape, x.shape)
    read = input_rows(config, x.shape, weight.shape, rows)
    plan = gather.forward_gather(weight, x.shape[1:3], config.stride, config.padding, config.groups)
    quantized = _quantized(take(x, read), inv_scale, config.x_format, config.mode, None)
    taps: Words = dict(zip(("t", "x_code", "mask"), quantized, strict=True))
    oh = len(plan.rows)
    targets = chosen_rows(rows, x.shape[0], oh)
    bound = config.bounds(weight.shape)[0]
    sums = _accumulate(config.accumulator, bound, plan, _by_row(read, taps["x_code"]), targets)
    results = sums | _dequantized(config, sums["acc"], scale)
    deq = results["deq"]
    add = functools.partial(fp16.add, mode=config.mode)
    results["y"] = map_words(add, np.uint16, deq, np.asarray(inputs["bias"])) if "bias" in inputs else deq
    source_lead = lead(None if rows is None else read, *x.shape[:2])
    return _spread(taps, source_lead) | _spread(results, lead(rows, x.shape[0], oh))


def backward(config: ConvConfig, inputs: Words, rows: Iterable[Row] | None = None) -> Words:
    """Input gradient of C2, or of C3 where the configuration says so, with every tap.

    Args:
        config: the layer.
        inputs: dy uint16 `[n, oh, ow, c_out]`, mask uint8 `[n, h, w, c_in]`, weight_code; w_scale uint16 `[]`
            or `[c_out]`; dy_inv_scale and dx_scale uint16 `[]` (C2); seed uint16 `[]` (stochastic).
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
    gradient = take(dy, read)
    taps: Words = {}
    if config.fold:
        gradient = map_words(functools.partial(fp16.mul, mode=config.mode), np.uint16, gradient, w_scale)
        taps["dy_folded"] = gradient
    if config.gradient is Gradient.FP16:
        results = _float_sums(plan, _by_row(read, gradient), targets, config.mode)
        results["dx_deq"] = _scaled_sums(config, results["dx_sum"], w_scale)
    else:
        taps |= _gradient_codes(config, inputs, gradient, dy.shape, read)
        bound = config.bounds(weight.shape)[1]
        sums = _accumulate(config.accumulator, bound, plan, _by_row(read, taps["dy_code"]), targets)
        sums |= _dequantized(config, sums["acc"], *need(inputs, "dx_scale"))
        results = {f"dx_{name}": tap for name, tap in sums.items()}
    kept = take(mask, targets)
    results["dx"] = map_words(lambda deq, passes: deq if passes else 0, np.uint16, results["dx_deq"], kept)
    source_lead = lead(None if rows is None else read, *dy.shape[:2])
    return _spread(taps, source_lead) | _spread(results, lead(rows, *mask.shape[:2]))


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


def _spread(taps: Words, shape: tuple[int, ...]) -> Words:
    """Each tap's axis of rows as the leading shape wanted; a running index stays in front (T2)."""
    return {
        name: tap.reshape(tap.shape[0], *shape, *tap.shape[2:])
        if name.endswith("_running")
        else tap.reshape(*shape, *tap.shape[1:])
        for name, tap in taps.items()
    }


def _by_row(rows: list[Row], words: np.ndarray) -> dict[Row, list[list[int]]]:
    return dict(zip(rows, words.tolist(), strict=True))


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


def _gradient_codes(
    config: ConvConfig, inputs: Words, gradient: np.ndarray, dy_shape: tuple[int, ...], rows: list[Row]
) -> Words:
    """dy_words (stochastic: the LFSR jumps to each row, Q3), dy_t and dy_code of the chosen rows of dy."""
    (inv_scale,) = need(inputs, "dy_inv_scale")
    taps: Words = {}
    if config.dy_rounding is QuantRounding.STOCHASTIC:
        (seed,) = need(inputs, "seed")
        _, h, w, c = dy_shape
        noise = [lfsr.words(int(seed), (n * h + i) * w * c, w * c) for n, i in rows]
        taps["dy_words"] = np.array(noise, np.uint16).reshape(len(rows), w, c)
    t, code, _ = _quantized(gradient, inv_scale, config.dy_format, config.mode, taps.get("dy_words"))
    return taps | {"dy_t": t, "dy_code": code}


def _accumulate(
    accumulator: Accumulator, bound: int, plan: Gather, codes: dict[Row, list[list[int]]], targets: list[Row]
) -> Words:
    """acc `[rows, w, c]` and acc_running `[K, rows, w, c]`, the latter where M2's `saturate` applies.

    That is where the worst case `bound` exceeds the register: elsewhere the sum is exact in any order.
    """
    if accumulator.overflow is AccOverflow.SATURATE and bound > accumulator.max:
        running = _running(plan, codes, targets, 0, np.int32, lambda x, w: fxp.mac_running(x, w, accumulator))
        return {"acc_running": running, "acc": running[-1]}
    rows = [
        [
            [
                fxp.mac(patch, kernel, accumulator)
                for patch, kernels in zip(groups, plan.kernels, strict=True)
                for kernel in kernels
            ]
            for groups in gather.patches(plan, codes, target, 0)
        ]
        for target in targets
    ]
    return {"acc": np.array(rows, np.int32).reshape(_shape(plan, targets))}


def _running(
    plan: Gather,
    source: dict[Row, list[list[T]]],
    targets: list[Row],
    outside: T,
    dtype: type,
    reduce: Callable[[list[T], list[int]], list[int]],
) -> np.ndarray:
    """Every running value of the sums, `[K, rows, w, c]` (T2)."""
    values = [
        reduce(patch, kernel)
        for target in targets
        for groups in gather.patches(plan, source, target, outside)
        for patch, kernels in zip(groups, plan.kernels, strict=True)
        for kernel in kernels
    ]
    terms = len(plan.kernels[0][0])
    return np.moveaxis(np.array(values, dtype).reshape(*_shape(plan, targets), terms), -1, 0)


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


def _float_sums(plan: Gather, dy: dict[Row, list[list[int]]], targets: list[Row], mode: FloatMode) -> Words:
    """dx_sum_running `[K, rows, w, c]` and dx_sum `[rows, w, c]`, FP32; nothing to read is None (C3)."""
    source: dict[Row, list[list[int | None]]] = {
        row: [list(cell) for cell in cells] for row, cells in dy.items()
    }
    running = _running(plan, source, targets, None, np.uint32, lambda x, w: running_sum(x, w, mode))
    return {"dx_sum_running": running, "dx_sum": running[-1]}
