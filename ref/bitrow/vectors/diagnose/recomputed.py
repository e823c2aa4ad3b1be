"""Guesses that the whole oracle recomputes: another configuration, order, accumulator or reading of codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from bitrow.config import AvgPoolConfig, BatchNormConfig, ConvConfig, Statistics
from bitrow.config.windows import sides
from bitrow.contract import batch_norm, conv, elementwise, linear, pool
from bitrow.formats import (
    FP16,
    FP32,
    AccOverflow,
    Accumulator,
    Dequantize,
    Fxp,
    Gradient,
    QuantRounding,
)
from bitrow.oracle import fp16, softfloat
from bitrow.oracle.arrays import map_words
from bitrow.oracle.softfloat import NumberKind
from bitrow.vectors.diagnose.misread import swap_nibbles
from bitrow.vectors.diagnose.rounding_points import mode_variants
from bitrow.vectors.diagnose.scene import Guess, Scene, mode_of, with_mode

_ONE = np.uint16(0x3C00)
_CODE_LIMIT = 200_000


def _guess(name: str, scene: Scene, config: Any, given: dict | None = None) -> Guess:
    return Guess(name, lambda: scene.recompute(config, given or scene.given, scene.rows))


def mode_guesses(scene: Scene) -> Iterator[Guess]:
    """Another FP16 mode in every operation of the case (SPEC.md F3, F5, F6)."""
    mode = mode_of(scene.config)
    if mode is None:
        return
    for text, other in mode_variants(mode):
        yield _guess(f"{text} in every FP16 operation", scene, with_mode(scene.config, other))


def _accumulators(accumulator: Accumulator) -> Iterator[tuple[str, Accumulator]]:
    bits, overflow = accumulator.bits, accumulator.overflow
    if bits > 8:
        yield f"one accumulator bit less ({bits - 1}), wrapping", Accumulator(bits - 1, AccOverflow.WRAP)
        yield (
            f"one accumulator bit less ({bits - 1}), saturating",
            Accumulator(bits - 1, AccOverflow.SATURATE),
        )
    if overflow is AccOverflow.WRAP:
        yield "a saturating instead of a wrapping accumulator", Accumulator(bits, AccOverflow.SATURATE)
    if overflow is AccOverflow.SATURATE:
        yield "a wrapping instead of a saturating accumulator", Accumulator(bits, AccOverflow.WRAP)
    # 16 is the width that a careless design gives a register
    for other in (16, 12):
        if other < bits - 1:
            yield f"an accumulator of {other} bits, wrapping", Accumulator(other, AccOverflow.WRAP)


def _conv_guesses(scene: Scene, config: ConvConfig) -> Iterator[Guess]:
    if config.dequantize is Dequantize.FUSED:
        yield _guess("a two-step dequantize (D2) instead of a fused one (D1)", scene, _two_step(config))
    else:
        fused = replace(config, dequantize=Dequantize.FUSED)
        yield _guess("a fused dequantize (D1) instead of a two-step one (D2)", scene, fused)
    if scene.operation in conv.CONV:
        for text, accumulator in _accumulators(config.accumulator):
            yield _guess(text, scene, replace(config, accumulator=accumulator))
    if config.dy_rounding is QuantRounding.STOCHASTIC:
        nearest = replace(config, dy_rounding=QuantRounding.NEAREST_EVEN)
        yield _guess("codes of dy to nearest even instead of stochastic", scene, nearest)
    for field in ("x_format", "dy_format"):
        fmt = getattr(config, field)
        if fmt.signed:
            text = "codes from -2^(bits-1) instead of narrow ones" if fmt.narrow else "narrow codes"
            changed: dict[str, Any] = {field: replace(fmt, narrow=not fmt.narrow)}
            yield _guess(f"{text} in {field}", scene, replace(config, **changed))


def _two_step(config: ConvConfig) -> ConvConfig:
    return replace(config, dequantize=Dequantize.TWO_STEP)


def _norm_guesses(scene: Scene, config: BatchNormConfig) -> Iterator[Guess]:
    if "z" in scene.operation.outputs:
        text = "a multiply and an add, two roundings, instead of a fused multiply-add"
        if not config.fma:
            text = "a fused multiply-add instead of a multiply and an add"
        yield _guess(text, scene, replace(config, fma=not config.fma))
    if config.statistics is Statistics.BATCH:
        other, name = (FP16, "FP16") if config.accumulator == FP32 else (FP32, "FP32")
        if "z" in scene.operation.outputs:
            yield _guess(f"statistics summed in {name}", scene, replace(config, accumulator=other))


def config_guesses(scene: Scene) -> Iterator[Guess]:
    """Another value of one parameter of the layer."""
    config = scene.config
    if isinstance(config, ConvConfig):
        yield from _conv_guesses(scene, config)
    if isinstance(config, BatchNormConfig):
        yield from _norm_guesses(scene, config)
    if isinstance(config, AvgPoolConfig) and config.padding:
        which = "only elements inside the map" if config.count_padding else "elements outside the map, too,"
        yield _guess(f"{which} counted by means", scene, replace(config, count_padding=not config.count_padding))


def _turned(scene: Scene, axes: tuple[str, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """Flips the tap along those of its axes that were flipped in the inputs; `w_level` is w halved."""
    layout = [axis.removesuffix("_level") for axis in scene.tensor.layout.split()]
    flips = tuple(i for i, axis in enumerate(layout) if axis in axes)
    return lambda words: np.flip(words, flips) if flips else words


def _flipped(scene: Scene, name: str, given: dict, axes: tuple[str, ...], config: Any = None) -> Guess:
    """The operation on flipped inputs, its tap flipped back along `axes`; under `config`, if flipping changes it."""

    def predict() -> np.ndarray | None:
        rows = scene.rows
        if rows is not None and {"h", "oh"} & set(axes):
            height = scene.operation.rows(scene.config, scene.given)[1]
            rows = [(n, height - 1 - h) for n, h in rows]
        words = scene.recompute(config or scene.config, given, rows)
        return None if words is None else _turned(scene, axes)(words)

    return Guess(name, predict)


_SPATIAL = ("h", "oh", "w", "ow")


def _group_reversed(size: int, groups: int) -> np.ndarray:
    """Channel indices, reversed inside each group."""
    return np.arange(size).reshape(groups, -1)[:, ::-1].reshape(-1)


def _conv_orders(scene: Scene, config: ConvConfig) -> Iterator[Guess]:
    """Products in reverse: kernel, map and summed channels flipped, where windows fit exactly."""
    weight = scene.given["weight_code"]
    gradient = config.gradient is Gradient.FP16 and scene.operation is conv.BACKWARD
    if not gradient and config.accumulator.overflow is not AccOverflow.SATURATE:
        return
    forward = scene.operation is conv.FORWARD
    size = scene.given["x" if forward else "mask"].shape[1:3]
    if config.transposed:
        size = config.output_hw(weight.shape[:2], size)
    if any(window.unused(along) for window, along in zip(config.windows(weight.shape), size, strict=True)):
        return
    top, bottom, left, right = sides(config.padding)
    config = replace(config, padding=(bottom, top, right, left))
    given = dict(scene.given)
    if forward:
        given["weight_code"] = weight[::-1, ::-1, ::-1]
        channels = _group_reversed(scene.given["x"].shape[3], config.groups)
        given["x"] = scene.given["x"][:, ::-1, ::-1][..., channels]
        if scene.tap in ("t", "x_code", "mask"):
            return
    else:
        channels = _group_reversed(weight.shape[3], config.groups)
        given["weight_code"] = weight[::-1, ::-1][..., channels]
        given["dy"] = scene.given["dy"][:, ::-1, ::-1][..., channels]
        given["mask"] = scene.given["mask"][:, ::-1, ::-1]
        if np.size(given["w_scale"]) > 1:
            given["w_scale"] = given["w_scale"][channels]
        if scene.tap.startswith("dy_"):
            return
    yield _flipped(scene, "reversed reduction order: products summed last to first", given, _SPATIAL, config)


def _norm_orders(scene: Scene) -> Iterator[Guess]:
    maps = [name for name in ("y", "dz") if name in scene.given]

    def turned(*axes: int) -> dict[str, np.ndarray]:
        return scene.given | {name: np.flip(scene.given[name], axes) for name in maps}

    name = "reversed reduction order inside each row: w from last to first"
    yield _flipped(scene, name, turned(2), ("w",))
    whole = turned(0, 1)
    yield _flipped(scene, "reversed reduction order of rows: last row first", whole, ("n", "h"))
    name = "reversed reduction order: rows and w from last to first"
    yield _flipped(scene, name, turned(0, 1, 2), ("n", "h", "w"))

    def sequential() -> np.ndarray | None:
        # a map of width 1 whose rows are the elements has no trees
        flat = dict(scene.given)
        for name in maps:
            flat[name] = flat[name].reshape(len(flat[name]), -1, 1, flat[name].shape[3])
        data = scene.operation.oracle(scene.config, flat).get(scene.tap)
        if data is None or data.size != scene.data.size:
            return None
        return scene.words_of(data).reshape(scene.data.shape)

    yield Guess("elements of a row summed one after another instead of by a tree", sequential)


def _linear_orders(scene: Scene) -> Iterator[Guess]:
    forward = scene.operation is linear.FORWARD
    name, axis = ("x", 0) if forward else ("dy", 1)
    given = {**scene.given, name: scene.given[name][:, ::-1]}
    given["weight"] = np.flip(scene.given["weight"], axis)
    yield _flipped(
        scene, "reversed reduction order: inputs from last to first", given, ("i_level", "o_level")
    )


def _pool_orders(scene: Scene) -> Iterator[Guess]:
    x, config, edges, used = scene.given["x"], scene.config, [], []
    for size, window in zip(x.shape[1:3], config.windows(x.shape[1:3]), strict=True):
        unused = window.unused(size)
        edges += [max(0, window.after - unused), window.before]
        used.append(size - max(0, unused - window.after))
    given = {"x": x[:, : used[0], : used[1]][:, ::-1, ::-1]}
    axes = ("oh", "ow", "w", "kh") if scene.tensor.layout.startswith("n") else ("oh", "ow")
    turned = replace(config, padding=tuple(edges))
    yield _flipped(scene, "reversed reduction order: window from last element to first", given, axes, turned)


def order_guesses(scene: Scene) -> Iterator[Guess]:
    """The declared reductions in another order (SPEC.md B2, A3, A4, A5, C3, M2)."""
    operation, config = scene.operation, scene.config
    if operation in conv.CONV:
        yield from _conv_orders(scene, config)
    elif operation in (batch_norm.FORWARD_BATCH, batch_norm.BACKWARD_BATCH):
        yield from _norm_orders(scene)
    elif operation in linear.LINEAR:
        yield from _linear_orders(scene)
    elif operation is pool.AVG_FORWARD:
        yield from _pool_orders(scene)
    elif operation is elementwise.ACCUMULATE:
        given = {"dys": scene.given["dys"][::-1]}
        yield _guess("reversed reduction order: gradients from last to first", scene, config, given)


def _other_code(t: int, fmt: Fxp, how: str) -> int:
    number = softfloat.unpack(FP16, t)
    if number.kind is NumberKind.NAN:
        return 0
    if number.kind is NumberKind.INFINITE:
        return 0 if how == "low" else fmt.min if number.sign else fmt.max
    exact = softfloat.exact(number)
    rounded = {
        "floor": lambda: exact.__floor__(),
        "zero": lambda: int(exact),
        "away": lambda: int(abs(exact) + 1 / type(exact)(2)) * (-1 if exact < 0 else 1),
        "even": lambda: round(exact),
        "wrap": lambda: round(exact),
        "low": lambda: round(exact),
    }[how]()
    if how in ("wrap", "low"):
        low = rounded & ((1 << fmt.bits) - 1)
        return low - (1 << fmt.bits) if fmt.signed and low >> (fmt.bits - 1) else low
    return max(fmt.min, min(rounded, fmt.max))


_QUANTIZERS = {
    "floor": "codes rounded down (floor) instead of to nearest even",
    "zero": "codes truncated toward zero instead of rounded to nearest even",
    "away": "code ties away from zero instead of to even",
    "wrap": "codes that wrap instead of clipping",
    "low": "codes that wrap instead of clipping, infinities 0",
}
_UNDRAWN = {
    "floor": "codes rounded down (floor) instead of stochastically",
    "zero": "codes truncated toward zero instead of rounded stochastically",
    "even": "codes to nearest even instead of stochastic",
}


def _codes_of(scene: Scene) -> tuple[str, str, Fxp] | None:
    """The names of a quantizer's t and codes, and its format."""
    config = scene.config
    if not isinstance(config, ConvConfig):
        return None
    if "x_code" in scene.golden:
        return "t", "x_code", config.x_format
    return ("dy_t", "dy_code", config.dy_format) if "dy_code" in scene.golden else None


