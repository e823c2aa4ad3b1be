"""What this processor raises: C functions that read its status register, x86's SSE and F16C, compiled for a test."""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bitrow.formats import Flag, Rounding

_SOURCE = """
#include <immintrin.h>
#include <stdint.h>
#include <stddef.h>

static float number(uint32_t word) { union { uint32_t word; float number; } both = {word}; return both.number; }
static uint32_t word(float x) { union { float number; uint32_t word; } both = {x}; return both.word; }

/* Masked exceptions, a rounding, FTZ and DAZ; the status bits are cleared before each element and read after it. */
void run(int op, uint32_t control, size_t count, const uint32_t *a, const uint32_t *b, const uint32_t *c, uint32_t *y,
         uint8_t *status) {
    const uint32_t before = _mm_getcsr();
    for (size_t i = 0; i < count; i++) {
        const __m128 p = _mm_set_ss(number(a[i])), q = _mm_set_ss(number(b[i])), r = _mm_set_ss(number(c[i]));
        volatile float kept;
        __m128 found = p;
        _mm_setcsr(control);
        switch (op) {
        case 0: found = _mm_add_ss(p, q); break;
        case 1: found = _mm_sub_ss(p, q); break;
        case 2: found = _mm_mul_ss(p, q); break;
        case 3: found = _mm_div_ss(p, q); break;
        case 4: found = _mm_sqrt_ss(p); break;
        case 5: found = _mm_fmadd_ss(p, q, r); break;
        default: found = _mm_castsi128_ps(_mm_cvtps_ph(p, 4)); break; /* rounds as the control register says */
        }
        kept = _mm_cvtss_f32(found);
        status[i] = (uint8_t)(_mm_getcsr() & 0x3f);
        y[i] = op == 6 ? word(kept) & 0xffffu : word(kept);
    }
    _mm_setcsr(before);
}
"""
_MASKED, _FLUSH_TO_ZERO, _ZEROS = 0x1F80, 0x8000, 0x0040
_ROUNDINGS = {Rounding.NEAREST_EVEN: 0, Rounding.DOWN: 1, Rounding.UP: 2, Rounding.TOWARD_ZERO: 3}
OPERATIONS = ("add", "sub", "mul", "div", "sqrt", "fma", "narrow")
# Of MXCSR's status: the second bit says that an operand is subnormal, which is no exception of IEEE 754.
_BITS = {0x01: Flag.INVALID, 0x04: Flag.DIVIDE_BY_ZERO, 0x08: Flag.OVERFLOW, 0x10: Flag.UNDERFLOW, 0x20: Flag.INEXACT}


def _has() -> bool:
    if platform.machine() != "x86_64" or not (shutil.which("gcc") or shutil.which("clang")):
        return False
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    return {"f16c", "fma"} <= set(flags)


needs_processor = pytest.mark.skipif(not _has(), reason="needs an x86-64 processor with F16C and FMA, and gcc or clang")


class ProcessorFlags:
    """The compiled functions."""

    def __init__(self, folder: Path) -> None:
        source, library = folder / "flags.c", folder / "flags.so"
        source.write_text(_SOURCE)
        compiler = shutil.which("gcc") or shutil.which("clang")
        command = [str(compiler), "-O1", "-frounding-math", "-ffp-contract=off", "-mf16c", "-mfma", "-shared", "-fPIC",
                   "-o", str(library), str(source)]  # fmt: skip
        subprocess.run(command, check=True)
        self._run = ctypes.CDLL(str(library)).run

    def __call__(
        self, op: str, rounding: Rounding, flush: bool, *operands: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Results (uint32) of FP32 words, of `narrow` FP16 ones, and the words of flags (uint8) that they raise."""
        words = [np.ascontiguousarray(each, np.uint32) for each in operands]
        words += [np.zeros_like(words[0])] * (3 - len(words))
        y, status = np.empty_like(words[0]), np.empty(words[0].shape, np.uint8)
        control = _MASKED | _ROUNDINGS[rounding] << 13 | (_FLUSH_TO_ZERO | _ZEROS if flush else 0)
        pointers = (ctypes.c_void_p(each.ctypes.data) for each in (*words, y, status))
        self._run(OPERATIONS.index(op), ctypes.c_uint32(control), ctypes.c_size_t(y.size), *pointers)
        flags = np.zeros_like(status)
        for bit, flag in _BITS.items():
            flags |= np.where(status & bit, np.uint8(flag), np.uint8(0))
        return y, flags
