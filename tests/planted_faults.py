"""Faults planted by means that no guess of a diagnosis shares: a design in SystemVerilog, and plain numpy.

`rtl_dumps.jsonl` holds what a Verilator simulation of a small design (units and a convolution engine that streams rows)
gave on `golden/v1` with one of its switches for bugs set, and that of golden/bench on later sets: the differing words
of a tensor, and the names of the tensors that came out right where the bench dumped all of them.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bitrow.vectors.case import Case
from bitrow.vectors.files import store
from bitrow.vectors.files.hexfile import file_words

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "v1"


class Fault(NamedTuple):
    """A planted fault: the words of a tensor, which other tensors are right, and what a right name has in it."""

    name: str
    case: str
    tensor: str
    words: np.ndarray
    undriven: np.ndarray
    agreed: tuple[str, ...]
    named: tuple[str, ...]


@functools.cache
def case(name: str) -> Case:
    """A case of golden/v1, or with its set before it, `v3/NAME`, of another."""
    folder, _, own = name.rpartition("/")
    return store.read_case(GOLDEN.parent / (folder or GOLDEN.name), own)


def data(name: str, tensor: str) -> np.ndarray:
    return np.asarray(case(name).tensor(tensor).data)


# The design's switches, and what a right name of each has in it.
RTL = {
    "acc_short": ("one bit less of the register", "one accumulator bit less"),
    "bn_fused": ("a fused multiply-add",),
    "channel_order": ("the channels of the result are in reverse",),
    "channel_order_groups": ("the channels of the result are in reverse, over all groups",),
    "drawn_magnitude": ("the word is added to the magnitude",),
    "flush_operand": ("subnormal operands are always read as zero", "flushed subnormals"),
    "flush_result": ("subnormal results always become zero",),
    "kernel_rot": ("windows are read from their last word to their first",),
    "last_product": ("the last product of each sum is lost",),
    "lfsr_early": ("element i takes the state after i steps",),
    "lfsr_poly": ("LFSR taps of 0xd008 instead of 0xb400",),
    "lfsr_tap": ("LFSR taps of 0xb402 instead of 0xb400",),
    "nibbles": ("swapped nibbles",),
    "noclear": ("the register is never cleared", "the register is not cleared"),
    "nomask": ("stuck at 1",),
    "nosticky_add": ("no sticky bit in an adder's alignment",),
    "nosticky_add_number": ("no sticky bit in an adder's alignment: it keeps 3 places",),
    "nosticky_round": ("no sticky bit: of what is discarded only the first",),
    "overflow_max": ("overflow to the largest number",),
    "overwrite": ("the first row of each window is overwritten", "the first row of a window is overwritten while"),
    "pack_zeroext": ("without its sign extended",),
    "pad_column": ("windows read one column to the right",),
    "pad_edge": ("repeats the edge at the left",),
    "pad_result_column": ("windows read one column of the result to the right",),
    "quant_half_up": ("code ties away from zero", "codes round ties away"),
    "quant_noclip": ("codes that wrap instead of clipping", "codes outside the range wrap"),
    "quant_trunc": ("codes truncated toward zero", "codes are truncated"),
    "sat_wraps": ("a wrapping instead of a saturating accumulator",),
    "stale_row": ("the last row of a window is read while it is written",),
    "symmetric_clip": ("narrow codes in x_format", "the smallest code is never given"),
    "ties_away": ("ties away from zero",),
    "trunc": ("truncation", "nearest_even truncates"),
    "two_step": ("a two-step dequantizer", "two-step dequantize"),
    "x_signed": ("unsigned codes are read as signed",),
}


def rtl() -> Iterator[Fault]:
    """What the simulated design gave."""
    for line in (HERE / "rtl_dumps.jsonl").read_text().splitlines():
        record = json.loads(line)
        tensor = case(record["case"]).tensor(record["tensor"])
        words = file_words(np.asarray(tensor.data), tensor.encoding).reshape(-1).copy()
        undriven = np.zeros(words.size, bool)
        for at, word in zip(record["at"], record["words"].split(), strict=True):
            undriven[at] = "x" in word
            words[at] = 0 if undriven[at] else int(word, 16) & ((1 << tensor.encoding.word_bits) - 1)
        fault = record["fault"].partition("+")[0]
        agreed = tuple(record["agreed"])
        yield Fault(f"rtl {fault}", record["case"], record["tensor"], words, undriven, agreed, RTL[fault])


def _plant(name: str, where: str, tensor: str, found: np.ndarray, *named: str, agreed: tuple[str, ...] = ()) -> Fault:
    words = file_words(np.asarray(found), case(where).tensor(tensor).encoding).reshape(-1)
    return Fault(name, where, tensor, words, np.zeros(words.size, bool), agreed, named)


# A convolution one window at a time
Read = Callable[[int, int, int, int], "tuple[int, int] | None"]
PLAIN, STRIDED, BACK = "conv_3x3_forward", "conv_3x3_stride2_groups_forward", "conv_3x3_backward"


def convolved(name: str, read: Read | None = None, weight: np.ndarray | None = None, groups: list | None = None,
              start: Callable[[int, int, np.ndarray], np.ndarray] | None = None) -> np.ndarray:  # fmt: skip
    """acc of one image, where `read` may move the place (row, column, kh, kw) that is read, or give None."""
    config, x = case(name).config, data(name, "x_code")[0].astype(np.int64)
    weight = (data(name, "weight_code") if weight is None else weight).astype(np.int64)
    height, width, _ = x.shape
    kh, kw, c_in, c_out = weight.shape
    sources = groups or [list(range(g * c_in, (g + 1) * c_in)) for g in range(config.groups)]
    mine = c_out // config.groups
    acc = np.zeros(data(name, "acc").shape, np.int64)
    last = np.zeros(c_out, np.int64)
    for i, j in np.ndindex(*acc.shape[1:3]):
        total = start(i, j, last).copy() if start else np.zeros(c_out, np.int64)
        for k, m in np.ndindex(kh, kw):
            place = (i * config.stride - config.padding + k, j * config.stride - config.padding + m)
            found = read(*place, k, m) if read else place
            if found is None or not (0 <= found[0] < height and 0 <= found[1] < width):
                continue
            for g, channels in enumerate(sources):
                total[g * mine : (g + 1) * mine] += x[found][channels] @ weight[k, m, :, g * mine : (g + 1) * mine]
        acc[0, i, j] = last = total
    return acc


def output(name: str, acc: np.ndarray) -> np.ndarray:
    """y of a fused dequantizer."""
    scale = data(name, "scale").view(np.float16).astype(np.float64)
    with np.errstate(over="ignore"):
        deq = (acc * scale).astype(np.float16)
    tensors = {tensor.name for tensor in case(name).tensors}
    return (deq + data(name, "bias").view(np.float16) if "bias" in tensors else deq).view(np.uint16)


def _clamp(at: int, size: int, low: bool = True, high: bool = True) -> int:
    return 0 if at < 0 and low else size - 1 if at >= size and high else at


def _mirror(at: int, size: int) -> int:
    return -at if at < 0 else 2 * (size - 1) - at if at >= size else at


def _linear(r: int, c: int, size: int) -> tuple[int, int] | None:
    """Where a column outside leads in memory; rows outside are nothing."""
    return ((r * size + c) // size, (r * size + c) % size) if 0 <= r < size else None


N = 4  # rows and columns of PLAIN
READS: dict[str, tuple[Read, tuple[str, ...]]] = {
    "edge at the right": (lambda r, c, k, m: (r, _clamp(c, N, low=False)), ("repeats the edge at the right",)),
    "edge at the top": (lambda r, c, k, m: (_clamp(r, N, high=False), c), ("repeats the edge at the top",)),
    "edge at the bottom": (lambda r, c, k, m: (_clamp(r, N, low=False), c), ("repeats the edge at the bottom",)),
    "edge in columns": (lambda r, c, k, m: (r, _clamp(c, N)), ("repeats the edge in columns",)),
    "edge in rows": (lambda r, c, k, m: (_clamp(r, N), c), ("repeats the edge in rows",)),
    "edge all around": (lambda r, c, k, m: (_clamp(r, N), _clamp(c, N)), ("repeats the edge in every direction",)),
    "mirrored": (lambda r, c, k, m: (_mirror(r, N), _mirror(c, N)), ("mirrors the map in every direction",)),
    "wrapped": (lambda r, c, k, m: (r % N, c % N), ("wraps to the far edge in every direction",)),
    "linear address": (lambda r, c, k, m: _linear(r, c, N), ("neighbouring row's words in memory",)),
    "row down": (lambda r, c, k, m: (r + 1, c), ("windows read one row down",)),
    "row up": (lambda r, c, k, m: (r - 1, c), ("windows read one row up",)),
    "column left": (lambda r, c, k, m: (r, c - 1), ("windows read one column to the left",)),
    "diagonal": (lambda r, c, k, m: (r + 1, c + 1), ("one row down and one column to the right",)),
    "row before": (lambda r, c, k, m: (r - 1 if k == 2 and r < N else r, c), ("is the row before it",)),
    "first row lost": (lambda r, c, k, m: None if k == 0 else (r, c), ("the first row of each window is missing",)),
    "last row lost": (lambda r, c, k, m: None if k == 2 else (r, c), ("the last row of each window is missing",)),
    "last column lost": (lambda r, c, k, m: None if m == 2 else (r, c), ("the last column of each window is missing",)),
    "stale": (lambda r, c, k, m: (r - 3 if k == 2 and r < N else r, c), ("the last row of each window is stale",)),
    "stale to the end": (lambda r, c, k, m: (r - 3 if r == min(r - k + 2, N - 1) else r, c),
                         ("the last row on the map of each window is stale",)),
}  # fmt: skip


def _kernels() -> Iterator[tuple[str, str, np.ndarray, str]]:
    weight, strided = data(PLAIN, "weight_code"), data(STRIDED, "weight_code")
    yield "kernel's rows reversed", PLAIN, weight[::-1], "the kernel's rows are in reverse"
    yield "kernel's columns reversed", PLAIN, weight[:, ::-1], "the kernel's columns are in reverse"
    yield "kernel rotated", PLAIN, weight[::-1, ::-1], "the kernel is rotated by 180 degrees"
    yield "kernel transposed", PLAIN, weight.transpose(1, 0, 2, 3), "kh and kw are exchanged"
    yield "inputs reversed", PLAIN, weight[:, :, ::-1], "the summed channels are in reverse"
    yield "inputs one late", PLAIN, np.roll(weight, 1, 2), "each summed channel meets the weights of the one before"
    yield "outputs one late", PLAIN, np.roll(weight, 1, 3), "each channel of the result has the weights of the one be"
    yield "channels exchanged", PLAIN, weight.transpose(0, 1, 3, 2), "input and output channels are exchanged"
    yield "rotated in groups", STRIDED, strided[::-1, ::-1], "the kernel is rotated by 180 degrees"
    yield "weights unsigned", PLAIN, weight.astype(np.int64) & 15, "signed weights are read as unsigned"
    for k, m, c, times, text in (
        (0, 0, 0, 0, "the first product of each sum is lost"), (1, 1, 2, 0, "(kh 1, kw 1, channel 2) is lost"),
        (2, 2, 3, 2, "the last product of each sum is added twice"), (1, 0, 1, 2, "(kh 1, kw 0, channel 1) is added"),
    ):  # fmt: skip
        changed = weight.astype(np.int64).copy()
        changed[k, m, c] *= times
        yield text, PLAIN, changed, text


def sums() -> Iterator[Fault]:
    """Faults of a convolution's sums, half of them seen at acc, half at y alone."""
    found: list[tuple[str, str, np.ndarray, tuple[str, ...]]] = [
        (name, PLAIN, convolved(PLAIN, read), named) for name, (read, named) in READS.items()
    ]
    found += [(name, where, convolved(where, weight=weight), (named,)) for name, where, weight, named in _kernels()]
    groups = {"groups are in reverse order in the source": [[2, 3], [0, 1]], "the channels of the first": [[0, 1]] * 2,
              "a group takes every G-th channel": [[0, 2], [1, 3]]}  # fmt: skip
    found += [(name, STRIDED, convolved(STRIDED, groups=order), (name,)) for name, order in groups.items()]
    cleared = {"is cleared at each row only": lambda i, j, last: last * (j > 0),
               "is never cleared": lambda i, j, last: last}  # fmt: skip
    found += [(name, PLAIN, convolved(PLAIN, start=start), (name,)) for name, start in cleared.items()]
    for number, (name, where, acc, named) in enumerate(found):
        if number % 2:
            yield _plant(name, where, "y", output(where, acc), *named)
        else:
            yield _plant(name, where, "acc", acc, *named, agreed=("t", "x_code", "mask"))


