"""The perfectly balanced pipeline: when each row task would start if every stage kept the pace of its input.

One beat is the time of one row of the network's input, or a part of it where rows are made faster. A stage of stride S
takes S beats of its input for a row, so no row ever waits for a unit and every time is a straight line: `offset +
image's start + row * beat`. Schedules take their order from these lines, and rings their size. Standard library and
numpy.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from bitrow.config.rows import Take
from bitrow.pipeline.flow import Flow, NeedColumn, TaskLine
from bitrow.pipeline.stages import Phase


class Beats(NamedTuple):
    """Times in beats. By line: `offset` of row 0 of image 0, `beat` between rows, `span` of one row.

    `period`: beats from an image to the next; `length`: from an image's first row to the end of its last; `fused`: a
    convolution's FP row counts as the end of its FXP row and not as a step of its own, the better order where all
    stages share one array.
    """

    offset: tuple[int, ...]
    beat: tuple[int, ...]
    span: tuple[int, ...]
    period: int
    length: int
    fused: bool

    def start(self, image: int, in_flight: int) -> int:
        """Beat at which an image may start, with at most `in_flight` images between first row and last."""
        rounds, place = divmod(image, in_flight)
        return rounds * max(in_flight * self.period, self.length) + place * self.period


@functools.lru_cache(maxsize=64)
def beats(flow: Flow, images: int = 1, *, fused: bool = False) -> Beats:
    """The balanced pipeline of a network; `images` matter to a barrier over the batch."""
    value_beat = _value_beats(flow)
    beat = [_line_beat(flow, line, value_beat) for line in flow.lines]
    span = [_line_span(flow, line, value_beat, fused) for line in flow.lines]
    period = max(line.rows * beat[place] for place, line in enumerate(flow.lines))
    offset = [0] * len(flow.lines)
    for place, line in enumerate(flow.lines):
        known = [_ready(column, beat[place], offset, beat, span) for column in flow.columns[place]]
        for number, column in enumerate(flow.columns[place]):
            known[number] += (images - 1) * period if column.whole_batch else 0
        offset[place] = max(known, default=0)
        if line.phase is Phase.FORWARD_CHAIN:
            _delay_head(flow, line, known, offset, span, fused)
    ends = (
        offset[place] + (line.rows - 1) * beat[place] + span[place] for place, line in enumerate(flow.lines)
    )
    return Beats(tuple(offset), tuple(beat), tuple(span), period, max(ends), fused)


def _value_beats(flow: Flow) -> list[int]:
    """Beats between the rows of each stage; a row that is an image's only one keeps nobody's pace."""
    found = [Fraction(1)]
    for stage in flow.stages[1:]:
        pace = stage.window.stride if stage.plan.rise == 1 else Fraction(1, stage.plan.rise)
        main = pace * found[stage.edges[0].producer]
        skips = (found[edge.producer] for edge in stage.edges if edge.skip and stage.take(edge) is Take.SAME)
        found.append(max((main, *skips)))
    parts = math.lcm(*(beat.denominator for beat in found))
    return [int(beat * parts) for beat in found]


def _line_beat(flow: Flow, line: TaskLine, value_beat: list[int]) -> int:
    stage = flow.stages[line.stage]
    reads_rows = line.phase is Phase.FORWARD_HEAD and stage.adds_rows
    if reads_rows or line.phase is Phase.BACKWARD_HEAD:
        return value_beat[stage.edges[0].producer]
    return value_beat[line.stage]


def _line_span(flow: Flow, line: TaskLine, value_beat: list[int], fused: bool) -> int:
    stage = flow.stages[line.stage]
    if line.phase is Phase.FORWARD_CHAIN and stage.queued and fused:
        return 0
    if line.phase is Phase.FORWARD_CHAIN and stage.hands_off and stage.adds_rows:
        return value_beat[stage.edges[0].producer]  # it scales a sum that is already there
    return _line_beat(flow, line, value_beat)


def _ready(column: NeedColumn, beat: int, offset: list[int], beats_of: list[int], span: list[int]) -> int:
    """Offset from which no row of a line is earlier than the rows that this column needs."""
    place = column.line
    rows = np.arange(len(column.last))
    ends = offset[place] + span[place] + column.last * beats_of[place] - rows * beat
    return int(ends.max())


def _delay_head(
    flow: Flow, line: TaskLine, known: list[int], offset: list[int], span: list[int], fused: bool
) -> None:
    """Rows wait for a late skip before the head, where they are small, and not behind it."""
    stage = flow.stages[line.stage]
    if not stage.hands_off:
        return
    head, chain = flow.line(line.stage, Phase.FORWARD_HEAD), flow.line(line.stage, Phase.FORWARD_CHAIN)
    late = max(known) - known[0]
    if fused and stage.queued and len(known) > 1:
        # The FP row is ranked with its FXP row, so that one must not start before the skip row is there.
        late = max(0, max(known[1:]) - offset[head])
        offset[chain] = known[0] + late
    offset[head] += late
