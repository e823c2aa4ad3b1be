"""FP16 add and mul of the C model on arrays, one core, in results a second.

Run as `python benchmarks/bench_c.py`; `CC` chooses the compiler. Each function runs on 4,096 pairs of words, in the
first level of cache; the best of many rounds counts, since other work only slows it. Beside them VeriFloat's arrays of
that length where it is installed (pip install verifloat, Python 3.12 and later): its time depends on the words, so of
any words and of numbers near 1.
"""

from __future__ import annotations

import ctypes
import time
import warnings
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from bitrow.export.c_model import CModel
from bitrow.export.configs import mode_bits
from bitrow.formats import FloatMode, Rounding

WORDS, CALLS, ROUNDS = 4096, 50, 200
FLAGS = ("-O3 -march=native", "-O3", "-O3 -DBW_WIDEST=256", "-O3 -DBW_WIDEST=128", "-O2")
Words = tuple[np.ndarray, np.ndarray]


def rate(call: Callable[[], object]) -> float:
    """Results a second, in 10^9."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        best = min(best, time.perf_counter() - start)
    return WORDS * CALLS / best / 1e9


def verifloat_rates(words: Words) -> dict[str, float]:
    """Of its sums and products of FP16 words, nearest even, with their flags; none where it is not installed."""
    try:
        import verifloat
    except ImportError:
        return {}
    x, y = (verifloat.FPArray.from_raw(each, verifloat.FP16) for each in words)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of overflows
        return {"fp16_add": rate(lambda: x + y), "fp16_mul": rate(lambda: x * y)}


def main() -> None:
    """Print a row for each way to compile, function and mode."""
    rng = np.random.default_rng(1)
    a, b = (rng.integers(0, 1 << 16, WORDS).astype(np.uint16) for _ in range(2))
    near = tuple(rng.standard_normal(WORDS).astype(np.float16).view(np.uint16) for _ in range(2))
    others = verifloat_rates((a, b)), verifloat_rates(near)
    y = np.empty_like(a)
    table = Table("compiled with", "function", "mode", "G results/s", "over VeriFloat, any words", "near 1")
    for flags in FLAGS:
        model = CModel.build(flags.split())
        for name in ("fp16_add", "fp16_mul"):
            for mode in (FloatMode(), FloatMode(Rounding.UP)):
                function = model.function(f"{name}_array")
                given = (mode_bits(mode), WORDS, *(ctypes.c_void_p(each.ctypes.data) for each in (a, b, y)))
                found = rate(lambda function=function, given=given: function(*given))
                same = mode == FloatMode()
                over = (f"{found / each[name]:.2f}" if same and each else "" for each in others)
                table.add_row(flags, name, mode.rounding.value, f"{found:.3f}", *over)
    Console().print(table)
    if not others[0]:
        Console().print("VeriFloat: not installed")


if __name__ == "__main__":
    main()
