"""FP16 add and mul of the C model on arrays, one core, in results a second.

Run as `python benchmarks/bench_c.py`; `CC` chooses the compiler. Each function runs on 4,096 pairs of words, in the
first level of cache; the best of many rounds counts, since other work only slows it. Beside them what others say.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from bitrow.export.c_model import CModel
from bitrow.export.configs import mode_bits
from bitrow.formats import FloatMode, Rounding

WORDS, CALLS, ROUNDS = 4096, 50, 200
FLAGS = {"-O3 -march=native": ("-O3", "-march=native"), "-O3": ("-O3",), "-O2": ("-O2",)}
VERIFLOAT = 0.5  # G FP16 sums a second, as VeriFloat 0.2 says of its library


def rate(call: Callable[[], object]) -> float:
    """Results a second, in 10^9."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        best = min(best, time.perf_counter() - start)
    return WORDS * CALLS / best / 1e9


def main() -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.integers(0, 1 << 16, WORDS).astype(np.uint16) for _ in range(2))
    y = np.empty_like(a)
    table = Table("compiled with", "function", "mode", "G results/s", "of VeriFloat 0.2")
    for flags, listed in FLAGS.items():
        model = CModel.build(listed)
        for name in ("fp16_add", "fp16_mul"):
            for mode in (FloatMode(), FloatMode(Rounding.UP)):
                function = model.function(f"{name}_array")
                given = (mode_bits(mode), WORDS, *(ctypes.c_void_p(each.ctypes.data) for each in (a, b, y)))
                found = rate(lambda function=function, given=given: function(*given))
                table.add_row(flags, name, mode.rounding.value, f"{found:.3f}", f"{found / VERIFLOAT:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
