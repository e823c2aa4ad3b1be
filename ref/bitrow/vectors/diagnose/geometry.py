"""Guesses about which words a convolution's sums read, multiply and clear (SPEC.md M1, M2, C1, C2).

Windows, padding, rows of a ring, channels, kernels, products: each guess moves one of them, sums again, and lets the
oracle go on from the sum that follows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from bitrow.config.windows import Window
from bitrow.contract import conv, fixed_point
from bitrow.formats import Gradient
from bitrow.oracle.arrays import Row, Words, all_rows
from bitrow.vectors.diagnose.readings import WindowReads, moved, reading_of, registered, sums_of, wrapped
from bitrow.vectors.diagnose.scene import Guess, Scene

Change = Callable[[WindowReads], WindowReads]
_EACH_PRODUCT = 96  # sums of so many products: any one of them may be lost or doubled
_SEQUENCE = 40_000  # products that one register may run through


def told(scene: Scene, name: str, words: Callable[[list[Row] | None], Words], seen: bool = True) -> Guess:
    """The guess that some lines give other words, which `words` makes for chosen rows."""
    screen = None if scene.few == scene.rows else lambda: scene.resumed(words(scene.few), scene.few, seen)
    return Guess(name, lambda: scene.resumed(words(scene.rows), scene.rows, seen), screen)


def _windows(padding: int) -> Iterator[tuple[str, Change]]:
    for rows, columns, text in (
        (0, 1, "one column to the right"), (0, -1, "one column to the left"), (1, 0, "one row down"),
        (-1, 0, "one row up"), (1, 1, "one row down and one column to the right"),
        (-1, -1, "one row up and one column to the left"),
    ):  # fmt: skip
        yield f"windows read {text}", functools.partial(moved, rows=rows, columns=columns)
    both = {"in every direction": ("top", "bottom", "left", "right"), "in columns": ("left", "right"),
            "in rows": ("top", "bottom"), "at the left": ("left",), "at the right": ("right",),
            "at the top": ("top",), "at the bottom": ("bottom",)}  # fmt: skip
    beside = (("beside", "beside the map repeats the edge"),) if padding > 1 else ()
    how_else = (("reflect", "mirrors the map"), ("wrap", "wraps to the far edge"))
    for how, text in (("repeat", "repeats the edge"), *beside, *how_else):
        for where, ends in both.items():
            change = functools.partial(_ends, ends=ends, how=how)
            yield f"padding {text} {where} instead of reading code 0", change
    yield (
        "columns outside the map read the neighbouring row's words in memory instead of code 0",
        lambda r: replace(r, linear=True),
    )


def _neighbours(scene: Scene, along: tuple[Window, Window]) -> Iterator[tuple[str, Change]]:
    """The window of the next result or the one before, where that is no step of one row or column of the map."""
    for window, name, ends in zip(along, ("row", "column"), (("down", "up"), ("to the right", "to the left")),
                                  strict=True):  # fmt: skip
        for by, end in zip((1, -1), ends, strict=True) if window.stride > 1 else ():
            other = reading_of(scene, **{f"{name}s": by})
            assert other is not None
            yield f"windows read one {name} of the result {end}", functools.partial(lambda r, other: other, other=other)


def _ends(reading: WindowReads, ends: tuple[str, ...], how: str) -> WindowReads:
    changed: dict[str, Any] = dict.fromkeys(ends, how)
    return replace(reading, **changed)


def _rows(reading: WindowReads, along: Window) -> Iterator[tuple[str, Change]]:
    """A ring's slot read too early or too late."""
    window = reading.down.shape[1]

    def other(place: int, by: int) -> Change:
        def change(r: WindowReads) -> WindowReads:
            down, height = r.down.copy(), r.codes.shape[1]
            down[:, place] += np.where((down[:, place] >= 0) & (down[:, place] < height), by, 0)
            if by > 0:  # nothing is written over it any more
                down[:, place] = np.where(down[:, place] >= height, r.down[:, place], down[:, place])
            return replace(r, down=down)

        return change

    below = _newest(reading) & (np.arange(window) < window - 1)  # padding lies below the last row that is read
    for slots in range(along.extent, along.extent + along.stride + 2):
        text = f"in a ring of {slots} rows"
        yield f"the last row of each window is stale, {text}: what lay in its slot before", other(window - 1, -slots)
        if below.any():
            yield (f"the last row on the map of each window is stale, {text}: what lay in its slot before",
                   functools.partial(_stale, by=slots))  # fmt: skip
        yield f"the first row of each window is overwritten, {text}, before it is read", other(0, slots)
    if window > 1:
        yield "the last row of each window is the row before it", other(window - 1, -1)
        yield "the first row of each window is the row after it", other(0, 1)
        yield "the last row of each window is missing", other(window - 1, -(10**6))
        yield "the first row of each window is missing", functools.partial(_no_row, place=0)


def _newest(reading: WindowReads) -> np.ndarray:
    """Which row of each window is the last that lies on the map."""
    on_map = (reading.down >= 0) & (reading.down < reading.codes.shape[1]) & ~reading.holes_down
    at = np.where(on_map, reading.down, -1)
    return on_map & (at == at.max(1, keepdims=True))


