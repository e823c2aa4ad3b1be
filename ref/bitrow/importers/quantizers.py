"""Quantizers of a file moved to where the accelerator quantizes: the inputs of convolutions (SPEC.md Q, C1).

A quantizer commutes with what only chooses or moves values: max pools, nearest upsampling, depth to space, flattening
(which is no operator here), and concatenation, where both maps have the same one. Where a value with codes is read by
an operator that computes with it, there is no such place, and the operator is refused.
"""

from __future__ import annotations

from dataclasses import replace

from bitrow.importers.float_graph import FloatGraph, FloatStep, Refusal
from bitrow.importers.operators import (
    Clamp,
    Convolve,
    FileQuantizer,
    FullyConnected,
    JoinMaps,
    MaxWindow,
    NotImported,
    RepeatRows,
    Requantize,
    SpreadDepth,
)

_Moves = MaxWindow | RepeatRows | SpreadDepth | JoinMaps


def placed(graph: FloatGraph) -> tuple[FloatGraph, list[Refusal]]:
    """The graph without quantizers of its own, and the operators that would compute with codes."""
    held: dict[str, tuple[FileQuantizer, tuple[str, ...]]] = {}  # by value: its quantizer and the nodes it stands for
    same: dict[str, str] = {}
    steps, refusals = [], []
    for step in graph.steps:
        given = [held.get(name) for name in step.inputs]
        step = step._replace(inputs=tuple(same.get(name, name) for name in step.inputs))
        try:
            if isinstance(step.op, Requantize):
                held[step.output] = _joined(step.op.quantizer, given[0]), step.sources
                same[step.output] = step.inputs[0]
                continue
            quantizers = [one[0] if one else None for one in given]
            steps.append(_taken(step, quantizers, [source for one in given if one for source in one[1]]))
            if isinstance(step.op, Clamp | _Moves) and given[0] is not None:
                held[step.output] = given[0]
        except NotImported as error:
            refusals.append(Refusal(step.name, step.kind, str(error)))
    outputs = tuple(dict.fromkeys(same.get(name, name) for name in graph.outputs))
    return graph._replace(steps=tuple(steps), outputs=outputs), refusals


def _joined(quantizer: FileQuantizer, before: tuple[FileQuantizer, tuple[str, ...]] | None) -> FileQuantizer:
    if before is not None and not _equal(before[0], quantizer):
        raise NotImported("found a second quantizer behind another, expected one")
    return quantizer


def _equal(one: FileQuantizer | None, other: FileQuantizer | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.fmt == other.fmt and bool((one.scale == other.scale).all())


def _taken(step: FloatStep, given: list[FileQuantizer | None], sources: list[str]) -> FloatStep:
    """The step with the quantizer of what it reads, if it can have one."""
    if not any(given):
        return step
    if isinstance(step.op, Convolve | FullyConnected):
        return step._replace(op=replace(step.op, x_quantizer=given[0]), sources=(*sources, *step.sources))
    if isinstance(step.op, Clamp) and given[0] is not None and not given[0].fmt.signed and step.op.high > 1e30:
        return step  # a ReLU of what is not negative changes nothing
    if isinstance(step.op, _Moves):
        if not all(_equal(given[0], other) for other in given):
            raise NotImported("found maps with different quantizers, expected the same: one scale (SPEC.md F8)")
        return step
    raise NotImported(
        f"found a quantizer on what it reads, expected it at a convolution's input: the accelerator's {step.op.label} "
        "computes in FP16"
    )
