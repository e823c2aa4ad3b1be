"""Float operators brought to those that the accelerator has: paddings, biases and constants go into their layers.

Each pass takes steps and gives steps; a step that goes into another leaves its sources there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bitrow.importers.float_graph import FloatGraph, FloatStep, Refusal, readers
from bitrow.importers.operators import (
    AddMaps,
    Clamp,
    Convolve,
    FloatOperator,
    FullyConnected,
    LeftToHost,
    MaxWindow,
    MeanWindow,
    MultiplyMaps,
    Normalize,
    NotImported,
    PadMap,
    Pointwise,
    Requantize,
    ScaleShift,
    Windowed,
)

StepList = list[FloatStep]
Ends = frozenset[str]
_SIXTH = float(np.float32(1 / 6))


def rewritten(graph: FloatGraph) -> tuple[FloatGraph, list[str]]:
    """The graph that its outputs need, rewritten; and the nodes that are left to the host, behind the outputs.

    A graph whose outputs are unknown, since a node before them was refused, is kept whole.
    """
    steps, left = list(graph.steps), list[str]()
    made = {step.output: step for step in steps}
    outputs = tuple(dict.fromkeys(_host_tail(made, output, left) for output in graph.outputs))
    steps = needed(steps, frozenset(outputs)) if outputs else steps
    ends = frozenset(outputs) if outputs else frozenset(step.output for step in steps) - readers(steps).keys()
    for step in (_absorb_pads, _hard_activations, _gated, _constants):
        steps = step(steps, ends)
    return graph._replace(steps=tuple(steps), outputs=outputs), left


def needed(steps: Sequence[FloatStep], ends: Ends) -> StepList:
    """The steps that the ends depend on."""
    wanted, kept = set(ends), []
    for step in reversed(steps):
        if step.output in wanted:
            kept.append(step)
            wanted |= set(step.inputs)
    return kept[::-1]


def _host_tail(made: Mapping[str, FloatStep], output: str, left: list[str]) -> str:
    """The value behind which softmax and the last quantizer are what is done with a result; their nodes are `left`."""
    while output in made and isinstance(made[output].op, LeftToHost | Requantize):
        left[:0] = made[output].sources
        output = made[output].inputs[0]
    return output


def _merged(into: FloatStep, step: FloatStep, op: FloatOperator) -> FloatStep:
    """`step` goes into the step before it, which makes its result."""
    return into._replace(op=op, output=step.output, sources=(*into.sources, *step.sources))


def _absorb_pads(steps: StepList, ends: Ends) -> StepList:
    """Zeros around a map belong to the convolution or the counting average pool that reads them."""
    pads = {step.output: step for step in steps if isinstance(step.op, PadMap)}
    made = []
    for step in steps:
        pad = pads.get(step.inputs[0])
        op = _padded(step.op, pad.op) if pad is not None and isinstance(pad.op, PadMap) else None
        if pad is not None and op is not None:
            step = step._replace(op=op, inputs=pad.inputs, sources=(*pad.sources, *step.sources))
        made.append(step)
    return needed(made, ends)


def _padded(op: FloatOperator, pad: PadMap) -> FloatOperator | None:
    if not isinstance(op, Windowed):
        return None
    sides = [one + other for one, other in zip(op.padding, pad.padding, strict=True)]
    padding = (sides[0], sides[1], sides[2], sides[3])
    if isinstance(op, Convolve):
        return replace(op, padding=padding) if pad.value == 0 and not op.transposed else None
    if isinstance(op, MaxWindow) and pad.value <= float(np.finfo(np.float32).min):
        return replace(op, padding=padding)
    if isinstance(op, MeanWindow) and pad.value == 0 and not op.whole and (op.count_padding or not any(op.padding)):
        return replace(op, padding=padding, count_padding=True)
    return None


def _hard_activations(steps: StepList, ends: Ends) -> StepList:
    """clip(x + 3, 0, 6) / 6 is a hard sigmoid; x times it, divided before or after, is hard swish."""
    return along(steps, ends, _hard)


Rule = Callable[[FloatStep, FloatStep], FloatOperator | None]


def along(steps: StepList, ends: Ends, rule: Rule) -> StepList:
    """Put a step and the only one that reads it together, where the rule makes one operator of both."""
    made: dict[str, FloatStep] = {}
    order: list[str] = []
    read = readers(steps)
    for step in steps:
        before = made.get(step.inputs[0]) if len(step.inputs) == 1 else None
        alone = before is not None and len(read[before.output]) == 1 and before.output not in ends
        op = rule(before, step) if before is not None and alone else None
        if before is not None and op is not None:
            del made[before.output]
            order.remove(before.output)
            step = _merged(before, step, op)
        made[step.output] = step
        order.append(step.output)
    return [made[name] for name in order]


def _is(op: ScaleShift, scale: float, shift: float) -> bool:
    return bool(np.all(op.scale == np.float32(scale)) and np.all(op.shift == np.float32(shift)))


def _hard(before: FloatStep, step: FloatStep) -> FloatOperator | None:
    one, other = before.op, step.op
    if isinstance(one, ScaleShift) and isinstance(other, Clamp):
        return Pointwise("six_sigmoid") if _is(one, 1, 3) and (other.low, other.high) == (0, 6) else None
    if isinstance(one, Pointwise) and isinstance(other, ScaleShift) and one.name == "six_sigmoid":
        return Pointwise("hard_sigmoid", _SIXTH, 0.5) if _is(other, _SIXTH, 0) else None
    return None


def _gated(steps: StepList, ends: Ends) -> StepList:
    """A map times an activation of itself: SiLU, hard swish (also six times it, divided behind)."""
    read, made = readers(steps), {step.output: step for step in steps}
    for step in steps:
        if not isinstance(step.op, MultiplyMaps):
            continue
        for x, gate in (step.inputs, step.inputs[::-1]):
            given = made.get(gate)
            if given is None or given.inputs != (x,) or len(read[gate]) != 1 or not isinstance(given.op, Pointwise):
                continue
            op = _self_gated(given.op)
            if op is not None:
                made[step.output] = _merged(given, step, op)
                made.pop(gate)
                break
    kept = [made[step.output] for step in steps if step.output in made]
    return along(kept, ends, _sixth)


def _self_gated(gate: Pointwise) -> Pointwise | None:
    if gate.name == "hard_sigmoid" and abs(gate.alpha - _SIXTH) < 1e-6 and gate.beta == 0.5:
        return Pointwise("hard_swish")
    return {"sigmoid": Pointwise("silu"), "six_sigmoid": Pointwise("six_swish")}.get(gate.name)


def _sixth(before: FloatStep, step: FloatStep) -> FloatOperator | None:
    one, other = before.op, step.op
    if isinstance(one, Pointwise) and isinstance(other, ScaleShift) and one.name == "six_swish":
        return Pointwise("hard_swish") if _is(other, _SIXTH, 0) else None
    return None


def _constants(steps: StepList, ends: Ends) -> StepList:
    """Constants on channels go into the layer before: a bias, or a batch norm; else they become a batch norm."""
    merged = along(steps, ends, _folded)
    return [step._replace(op=_normal(step.op)) if isinstance(step.op, ScaleShift) else step for step in merged]


def _folded(before: FloatStep, step: FloatStep) -> FloatOperator | None:
    one, other = before.op, step.op
    if not isinstance(other, ScaleShift):
        return None
    if isinstance(one, ScaleShift):
        return ScaleShift(one.scale * other.scale, one.shift * other.scale + other.shift)
    if isinstance(one, Normalize):
        return replace(one, gamma=one.gamma * other.scale, beta=one.beta * other.scale + other.shift)
    if isinstance(one, Convolve | FullyConnected) and np.all(other.scale == 1):
        bias = np.broadcast_to(other.shift, one.weight.shape[-1:])
        return replace(one, bias=bias if one.bias is None else one.bias + bias)
    return None


def _normal(op: ScaleShift) -> FloatOperator:
    """`x * scale + shift` as a batch norm whose fold is exact: mean 0, var 1, eps 0; channels are known later."""
    return op if op.scale.ndim == op.shift.ndim == 0 else _affine(op, np.broadcast(op.scale, op.shift).size)


def _affine(op: ScaleShift, channels: int) -> Normalize:
    ones = np.ones(channels, np.float32)
    return Normalize(op.scale * ones, op.shift * ones, 0 * ones, ones, 0.0)


def finished(graph: FloatGraph) -> tuple[FloatGraph, list[Refusal]]:
    """The graph without what no pass could place, and each of those refused."""
    refusals, steps = [], []
    for step in graph.steps:
        try:
            steps.append(step._replace(op=_final(step, graph)))
        except NotImported as error:
            refusals.append(Refusal(step.name, step.kind, str(error)))
    return graph._replace(steps=tuple(steps)), refusals


def _final(step: FloatStep, graph: FloatGraph) -> FloatOperator:
    op = step.op
    if isinstance(op, ScaleShift):
        return _affine(op, graph.shapes[step.inputs[0]][2])
    if isinstance(op, Clamp) and (op.low != 0 or op.high not in (6, math.inf)):
        raise NotImported(f"found a clip to {op.low:g} .. {op.high:g}, expected 0 .. 6, or from 0 up")
    if isinstance(op, PadMap):
        raise NotImported("found padding that no convolution or pool can take in, expected one to read it")
    if isinstance(op, LeftToHost):
        raise NotImported("found inside the network, expected it at the end, where it is the host's")
    if isinstance(op, Pointwise) and op.name in ("six_sigmoid", "six_swish"):
        raise NotImported("found clip(x + 3, 0, 6) without the division by 6, expected a hard sigmoid or hard swish")
    if isinstance(op, AddMaps | MultiplyMaps) and len(step.inputs) != 2:
        raise NotImported(f"found {len(step.inputs)} inputs, expected 2")
    return op