def _stale(reading: WindowReads, by: int) -> WindowReads:
    return replace(reading, down=reading.down - by * _newest(reading))


def _no_row(reading: WindowReads, place: int) -> WindowReads:
    kernel = reading.kernel.copy()
    kernel[:, place] = 0
    return replace(reading, kernel=kernel)


def _kernels(reading: WindowReads, forward: bool, rotated: bool) -> Iterator[tuple[str, Change]]:
    def kernel(change: Callable[[np.ndarray], np.ndarray]) -> Change:
        return lambda r: replace(r, kernel=change(r.kernel))

    yield (
        "windows are read from their last word to their first",
        lambda r: replace(r, down=r.down[:, ::-1], across=r.across[:, ::-1], holes_down=r.holes_down[:, ::-1],
                          holes_across=r.holes_across[:, ::-1]),
    )  # fmt: skip
    turned = "is not rotated" if rotated else "is rotated by 180 degrees"
    yield f"the kernel {turned}", kernel(lambda k: k[:, ::-1, ::-1])
    yield "the kernel's rows are in reverse", kernel(lambda k: k[:, ::-1])
    yield "the kernel's columns are in reverse", kernel(lambda k: k[:, :, ::-1])
    groups, kh, kw, source, target = reading.kernel.shape
    if kh == kw > 1:
        yield "kh and kw are exchanged", kernel(lambda k: k.transpose(0, 2, 1, 3, 4))
    if target > 1:
        yield "the channels of the result are in reverse", kernel(lambda k: k[..., ::-1])
        yield "each channel of the result has the weights of the one before", kernel(lambda k: np.roll(k, 1, -1))
        yield "each channel of the result has the weights of the next", kernel(lambda k: np.roll(k, -1, -1))
    if source > 1:
        yield "the summed channels are in reverse", kernel(lambda k: k[:, :, :, ::-1])
        yield "each summed channel meets the weights of the one before", kernel(lambda k: np.roll(k, 1, 3))
        yield "each summed channel meets the weights of the next", kernel(lambda k: np.roll(k, -1, 3))
    if source == target > 1:
        what = "are exchanged" if forward else "are not exchanged"
        yield f"the kernel's input and output channels {what}", kernel(lambda k: k.transpose(0, 1, 2, 4, 3))
    if groups > 1:
        if target > 1:
            text = "the channels of the result are in reverse, over all groups"
            yield text, kernel(lambda k: k[::-1, ..., ::-1])
        yield "groups are in reverse order in the source", _channels(lambda c: c[::-1])
        yield "groups are in reverse order in the kernel", kernel(lambda k: k[::-1])
        yield "every group reads the channels of the first", _channels(lambda c: np.broadcast_to(c[:1], c.shape))
        yield "a group takes every G-th channel", _channels(lambda c: c.reshape(-1).reshape(c.shape[::-1]).T)
        yield "each group reads the channels of the one before", _channels(lambda c: np.roll(c, 1, 0))
        yield "each group reads the channels of the next", _channels(lambda c: np.roll(c, -1, 0))


