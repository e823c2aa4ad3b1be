"""The bins that a program's lines hit, and those that they can (SPEC.md V3).

Every line's operation says what it reports: one that rounds its step's corners, a named function its own. Standard
library and numpy only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from bitrow.config import AvgPoolConfig, ConvConfig
from bitrow.config.windows import Windows
from bitrow.contract import arithmetic, interpreter
from bitrow.contract.encoding import code_format, float_format
from bitrow.contract.exceptions import FLAGGED
from bitrow.contract.frame import constant
from bitrow.contract.operation import Operation
from bitrow.contract.program import Line, is_number
from bitrow.contract.sums import LEVEL
from bitrow.contract.units import UNITS
from bitrow.errors import BitrowError
from bitrow.formats import FP16, LFSR_PERIOD, AccOverflow, Float, FloatMode
from bitrow.oracle import fp16
from bitrow.oracle.arrays import map_words
from bitrow.oracle.reduce import Arithmetic
from bitrow.vectors.coverage import bins, block_bins, exact, flag_bins, geometry, step_bins
from bitrow.vectors.coverage.bins import BINS, REACHABLE, WINDOW_BINS, Masks
from bitrow.vectors.coverage.exact import Exact
from bitrow.vectors.coverage.step_bins import LAYER_BINS, decode, layer_step

Operand = np.ndarray | Exact
FoundMasks = Iterator[Masks]

_INPUT = frozenset(name for name in BINS if name.startswith("input_"))
_RELU = frozenset(name for name in BINS if name.startswith("relu_"))
_SIX = frozenset(("relu_six_above", "relu_six_equal"))
_SUMS = frozenset(name for name in BINS if name.startswith("acc_"))
_EDGES = frozenset(("mask_edge_inside", "mask_edge_outside", "quantize_nan", "quantize_infinity"))
_CODES = _EDGES | {"quantize_tie_lower", "quantize_tie_upper", "clip_low", "clip_high", "code_min", "code_max"}
_CONVOLVED = frozenset(("padding", "window_dilated", "transposed"))
_WINDOW = frozenset(("window_strides_differ", "window_sides_differ"))
_AVERAGE = frozenset(("average_shared", "average_padding", "average_partial"))
_NOISE = _EDGES | frozenset(name for name in BINS if name.startswith("stochastic_"))


@dataclass
class Measured:
    """A case being measured: `known` holds the operands that are no tensors of it, by name."""

    operation: Operation
    config: Any
    words: Mapping[str, np.ndarray]
    known: dict[str, Operand] = field(default_factory=dict)

    @property
    def mode(self) -> FloatMode:
        return arithmetic.mode_of(self.config)

    def read(self, name: str, fmt: Float | None) -> Operand | None:
        """An operand; a number in the format of the line; None for a `let` whose words no tensor holds."""
        if name in self.known:
            return self.known[name]
        if is_number(name):
            return constant(name).words
        return self.words.get(name)

    @property
    def hw(self) -> tuple[int, int]:
        """Rows and columns of the map that a convolution's gradient goes to."""
        return self.words["mask"].shape[1], self.words["mask"].shape[2]


def _kind(line: Line, source: str) -> str:
    """The kind of step, as `bins.REACHABLE` names them."""
    if line.op == "convert":
        return "from_int32" if source in ("int", "reg") else "from_float32"
    return "to_float32" if line.op == "widen" else line.op


def _is_unit(operation: Operation) -> bool:
    """One operation on vectors of words, with flags or without, whose stimulus can steer every corner."""
    return operation in UNITS.values() or operation in FLAGGED.values()


def _format_of(operation: Operation, name: str) -> str:
    return constant(name).format if is_number(name) else operation.program.named(name).format


def _rounded(case: Measured, line: Line, *operands: Operand) -> FoundMasks:
    fmt, source = arithmetic.rounder(line, case.config).fmt, _format_of(case.operation, line.operands[0])
    step = step_bins.rounded if _is_unit(case.operation) else layer_step
    yield step(_kind(line, source), list(operands), fmt, case.mode)
    if source == "reg":
        acc = np.asarray(operands[0])
        if line.op == "convert":
            yield {"acc_fp16_infinite": np.abs(acc.astype(np.int64)) >= 65520}
        else:
            yield {"wide_product": bins.wide_products(acc, np.asarray(operands[1]))}