def gradients() -> Iterator[Fault]:
    """Faults of masks, of drawn words and of rounding, and of words themselves."""
    dx, deq, mask = (data(BACK, name) for name in ("dx", "dx_deq", "mask"))
    yield _plant("mask not applied", BACK, "dx", deq, "stuck at 1, or not applied", agreed=("dx_deq",))
    yield _plant("mask inverted", BACK, "dx", np.where(mask == 0, deq, 0), "passes what it should stop")
    yield _plant("mask stuck at 0", BACK, "dx", np.zeros_like(dx), "mask is stuck at 0", "every word is 0x0")
    z = data("batch_norm_frozen_forward", "z")
    for word in (0x7FFF, 0xFE00, 0x7D01):
        found = np.where(z == 0x7E00, np.uint16(word), z)
        yield _plant(f"NaN {word:#x}", "batch_norm_frozen_forward", "z", found, f"NaN is {word:#x} instead of")
    x, y = (data("relu6_forward", name) for name in ("x", "y"))
    payload = np.where((x & 0x7FFF) > 0x7C00, x, y)
    yield _plant("NaN payload", "relu6_forward", "y", payload, "payload", "not the canonical", "NaN is 0x")
    signed = np.where((x & 0x8000 != 0) & (y == 0), np.uint16(0x8000), y)
    yield _plant("relu keeps -0", "relu6_forward", "y", signed, "relu keeps the sign of what it clips")
    for bit, value in ((0, 0), (10, 1), (15, 0)):
        found = z | np.uint16(1 << bit) if value else z & np.uint16(~(1 << bit) & 0xFFFF)
        yield _plant(f"bit {bit}", "batch_norm_frozen_forward", "z", found, f"bit {bit} of each word stuck at {value}")
    flat = z.reshape(-1)
    dropped = np.concatenate([np.delete(flat, 40), flat[-1:] ^ 1])
    yield _plant("a word dropped", "batch_norm_frozen_forward", "z", dropped, "word 40 dropped")
    doubled = np.insert(flat, 41, flat[40])[:-1]
    yield _plant("a word doubled", "batch_norm_frozen_forward", "z", doubled, "word 40 doubled")
    for axis, name in ((1, "row"), (2, "column"), (3, "channel")):
        turned = np.flip(z, axis)
        yield _plant(f"{name}s reversed", "batch_norm_frozen_forward", "z", turned, f"{name}s in reverse order")
    rolled = np.roll(z, 1, 3)
    text = "each channel has the words of the channel before it"
    yield _plant("channels one late", "batch_norm_frozen_forward", "z", rolled, text)


