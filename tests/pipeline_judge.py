"""What no schedule may break, checked on start and end of every task by the simulation's own rows, slots and ports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise

from bitrow.pipeline.schedule import Schedule
from bitrow.pipeline.stages import Phase
from pipeline_samples import Head, head_of
from pipeline_simulation import FC, FH, Simulation, Task

Timing = Mapping[Task, tuple[int, int]]


def timing_of(found: Schedule) -> dict[Task, tuple[int, int]]:
    columns = (found.stage, found.phase, found.image, found.row, found.start, found.end)
    return {
        (stage, Phase(phase), image, row): (start, end)
        for stage, phase, image, row, start, end in zip(*(c.tolist() for c in columns), strict=True)
    }


class Judge:
    """Knows what a network's tasks need, read and write; `faults` names what a timing of them breaks."""

    def __init__(self, found: Schedule) -> None:
        self.found, self.simulated = found, Simulation(found)
        self.queues = self.simulated._queues()
        self.cycles = {task: self.simulated.cycles(task) for task in self.simulated.tasks}
        self.banks = {task: self.simulated.banks(task) for task in self.simulated.tasks}

    def faults(self, timing: Timing) -> Iterator[str]:
        yield from self._tasks(timing)
        yield from self._rows(timing)
        yield from self._slots(timing)
        yield from self._units(timing)
        yield from self._queue(timing)
        yield from self._ports(timing)

    def _tasks(self, timing: Timing) -> Iterator[str]:
        if set(timing) != set(self.simulated.tasks):
            yield "other tasks"
        for task, (start, end) in timing.items():
            if start < 0 or end - start != self.cycles[task]:
                yield f"{task}: {end - start} cycles from {start}"
            for need, delay in self.simulated.needs(task):
                if timing[need][1] + delay > start:
                    yield f"{task} at {start} before {need} at {timing[need][1]} and {delay}"

    def _rows(self, timing: Timing) -> Iterator[str]:
        """No row is read before all of it is written."""
        for task, reads in self.simulated.reads.items():
            for ring, number in reads:
                for writer in self.simulated.buffers[ring].writers[number]:
                    if timing[writer][1] > timing[task][0]:
                        yield f"{task} reads row {number} of {self.found.rings[ring].name} before {writer}"

    def _slots(self, timing: Timing) -> Iterator[str]:
        """No slot is written while a row in it, or one before that, is still read."""
        for ring, buffer in self.simulated.buffers.items():
            if not buffer.slots or (self.found.plan.one_queue and self.found.rings[ring].queued):
                continue
            for number in range(buffer.slots, self.found.images * buffer.rows):
                left = number - buffer.slots
                start = min(timing[writer][0] for writer in buffer.writers[number])
                rows = range(left - left % buffer.rows, left + 1)
                if any(timing[reader][1] > start for row in rows for reader in buffer.readers[row]):
                    yield f"row {number} of {self.found.rings[ring].name} at {start} over a row still read"

    def _units(self, timing: Timing) -> Iterator[str]:
        for queue in self.queues:
            for before, after in pairwise(queue):
                if timing[before][1] > timing[after][0]:
                    yield f"{before} and {after} at once on a unit"

    def _queue(self, timing: Timing) -> Iterator[str]:
        if not self.found.plan.one_queue:
            return
        parts = self.found.flow.stages
        rows = [task for task in timing if task[1] is FH and head_of(parts[task[0]]) is Head.CONV]
        change = [(timing[task][0], 1) for task in rows]
        change += [(timing[task[0], FC, *task[2:]][1], -1) for task in rows]
        level = 0
        for time, step in sorted(change):
            level += step
            if level > self.found.machine.handoff_rows:
                yield f"{level} rows in the queue at {time}"

    def _ports(self, timing: Timing) -> Iterator[str]:
        ports, times = self.found.machine.ports, defaultdict(list)
        for task, banks in self.banks.items():
            start, end = timing[task]
            for bank, many in banks.items():
                times[bank] += [(start, min(many, ports)), (end, -min(many, ports))]
        for bank, changes in times.items():
            level = 0
            for time, step in sorted(changes):
                level += step
                if level > ports:
                    yield f"{level} accesses on {ports} ports of bank {bank} at {time}"


