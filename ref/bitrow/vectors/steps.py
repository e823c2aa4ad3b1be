"""Guesses about one rounding point: SPEC.md's named intermediates as steps, one of them computed otherwise.

Every value comes from the scalar oracle's exact arithmetic on golden operands, at the elements looked at.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from bitrow.config import BatchNormConfig, ConvConfig
from bitrow.formats import FP16, FP32, Dequantize, Float, FloatMode, Gradient, Overflow, Rounding
from bitrow.oracle import softfloat
from bitrow.oracle.softfloat import NEAREST, Kind, Number
from bitrow.vectors.suspect import UNKNOWN, Guess, Scene, mode_of

ROUNDINGS = {
    Rounding.TOWARD_ZERO: "truncation (toward zero)",
    Rounding.NEAREST_AWAY: "ties away from zero",
    Rounding.NEAREST_EVEN: "nearest-even",
    Rounding.UP: "rounding up",
    Rounding.DOWN: "rounding down",
}
_SETTLED = ("copy", "positive", "select")  # steps that do not round


@dataclass(frozen=True)
class Step:
    """The tap `name` as `kind` of its operands, in SPEC.md's words."""

    name: str
    kind: str
    operands: tuple[str, ...]


def _steps(text: str) -> tuple[Step, ...]:
    rows = (line.split() for line in text.strip().splitlines())
    return tuple(Step(name, kind, tuple(operands)) for name, kind, *operands in rows)


_STATISTICS = _steps("""
    yy mul y y
    mean mul s1 m
    s2m mul s2 m
    mean_sq mul mean mean
    var_raw sub s2m mean_sq
    var positive var_raw
    var_eps add var eps
    std sqrt var_eps
    r div one std
    a mul gamma r
    mean_a mul mean a
    b sub beta mean_a
    a16 convert a
    b16 convert b
""")
_GRADIENTS = _steps("""
    dzy mul dz y
    mean_t1 mul mean t1
    centered sub t2 mean_t1
    dgamma mul r centered
    ar mul a r
    ar_dgamma mul ar dgamma
    p negmul ar_dgamma m
    at1 mul a t1
    at1_m negmul at1 m
    p_mean mul p mean
    q sub at1_m p_mean
    p16 convert p
    q16 convert q
    adz mul a16 dz
    py mul p16 y
    adz_py add adz py
    dy add adz_py q16
""")
_UNITS = {
    "add": "y add a b", "sub": "y sub a b", "mul": "y mul a b", "div": "y div a b", "sqrt": "y sqrt a",
    "fma": "y fma a b c", "from_int32": "y convert i", "from_float32": "y convert x",
}  # fmt: skip


def _affine(config: BatchNormConfig, a: str, b: str) -> tuple[Step, ...]:
    return _steps(f"z fma {a} y {b}") if config.fma else _steps(f"ay mul {a} y\nz add ay {b}")


def _dequantizer(config: ConvConfig, prefix: str, scale: str) -> tuple[Step, ...]:
    if config.dequantize is Dequantize.TWO_STEP:
        return _steps(f"{prefix}acc_fp16 convert {prefix}acc\n{prefix}deq mul {prefix}acc_fp16 {scale}")
    return _steps(f"{prefix}deq mul {prefix}acc {scale}")


def _gradient(config: ConvConfig) -> tuple[Step, ...]:
    folded = _steps("dy_folded mul dy w_scale") if config.fold else ()
    if config.gradient is Gradient.FP16:
        body = _steps(f"dx_deq mul dx_sum {'one' if config.fold else 'w_scale'}")
    else:
        dy = "dy_folded" if config.fold else "dy"
        body = (*_steps(f"dy_t mul {dy} dy_inv_scale"), *_dequantizer(config, "dx_", "dx_scale"))
    return (*folded, *body, *_steps("dx select dx_deq mask"))


def steps_of(operation: str, config: Any, names: set[str]) -> tuple[Step, ...]:
    """The rounding points of an operation in dataflow order, those that sum over elements left out."""
    family, _, kind = operation.partition(".")
    if family == "fp16":
        return _steps(_UNITS[kind]) if kind in _UNITS else ()
    last = "y add deq bias" if "bias" in names else "y copy deq"
    table: dict[str, Callable[[], tuple[Step, ...]]] = {
        "fxp.quantize": lambda: _steps("t mul x x_inv_scale"),
        "fxp.quantize_stochastic": lambda: _steps("t mul x x_inv_scale"),
        "fxp.dequantize": lambda: _dequantizer(config, "", "scale"),
        "conv.forward": lambda: (
            *_steps("t mul x x_inv_scale"), *_dequantizer(config, "", "scale"), *_steps(last)
        ),
        "conv.backward": lambda: _gradient(config),
        "add.forward": lambda: _steps("y add x shortcut"),
        "avg_pool.forward": lambda: _steps("y mul sum inv_n"),
        "linear.forward": lambda: _steps("y add sum bias"),
        "linear.backward": lambda: _steps("dx convert sum"),
        "batch_norm.forward": lambda: (
            (*_STATISTICS, *_affine(config, "a16", "b16")) if "a16" in names else _affine(config, "a", "b")
        ),
        "batch_norm.backward": lambda: _GRADIENTS if "a16" in names else _steps("dy mul a dz"),
    }  # fmt: skip
    return table[operation]() if operation in table else ()


