"""Windows of convolutions and pools over integer arrays, for the proofs of coverage (SPEC.md C1, C2, A2).

Standard library and numpy only; int64 throughout, so that no sum of codes overflows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bitrow.config import ConvConfig
from bitrow.config.windows import Window, Windows
from bitrow.formats import FP16
from bitrow.oracle import gather
from bitrow.vectors.coverage import exact
from bitrow.vectors.coverage.exact import Exact


def padded(windows: Windows, x: np.ndarray) -> np.ndarray:
    """A map `[n, h, w, c]` with zeros where windows reach outside it."""
    down, across = windows
    return np.pad(x, ((0, 0), (down.before, down.after), (across.before, across.after), (0, 0)))


def results(windows: Windows, shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns that windows make of a map `[n, h, w, c]`."""
    return windows[0].results(shape[1]), windows[1].results(shape[2])


def _met(window: Window, k: int, many: int) -> slice:
    """Positions of a padded axis that element k of `many` windows meets."""
    first = k * window.dilation
    return slice(first, first + (many - 1) * window.stride + 1, window.stride)


class _Kernel(NamedTuple):
    """Weights `[kh, kw, terms, results]` as results meet them, and whether their map is spread by the stride."""

    weight: np.ndarray
    spread: bool


def _forward_kernel(config: ConvConfig, weight_code: np.ndarray) -> _Kernel:
    return _Kernel(weight_code[::-1, ::-1] if config.transposed else weight_code, config.transposed)


def _gradient_kernel(config: ConvConfig, weight_code: np.ndarray) -> _Kernel:
    swapped = gather.turned(weight_code, config.groups)
    return _Kernel(swapped if config.transposed else swapped[::-1, ::-1], not config.transposed)