def _channels(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda r: replace(r, channels=change(r.channels))


def _products(reading: WindowReads) -> Iterator[tuple[str, Change]]:
    _, kh, kw, source, _ = reading.kernel.shape
    count = kh * kw * source

    def times(at: int, factor: int) -> Change:
        def change(r: WindowReads) -> WindowReads:
            kernel = r.kernel.copy()
            row, rest = divmod(at, kw * source)
            kernel[:, row, rest // source, rest % source] *= factor
            return replace(r, kernel=kernel)

        return change

    for factor, what in ((0, "lost"), (2, "added twice")):
        yield f"the last product of each sum is {what}", times(count - 1, factor)
        yield f"the first product of each sum is {what}", times(0, factor)
        for at in range(1, count - 1) if count <= _EACH_PRODUCT else ():
            row, rest = divmod(at, kw * source)
            place = f"kh {row}, kw {rest // source}, channel {rest % source}"
            yield f"product {at + 1} of {count} in each sum ({place}) is {what}", times(at, factor)
    if kw > 1:
        for at, name in ((0, "first"), (kw - 1, "last")):
            yield f"the {name} column of each window is missing", functools.partial(_no_column, place=at)


def _no_column(reading: WindowReads, place: int) -> WindowReads:
    kernel = reading.kernel.copy()
    kernel[:, :, place] = 0
    return replace(reading, kernel=kernel)


def _codes(scene: Scene, reading: WindowReads) -> Iterator[tuple[str, Change]]:
    """Codes and weights whose sign bit is read otherwise."""
    config = scene.config
    if reading.codes.dtype.kind != "f":
        fmt = config.x_format if scene.operation is conv.FORWARD else config.dy_format
        codes = _signs(reading.codes, fmt.bits, fmt.signed)
        yield _other_sign("codes", fmt.signed), lambda r: replace(r, codes=codes)
    kernel = _signs(reading.kernel, config.weight_format.bits, config.weight_format.signed)
    yield _other_sign("weights", config.weight_format.signed), lambda r: replace(r, kernel=kernel)


def _other_sign(what: str, signed: bool) -> str:
    return f"signed {what} are read as unsigned" if signed else f"unsigned {what} are read as signed"


def _signs(codes: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    wide = codes.astype(np.int64)
    return wide & ((1 << bits) - 1) if signed else wrapped(wide, bits)


def _uncleared(scene: Scene, reading: WindowReads) -> Iterator[Guess]:
    """The register goes on from the sum before."""
    if scene.config.gradient is Gradient.FP16 and scene.operation is conv.BACKWARD:
        return
    name = "acc" if scene.operation is conv.FORWARD else "dx_acc"
    acc = scene.golden[name].astype(np.int64)
    n, h, w, c = acc.shape
    if f"{name}_running" in scene.golden:
        if n * h * w * reading.kernel[..., 0].size > _SEQUENCE:
            return
        text = "the register is not cleared between sums: each goes on from the one before"
        yield told(scene, text, lambda rows: _of_rows(scene, name, _clamped_on(scene, reading), rows))
        return
    summed = {
        "never cleared: each sum goes on from the one before": acc.reshape(-1, c).cumsum(0),
        "cleared at each row only": acc.cumsum(2),
        "cleared at each image only": acc.reshape(n, h * w, c).cumsum(1),
        "never cleared, and takes the channels one after another": acc.reshape(-1).cumsum(),
        "cleared at each pixel only: each channel goes on from the one before": acc.cumsum(3),
    }
    for text, words in summed.items():
        whole = registered(words.reshape(acc.shape), scene).astype(np.int32)
        yield told(scene, f"the register is {text}", functools.partial(_of_rows, scene, name, whole))


def _clamped_on(scene: Scene, reading: WindowReads) -> np.ndarray:
    """Clamped sums that go on, channel by channel."""
    register, (n, h) = scene.config.accumulator, scene.operation.rows(scene.config, scene.given)
    patches, _ = reading.patches(all_rows(n, h))
    found = patches[..., reading.channels].astype(np.int64)
    products = found[..., None] * reading.kernel.transpose(1, 2, 0, 3, 4)[None, None]
    terms = products.transpose(0, 1, 2, 3, 5, 4, 6).reshape(n * h * found.shape[1], -1, *reading.kernel.shape[::4])
    total, sums = np.int64(0), []
    for position in terms:
        for term in position:
            total = np.clip(total + term, register.min, register.max)
        sums.append(np.asarray(total).reshape(-1))
    return np.stack(sums).reshape(n, h, found.shape[1], -1).astype(np.int32)


def _of_rows(scene: Scene, name: str, whole: np.ndarray, rows: list[Row] | None) -> Words:
    chosen = all_rows(*scene.operation.rows(scene.config, scene.given)) if rows is None else rows
    return {name: scene.operation.sampled(scene.config, scene.given, name, whole, chosen)}


def _registers(scene: Scene) -> Iterator[Guess]:
    """The dequantizer reads another register than the sum's."""
    if scene.operation is fixed_point.DEQUANTIZE:
        acc, bits = scene.given["acc"].astype(np.int64), scene.config.accumulator.bits
        given = scene.given | {"acc": wrapped(acc, bits - 1).astype(np.int32)}
        yield Guess(
            "the dequantizer reads one bit less of the register",
            lambda: scene.recompute(scene.config, given, scene.rows),
        )
    name = next((name for name in ("acc", "dx_acc") if name in scene.golden), None)
    if name is None or scene.tap == name or not scene.operation.by_rows:
        return
    acc, bits = scene.golden[name].astype(np.int64), scene.config.accumulator.bits
    for text, words in (
        ("one bit less of the register", wrapped(acc, bits - 1)),
        ("the register as unsigned", acc & ((1 << bits) - 1) if bits < 32 else acc),
        ("16 bits of the register", wrapped(acc, 16)),
    ):
        if (words != acc).any() and words.max() < 1 << 31:
            whole = words.astype(np.int32)
            guess = f"the dequantizer reads {text}"
            yield told(scene, guess, functools.partial(_of_rows, scene, name, whole), seen=False)


def _changed(scene: Scene, reading: WindowReads, change: Change, rows: list[Row] | None) -> Words:
    return sums_of(scene, change(reading), rows)


def guesses(scene: Scene) -> Iterator[Guess]:
    """Every guess about a convolution's sums; none for another operation, or where the sums are not to blame."""
    yield from _registers(scene)
    reading = reading_of(scene)
    before = ("t", "x_code", "mask", "dy_folded", "dy_words", "dy_t", "dy_code")
    if reading is None or scene.tap in before:
        return
    windows, forward = scene.config.windows(scene.given["weight_code"].shape), scene.operation is conv.FORWARD
    changes = [
        *_windows(max(max(side.before, side.after) for side in windows)), *_neighbours(scene, windows),
        *_rows(reading, windows[0]),
        *_kernels(reading, forward, forward is scene.config.transposed), *_products(reading), *_codes(scene, reading),
    ]  # fmt: skip
    for text, change in changes:
        yield told(scene, text, functools.partial(_changed, scene, reading, change))
    yield from _uncleared(scene, reading)
