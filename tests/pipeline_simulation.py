"""The pipeline once more, as an event simulation in plain Python, to be compared with the schedule.

Written from the description of the machine: rows, windows, slots, ports and lanes are worked out here by hand, with
dicts and sets, and time goes from event to event looking at every unit. From the schedule come only the decisions
that it is free to take: the order of tasks on each unit, the slots of rings and their places in banks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from bitrow.config import (
    AddConfig,
    BatchNormConfig,
    ConvConfig,
    HardSigmoidConfig,
    HardSwishConfig,
    MultiplyConfig,
    ReluConfig,
    SigmoidConfig,
    SiluConfig,
)
from bitrow.formats import AccOverflow
from bitrow.graph import INPUT, shapes
from bitrow.pipeline.machine import Mac, Mapping, WeightMemory
from bitrow.pipeline.rings import RingKind
from bitrow.pipeline.schedule import Schedule
from bitrow.pipeline.stages import Phase, Stage
from pipeline_samples import Head, head_of

Task = tuple[int, Phase, int, int]  # stage, phase, image, row

FH, FC, BC, BH = Phase.FORWARD_HEAD, Phase.FORWARD_CHAIN, Phase.BACKWARD_CHAIN, Phase.BACKWARD_HEAD


@dataclass
class Buffer:
    """A ring: who writes a row, who reads it, how many slots."""

    slots: int
    kind: RingKind
    row_bits: int
    home: int
    offset: int
    span: int
    rows: int
    per: int = 1
    writers: dict[int, set[Task]] = field(default_factory=dict)
    readers: dict[int, set[Task]] = field(default_factory=dict)


class Simulation:
    """Runs a schedule's decisions and gives every task's start and end."""

    def __init__(self, found: Schedule) -> None:
        self.found, self.machine, self.images = found, found.machine, found.images
        self.parts = found.flow.stages
        self.training = found.flow.training
        self.sizes = shapes(found.flow.network)
        self.needed = self._needed(found.flow.trained)
        self.readers = {
            s.index: [(t, e) for t in self.parts for e in t.edges if e.producer == s.index] for s in self.parts
        }
        self.tasks = [task for stage in self.parts for task in self._tasks_of(stage)]
        self.buffers = {ring.index: self._buffer(ring) for ring in found.rings}
        self.reads: dict[Task, list[tuple[int, int]]] = {task: [] for task in self.tasks}
        self.writes: dict[Task, list[tuple[int, int]]] = {task: [] for task in self.tasks}
        for ring in found.rings:
            self._fill(ring, self.buffers[ring.index])

    def _row(self, name: str) -> int:
        """Elements of a row of a layer's result."""
        return self.sizes[name][1] * self.sizes[name][2]

    def _needed(self, trained) -> set[str]:
        """Values that have a gradient: walked from what trains to all that is made of it."""
        nodes = self.found.flow.network.nodes
        if isinstance(trained, bool):
            return {INPUT, *(node.name for node in nodes)} if trained else set()
        values = set(trained)
        for node in nodes:
            if any(value in values for value in node.inputs):
                values.add(node.name)
        return values

    def _passes(self, node) -> bool:
        return any(value in self.needed for value in node.inputs)

    # What tasks there are, and what they wait for.

    def _tasks_of(self, stage: Stage):
        h, out = stage.in_shape[0], stage.out_shape[0]
        rows = {FC: out}
        if head_of(stage) in (Head.CONV, Head.BATCH_NORM):
            rows[FH] = out
        if self._summed(stage):
            rows[FH] = out * stage.window.kernel
        if stage.output in self.needed:
            rows[BC] = out
        if head_of(stage) not in (Head.SOURCE, Head.NONE) and self._passes(stage.head):
            rows[BH] = h
        for phase, count in rows.items():
            for image in range(self.images):
                yield from ((stage.index, phase, image, row) for row in range(count))

    @staticmethod
    def _rise(stage: Stage) -> int:
        """Rows that one row of the input makes, 0 of a head that does not raise them."""
        if head_of(stage) is Head.UPSAMPLE:
            return stage.head.config.rows
        return stage.head.config.block if head_of(stage) is Head.DEPTH_TO_SPACE else 0

    @staticmethod
    def _gate(stage: Stage, edge) -> bool:
        """The edge carries a gate, one row for all of the stage's."""
        config = next(node.config for node in (stage.head, *stage.chain) if node and node.name == edge.node)
        return isinstance(config, MultiplyConfig) and config.gate and edge.operand == 1

    @staticmethod
    def _summed(stage: Stage) -> bool:
        """An average whose rows are added as they come: its windows lie side by side."""
        return head_of(stage) is Head.AVG_POOL and stage.head.config.apart

    def _window(self, stage: Stage, row: int) -> list[int]:
        if self._rise(stage):
            return [row // self._rise(stage)]
        k, s, p, _, d = stage.window
        return [r for r in range(row * s - p, row * s - p + k * d, d) if 0 <= r < stage.in_shape[0]]

    def _touching(self, stage: Stage, row: int) -> list[int]:
        """Output rows whose window has input row `row`."""
        return [i for i in range(stage.out_shape[0]) if row in self._window(stage, i)]

    def _order_rows(self, stage: Stage, row: int, backward: bool) -> int:
        """The last row that the balanced order puts before `row`, also where no row is read."""
        if self._rise(stage):
            return (self._touching if backward else self._window)(stage, row)[-1]
        k, s, p, _, d = stage.window
        if backward:
            return min(max((row + p) // s, 0), stage.out_shape[0] - 1)
        return min(max(row * s - p + (k - 1) * d, 0), stage.in_shape[0] - 1)

    def needs(self, task: Task) -> list[tuple[Task, int]]:
        """Tasks that must have ended, each with a delay."""
        index, phase, image, row = task
        stage = self.parts[index]
        main = stage.edges[0].producer if stage.edges else -1
        if phase is FH:
            last = self._order_rows(stage, row, False) if head_of(stage) is Head.CONV else row
            return [((main, FC, image, last), 0)]
        if phase is FC:
            return self._forward_chain_needs(stage, image, row, main)
        if phase is BC:
            readers = self.readers[index]
            if not readers:
                last = stage.out_shape[0] - 1
                return [((index, FC, image, last), self.machine.loss_latency)]
            return [
                ((t.index, self._gradient_phase(t, e), image, t.out_shape[0] - 1 if self._gate(t, e) else row), 0)
                for t, e in readers
            ]
        if head_of(stage) is Head.BATCH_NORM:
            last = (index, BC, self.images - 1, stage.out_shape[0] - 1)
            return [(last, self.machine.statistics_latency), ((index, BC, image, row), 0)]
        return [((index, BC, image, self._order_rows(stage, row, True)), 0)]

    def _kept_for(self, task: Task) -> list[tuple[Task, int]]:
        """Who wrote what the forward pass kept and the task reads: that may be a row which no window reads."""
        if task[1] not in (BC, BH):
            return []
        rows = (self.buffers[ring].writers[number] for ring, number in self.reads[task])
        return [(writer, 0) for writers in rows for writer in writers if writer[1] is FC]

    def _gradient_phase(self, stage: Stage, edge) -> Phase:
        return BC if edge.skip or head_of(stage) is Head.NONE else BH

    def _forward_chain_needs(self, stage: Stage, image: int, row: int, main: int):
        index = stage.index
        found = [((e.producer, FC, image, 0 if self._gate(stage, e) else row), 0) for e in stage.edges[1:]]
        if head_of(stage) is Head.CONV:
            found.append(((index, FH, image, row), 0))
        elif self._summed(stage):
            found.append(((index, FH, image, (row + 1) * stage.window.kernel - 1), 0))
        elif head_of(stage) is Head.BATCH_NORM:
            last = (index, FH, self.images - 1, stage.in_shape[0] - 1)
            found += [(last, self.machine.statistics_latency), ((main, FC, image, row), 0)]
        elif head_of(stage) is not Head.SOURCE:
            found.append(((main, FC, image, self._order_rows(stage, row, False)), 0))
        return found

    # What lies in which ring.

    def _buffer(self, ring) -> Buffer:
        place, layout = ring.index, self.found.layout
        return Buffer(
            self.found.slots[place],
            ring.kind,
            self._row_bits(ring),
            layout.home[place],
            layout.offset[place],
            layout.span[place],
            ring.rows,
            ring.per,
        )

    def _row_bits(self, ring) -> int:
        stage = self.parts[ring.stage]
        into = stage.in_shape if ring.edge < 0 else self.parts[self._edge(ring).producer].out_shape
        kept = ring.kind in (RingKind.RELU, RingKind.KEPT)
        here = self._row(ring.held.node if kept or not stage.head else stage.head.name) if ring.edge < 0 else 0
        there = into[1] * into[2]
        fxp = self.machine.mac is Mac.FXP and head_of(stage) is Head.CONV
        bits, count = {
            RingKind.INPUT: (4 if fxp else 16, there),
            RingKind.SKIP: (16, there),
            RingKind.BATCH: (16, there),
            RingKind.GRADIENT: (16, there),
            RingKind.MASK: (1, there),
            RingKind.HANDOFF: (32 if self._summed(stage) else 16, here),
            RingKind.DY: (4 if fxp else 16, here),
            RingKind.RELU: (1, here),
            RingKind.KEPT: (16, here if ring.edge < 0 else there),
            RingKind.INDEX: (0, here),
        }[ring.kind]
        if ring.kind is RingKind.INDEX:
            bits = max(1, math.ceil(math.log2(math.prod(self._kernel(stage)))))
        return math.ceil(bits * count / 8) * 8 * self.machine.images_at_once

    def _edge(self, ring):
        return next(e for stage in self.parts for e in stage.edges if e.index == ring.edge)

    def _fill(self, ring, buffer: Buffer) -> None:
        stage = self.parts[ring.stage]
        edge = self._edge(ring) if ring.edge >= 0 else None
        for image in range(self.images):
            for row in range(ring.rows):
                number = image * ring.rows + row
                buffer.writers[number] = self._writers(ring.kind, stage, edge, image, row)
                buffer.readers[number] = self._readers_of(ring.kind, stage, edge, image, row)
                for task in buffer.writers[number]:
                    self.writes[task].append((ring.index, number))
                for task in buffer.readers[number]:
                    self.reads[task].append((ring.index, number))

    def _writers(self, kind: RingKind, stage: Stage, edge, image: int, row: int) -> set[Task]:
        if kind in (RingKind.INPUT, RingKind.SKIP, RingKind.BATCH, RingKind.MASK):
            return {(edge.producer, FC, image, row)}
        if edge is not None and self._gate(stage, edge):
            every = range(stage.out_shape[0])
            back = {(stage.index, BC, image, each) for each in every}
            return back if kind is RingKind.GRADIENT else {(edge.producer, FC, image, 0)}
        if kind is RingKind.GRADIENT:
            return {(stage.index, self._gradient_phase(stage, edge), image, row)}
        if kind is RingKind.HANDOFF:
            per = stage.window.kernel if self._summed(stage) else 1
            return {(stage.index, FH, image, row * per + part) for part in range(per)}
        return {(stage.index, BC if kind is RingKind.DY else FC, image, row)}

    def _readers_of(self, kind: RingKind, stage: Stage, edge, image: int, row: int) -> set[Task]:
        index = stage.index
        if edge is not None and kind is not RingKind.GRADIENT and self._gate(stage, edge):
            node = next(node for node in (stage.head, *stage.chain) if node and node.name == edge.node)
            phases = (FC, BC) if self._passes(node) else (FC,)
            return {(index, phase, image, each) for phase in phases for each in range(stage.out_shape[0])}
        if kind in (RingKind.SKIP, RingKind.HANDOFF):
            return {(index, FC, image, row)}
        if kind is RingKind.GRADIENT:
            return {(edge.producer, BC, image, row)}
        if kind in (RingKind.RELU, RingKind.KEPT):
            return {(index, BC, image, row)}
        if kind is RingKind.MASK:
            return {(index, BH, image, row)}
        if kind is RingKind.BATCH:
            backward = [BC] * (stage.output in self.needed) + [BH] * self._passes(stage.head)
            return {(index, phase, image, row) for phase in (FH, FC, *backward)}
        if kind is RingKind.INPUT:
            if self._summed(stage):
                return {(index, FH, image, row)} if row < stage.out_shape[0] * stage.window.kernel else set()
            phase = FH if head_of(stage) is Head.CONV else FC
            outs = range(stage.out_shape[0])
            return {(index, phase, image, i) for i in outs if row in self._window(stage, i)}
        if head_of(stage) is Head.BATCH_NORM:
            return {(index, BH, image, row)}
        ins = range(stage.in_shape[0])
        return {(index, BH, image, j) for j in ins if row in self._touching(stage, j)}

    # How long a task takes.

    def cycles(self, task: Task) -> int:
        cycles = self._own_cycles(task, self._way(task))
        load = self._load(task)
        cycles = max(cycles, load) if self.machine.weight_buffers > 1 else cycles + load
        most = max(self.banks(task).values(), default=1)
        return cycles * math.ceil(most / self.machine.ports)

    def _own_cycles(self, task: Task, way: tuple[int, int, int]) -> int:
        """Cycles of lanes, pipeline and words, if so many lanes make a sum, in so many passes and readings of a row."""
        stage, machine, (split, passes, readings) = self.parts[task[0]], self.machine, way
        lanes = self._lanes(stage)
        macs, outputs, mul, add, moved = (machine.images_at_once * many for many in self.operations(task))
        if head_of(stage) is Head.SOURCE and task[1] is FC:
            cycles = max(1, math.ceil(moved * 16 / machine.input_width))
        elif outputs:
            fxp, terms = machine.mac is Mac.FXP, macs // outputs
            dequantize = math.ceil(outputs / lanes[1]) if fxp else 0
            halvings = split.bit_length() - 1  # a lane adds its neighbour's sum, then that of the pair beside, ...
            products = passes * (math.ceil(terms / split) + halvings) if terms else 0
            cycles = max(1, products, dequantize) + machine.fxp_latency
            cycles += machine.dequantizer_latency if fxp else 0
        else:
            busy = (math.ceil(mul / lanes[2]), math.ceil(add / lanes[3]), math.ceil(moved / lanes[3]))
            cycles = max(1, *busy) + machine.fp_latency
        for way_in, accesses in ((True, self.reads[task]), (False, self.writes[task])):
            for buffer in (self.buffers[ring] for ring, _ in accesses):
                words = math.ceil(buffer.row_bits / machine.bank_width)
                if buffer.kind is not RingKind.HANDOFF:
                    cycles = max(cycles, words * readings + passes - readings if way_in else words)
        return cycles

    def _way(self, task: Task) -> tuple[int, int, int]:
        """Lanes of a sum, passes and readings of a row with which the task's kind is fastest over an image."""
        index, phase = task[:2]
        ways = self.__dict__.setdefault("_found_ways", {})
        if (index, phase) not in ways:
            rows = [one for one in self.tasks if one[:3] == (index, phase, 0)]
            costs = [(sum(self._own_cycles(one, way) for one in rows), way) for way in self._ways(task, rows)]
            ways[index, phase] = min(costs, key=lambda cost: cost[0])[1]
        return ways[index, phase]

    def _ways(self, task: Task, rows: list[Task]) -> list[tuple[int, int, int]]:
        """Of all images of a task beside each other, and of as many as divide them, group after group."""
        images = self.machine.images_at_once
        found = []
        for beside in (many for many in range(images, 0, -1) if images % many == 0):
            ways = self._ways_beside(task, rows, beside)
            found += [(split, passes * images // beside, readings) for split, passes, readings in ways]
        return found

    def _ways_beside(self, task: Task, rows: list[Task], images: int) -> list[tuple[int, int, int]]:
        stage, mapping = self.parts[task[0]], self.machine.mapping
        outputs, lanes = self.operations(task)[1] * images, self._lanes(stage)[0]
        if not outputs:
            return [(1, 1, 1)]
        found = [(1, math.ceil(outputs / lanes), math.ceil(outputs / lanes))]
        config = stage.head.config
        if config.groups > 1 and mapping in (Mapping.CHANNEL, Mapping.BEST):
            of_group = outputs // config.groups
            if of_group <= lanes:
                found.append((1, math.ceil(config.groups / (lanes // of_group)), 1))
            else:
                readings = math.ceil(of_group / lanes)
                found.append((1, config.groups * readings, readings))
        if mapping in (Mapping.SPLIT, Mapping.BEST) and self.machine.mac is Mac.FXP and not self._clamps(stage):
            most = max(self.operations(one)[0] // self.operations(one)[1] for one in rows)
            for split in (2**power for power in range(1, 40) if 2**power <= min(lanes, most)):
                passes = math.ceil(outputs / (lanes // split))
                found.append((split, passes, passes))
        return found

    @staticmethod
    def _clamps(stage: Stage) -> bool:
        """The accumulator saturates, and 4-bit codes (8 times 8 at most) can bring it there."""
        config, size = stage.head.config, stage.head.size
        sums = size.kh * size.kw * max(stage.in_shape[2], size.c_out) // config.groups
        return config.accumulator.overflow is AccOverflow.SATURATE and 64 * sums >= 2 ** (config.accumulator.bits - 1)

    def _load(self, task: Task) -> int:
        """Cycles in which weights come from DRAM: where the unit's last task with weights was another stage's."""
        if self.machine.weights is WeightMemory.CHIP:
            return 0
        if not hasattr(self, "_found_loads"):
            self._found_loads: dict[Task, int] = {}
            for queue in self._queues():
                stage = -1
                for one in queue:
                    bits = self._weight_bits(one)
                    if bits and one[0] != stage:
                        stage = one[0]
                        self._found_loads[one] = math.ceil(bits / self.machine.dram_width)
        return self._found_loads.get(task, 0)

    def _weight_bits(self, task: Task) -> int:
        stage = self.parts[task[0]]
        if head_of(stage) is Head.CONV and task[1] in (FH, BH):
            size = stage.head.size
            weights = size.kh * size.kw * (stage.in_shape[2] // stage.head.config.groups) * size.c_out
            return weights * (4 if self.machine.mac is Mac.FXP else 16)
        if head_of(stage) is Head.LINEAR and task[1] in (FC, BH):
            return 16 * math.prod(stage.in_shape) * stage.out_shape[2]
        return 0

    def _lanes(self, stage: Stage) -> tuple[int, int, int, int]:
        machine = self.machine
        whole = (
            machine.fxp_lanes, machine.dequantizer_lanes, machine.fp_mul_lanes, machine.fp_add_lanes
        )  # fmt: skip
        return whole if machine.shared else self._shares(whole)[stage.index]

    def _shares(self, whole):
        """The machine's lanes by the stages' work: one each, then by the largest remainder."""
        if not hasattr(self, "_found_shares"):
            loads = [[0, 0, 0, 0] for _ in self.parts]
            for task in self.tasks:
                if task[2] == 0 and not (head_of(self.parts[task[0]]) is Head.SOURCE and task[1] is FC):
                    macs, outputs, mul, add, moved = self.operations(task)
                    dequantize = outputs if self.machine.mac is Mac.FXP else 0
                    for kind, load in enumerate((macs, dequantize, mul, max(add, moved))):
                        loads[task[0]][kind] += load
            # A kind's load is the larger of the sums over a line's rows, where two compete for one lane.
            columns = [self._divide([load[kind] for load in loads], whole[kind]) for kind in range(4)]
            self._found_shares = list(zip(*columns, strict=True))
        return self._found_shares

    @staticmethod
    def _divide(loads: list[int], lanes: int) -> list[int]:
        users = [place for place, load in enumerate(loads) if load]
        shares = dict.fromkeys(users, 1)
        spare, total = lanes - len(users), sum(loads)
        rest = {}
        for place in users:
            exact = loads[place] * spare / total
            shares[place] += int(exact)
            rest[place] = exact - int(exact)
        for place in sorted(users, key=lambda p: -rest[p])[: lanes - sum(shares.values()) if users else 0]:
            shares[place] += 1
        return [shares.get(place, 1) for place in range(len(loads))]

    def operations(self, task: Task) -> tuple[int, int, int, int, int]:
        """(MACs, accumulators, multiplications, additions, elements moved) of a task."""
        index, phase, _, row = task
        stage = self.parts[index]
        into = stage.in_shape[1] * stage.in_shape[2]
        out = stage.out_shape[1] * stage.out_shape[2]
        head = self._row(stage.head.name) if stage.head else 0
        if phase in (FH, BH):
            return self._head_operations(stage, phase, row, into, head)
        if phase is FC:
            return self._chain_operations(stage, into, head)
        mul, add = 0, max(0, len(self.readers[index]) - 1) * out
        for node in filter(self._passes, stage.chain):
            here = self._row(node.name)
            mul += {BatchNormConfig: 1, HardSwishConfig: 2, SigmoidConfig: 2, SiluConfig: 4, HardSigmoidConfig: 1,
                    MultiplyConfig: 2}.get(type(node.config), 0) * here  # fmt: skip
            add += {HardSwishConfig: 3, SigmoidConfig: 1, SiluConfig: 3}.get(type(node.config), 0) * here
            add += here if isinstance(node.config, MultiplyConfig) and node.config.gate else 0
        passes = stage.head is not None and self._passes(stage.head)
        if head_of(stage) is Head.CONV and self.machine.mac is Mac.FXP and passes:
            mul += head
        if head_of(stage) is Head.BATCH_NORM:
            mul, add = mul + head, add + 2 * head
        if head_of(stage) is Head.AVG_POOL and passes and not self._summed(stage):
            mul += head
        return 0, 0, mul, add, out

    def _head_operations(self, stage: Stage, phase: Phase, row: int, into: int, out: int):
        if head_of(stage) is Head.CONV:
            config, size = stage.head.config, stage.head.size
            assert isinstance(config, ConvConfig)
            if phase is FH:
                taps = len(self._window(stage, row)) * size.kw * (stage.in_shape[2] // config.groups)
                return out * taps, out, 0, 0, out
            taps = len(self._touching(stage, row)) * self._met(stage, size.kw) * (size.c_out // config.groups)
            return into * taps, into, 0, 0, into
        if self._summed(stage):
            return (0, 0, into, 0, 0) if phase is BH else (0, 0, 0, into, 0)
        if head_of(stage) is Head.BATCH_NORM:
            return 0, 0, into if phase is FH else 2 * into, 2 * into, 0
        if self._rise(stage):
            sums = stage.head.config.rows * stage.head.config.columns - 1 if head_of(stage) is Head.UPSAMPLE else 0
            return 0, 0, 0, sums * into, into
        if head_of(stage) in (Head.MAX_POOL, Head.AVG_POOL):
            return 0, 0, 0, len(self._touching(stage, row)) * self._met(stage, self._kernel(stage)[1]) * into, into
        return 0, 0, into * out, into * out, 0

    @staticmethod
    def _kernel(stage: Stage) -> tuple[int, int]:
        """Rows and columns of a pool's window."""
        kernel = stage.head.config.kernel
        return kernel if isinstance(kernel, tuple) else (kernel, kernel)

    @staticmethod
    def _met(stage: Stage, kernel: int) -> int:
        """The most elements of a kernel's row that meet one column, strides and dilation put one beside another."""
        config = stage.head.config
        stride, dilation = config.stride or config.kernel, getattr(config, "dilation", 1)
        s, d = (one[1] if isinstance(one, tuple) else one for one in (stride, dilation))
        return max(sum((at - k * d) % s == 0 for k in range(kernel)) for at in range(s))

    def _chain_operations(self, stage: Stage, into: int, head: int):
        mul = add = 0
        out = stage.out_shape[1] * stage.out_shape[2]
        for node in stage.chain:
            here = self._row(node.name)
            match node.config:
                case BatchNormConfig():
                    mul, add = mul + here, add + here
                case ReluConfig(six=six):
                    add += (2 if six else 1) * here
                case AddConfig():
                    add += here
                case HardSwishConfig():
                    mul, add = mul + 2 * here, add + 3 * here
                case SigmoidConfig():
                    mul, add = mul + here, add + 2 * here
                case SiluConfig():
                    mul, add = mul + 2 * here, add + 2 * here
                case HardSigmoidConfig():
                    mul, add = mul + here, add + 3 * here
                case MultiplyConfig():
                    mul += here
        if self.machine.mac is Mac.FXP:
            quantized = (t for t, e in self.readers[stage.index] if head_of(t) is Head.CONV and not e.skip)
            mul += sum(out for _ in quantized)
        if head_of(stage) is Head.BATCH_NORM:
            mul, add = mul + head, add + head
        elif head_of(stage) is Head.AVG_POOL:
            mul += head
            add += 0 if self._summed(stage) else math.prod(self._kernel(stage)) * head
        elif head_of(stage) is Head.MAX_POOL:
            add += (math.prod(self._kernel(stage)) - 1) * head
        elif head_of(stage) is Head.LINEAR:
            products = math.prod(self.sizes[stage.head.inputs[0]]) * head
            mul, add = mul + products, add + products
        return 0, 0, mul, add, out

    # Ports, and the run.

    def banks(self, task: Task) -> dict[int, int]:
        """Accesses of a task by bank."""
        found: dict[int, int] = {}
        for ring, number in (*self.reads[task], *self.writes[task]):
            buffer = self.buffers[ring]
            if buffer.kind is RingKind.HANDOFF:
                continue
            slot = number % buffer.slots if buffer.slots else number
            bank = buffer.home + (buffer.offset + slot % buffer.span) % self.machine.banks
            found[bank] = found.get(bank, 0) + 1
        return found

    def run(self) -> dict[Task, tuple[int, int]]:
        """Start and end of every task."""
        queues = self._queues()
        cycles = {task: self.cycles(task) for task in self.tasks}
        banks = {task: self.banks(task) for task in self.tasks}
        needs = {task: self.needs(task) + self._kept_for(task) for task in self.tasks}
        ended: dict[Task, int] = {}
        timing: dict[Task, tuple[int, int]] = {}
        running: list[tuple[int, Task, int]] = []
        queue_rows: set[tuple[int, int, int]] = set()  # FXP rows whose FP row has not ended
        moments = {0}
        while any(queues):
            time = min(moments)
            moments.discard(time)
            for end, task, _ in [entry for entry in running if entry[0] <= time]:
                ended[task] = end
                if task[1] is FC:
                    queue_rows.discard((task[0], task[2], task[3]))
            running = [entry for entry in running if entry[0] > time]
            busy = {unit for _, _, unit in running}
            for unit, queue in enumerate(queues):
                if unit in busy or not queue:
                    continue
                task = queue[0]
                if not all(n in ended and ended[n] + delay <= time for n, delay in needs[task]):
                    moments |= {ended[n] + d for n, d in needs[task] if n in ended and ended[n] + d > time}
                    continue
                if not self._room(task, ended, queue_rows) or not self._port_free(banks, task, running):
                    continue
                queue.pop(0)
                timing[task] = (time, time + cycles[task])
                running.append((time + cycles[task], task, unit))
                moments.add(time + cycles[task])
                if task[1] is FH and head_of(self.parts[task[0]]) is Head.CONV:
                    queue_rows.add((task[0], task[2], task[3]))
        return timing

    def _queues(self) -> list[list[Task]]:
        found, grid = self.found, self.found.grid
        queues: list[list[Task]] = [[] for _ in found.units]
        for number in found.plan.sequence.tolist():
            line = found.flow.lines[int(grid.line[number])]
            task = (line.stage, line.phase, int(grid.image[number]), int(grid.row[number]))
            queues[int(found.plan.unit[number])].append(task)
        return queues

    def _room(self, task: Task, ended: dict[Task, int], queue_rows: set) -> bool:
        in_queue = task[1] is FH and head_of(self.parts[task[0]]) is Head.CONV
        if in_queue and self.found.plan.one_queue and len(queue_rows) >= self.machine.handoff_rows:
            return False
        for ring, number in self.writes[task]:
            buffer = self.buffers[ring]
            if self.found.plan.one_queue and in_queue and buffer.kind is RingKind.HANDOFF:
                continue
            first = task == min(buffer.writers[number])
            left = number - buffer.slots
            if buffer.slots and first and left >= 0:
                # Rows leave in order, so everyone before must have been read, too; an image's rows suffice.
                low = left - left % buffer.rows
                if not all(t in ended for row in range(low, left + 1) for t in buffer.readers[row]):
                    return False
        return True

    def _port_free(self, banks: dict[Task, dict[int, int]], task: Task, running: list) -> bool:
        ports = self.machine.ports
        for bank, many in banks[task].items():
            used = sum(min(banks[other].get(bank, 0), ports) for _, other, _ in running)
            if used + min(many, ports) > ports:
                return False
        return True