def _from_codes(scene: Scene, codes: np.ndarray, fmt: Fxp) -> np.ndarray | None:
    """The tap when the quantizer gives `codes`: they are fed as whole numbers with a scale of 1."""
    if scene.operation not in conv.CONV:
        return None
    low, high = int(codes.min()), int(codes.max())
    if low < fmt.min or high > fmt.max:
        return None
    whole = map_words(lambda code: fp16.from_int32(code), np.uint16, codes)
    plain = replace(scene.config, fold=False, dy_rounding=QuantRounding.NEAREST_EVEN)
    given = dict(scene.given)
    if scene.operation is conv.FORWARD:
        given |= {"x": whole, "x_inv_scale": np.asarray(_ONE)}
    else:
        given |= {"dy": whole, "dy_inv_scale": np.asarray(_ONE), "w_scale": np.asarray(_ONE)}
    return scene.recompute(plain, given, scene.rows)


def _with_codes(scene: Scene, names: tuple[str, str, Fxp], codes: np.ndarray) -> np.ndarray | None:
    t, code, fmt = names
    if scene.tap == code:
        return scene.words_of(codes.astype(scene.data.dtype))
    if scene.tap in (t, "mask", "dy_words", "dy_folded"):
        return None
    return _from_codes(scene, codes, fmt)


