"""The row tasks of a network: every stage's four kinds, each a program of accesses and its code."""

from __future__ import annotations

from bitrow.pipeline.memory import Layout, Program
from bitrow.pipeline.row_backward import Backward
from bitrow.pipeline.row_forward import Forward
from bitrow.pipeline.row_regions import Geometry
from bitrow.pipeline.row_task import Reads, Task
from bitrow.pipeline.stages import Head, Phase, Stage, row_count

# Where two rows may be computed at once: what asks for its own row, or for which rows are there, takes one. Forward
# passes alone gain by it; with backward passes the program would double in size and be no faster.
_PAIRING = {
    Phase.FORWARD_HEAD: (Head.CONV,),
    Phase.FORWARD_CHAIN: (Head.SOURCE, Head.CONV, Head.NONE),
}


def build_tasks(geometry: Geometry, layout: Layout) -> dict[tuple[int, Phase], Task]:
    """The tasks of every stage and phase."""
    phases = list(Phase) if geometry.training else [Phase.FORWARD_HEAD, Phase.FORWARD_CHAIN]
    return {
        (stage.index, phase): _task(geometry, layout, stage, phase)
        for stage in geometry.stages
        for phase in phases
        if row_count(stage, phase)
    }


def _task(geometry: Geometry, layout: Layout, stage: Stage, phase: Phase) -> Task:
    forward, backward = Forward(geometry, layout), Backward(geometry, layout)
    parts = {
        Phase.FORWARD_HEAD: (forward.head_reads, forward.head_writes, forward.head),
        Phase.FORWARD_CHAIN: (forward.chain_reads, forward.chain_writes, forward.chain),
        Phase.BACKWARD_CHAIN: (backward.chain_reads, backward.chain_writes, backward.chain),
        Phase.BACKWARD_HEAD: (backward.head_reads, backward.head_writes, backward.head),
    }
    reads, writes, code = parts[phase]
    rows = range(row_count(stage, phase))
    program = Program(
        tuple(tuple(reads(stage, row)) for row in rows), tuple(tuple(writes(stage, row)) for row in rows)
    )
    # Behind a barrier a task reads more than its program says: the sums of all rows.
    in_order = geometry.training or any(one.barrier for one in geometry.stages)
    pairs = not in_order and stage.kind in _PAIRING.get(phase, ())
    return Task(program, lambda now: list(code(stage, now, Reads(now, geometry, layout))), pairs)