def _flags(case: Measured, line: Line, *operands: np.ndarray) -> FoundMasks:
    if line.op in ("quantize_flags", "drawn_flags"):
        yield flag_bins.of_code(operands[0], operands[1] if len(operands) > 1 else None, case.config)
        return
    kind = _flag_kind(case.operation, line)
    step = {"wide": line.op.removesuffix("_flags"), "scaled": "mul"}.get(kind, kind)
    found = flag_bins.of_step(step, list(operands), case.mode)
    yield {name: mask for name, mask in found.items() if name in flag_bins.REACHABLE["add" if kind == "sub" else kind]}


def _flag_kind(operation: Operation, line: Line) -> str:
    """The kind of a line of flags, as `flag_bins.REACHABLE` names them."""
    source, op = _format_of(operation, line.operands[0]), line.op.removesuffix("_flags")
    if op in ("quantize", "drawn"):
        return "code"
    if op in ("add", "mul") and source != "16":
        return "wide" if source == "32" else "scaled"
    return _kind(replace(line, op=op), source)


def _widen(case: Measured, line: Line, x: np.ndarray) -> FoundMasks:
    if _is_unit(case.operation):
        yield from _rounded(case, line, x)
        return
    case.known[line.name] = exact.decode(x, FP16, case.mode.flush)
    yield step_bins.flushed_inputs(x, case.mode)


def _product(case: Measured, line: Line, a: Operand, b: Operand) -> FoundMasks:
    factors = []
    for name, operand in zip(line.operands, (a, b), strict=True):
        axes = case.operation.program.named(name).axes
        places = tuple(slice(None) if axis in axes else None for axis in line.axes)
        factors.append(Exact(*(part[places] for part in decode(operand, case.mode.flush)[0])))
    case.known[line.name] = exact.mul(*factors)
    yield {}


def _tree(case: Measured, line: Line, source: Operand) -> FoundMasks:
    fmt = arithmetic.rounder(line, case.config).fmt
    at = next(i for i, axis in enumerate(line.axes) if axis.endswith(LEVEL))
    yield from step_bins.tree(case.words, line.name.removesuffix(LEVEL), source, at, fmt, case.mode)
    found = step_bins.levels(case.words, line.name.removesuffix(LEVEL))
    root = decode(found[-1] if found else source, case.mode.flush)[0]
    case.known[line.name] = Exact(*(np.take(part, 0, axis=at) for part in root))


def _running(case: Measured, line: Line, root: Exact) -> FoundMasks:
    fmt, axes = arithmetic.rounder(line, case.config).fmt, case.operation.line(line.operands[0]).axes
    left = [axis for axis in axes if not axis.endswith(LEVEL)]
    if "row" in line.axes:
        terms = Exact(*(part.reshape(-1, part.shape[-1]) for part in root))
    else:
        order = [left.index(axis) for axis in line.axes]
        terms = Exact(*(part.transpose(order) for part in root))
    yield step_bins.running(case.words[line.name], terms, fmt, case.mode)


def _partial_sums(case: Measured, line: Line, dys: np.ndarray) -> FoundMasks:
    totals = np.stack([dys[0], *(case.words[f"{line.name}{k}"] for k in range(1, len(dys) - 1))])
    yield layer_step("add", [totals, dys[1:]], FP16, case.mode)


def _reciprocal(case: Measured, line: Line) -> FoundMasks:
    fmt = arithmetic.rounder(line, case.config).fmt
    counts = np.asarray(case.operation.count(case.config, case.words))
    words = map_words(Arithmetic(fmt).reciprocal, np.uint16 if fmt == FP16 else np.uint32, counts)
    case.known[line.name] = words[..., None] if line.axes else words  # of each window, for all images and channels
    yield {}


def _quantize(case: Measured, line: Line, t: np.ndarray, noise: np.ndarray | None = None) -> FoundMasks:
    yield bins.quantizer_bins(t, code_format(line.format, case.config), noise)