def _parts(
    config: ConvConfig, source: np.ndarray, kernel: _Kernel, hw: tuple[int, int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each place of the kernel in order, what the results `hw` meet there, and the weights."""
    kh, kw = kernel.weight.shape[:2]
    windows = config.windows((kh, kw))
    lying = dilate(config, source, (kh, kw), hw) if kernel.spread else padded(windows, source)
    for at in np.ndindex(kh, kw):
        if kernel.spread:
            yield _from(windows, lying, at, hw), kernel.weight[at]
        else:
            yield lying[:, _met(windows[0], at[0], hw[0]), _met(windows[1], at[1], hw[1])], kernel.weight[at]


def _sum(config: ConvConfig, source: np.ndarray, kernel: _Kernel, hw: tuple[int, int]) -> np.ndarray:
    terms, results = kernel.weight.shape[2:]
    total = np.zeros((source.shape[0], *hw, config.groups, results // config.groups), np.int64)
    for part, weight in _parts(config, source.astype(np.int64), kernel, hw):
        split = part.reshape(*total.shape[:3], config.groups, terms)
        factors = weight.astype(np.int64).reshape(terms, config.groups, -1)
        total += np.einsum("nhwgc,cgo->nhwgo", split, factors)
    return total.reshape(*total.shape[:3], results)


def conv_sum(config: ConvConfig, x_code: np.ndarray, weight_code: np.ndarray) -> np.ndarray:
    """Exact sums of M1 as int64 `[n, oh, ow, c_out]`, whatever the register would make of them."""
    hw = config.output_hw(weight_code.shape[:2], x_code.shape[1:3])
    return _sum(config, x_code, _forward_kernel(config, weight_code), hw)


def dilate(config: ConvConfig, dy: np.ndarray, kernel: tuple[int, int], hw: tuple[int, int]) -> np.ndarray:
    """`dy` spread by the stride so that `dx[h, w]` reads from row h and column w on, as far as a kernel extends;
    zeros elsewhere. Of a transposed convolution, its codes and result."""
    n, oh, ow, c_out = dy.shape
    windows = config.windows(kernel)
    shape = [size + window.extent - 1 for size, window in zip(hw, windows, strict=True)]
    out = np.zeros((n, *shape, c_out), dy.dtype)
    rows, columns = (
        np.arange(many) * window.stride + window.extent - 1 - window.before
        for many, window in zip((oh, ow), windows, strict=True)
    )
    r, c = ((p >= 0) & (p < size) for p, size in zip((rows, columns), shape, strict=True))
    out[:, rows[r][:, None], columns[c][None, :]] = dy[:, r][:, :, c]
    return out


def _from(windows: Windows, spread: np.ndarray, at: tuple[int, int], hw: tuple[int, int]) -> np.ndarray:
    """What every dx meets at one place of the rotated kernel."""
    row, column = at[0] * windows[0].dilation, at[1] * windows[1].dilation
    return spread[:, row : row + hw[0], column : column + hw[1]]


def gradient_sum(config: ConvConfig, dy_code: np.ndarray, weight_code: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """Exact sums of C2 as int64 `[n, h, w, c_in]`."""
    return _sum(config, dy_code, _gradient_kernel(config, weight_code), hw)


def gradient_terms(config: ConvConfig, dy: np.ndarray, weight_code: np.ndarray, hw: tuple[int, int]) -> Exact:
    """Exact products of C3, `[K, n, h, w, c_in]` in C2's order; a skipped product is a zero."""
    kernel = _gradient_kernel(config, weight_code)
    per_group, c_in = kernel.weight.shape[2:]
    first = np.arange(c_in) // (c_in // config.groups) * per_group
    parts = []
    for met, codes in _parts(config, dy, kernel, hw):
        for j in range(per_group):
            value = exact.decode(met[..., first + j], FP16, config.mode.flush)
            parts.append(exact.mul(value, exact.integer(codes[j])))
    shape = parts[0].sig.shape
    return Exact(*(np.stack([np.broadcast_to(getattr(p, f), shape) for p in parts]) for f in Exact._fields))


class WindowWords(NamedTuple):
    """Words of each window element, `[kh*kw, n, oh, ow, c]`, and where they lie inside the map."""

    words: np.ndarray
    inside: np.ndarray


def pool_windows(windows: Windows, x: np.ndarray) -> WindowWords:
    """The windows of a pool, elements in row-major order."""
    oh, ow = results(windows, x.shape)
    words, inside = padded(windows, x), padded(windows, np.ones(x.shape, bool))
    slices = [
        (slice(None), _met(windows[0], a, oh), _met(windows[1], b, ow))
        for a, b in np.ndindex(windows[0].kernel, windows[1].kernel)
    ]
    return WindowWords(np.stack([words[s] for s in slices]), np.stack([inside[s] for s in slices]))


class Arrivals(NamedTuple):
    """The dy words on their way to one window element each, `[n, h, w, c]` of the input; `hit` says where."""

    hit: np.ndarray
    dy: np.ndarray


def arrivals(
    windows: Windows, dy: np.ndarray, hw: tuple[int, int], index: np.ndarray | None = None
) -> Iterator[Arrivals]:
    """What each input gets, window by window in row-major order: of all (SPEC.md A3), or where `index` says that it
    won (A2)."""
    n, oh, ow, c = dy.shape
    (down, across) = windows
    size = (n, *(along + one.before + one.after + one.kernel for along, one in zip(hw, windows, strict=True)), c)
    span = (slice(None), slice(down.before, down.before + hw[0]), slice(across.before, across.before + hw[1]))
    # an input meets its windows in row-major order when their elements come last first
    for a, b in reversed(list(np.ndindex(down.kernel, across.kernel))):
        where = (slice(None), _met(down, a, oh), _met(across, b, ow))
        hit, words = np.zeros(size, bool), np.zeros(size, dy.dtype)
        hit[where] = True if index is None else index == a * across.kernel + b
        words[where] = np.where(hit[where], dy, 0)
        yield Arrivals(hit[span], words[span])
