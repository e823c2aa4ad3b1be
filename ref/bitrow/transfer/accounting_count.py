"""Operations and memory traffic of one image, forward and backward, where the gradient goes only part of the way.

The layers are counted as `pipeline.cost` counts them, task by task, leaving out what does not run; with a prompt,
whose gradient crosses everything, the layers' counts are the pipeline's own. Branches run on the FP array.
Gradients of parameters are sums over the batch and the host's (SPEC.md A4, C4): what they multiply goes there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields

from bitrow.config import ConvConfig
from bitrow.config.rows import elements, row_bits
from bitrow.graph import INPUT, Node, Shape, describe, shapes
from bitrow.layers.table import layer
from bitrow.pipeline.cost import Counts, wide_adds
from bitrow.pipeline.flow import Flow, TaskLine, dataflow
from bitrow.pipeline.machine import Machine
from bitrow.pipeline.mappings import line_traffic
from bitrow.pipeline.rings import Ring, RingKind, build_rings
from bitrow.pipeline.stages import Phase, Stage, StageLayer
from bitrow.pipeline.work import is_fxp, line_work, work_of
from bitrow.transfer.accounting_reach import CLIP, SCALE, Branch, Reach

_HALF = 16  # bits
_FORWARD = (Phase.FORWARD_HEAD, Phase.FORWARD_CHAIN)


@dataclass
class ImageCounts:
    """Counts of one image, as `pipeline.cost.Counts`, and what the host does: products, and bits it is sent."""

    macs: int = 0
    dequantize: int = 0
    fp_mul: int = 0
    fp_add: int = 0
    fp32_add: int = 0
    bank_bits: int = 0
    queue_bits: int = 0
    weight_bits: int = 0
    host_bits: int = 0
    dram_weight_bits: int = 0
    partial_sums: int = 0
    host_macs: int = field(default=0, metadata={"host": True})
    gradient_bits: int = field(default=0, metadata={"host": True})

    def add(self, **counts: int) -> None:
        for name, count in counts.items():
            setattr(self, name, getattr(self, name) + int(count))

    @property
    def counts(self) -> Counts:
        """Without the host's."""
        return Counts(**{f.name: getattr(self, f.name) for f in fields(self) if not f.metadata})


@dataclass(frozen=True)
class Passes:
    """Tallies of the two passes of one image."""

    forward: ImageCounts
    backward: ImageCounts


def count(reach: Reach, machine: Machine) -> Passes:
    """Everything that one image takes."""
    passes = Passes(ImageCounts(), ImageCounts())
    flow = dataflow(reach.network, True)
    rings = build_rings(flow, machine)
    for line in flow.lines:
        _count_line(passes, reach, flow, line, machine)
    _count_rows(passes, reach, flow, rings, machine)
    for branch in reach.branches:
        _count_branch(passes, reach, branch)
    _count_ends(passes, reach)
    for node in reach.network.nodes:
        _count_host(passes.backward, reach, node)
    return passes


def _runs(reach: Reach, flow: Flow, line: TaskLine) -> bool:
    stage = flow.stages[line.stage]
    if line.phase in _FORWARD:
        return True
    if line.phase is Phase.BACKWARD_CHAIN:
        return stage.output in reach.values
    return stage.head is not None and reach.passes(stage.head)


def _count_line(passes: Passes, reach: Reach, flow: Flow, line: TaskLine, machine: Machine) -> None:
    if not _runs(reach, flow, line):
        return
    stage = flow.stages[line.stage]
    fxp = is_fxp(stage, line.phase, machine)
    adds = "fp32_add" if wide_adds(stage, line.phase, fxp) else "fp_add"
    if line.phase is Phase.BACKWARD_CHAIN:
        work = work_of(flow, line, machine, [site for site in stage.sites if _takes_part(reach, stage, site)])
    else:
        work = line_work(flow, line, machine)
    tally = passes.forward if line.phase in _FORWARD else passes.backward
    tally.add(macs=work.macs.sum(), dequantize=work.deq.sum(), fp_mul=work.mul.sum(), **{adds: work.add.sum()})


def _takes_part(reach: Reach, stage: Stage, site: StageLayer) -> bool:
    """The gradient goes through the layer, or the layer sums it up for parameters of its own (SPEC.md B3)."""
    return reach.passes(site.node) or (stage.barrier and site.plan.head)


def _count_rows(passes: Passes, reach: Reach, flow: Flow, rings: tuple[Ring, ...], machine: Machine) -> None:
    kept = {ring.index for ring in rings if _kept(reach, flow, ring)}
    for line, traffic in zip(flow.lines, line_traffic(flow, rings, machine), strict=True):
        if not _runs(reach, flow, line):
            continue
        tally = passes.forward if line.phase in _FORWARD else passes.backward
        bank_bits = sum(bits for ring, bits in traffic.bits.items() if ring in kept)
        tally.add(bank_bits=bank_bits, partial_sums=traffic.partial_sums, weight_bits=traffic.weight_bits)
    for ring in rings:
        if not ring.banked:
            passes.forward.add(queue_bits=2 * ring.rows * ring.row_bits)


def _kept(reach: Reach, flow: Flow, ring: Ring) -> bool:
    """The ring is written and read at all: what only the backward pass reads goes where that does."""
    stage = flow.stages[ring.stage]
    match ring.kind:
        case RingKind.MASK | RingKind.DY | RingKind.INDEX | RingKind.RELU | RingKind.KEPT:
            return reach.passes(flow.network.node(ring.held.node))
        case RingKind.GRADIENT:
            return next(edge.value for edge in stage.edges if edge.index == ring.edge) in reach.values
    return True


