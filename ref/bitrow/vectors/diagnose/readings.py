"""What a convolution's sums read, as arrays of indices that a fault can move, and the sums that then follow.

Both directions are one picture (SPEC.md M1, C2): a row and a column of the result meet a kernel row and column at some
row and column of a source map, or at nothing. The arithmetic is numpy's: exact in integers, and for C3 one FP32 sum
after another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bitrow.config import ConvConfig
from bitrow.config.windows import Window
from bitrow.contract import conv
from bitrow.formats import FP32, AccOverflow, Gradient
from bitrow.oracle.arrays import Row, Words, all_rows
from bitrow.vectors.diagnose.scene import Scene


@dataclass(frozen=True)
class WindowReads:
    """Where the sums read, and what they multiply it by.

    `down[i, kh]` and `across[j, kw]` are indices of the source map, counted on beyond its ends; where `holes_down`
    or `holes_across` is set there is nothing to read (dilation). `codes` is the source `[n, h, w, c]`,
    `channels[group, c]` the source channels of a group, `kernel[group, kh, kw, c, target]` what they meet. `top` to
    `right` say what an index outside the map reads: "zero", or its edge by "repeat", "beside" (one place alone repeats
    it), "reflect", "wrap"; `linear` lets a column outside read the words that lie there in memory, of the row before or
    after.
    """

    codes: np.ndarray
    down: np.ndarray
    across: np.ndarray
    holes_down: np.ndarray
    holes_across: np.ndarray
    channels: np.ndarray
    kernel: np.ndarray
    top: str = "zero"
    bottom: str = "zero"
    left: str = "zero"
    right: str = "zero"
    linear: bool = False

    def patches(self, rows: list[Row]) -> tuple[np.ndarray, np.ndarray]:
        """Words `[row, column, kh, kw, c]` of target rows, 0 where nothing is read, and where something is."""
        _, h, w, _ = self.codes.shape
        images, places = (np.array(part, np.intp) for part in zip(*rows, strict=True))
        down, down_in = _ended(self.down[places], h, self.top, self.bottom)
        across, across_in = _ended(self.across, w, self.left, self.right)
        down, across = down[:, None, :, None], across[None, :, None, :]
        inside = (down_in & ~self.holes_down[places])[:, None, :, None] & ~self.holes_across[None, :, None, :]
        if self.linear:
            flat = down * w + self.across[None, :, None, :]
            down, across = flat // w, flat % w
            inside = inside & (down >= 0) & (down < h)
        else:
            inside = inside & across_in[None, :, None, :]
        words = self.codes[images[:, None, None, None], np.clip(down, 0, h - 1), np.clip(across, 0, w - 1)]
        return np.where(inside[..., None], words, words.dtype.type(0)), np.broadcast_to(inside, words.shape[:-1])


def _ended(at: np.ndarray, size: int, low: str, high: str) -> tuple[np.ndarray, np.ndarray]:
    """Indices as they are read at the two ends of an axis, and which read something."""
    inside = (at >= 0) & (at < size)
    found = at.copy()
    for outside, how, edge in ((at < 0, low, 0), (at >= size, high, size - 1)):
        near = np.where((at == -1) | (at == size), edge, at)
        moved = {"beside": near, "repeat": np.full_like(at, edge), "reflect": 2 * edge - at, "wrap": at % size}.get(how)
        if moved is not None:
            found = np.where(outside, moved, found)
            inside = inside | (outside & (found >= 0) & (found < size))
    return found, inside


def reading_of(scene: Scene, rows: int = 0, columns: int = 0) -> WindowReads | None:
    """What the sums of a convolution's case read by the contract; None for any other case.

    With `rows` or `columns` each result has the window of the one so many places on.
    """
    config, given = scene.config, scene.given
    if scene.operation not in conv.CONV or not isinstance(config, ConvConfig):
        return None
    weight, forward = given["weight_code"].astype(np.int64), scene.operation is conv.FORWARD
    kh, kw, c_in, c_out = weight.shape
    groups, mine = config.groups, c_out // config.groups
    spread = forward is config.transposed  # the source, by the stride
    split = weight.reshape(kh, kw, c_in, groups, mine)[:: -1 if spread else 1, :: -1 if spread else 1]
    if forward:
        codes, sizes = scene.golden["x_code"], scene.golden["acc"].shape[-3:-1]
        kernel, channels = split.transpose(3, 0, 1, 2, 4), np.arange(groups * c_in).reshape(groups, c_in)
    else:
        codes, sizes = _gradients(scene, config), given["mask"].shape[1:3]
        kernel, channels = split.transpose(3, 0, 1, 4, 2), np.arange(groups * mine).reshape(groups, mine)
    (down, no_rows), (across, no_columns) = (
        _read_along(np.arange(size)[:, None] + by, window, spread)
        for size, window, by in zip(sizes, config.windows((kh, kw)), (rows, columns), strict=True)
    )
    return WindowReads(codes, down, across, no_rows, no_columns, channels, kernel)


def _read_along(results: np.ndarray, window: Window, spread: bool) -> tuple[np.ndarray, np.ndarray]:
    """What each result of an axis reads at each place of the kernel, and where a hole is."""
    if spread:
        at, rest = np.divmod(results + window.before - _rotated(window), window.stride)
        return at, rest != 0
    at = results * window.stride - window.before + np.arange(window.kernel)[None] * window.dilation
    return at, np.zeros(at.shape, bool)


def _rotated(window: Window) -> np.ndarray:
    """How far each index of the rotated kernel lies from the window's beginning."""
    return np.arange(window.kernel)[::-1] * window.dilation


