"""Transposed convolutions in numpy, by where each product goes (SPEC.md C5)."""

from __future__ import annotations

import numpy as np

from bitrow.config import ConvConfig
from bitrow.config.windows import both, sides


def products(codes: np.ndarray, weight: np.ndarray, config: ConvConfig) -> list[np.ndarray]:
    """Each product of M1 as a map `[n, oh, ow, c_out]`, in M2's order: each code is put where its
    product goes, and what falls on sides that are cut is lost."""
    (kh, kw, c_in, c_out), (n, h, w, _) = weight.shape, codes.shape
    (down, across), (apart, aside), more = both(config.stride), both(config.dilation), both(config.output_padding)
    (top, bottom, left, right), group = sides(config.padding), np.arange(c_out) // (c_out // config.groups)
    rows = (h - 1) * down + (kh - 1) * apart + 1 - bottom + more[0]
    columns = (w - 1) * across + (kw - 1) * aside + 1 - right + more[1]
    found = []
    for i, j, c in np.ndindex(kh, kw, c_in):
        i, j = kh - 1 - i, kw - 1 - j
        whole = np.zeros((n, rows + bottom + down, columns + right + across, c_out), np.int64)
        whole[:, i * apart :: down, j * aside :: across][:, :h, :w] = codes[..., group * c_in + c] * weight[i, j, c]
        found.append(whole[:, top:rows, left:columns])
    return found


def gradient(codes: np.ndarray, weight: np.ndarray, config: ConvConfig, hw: tuple[int, int]) -> np.ndarray:
    """dx_acc: every input adds the products of those codes of dy to which its own products went."""
    kh, kw, c_in, c_out = weight.shape
    top, bottom, left, right = sides(config.padding)
    frame = (0, 0), (top, bottom), (left, right), (0, 0)
    padded, (down, across), (apart, aside) = np.pad(codes, frame), both(config.stride), both(config.dilation)
    total = np.zeros((len(codes), *hw, c_in * config.groups), np.int64)
    for i, j, c, out in np.ndindex(kh, kw, c_in, c_out):
        met = padded[:, i * apart :: down, j * aside :: across, out][:, : hw[0], : hw[1]]
        total[..., out // (c_out // config.groups) * c_in + c] += met * weight[i, j, c, out]
    return total