def _count_branch(passes: Passes, reach: Reach, branch: Branch) -> None:
    """A branch's layers: FP16 products, FP32 sums; each of its maps is written once and read once, and its
    weights are read once for each of its rows.
    """
    (start, end), (pooled, hidden, small) = (
        map(math.prod, (branch.start_shape, branch.end_shape)),
        map(math.prod, (branch.pooled, branch.hidden, branch.small)),
    )
    down = hidden * branch.pooled[2]
    up = small * branch.rank
    weights = branch.rank * (branch.pooled[2] + branch.small[2]) * 16 * branch.pooled[0]
    pool_add, pool_mul = (pooled * 4, pooled) if branch.pools else (0, 0)
    ahead, back = passes.forward, passes.backward
    ahead.add(fp_mul=pool_mul + down + up, fp32_add=pool_add + down + up, fp_add=hidden + end)
    maps = pooled * branch.pools + hidden + small
    ahead.add(bank_bits=2 * 16 * (start + maps), weight_bits=weights)
    back.add(fp32_add=end * (small != end) + up, fp_mul=up)
    back.add(bank_bits=16 * end + 2 * 16 * (small + hidden) + _saved_read(branch), weight_bits=weights)
    if branch.start in reach.values:  # something before it is trained, so its input needs a gradient, too
        back.add(fp_mul=down + (start if branch.pools else 0), fp32_add=down, fp_add=start)
        back.add(bank_bits=2 * 16 * start)
    if f"branches/{branch.end}/down" in reach.trained:
        back.add(host_macs=down, gradient_bits=16 * (pooled + hidden))
    if f"branches/{branch.end}/up" in reach.trained:
        back.add(host_macs=up, gradient_bits=16 * (hidden + small))


def _saved_read(branch: Branch) -> int:
    """Bits of a branch's ReLU mask, written and read."""
    return 2 * map_bits(branch.hidden, 1)


def _count_ends(passes: Passes, reach: Reach) -> None:
    """The image comes from the host; with a prompt it is added to, and its gradient goes back."""
    elements = math.prod(reach.network.input_shape)
    passes.forward.add(host_bits=16 * elements, fp_add=elements * reach.prompt)
    if INPUT in reach.values:
        passes.backward.add(host_bits=16 * elements)


def _count_host(tally: ImageCounts, reach: Reach, node: Node) -> None:
    """Products of the host's weight gradients, and the bits of the two maps that each is made of.

    What a layer's backward pass trains is not among them: those gradients are the accelerator's (SPEC.md B3).
    """
    trained = reach.fields(node)
    if not trained or layer(node.config).trains(node.config):
        return
    sizes = shapes(reach.network)
    inputs, outputs = math.prod(sizes[node.inputs[0]]), math.prod(sizes[node.name])
    tally.add(gradient_bits=16 * outputs)
    macs = {summary.name: summary.macs for summary in describe(reach.network)}[node.name]
    for saved in node.config.saved(trained, False):
        if saved.operand:
            products, operands = (reach.part(node.name, many) for many in (macs or inputs, inputs))
            tally.add(host_macs=products, gradient_bits=saved.bits * operands)
    if SCALE in trained:  # the gradient of the quantized input, its products, and the input that they take
        tally.add(host_macs=macs + inputs, gradient_bits=_HALF * inputs)
    if CLIP in trained:
        tally.add(host_macs=macs + inputs, gradient_bits=_end_bits(node) * inputs)


def _end_bits(node: Node) -> int:
    """Of an input value: whether it was clipped and, where codes have a sign, at which end."""
    assert isinstance(node.config, ConvConfig)
    return 1 + node.config.x_format.signed


def map_bits(shape: Shape, bits: int) -> int:
    """Bits of a map whose rows start on a byte (SPEC.md Q5)."""
    return shape[0] * row_bits(elements(shape), bits)


def saved(reach: Reach) -> Iterator[tuple[str, str, int, int]]:
    """(layer, what, bits, bytes of a JAX program) of all that one image keeps for its backward pass.

    Bits are the accelerator's: masks 1 bit, codes packed, rows on whole bytes. A JAX program gives a byte to each
    mask, code and winner.
    """
    sizes = shapes(reach.network)
    for node in reach.network.nodes:
        for item in node.config.saved(reach.fields(node), reach.passes(node)):
            shape = sizes[node.name if item.of_result else node.inputs[0]]
            if item.operand:
                shape = (*shape[:2], reach.part(node.name, shape[2]))
            yield node.name, item.what, map_bits(shape, item.bits), item.bytes * math.prod(shape)
        if SCALE in reach.fields(node):
            shape = sizes[node.inputs[0]]
            yield node.name, "input", map_bits(shape, _HALF), 2 * math.prod(shape)
        if CLIP in reach.fields(node):
            shape = sizes[node.inputs[0]]
            yield node.name, "clipped", map_bits(shape, _end_bits(node)), math.prod(shape)
    for branch in reach.branches:
        name = f"branches/{branch.end}"
        maps = {"input": branch.pooled, "hidden": branch.hidden}
        for what, shape in maps.items():
            if what == "hidden" or f"{name}/down" in reach.trained:
                yield name, what, map_bits(shape, 16), 2 * math.prod(shape)
        yield name, "relu mask", map_bits(branch.hidden, 1), math.prod(branch.hidden)