@dataclass(frozen=True)
class Defect:
    """How one step is computed otherwise: under another mode, or without rounding the operand `fused`."""

    step: str
    mode: FloatMode | None = None
    fused: str = ""
    unfused: bool = False


class Flow:
    """Recomputes steps at the elements of a scene, one of them with a defect."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.mode = mode_of(scene.config) or NEAREST
        self.steps = {s.name: s for s in steps_of(scene.case.operation, scene.config, set(scene.golden))}
        self.steps = {name: step for name, step in self.steps.items() if name in scene.golden}

    def format_of(self, name: str) -> Float:
        """FP16 or FP32, by the carrier of the tap's words."""
        return FP16 if self.scene.golden[name].dtype == np.uint16 else FP32

    def downstream(self, source: str, target: str) -> list[Step]:
        """The steps from `source` to `target`, both included, in order; empty where none lead there."""
        changed, path = {source}, [self.steps[source]]
        for step in self.steps.values():
            if step.name != source and changed & set(step.operands):
                changed.add(step.name)
                path.append(step)
        names = [step.name for step in path]
        return path[: names.index(target) + 1] if target in names else []

    def predict(self, defect: Defect) -> np.ndarray | None:
        """The scene's tap with the defect upstream, at the scene's elements; UNKNOWN elsewhere."""
        values: dict[str, list[int]] = {}
        shape = self.scene.data.shape
        for step in self.downstream(defect.step, self.scene.tap):
            at = self.scene.elements if self.scene.golden[step.name].shape == shape else None
            if at is None and self.scene.golden[step.name].size > self.scene.elements.size + 4096:
                return None  # the path leads through a map larger than what is looked at
            values[step.name] = self._run(step, values, at, defect if step.name == defect.step else None)
        if self.scene.tap not in values:
            return None
        whole = np.full(self.scene.data.size, UNKNOWN, np.int64)
        whole[self.scene.elements] = values[self.scene.tap]
        return whole.reshape(shape)

    def _run(self, step: Step, values: dict, at: np.ndarray | None, defect: Defect | None) -> list[int]:
        fmt = self.format_of(step.name)
        mode = self.mode if fmt == FP16 else NEAREST
        if defect is not None and defect.mode is not None:
            mode = defect.mode
        # F9: in an FP32 step the FP16 parameters touch only FP16 operands
        flush = (mode.flush if fmt == FP16 else self.mode.flush, mode.flush and fmt == FP32)
        shape = self.scene.golden[step.name].shape
        columns = [self._numbers(name, values, at, shape, fmt, flush) for name in step.operands]
        if step.kind in _SETTLED:
            return self._settle(step, values, at, shape)
        if defect is not None and defect.fused:
            place = step.operands.index(defect.fused)
            inner = self.steps[defect.fused]
            factors = [self._numbers(name, values, at, shape, fmt, flush) for name in inner.operands]
            products = [softfloat.exact_product(*pair) for pair in zip(*factors, strict=True)]
            columns[place] = [_negated(p) for p in products] if inner.kind == "negmul" else products
        kind = "unfused" if defect is not None and defect.unfused else step.kind
        return [_compute(kind, fmt, numbers, mode) for numbers in zip(*columns, strict=True)]

    def _raw(self, name: str, values: dict, at: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
        golden = self.scene.golden[name]
        if name in values:
            if golden.shape == self.scene.data.shape and at is not None:
                return np.asarray(values[name], np.int64)
            golden = np.asarray(values[name], np.int64).reshape(golden.shape)
        whole = np.broadcast_to(golden, shape).reshape(-1)
        return whole if at is None else whole[at]

    def _numbers(
        self,
        name: str,
        values: dict,
        at: np.ndarray | None,
        shape: tuple[int, ...],
        fmt: Float,
        flush: tuple[bool, bool],
    ) -> list[Number]:
        count = int(np.prod(shape)) if at is None else len(at)
        if name not in self.scene.golden:
            return [self._constant(name)] * count
        words = self._raw(name, values, at, shape).tolist()
        dtype = self.scene.golden[name].dtype
        if dtype.kind == "i":
            return [softfloat.integer(word) for word in words]
        source = FP16 if dtype == np.uint16 else FP32
        numbers = [softfloat.unpack(source, word, flush[source == FP32]) for word in words]
        if name in ("gamma", "beta", "eps") and fmt == FP16:
            # B2: host values are rounded once to the accumulator format
            rounded = (softfloat.round_number(FP16, number, self.mode) for number in numbers)
            numbers = [softfloat.unpack(FP16, word, flush[0]) for word in rounded]
        return numbers

    def _constant(self, name: str) -> Number:
        if name == "one":
            return softfloat.integer(1)
        golden = self.scene.golden
        if name == "m":  # B3 forms 1/M as B2 does
            fmt, dz = self.format_of("t1"), golden["dz"]
            mode = self.mode if fmt == FP16 else NEAREST
            return softfloat.unpack(fmt, softfloat.from_fraction(fmt, Fraction(dz.shape[3], dz.size), mode))
        x, sums = golden["x"], golden["sum"]
        kernel = self.scene.config.kernel
        count = kernel * kernel if kernel else x.shape[1] * x.shape[2]
        assert name == "inv_n" and sums.ndim == 4
        return softfloat.unpack(FP32, softfloat.from_fraction(FP32, Fraction(1, count)))

    def _settle(self, step: Step, values: dict, at: np.ndarray | None, shape: tuple[int, ...]) -> list[int]:
        words = [self._raw(name, values, at, shape).tolist() for name in step.operands]
        if step.kind == "copy":
            return words[0]
        if step.kind == "select":
            return [word if kept else 0 for word, kept in zip(*words, strict=True)]
        fmt = self.format_of(step.name)
        return [_positive(fmt, word) for word in words[0]]


def _negated(x: Number) -> Number:
    return x._replace(sign=1 - x.sign) if x.kind is not Kind.NAN else x


def _positive(fmt: Float, word: int) -> int:
    number = softfloat.unpack(fmt, word)
    if number.kind is Kind.NAN:
        return fmt.nan_bits
    return 0 if number.sign or word == 0 else word


def _compute(kind: str, fmt: Float, x: tuple[Number, ...], mode: FloatMode) -> int:
    """One step on numbers, rounded to `fmt` under `mode`."""
    if kind == "convert":
        return softfloat.round_number(fmt, x[0], mode)
    if kind == "sqrt":
        return softfloat.sqrt(fmt, x[0], mode)
    if kind == "fma":
        return softfloat.fma(fmt, x[0], x[1], x[2], mode)
    if kind == "unfused":
        product = softfloat.unpack(fmt, softfloat.mul(fmt, x[0], x[1], mode), mode.flush)
        return softfloat.add(fmt, product, x[2], mode)
    if kind == "sub":
        return softfloat.add(fmt, x[0], _negated(x[1]), mode)
    if kind == "negmul":
        return softfloat.mul(fmt, _negated(x[0]), x[1], mode)
    return {"add": softfloat.add, "mul": softfloat.mul, "div": softfloat.div}[kind](fmt, x[0], x[1], mode)


def mode_variants(mode: FloatMode) -> Iterator[tuple[str, FloatMode]]:
    """Every other value of one FP16 parameter, with what it is called as a guess."""
    now = ROUNDINGS[mode.rounding]
    for rounding, name in ROUNDINGS.items():
        if rounding is not mode.rounding:
            yield f"{name.rstrip(',')} instead of {now}", replace(mode, rounding=rounding)
    yield "subnormals kept" if mode.flush else "flushed subnormals", replace(mode, flush=not mode.flush)
    if mode.overflow is Overflow.INFINITY:
        yield "overflow to the largest number instead of infinity", replace(mode, overflow=Overflow.SATURATE)
    else:
        yield "overflow to infinity instead of the largest number", replace(mode, overflow=Overflow.INFINITY)


def step_guesses(flow: Flow, name: str) -> Iterator[Guess]:
    """The guesses that change only the rounding point `name`."""
    step, fmt = flow.steps[name], flow.format_of(name)
    if step.kind in _SETTLED:
        return
    for text, mode in mode_variants(flow.mode if fmt == FP16 else NEAREST):
        defect = Defect(name, mode=mode)
        yield Guess(f"{text} in {name}", functools.partial(flow.predict, defect))
    for operand in step.operands if step.kind in ("add", "sub") else ():
        if operand in flow.steps and flow.steps[operand].kind in ("mul", "negmul"):
            defect = Defect(name, fused=operand)
            text = f"a fused multiply-add: {operand} not rounded before {name}"
            yield Guess(text, functools.partial(flow.predict, defect))
    if step.kind == "fma":
        defect = Defect(name, unfused=True)
        yield Guess(
            f"a multiply and an add, two roundings, in {name}", functools.partial(flow.predict, defect)
        )


def local_guesses(scene: Scene) -> Iterator[Guess]:
    """Guesses that change the rounding of the scene's own tap."""
    flow = Flow(scene)
    if scene.tap in flow.steps:
        yield from step_guesses(flow, scene.tap)


def upstream_guesses(scene: Scene) -> Iterator[Guess]:
    """Guesses that change one rounding point before the scene's tap and no other; nearest first."""
    flow = Flow(scene)
    for name in reversed(list(flow.steps)):
        if name != scene.tap and flow.downstream(name, scene.tap):
            yield from step_guesses(flow, name)