def _gradients(scene: Scene, config: ConvConfig) -> np.ndarray:
    if config.gradient is Gradient.FXP:
        return scene.golden["dy_code"]
    words = scene.golden["dy_folded" if config.fold else "dy"]
    if config.mode.flush:
        words = np.where(words & 0x7C00, words, words & 0x8000).astype(np.uint16)
    return words.view(np.float16).astype(np.float32)


def sums_of(scene: Scene, reading: WindowReads, rows: list[Row] | None) -> Words:
    """The tensors that the sums of a reading give, of chosen rows, a map's rows one axis, as the oracle names them."""
    config = scene.config
    chosen = all_rows(*scene.operation.rows(config, scene.given)) if rows is None else rows
    patches, inside = reading.patches(chosen)
    found = patches[..., reading.channels]  # row, column, kh, kw, group, c
    prefix = "" if scene.operation is conv.FORWARD else "dx_"
    if scene.operation is conv.BACKWARD and config.gradient is Gradient.FP16:
        return _float_sums(found, inside, reading.kernel)
    register = config.accumulator
    if f"{prefix}acc_running" in scene.golden:
        return _clamped(found.astype(np.int64), reading.kernel, register.min, register.max, prefix)
    total = np.einsum("rwhkgc,ghkct->rwgt", found.astype(np.int64), reading.kernel)
    acc = total.reshape(*total.shape[:2], -1)
    return {f"{prefix}acc": registered(acc, scene).astype(np.int32)}


def registered(acc: np.ndarray, scene: Scene) -> np.ndarray:
    """Sums as a case's register holds them: wrapped where it is too narrow, whatever the contract's case needs."""
    register = scene.config.accumulator
    if register.overflow is AccOverflow.SATURATE:
        return np.clip(acc, register.min, register.max)
    return wrapped(acc, register.bits)


def wrapped(acc: np.ndarray, bits: int) -> np.ndarray:
    """Two's complement of `bits`."""
    half = 1 << (bits - 1)
    return (acc + half) % (2 * half) - half


def _terms(found: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Every product in the order kh, kw, c: `[k, row, column, group, target]`."""
    products = found[..., None] * kernel.transpose(1, 2, 0, 3, 4)[None, None]
    return products.transpose(2, 3, 5, 0, 1, 4, 6).reshape(-1, *found.shape[:2], *kernel.shape[::4])


def _clamped(found: np.ndarray, kernel: np.ndarray, low: int, high: int, prefix: str) -> Words:
    total, running = np.int64(0), []
    for term in _terms(found, kernel):
        total = np.clip(total + term, low, high)
        running.append(total)
    every = np.stack(running)
    every = every.reshape(*every.shape[:3], -1).astype(np.int32)
    return {f"{prefix}acc_running": every, f"{prefix}acc": every[-1]}


def _float_sums(found: np.ndarray, inside: np.ndarray, kernel: np.ndarray) -> Words:
    """C3: terms outside the map are skipped, every sum is FP32's (F9), every NaN the canonical one (F4)."""
    with np.errstate(all="ignore"):
        terms = _terms(found, kernel.astype(np.float32))
        channels = kernel.shape[3]
        read = np.broadcast_to(inside[..., None], (*inside.shape, channels))
        read = read.transpose(2, 3, 4, 0, 1).reshape(-1, *inside.shape[:2])
        total, running = np.zeros(terms.shape[1:], np.float32), []
        for term, here in zip(terms, read, strict=True):
            total = np.where(here[..., None, None], total + term, total)
            running.append(total)
    every = np.stack(running)
    words = np.where(np.isnan(every), np.uint32(FP32.nan_bits), every.view(np.uint32))
    words = words.reshape(*words.shape[:3], -1).astype(np.uint32)
    return {"dx_sum_running": words, "dx_sum": words[-1]}


def moved(reading: WindowReads, rows: int = 0, columns: int = 0) -> WindowReads:
    """The windows some rows down and columns to the right."""
    return replace(reading, down=reading.down + rows, across=reading.across + columns)