def rounding() -> Iterator[Fault]:
    """Truncation whose overflow is still infinity, in the dequantizer and everywhere."""
    name = "fxp_dequantize_fused_nearest_even"
    acc = data(name, "acc").astype(np.float64)
    exact = acc * data(name, "scale").view(np.float16).astype(np.float64)
    words = _cut(exact)
    yield _plant("plain truncation in a dequantizer", name, "deq", words, "truncation that still overflows to infinity")
    name = "fp16_mul_nearest_even"
    a, b = (data(name, part).view(np.float16).astype(np.float64) for part in "ab")
    with np.errstate(invalid="ignore"):
        yield _plant("plain truncation in a multiplier", name, "y", _cut(a * b), "truncation that still overflows")


def _cut(exact: np.ndarray) -> np.ndarray:
    """float64 truncated to FP16, infinity from 2^16 on, by its bits."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        size = np.abs(exact)
        unit = np.exp2(np.maximum(np.floor(np.log2(np.where(size > 0, size, 1))), -14) - 10)
        cut = np.where(np.isfinite(size), np.floor(size / unit) * unit, size)
        cut = np.where(cut >= 2.0**16, np.inf, cut)
        half = np.copysign(cut, exact).astype(np.float16)
    return np.where(np.isnan(half), np.uint16(0x7E00), half.view(np.uint16))


def pools() -> Iterator[Fault]:
    """Max pools that treat padding, ties and NaN otherwise."""
    name = "max_pool_3x3_forward"
    x = data(name, "x").view(np.float16)[0]
    orders = {
        "padding takes part in the maximum as +0": (lambda v: _value(v), 0.0, False),
        "a NaN never wins a window": (lambda v: -np.inf if np.isnan(v) else float(v), None, False),
        "the maximum compares words as signed integers": (lambda v: int(v.view(np.int16)), None, False),
        "the maximum compares words as unsigned integers": (lambda v: int(v.view(np.uint16)), None, False),
        "the maximum compares magnitudes": (lambda v: _value(np.abs(v)), None, False),
    }
    for text, (order, outside, last) in orders.items():
        yield _plant(text, name, "y", _pooled(x, order, outside, last)[0], text)
    yield _plant("ties", name, "index", _pooled(x, _value, None, True)[1], "the last of equal maxima wins")


def _value(v: np.float16) -> float:
    return float("inf") if np.isnan(v) else float(min(v, np.float16(65504))) if v < np.inf else 1e9


def _pooled(x: np.ndarray, order: Callable, outside: float | None, last: bool) -> tuple[np.ndarray, np.ndarray]:
    shape = data("max_pool_3x3_forward", "y").shape
    y, index = np.zeros(shape, np.uint16), np.zeros(shape, np.uint8)
    for _, i, j, c in np.ndindex(*shape):
        best: tuple[float, int, int] | None = None
        for k, m in np.ndindex(3, 3):
            row, column = 2 * i - 1 + k, 2 * j - 1 + m
            if 0 <= row < x.shape[0] and 0 <= column < x.shape[1]:
                value = x[row, column, c]
            elif outside is None:
                continue
            else:
                value = np.float16(outside)
            rank = order(value)
            if best is None or rank > best[0] or (last and rank == best[0]):
                best = (rank, 0x7E00 if np.isnan(value) else int(value.view(np.uint16)), 3 * k + m)
        assert best is not None
        y[0, i, j, c], index[0, i, j, c] = best[1:]
    return y, index


def everything() -> list[Fault]:
    """All planted faults that change a word."""
    found = [*rtl(), *sums(), *gradients(), *rounding(), *pools()]
    return [fault for fault in found if fault.undriven.any() or (fault.words != golden(fault)).any()]


def golden(fault: Fault) -> np.ndarray:
    """The contract's words of the tensor."""
    tensor = case(fault.case).tensor(fault.tensor)
    return file_words(np.asarray(tensor.data), tensor.encoding).reshape(-1)