def code_guesses(scene: Scene) -> Iterator[Guess]:
    """Another rounding of codes, or nibbles read in the wrong order, for activations and weights (Q1, Q5)."""
    names = _codes_of(scene)
    if names is None or np.size(scene.golden[names[1]]) > _CODE_LIMIT:
        return
    t, codes = scene.golden[names[0]], scene.golden[names[1]]
    if scene.config.dy_rounding is QuantRounding.NEAREST_EVEN or names[0] == "t":
        drawn = scene.operation.program.named(names[1]).op == "quantize_drawn"
        for how, text in (_UNDRAWN if drawn else _QUANTIZERS).items():

            def predict(how: str = how) -> np.ndarray | None:
                other = map_words(lambda word: _other_code(word, names[2], how), codes.dtype.type, t)
                return _with_codes(scene, names, other)

            yield Guess(text, predict)
    if names[2].bits <= 4:
        text = f"swapped nibbles in {names[1]}"
        yield Guess(text, lambda: _with_codes(scene, names, swap_nibbles(codes)))
    weight = scene.given.get("weight_code")
    if weight is not None and scene.config.weight_format.bits <= 4:
        given = {**scene.given, "weight_code": swap_nibbles(weight)}
        yield _guess("swapped nibbles in weight_code", scene, scene.config, given)


def guesses(scene: Scene) -> Iterator[Guess]:
    """Every guess that takes the oracle to check; none where that takes too long."""
    if scene.affordable():
        for family in (mode_guesses, config_guesses, code_guesses, order_guesses):
            yield from family(scene)