def _macs(case: Measured, line: Line, code: np.ndarray, weight: np.ndarray) -> FoundMasks:
    config, forward = case.config, "oh" in line.axes
    kh, kw, c_in_group, c_out = weight.shape
    terms = kh * kw * (c_in_group if forward else c_out // config.groups)
    fmt = code_format(_format_of(case.operation, line.operands[0]), config)
    clamped = case.words[line.name] if line.op == "clamped_macs" else None
    acc = case.words[line.name.removesuffix("_running")]
    exact_sum = acc
    if config.accumulator.overflow is not AccOverflow.ERROR:
        exact_sum = (geometry.conv_sum(config, code, weight) if forward
                     else geometry.gradient_sum(config, code, weight, case.hw))  # fmt: skip
    extremes = bins.sum_extremes(fmt, config.weight_format, terms)
    yield bins.accumulator_bins(exact_sum, acc, config.accumulator, extremes, clamped)
    yield _lying(config, weight)


def _float_macs(case: Measured, line: Line, dy: np.ndarray, weight: np.ndarray) -> FoundMasks:
    fmt = arithmetic.rounder(line, case.config).fmt
    terms = geometry.gradient_terms(case.config, dy, weight, case.hw)
    yield step_bins.running(case.words[line.name], terms, fmt, case.mode)
    yield _lying(case.config, weight)


def _lying(config: ConvConfig, weight: np.ndarray) -> Masks:
    """How the windows of a convolution lie."""
    found = {"padding": np.array(config.padding != 0), "transposed": np.array(config.transposed)}
    return found | _geometry(config.windows(weight.shape))


def _geometry(windows: Windows) -> Masks:
    """What windows have that those of one stride and one padding lack."""
    down, across = windows
    return {
        "window_strides_differ": np.array(down.stride != across.stride),
        "window_sides_differ": np.array(len({down.before, down.after, across.before, across.after}) > 1),
        "window_dilated": np.array(down.dilation * across.dilation > 1),
    }


def _windows(case: Measured, line: Line, x: Exact) -> FoundMasks:
    windows = case.operation.windows(case.config, case.words)
    cut = (geometry.pool_windows(windows, part).words for part in x)
    kernel = windows[0].kernel, windows[1].kernel
    apart = (part.reshape(*kernel, *part.shape[1:]) for part in cut)
    case.known[line.name] = Exact(*(part.transpose(2, 3, 0, 4, 1, 5) for part in apart))
    yield _averaged(case.config, windows, (x.sig.shape[1], x.sig.shape[2])) | _geometry(windows)


def _averaged(config: Any, windows: Windows, hw: tuple[int, int]) -> Masks:
    """How windows of an average, or of a gate, lie on a map."""
    (down, across), (h, w) = windows, hw
    held = np.outer(down.holding(h), across.holding(w))
    inside = np.outer(down.inside(h), across.inside(w))
    partial, counted = inside < down.kernel * across.kernel, isinstance(config, AvgPoolConfig) and config.count_padding
    return {
        "left_out": np.array((held == 0).any()),
        "average_shared": held > 1,
        "average_padding": partial & counted,
        "average_partial": partial & (not counted),
    }


def _added(case: Measured, windows: Windows, dys: np.ndarray, index: np.ndarray | None = None) -> FoundMasks:
    """The sums of gradients, followed window by window, each rounded as the oracle rounds; yields `shared`, too."""
    hw = case.operation.map_size(case.words)
    shape = (dys.shape[0], *hw, dys.shape[3])
    many, total = np.zeros(shape, np.int64), np.zeros(shape, np.uint16)
    add = functools.partial(fp16.add, mode=case.mode)
    for hit, dy in geometry.arrivals(windows, dys, hw, index):
        again = hit & (many > 0)  # what goes to one input alone is not added
        yield layer_step("add", [total[again], dy[again]], FP16, case.mode)
        total[hit] = map_words(add, np.uint16, total[hit], dy[hit])
        many += hit
    if index is not None:
        yield {"pool_shared_winner": many > 1}


def _spread(case: Measured, line: Line, scaled: np.ndarray | None) -> FoundMasks:
    windows = case.operation.windows(case.config, case.words)
    yield _averaged(case.config, windows, case.operation.map_size(case.words)) | _geometry(windows)
    if scaled is not None:  # a tap where windows share inputs
        yield from _added(case, windows, scaled)


def _maximum(case: Measured, line: Line, words: np.ndarray) -> FoundMasks:
    x = geometry.pool_windows(case.config.windows, words)
    value = exact.decode(x.words, FP16)
    key = np.where(value.nan, 1 << 17, np.where(value.negative, -1, 1) * (x.words & 0x7FFF).astype(np.int64))
    key = np.where(x.inside, key, -(1 << 18))
    best = key == key.max(axis=0)
    zeros = best & (key == 0) & x.inside
    yield {
        "pool_tie": best.sum(axis=0) > 1,
        "pool_zero_tie": (zeros & value.negative).any(axis=0) & (zeros & ~value.negative).any(axis=0),
        "pool_nan": (value.nan & x.inside).any(axis=0),
        "padding": np.asarray(~x.inside.all(axis=0)),
    } | _geometry(case.config.windows)


def _won(case: Measured, line: Line, dys: np.ndarray, index: np.ndarray) -> FoundMasks:
    yield from _added(case, case.config.windows, dys, index)
    yield _geometry(case.config.windows)


def _relu(case: Measured, line: Line, words: np.ndarray) -> FoundMasks:
    x, six = exact.decode(words, FP16), line.op.endswith("6")
    yield {
        "relu_negative": x.negative & ~x.nan & ~x.zero,
        "relu_zero": x.zero,
        "relu_nan": x.nan,
        "relu_inside": ~x.negative & ~x.nan & ~x.zero & (words < (0x4600 if six else 0x7C01)),
    }
    if six:
        yield {"relu_six_above": (words > 0x4600) & (words <= 0x7C00), "relu_six_equal": words == 0x4600}


def _passes(case: Measured, line: Line, words: np.ndarray) -> FoundMasks:
    yield bins.input_bins(words)  # the input that the forward pass kept is stimulus here, too
    yield from _relu(case, line, words)


def _ramp(case: Measured, line: Line, slope: np.ndarray, words: np.ndarray) -> FoundMasks:
    magnitude, negative = words & 0x7FFF, words > 0x8000
    far = (magnitude > 0x4200) & (magnitude <= 0x7C00)
    yield {"ramp_low": far & negative, "ramp_high": far & ~negative, "ramp_edge": magnitude == 0x4200}


def _clip(case: Measured, line: Line, words: np.ndarray) -> FoundMasks:
    yield block_bins.clip(words)


def _table(case: Measured, line: Line, words: np.ndarray) -> FoundMasks:
    yield bins.input_bins(words)  # as kept input, too
    yield block_bins.table(words, case.config.table_bits)


def _configured(case: Measured, line: Line) -> FoundMasks:
    case.known[line.name] = np.array(getattr(case.config, line.name), np.uint16)
    yield {}


def _over(case: Measured, line: Line, gate: np.ndarray) -> FoundMasks:
    case.known[line.name] = gate
    yield {}


def _repeats(case: Measured, line: Line, dy: np.ndarray) -> FoundMasks:
    case.known[line.name] = block_bins.repeated(case.config, dy)
    yield {}


def _pack(case: Measured, line: Line, code: np.ndarray) -> FoundMasks:
    odd, narrow = bool(code.shape[2] * code.shape[3] % 2), case.config.bits <= 4
    yield {
        "pack_odd_row": np.array(odd and narrow),
        "pack_even_row": np.array(not odd and narrow),
        "pack_negative": (code < 0) & narrow,
        "pack_wide": np.array(not narrow),
    }


def _stream(case: Measured, line: Line, seed: np.ndarray, start: np.ndarray, count: np.ndarray) -> FoundMasks:
    first = start.astype(np.int64)
    yield {
        "lfsr_first": first == 0,
        "lfsr_jump": first > 0,
        "lfsr_period": first + int(count) > LFSR_PERIOD,
    }


def _none(case: Measured, line: Line, *operands: Operand) -> FoundMasks:
    yield {}


class Reports(NamedTuple):
    """What an operation of a line reports: the masks of a case, and the bins that they can hit."""

    masks: Callable[..., FoundMasks]
    bins: frozenset[str] = frozenset()


REPORTS: dict[str, Reports] = {
    **dict.fromkeys(arithmetic.ROUNDED, Reports(_rounded, LAYER_BINS)),
    **dict.fromkeys(arithmetic.FLAGGED, Reports(_flags)),
    "widen": Reports(_widen),
    "product": Reports(_product),
    "tree": Reports(_tree, LAYER_BINS | {"tree_padded", "tree_single"}),
    "running": Reports(_running, LAYER_BINS),
    "partial_sums": Reports(_partial_sums, LAYER_BINS),
    "reciprocal": Reports(_reciprocal),
    "quantize": Reports(_quantize, _CODES),
    "quantize_drawn": Reports(_quantize, _NOISE),
    "macs": Reports(_macs, _SUMS | _WINDOW | _CONVOLVED),
    "clamped_macs": Reports(_macs, _SUMS | _WINDOW | _CONVOLVED),
    "float_macs": Reports(_float_macs, LAYER_BINS | _WINDOW | _CONVOLVED),
    "windows": Reports(_windows, _WINDOW | _AVERAGE | {"left_out"}),
    "spread": Reports(_spread, LAYER_BINS | _WINDOW | _AVERAGE | {"left_out"}),
    "maximum": Reports(_maximum, _WINDOW | {"pool_tie", "pool_zero_tie", "pool_nan", "padding"}),
    "won": Reports(_won, LAYER_BINS | _WINDOW | {"pool_shared_winner"}),
    "relu": Reports(_relu, _RELU - _SIX),
    "relu6": Reports(_relu, _RELU),
    "passes": Reports(_passes, _INPUT | _RELU - _SIX),
    "passes6": Reports(_passes, _INPUT | _RELU),
    "ramp": Reports(_ramp, frozenset(("ramp_low", "ramp_high", "ramp_edge"))),
    "clip1": Reports(_clip, block_bins.CLIP),
    "table_base": Reports(_table, _INPUT | block_bins.TABLE),
    "configured": Reports(_configured),
    "over": Reports(_over),
    "repeats": Reports(_repeats),
    "pack": Reports(_pack, frozenset(("pack_even_row", "pack_odd_row", "pack_negative", "pack_wide"))),
    "stream": Reports(_stream, frozenset(("lfsr_first", "lfsr_jump", "lfsr_period"))),
    # what moves or selects words, or repeats what an earlier line reports
    **dict.fromkeys(("last", "root", "join", "copy", "select", "positive", "inside", "place", "draw", "table_rise",
                     "table_part", "rising", "falling", "passes1", "repeat", "blocks", "channels"), Reports(_none)),
}
if missing := interpreter.KNOWN ^ REPORTS.keys():
    raise BitrowError(f"coverage: found {', '.join(sorted(missing))} in one of contract and REPORTS, expected both")


def masks(operation: Operation, config: Any, words: Mapping[str, np.ndarray]) -> FoundMasks:
    """Every bin of a case, as masks over its elements: `words` are those of all its tensors."""
    for name, line in operation.inputs.items():
        if line.format == "16" and not line.saved:
            yield bins.input_bins(words[name])
        if line.format == "reg":
            yield {"acc_zero": words[name] == 0}
    case = Measured(operation, config, words)
    for line in operation.active(config, words):
        fmt = float_format(line.format, config)
        yield from REPORTS[line.op].masks(case, line, *(case.read(name, fmt) for name in line.operands))


def reachable(operation: Operation) -> frozenset[str]:
    """The bins that cases of an operation can hit, over all its configurations."""
    found: set[str] = set()
    for line in operation.inputs.values():
        found |= _INPUT if line.format == "16" and not line.saved else set()
        found |= {"acc_zero"} if line.format == "reg" else set()
    for line in operation.program.lines:
        if line.op in arithmetic.ROUNDED or line.op == "widen":
            found |= _reachable_step(operation, line)
        elif line.op in arithmetic.FLAGGED:
            found |= flag_bins.REACHABLE[{"sub": "add"}.get(kind := _flag_kind(operation, line), kind)]
        elif line.op:
            found |= REPORTS[line.op].bins
    return frozenset(found - UNREACHABLE.get(operation.name, frozenset()))


def _reachable_step(operation: Operation, line: Line) -> frozenset[str]:
    source = _format_of(operation, line.operands[0])
    if _is_unit(operation):
        return REACHABLE[{"sub": "add"}.get(kind := _kind(line, source), kind)]
    if line.op == "widen":
        return frozenset()
    wide = {"acc_fp16_infinite" if line.op == "convert" else "wide_product"} if source == "reg" else frozenset()
    return LAYER_BINS | wide


UNREACHABLE: dict[str, frozenset[str]] = {
    # acc is finite, and so is a scale, which is at least 2^-14: no product falls below the normal range
    "fxp.dequantize": frozenset(("nan_operand", "infinite_operand", "flushed_operand", "flushed_result",
                                 "subnormal_result")),
    # a mean never exceeds what it is the mean of
    "avg_pool.forward": frozenset(("overflow_infinity", "overflow_largest")),
    "avg_pool.backward": frozenset(("overflow_infinity", "overflow_largest")),
    # between two words of the table, or from 8 on 1
    "sigmoid.forward": frozenset(("infinite_operand", "overflow_infinity", "overflow_largest", "subnormal_result",
                                  "flushed_result")),
    # x times what is at most 1
    "silu.forward": frozenset(("overflow_infinity", "overflow_largest")),
    # of an integer and a scale, as fxp.dequantize, whose scale may be one of many
    "flags.dequantize": frozenset(("nan_operand", "infinite_operand", "invalid", "flushed_operand", "flushed_result",
                                   "negative_zero", "subnormal_result", "subnormal_boundary", "underflow_to_zero")),
    # FP32 operands are not flushed
    "flags.add_fp32": frozenset(("flushed_operand",)),
    "flags.mul_fp32": frozenset(("flushed_operand",)),
    # its window is the whole map
    "multiply.backward": WINDOW_BINS | {"left_out"},
}  # fmt: skip
