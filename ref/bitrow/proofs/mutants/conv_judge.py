"""Convolutions once more in numpy: shifted maps times weights, gradients scattered over windows (SPEC.md C1, C2, Q)."""

from __future__ import annotations

import numpy as np

from bitrow.config import AvgPoolConfig, ConvConfig, MaxPoolConfig
from bitrow.config.windows import both, sides
from bitrow.formats import AccOverflow, Accumulator, Dequantize, Fxp, Gradient, QuantRounding
from bitrow.oracle.arrays import Words
from bitrow.proofs.mutants import transposed_judge
from bitrow.proofs.mutants.code_properties import lfsr_sequence, registers
from bitrow.proofs.mutants.float_words import half, wide, words


def _codes(t: np.ndarray, fmt: Fxp, noise: np.ndarray | None = None) -> np.ndarray:
    """int64 codes of float16 t: to nearest even, or floored after a word is added."""
    number = np.where(np.isnan(t), 0, t).astype(np.float64)
    number = np.clip(number, -1e6, 1e6)
    code = np.rint(number) if noise is None else np.floor(number + np.where(np.isnan(t), 0, noise) / 65536)
    return np.clip(code, fmt.min, fmt.max).astype(np.int64)


def _products(codes: np.ndarray, weight: np.ndarray, config: ConvConfig) -> list[np.ndarray]:
    """Each product of M1 as a map `[n, oh, ow, c_out]`, in M2's order."""
    if config.transposed:
        return transposed_judge.products(codes, weight, config)
    kh, kw, c_in, c_out = weight.shape
    padded, (down, across), (apart, aside) = framed(codes, config), both(config.stride), both(config.dilation)
    rows, columns = padded.shape[1] - (kh - 1) * apart, padded.shape[2] - (kw - 1) * aside
    group = np.arange(c_out) // (c_out // config.groups)
    return [
        padded[:, i * apart :, j * aside :][:, :rows:down, :columns:across][..., group * c_in + c] * weight[i, j, c]
        for i in range(kh)
        for j in range(kw)
        for c in range(c_in)
    ]


def framed(x: np.ndarray, config: ConvConfig | MaxPoolConfig | AvgPoolConfig) -> np.ndarray:
    """A map with zeros on its four sides."""
    top, bottom, left, right = sides(config.padding)
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))


def _spread(codes: np.ndarray, weight: np.ndarray, config: ConvConfig, hw: tuple[int, int]) -> np.ndarray:
    """C2's sum the other way round: every code of dy adds its products to the inputs that its window read."""
    kh, kw, c_in, c_out = weight.shape
    if config.transposed:
        return transposed_judge.gradient(codes, weight, config, hw)
    n, rows, columns, _ = codes.shape
    padded = framed(np.zeros((n, *hw, c_in * config.groups), np.int64), config)
    (down, across), (apart, aside) = both(config.stride), both(config.dilation)
    top, _, left, _ = sides(config.padding)
    for out in range(c_out):
        channels = slice((first := out // (c_out // config.groups) * c_in), first + c_in)
        for i in range(kh):
            for j in range(kw):
                target = padded[:, i * apart :: down, j * aside :: across, channels][:, :rows, :columns]
                target += codes[..., out, None] * weight[i, j, :, out]
    return padded[:, top : top + hw[0], left : left + hw[1]]


def _accumulated(products: list[np.ndarray], register: Accumulator, bound: int) -> Words:
    if bound <= register.max or register.overflow is AccOverflow.ERROR:
        return {"acc": sum(products[1:], products[0])}
    flat = np.stack(products).reshape(len(products), -1)
    values = np.array([registers(column.tolist(), register) for column in flat.T]).T
    running = values.reshape(len(products), *products[0].shape)
    saturating = register.overflow is AccOverflow.SATURATE
    return {"acc": running[-1]} | ({"acc_running": running} if saturating else {})


def _dequantized(acc: np.ndarray, scale: np.ndarray, config: ConvConfig) -> np.ndarray:
    if config.dequantize is Dequantize.TWO_STEP:
        return acc.astype(np.float64).astype(np.float16) * half(scale)
    return (acc * wide(scale)).astype(np.float16)


def conv_forward(config: ConvConfig, given: Words) -> Words:
    """C1 in numpy."""
    t = half(given["x"]) * half(given["x_inv_scale"])
    nearest, fmt = np.rint(t.astype(np.float64)), config.x_format
    codes, weight = _codes(t, fmt), given["weight_code"].astype(np.int64)
    sums = _accumulated(_products(codes, weight, config), config.accumulator, config.bounds(weight.shape)[0])
    deq = _dequantized(sums["acc"], given["scale"], config)
    y = deq + half(given["bias"]) if "bias" in given else deq
    mask = (nearest >= fmt.min) & (nearest <= fmt.max)
    return {"t": words(t), "x_code": codes, "mask": mask, **sums, "deq": words(deq), "y": words(y)}


def conv_backward(config: ConvConfig, given: Words) -> Words:
    """C2 and C3 in numpy."""
    dy, mask, weight = half(given["dy"]), given["mask"], given["weight_code"].astype(np.int64)
    taps: Words = {}
    if config.fold:
        dy = dy * half(given["w_scale"])
        taps["dy_folded"] = words(dy)
    if config.gradient is Gradient.FP16:
        total = _float_sums(dy, weight, config, mask.shape[1:3])
        scale = 1.0 if config.fold else wide(given["w_scale"])
        deq = (total.astype(np.float64) * scale).astype(np.float16)
        taps["dx_sum"] = words(total)
    else:
        t = dy * half(given["dy_inv_scale"])
        noise = None
        if config.dy_rounding is QuantRounding.STOCHASTIC:
            noise = np.array(lfsr_sequence(int(given["seed"]), t.size)).reshape(t.shape)
        codes = _codes(t, config.dy_format, noise)
        acc = _spread(codes, weight, config, (mask.shape[1], mask.shape[2]))
        deq = _dequantized(acc, given["dx_scale"], config)
        taps |= {"dy_t": words(t), "dy_code": codes, "dx_acc": acc}
    return taps | {"dx_deq": words(deq), "dx": np.where(mask == 1, words(deq), 0)}


def _float_sums(dy: np.ndarray, weight: np.ndarray, config: ConvConfig, hw: tuple[int, ...]) -> np.ndarray:
    """dx_sum of C3 at stride 1 and one padding, in one group: C2's order, float32 after each product."""
    (kh, kw, c_in, c_out), padding = weight.shape, sides(config.padding)[0]
    fill = [(0, 0), *((k - 1 - padding,) * 2 for k in (kh, kw)), (0, 0)]
    padded = np.pad(dy.astype(np.float32), fill)
    total = np.zeros((len(dy), *hw, c_in), np.float32)
    for i in range(kh):
        for j in range(kw):
            inside = np.pad(np.ones(dy.shape[1:3], bool), fill[1:3])[i : i + hw[0], j : j + hw[1], None]
            for out in range(c_out):
                code = weight[kh - 1 - i, kw - 1 - j, :, out].astype(np.float32)
                term = padded[:, i : i + hw[0], j : j + hw[1], out, None] * code
                total = np.where(inside, total + term, total)
    return total


# Batch norm (SPEC.md B)
