"""Speed of the timing-only pipeline: rows a second, growth with images, memory. One line for each run.

`python benchmarks/bench_schedule.py [IMAGES]`
"""

from __future__ import annotations

import resource
import statistics
import sys
import time

from bitrow import zoo
from bitrow.pipeline.schedule import allocate, rings_together, schedule

RUNS = 5
GOAL = 300_000


def bench(name: str, size: int, images: int) -> float:
    """Median rows a second of `RUNS` schedules, by the processor's time as well as the clock's (a busy machine
    stretches the latter); placing rings in banks is done once and shown in the first run.
    """
    network = zoo.build(name, (size, size, 3))
    schedule(network, images=1)
    allocate.cache_clear()
    rings_together.cache_clear()
    start = time.perf_counter()
    schedule(network, images=images)
    first = time.perf_counter() - start
    seconds, busy, rows = [], [], 0
    for _ in range(RUNS):
        start, processor = time.perf_counter(), time.process_time()
        rows = len(schedule(network, images=images))
        seconds.append(time.perf_counter() - start)
        busy.append(time.process_time() - processor)
    rate = rows / statistics.median(seconds)
    print(
        f"{name:12} {size:4} {images:5} images {rows:9,} rows {statistics.median(seconds):7.3f} s "
        f"{rate:10,.0f} rows/s, {rows / statistics.median(busy):10,.0f} by processor time; first run {first:6.3f} s"
    )
    return rate


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    rates = [bench("resnet18", 224, images) for images in (1, 4, 16, most)]
    for name, size in (("resnet20", 32), ("mobilenetv2", 224), ("vgg8", 32)):
        rates.append(bench(name, size, most))
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"resnet18 224: {rates[3]:,.0f} rows/s, goal {GOAL:,}; {resident:,.0f} MB resident at most")


if __name__ == "__main__":
    main()
