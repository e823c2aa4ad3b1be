"""Guesses about one rounding point: SPEC.md's named intermediates as steps, one of them computed otherwise.

Every value comes from the scalar oracle's exact arithmetic on golden operands, at the elements looked at.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from bitrow.contract import arithmetic
from bitrow.contract.arithmetic import Rounder
from bitrow.contract.encoding import float_format
from bitrow.contract.frame import constant
from bitrow.contract.program import Line, is_number
from bitrow.formats import FP16, FP32, Float, FloatMode, Overflow, Rounding
from bitrow.oracle import softfloat
from bitrow.oracle.reduce import Arithmetic
from bitrow.oracle.softfloat import NEAREST, Number
from bitrow.vectors.diagnose.scene import UNKNOWN, Guess, Scene, mode_of

ROUNDINGS = {
    Rounding.TOWARD_ZERO: "truncation (toward zero)",
    Rounding.NEAREST_AWAY: "ties away from zero",
    Rounding.NEAREST_EVEN: "nearest-even",
    Rounding.UP: "rounding up",
    Rounding.DOWN: "rounding down",
}


def steps_of(scene: Scene) -> dict[str, Line]:
    """The rounding points of an operation in dataflow order, those that sum over elements left out."""
    lines = scene.operation.active(scene.config, scene.given)
    known = (line for line in lines if line.role is not None and line.op in (*arithmetic.ROUNDED, *arithmetic.SETTLED))
    return {line.name: line for line in known if line.name in scene.golden}


@dataclass(frozen=True)
class Defect:
    """How one step is computed otherwise: under another mode, or without rounding the operand `fused`."""

    step: str
    mode: FloatMode | None = None
    fused: str = ""
    unfused: bool = False


class DefectModel:
    """Recomputes steps at the elements of a scene, one of them with a defect."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.mode = mode_of(scene.config) or NEAREST
        self.steps = steps_of(scene)
        self._held = functools.cache(self._words_of)

    def format_of(self, name: str) -> Float:
        """FP16 or FP32, by the carrier of the tap's words."""
        return FP16 if self.scene.golden[name].dtype == np.uint16 else FP32

    def downstream(self, source: str, target: str) -> list[Line]:
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

    def _run(self, step: Line, values: dict, at: np.ndarray | None, defect: Defect | None) -> list[int]:
        fmt = self.format_of(step.name)
        mode = self.mode if fmt == FP16 else NEAREST
        if defect is not None and defect.mode is not None:
            mode = defect.mode
        # F9: in an FP32 step the FP16 parameters touch only FP16 operands
        flush = (mode.flush if fmt == FP16 else self.mode.flush, mode.flush and fmt == FP32)
        shape = self.scene.golden[step.name].shape
        if step.op in arithmetic.SETTLED:
            return self._settle(step, values, at, shape)
        columns = [self._numbers(name, values, at, shape, fmt, flush) for name in step.operands]
        if defect is not None and defect.fused:
            place = step.operands.index(defect.fused)
            inner = self.steps[defect.fused]
            factors = [self._numbers(name, values, at, shape, fmt, flush) for name in inner.operands]
            products = [softfloat.exact_product(*pair) for pair in zip(*factors, strict=True)]
            columns[place] = [arithmetic.negated(p) for p in products] if inner.op == "negmul" else products
        kind = "unfused" if defect is not None and defect.unfused else step.op
        return [_compute(kind, fmt, numbers, mode) for numbers in zip(*columns, strict=True)]

    def _raw(self, name: str, values: dict, at: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
        golden = self._held(name)
        if name in values:
            if golden.shape == self.scene.data.shape and at is not None:
                return np.asarray(values[name], np.int64)
            golden = np.asarray(values[name], np.int64).reshape(golden.shape)
        whole = np.broadcast_to(golden, shape).reshape(-1)
        return whole if at is None else whole[at]

    def _words_of(self, name: str) -> np.ndarray:
        """Golden words of a line, or of one that no tensor holds: a configuration's own, a gate's, or a mask."""
        if name in self.scene.golden:
            return self.scene.golden[name]
        line = self.scene.operation.program.named(name)
        if line.op == "configured":
            return np.array(getattr(self.scene.config, name), np.uint16)
        (source,) = (self.scene.golden[operand] for operand in line.operands)
        if line.op == "over":
            return source
        function = arithmetic.settled(line, self.scene.config)
        return np.array([function(word) for word in source.reshape(-1).tolist()]).reshape(source.shape)

    def _numbers(
        self,
        name: str,
        values: dict,
        at: np.ndarray | None,
        shape: tuple[int, ...],
        fmt: Float,
        flush: tuple[bool, bool],
    ) -> list[Number]:
        if is_number(name) or self.scene.operation.program.named(name).op == "reciprocal":
            return self._constants(name, at, shape)
        words, dtype = self._raw(name, values, at, shape).tolist(), self._held(name).dtype
        if dtype.kind == "i":
            return [softfloat.integer(word) for word in words]
        source = FP16 if dtype == np.uint16 else FP32
        numbers = [softfloat.unpack(source, word, flush[source == FP32]) for word in words]
        if self.scene.operation.program.named(name).format == "host" and fmt == FP16:
            # B2: host values are rounded once to the accumulator format
            rounded = (softfloat.round_number(FP16, number, self.mode) for number in numbers)
            numbers = [softfloat.unpack(FP16, word, flush[0]) for word in rounded]
        return numbers

    def _constants(self, name: str, at: np.ndarray | None, shape: tuple[int, ...]) -> list[Number]:
        """A number for every element, or a line that no tensor holds: 1 / n, of each window where it has axes."""
        if is_number(name):
            word, source = constant(name).words.item(), constant(name).format
            number = softfloat.integer(word) if source == "int" else softfloat.unpack(FP16, word)
            return [number] * (int(np.prod(shape)) if at is None else len(at))
        line = self.scene.operation.program.named(name)
        fmt = float_format(line.format, self.scene.config)
        assert fmt is not None
        counts = np.asarray(self.scene.operation.count(self.scene.config, self.scene.given))
        whole = np.broadcast_to(counts[..., None] if line.axes else counts, shape).reshape(-1)
        different = set(counts.reshape(-1).tolist())
        reciprocals = {n: softfloat.unpack(fmt, Arithmetic(fmt).reciprocal(n)) for n in different}
        return [reciprocals[n] for n in (whole if at is None else whole[at]).tolist()]

    def _settle(self, step: Line, values: dict, at: np.ndarray | None, shape: tuple[int, ...]) -> list[int]:
        words = (self._raw(name, values, at, shape).tolist() for name in step.operands)
        function = arithmetic.settled(step, self.scene.config)
        return [function(*each) for each in zip(*words, strict=True)]


def _compute(op: str, fmt: Float, numbers: tuple[Number, ...], mode: FloatMode) -> int:
    """One step on numbers, rounded to `fmt` under `mode`."""
    to = Rounder(fmt, mode)
    if op == "unfused":
        return to.add(softfloat.unpack(fmt, to.mul(*numbers[:2]), mode.flush), numbers[2])
    return getattr(to, op)(*numbers)


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


@dataclass(frozen=True)
class _Plain:
    """Truncation whose overflow is not F6's of `toward_zero`: no rounding at all, and infinity beyond the largest."""

    overflow: Overflow
    flush: bool
    rounding: None = None


def _plainly(model: DefectModel, name: str, now: FloatMode) -> np.ndarray | None:
    """A step without rounding, and infinity beyond the largest; None where that is truncation as F6 has it."""
    fmt = model.format_of(name)
    if not ((model.scene.golden[name] & (fmt.sign_mask - 1)) >= fmt.max_finite_bits).any():
        return None  # nothing comes near the largest number
    plain = model.predict(Defect(name, mode=cast(FloatMode, _Plain(Overflow.INFINITY, now.flush))))
    cut = model.predict(Defect(name, mode=replace(now, rounding=Rounding.TOWARD_ZERO)))
    return None if plain is None or np.array_equal(plain, cut) else plain  # type: ignore[arg-type]


def step_guesses(model: DefectModel, name: str) -> Iterator[Guess]:
    """The guesses that change only the rounding point `name`."""
    step, fmt = model.steps[name], model.format_of(name)
    if step.op in arithmetic.SETTLED:
        return
    for text, mode in mode_variants(model.mode if fmt == FP16 else NEAREST):
        defect = Defect(name, mode=mode)
        yield Guess(f"{text} in {name}", functools.partial(model.predict, defect))
    now = model.mode if fmt == FP16 else NEAREST
    text = f"truncation that still overflows to infinity instead of {ROUNDINGS[now.rounding]} in {name}"
    yield Guess(text, functools.partial(_plainly, model, name, now))
    for operand in step.operands if step.op in ("add", "sub") else ():
        if operand in model.steps and model.steps[operand].op in ("mul", "negmul"):
            defect = Defect(name, fused=operand)
            text = f"a fused multiply-add: {operand} not rounded before {name}"
            yield Guess(text, functools.partial(model.predict, defect))
    if step.op == "fma":
        defect = Defect(name, unfused=True)
        yield Guess(
            f"a multiply and an add, two roundings, in {name}", functools.partial(model.predict, defect)
        )


def local_guesses(scene: Scene) -> Iterator[Guess]:
    """Guesses that change the rounding of the scene's own tap."""
    model = DefectModel(scene)
    if scene.tap in model.steps:
        yield from step_guesses(model, scene.tap)


def upstream_guesses(scene: Scene) -> Iterator[Guess]:
    """Guesses that change one rounding point before the scene's tap and no other; nearest first."""
    model = DefectModel(scene)
    for name in reversed(list(model.steps)):
        if name != scene.tap and name not in scene.agreed and model.downstream(name, scene.tap):
            yield from step_guesses(model, name)
