"""Dequantizers: every accumulator times every scale significand (SPEC.md D1, D2).

`fused` has four kernels, by the accumulator's bound. What is covered of each, and why it is enough:

- `acc_bound` up to 2^13: every accumulator times every significand.
- up to 2^20: the same. The kernel multiplies in int32 by the scale's significand alone, whatever its exponent; each
  magnitude has one sign.
- up to 2^24 - 1: the kernel converts the accumulator to float32, cuts its 24-bit significand in two, multiplies each
  half by the scale and adds, rounding to odd. Nothing in there under- or overflows (a product of these is 0 or
  between 2^-14 and 2^40, an error of the sum at least 2^-24). So 2^i * acc and 2^j * scale give 2^(i+j) times what
  acc and scale give, bit by bit the same significand, and FP16's rounding of it is the same, too, as long as the
  result is normal and does not overflow. It is normal: |acc| is at least 1 and the scale at least 2^-14. Every
  operation but FP16's rounding is odd (f(-x) = -f(x)), and this one is under the mirrored mode, up for down. Hence
  accumulators of 2^22 to 2^23 - 1, which have every significand of a 23-bit magnitude, times every significand of
  one exponent, with one sign for each, stand for all accumulators of 24 bits (-2^23 is 2^22 times -2). Both
  symmetries are checked on drawn accumulators.
- Overflow apart: for every scale, the accumulators beside 65504, 65520 and 65536 over it, and the ends of the range.
- wider: structured accumulators of 32 bits times structured scales.

`two_step` is `from_int32` and `mul`, which have claims of their own; every accumulator meets a few scales.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bitrow.contract.encoding import integer_encoding
from bitrow.formats import Dequantize, FloatMode
from bitrow.ops import fxp
from bitrow.proofs import judges, scalar
from bitrow.proofs.claim import Claim, Counterexample, Effort, Method, Outcome
from bitrow.proofs.exhaustive import finding, kernels
from bitrow.proofs.exhaustive.words import structured_int32
from bitrow.vectors.operations import to_words

SHORT, INTEGER, MIDDLE, WIDE = fxp.EXACT_PRODUCT, fxp.EXACT_INTEGER, (1 << 23), (1 << 31) - 1
SIGNIFICANDS = np.arange(0x3C00, 0x4000, dtype=np.uint16)  # scales from 1 to 2
NORMAL = np.arange(0x0400, 0x7C00, dtype=np.uint16)  # every scale that D3 allows
SIXTEENTH = np.uint16(10 << 10)  # takes a scale of 1 to 2 to 2^-10 to 2^-9: products stay below FP16's largest
FIRST, LAST = 1 << 22, 1 << 23
PER_CHUNK = 1 << 13  # accumulators, each with 1,024 significands
PER_BLOCK = 1 << 9
STEPPED_CHUNKS = 16
MIDDLE_CHUNKS = (LAST - FIRST) // PER_CHUNK
INTEGER_CHUNKS = INTEGER // PER_CHUNK
SAMPLE = 4
STEPPED = np.array([0x0400, 0x1001, 0x2BFF, 0x3555, 0x3C00, 0x3C01, 0x4248, 0x7BFF], np.uint16)


class Path(NamedTuple):
    """A dequantizer: method, and the bound of the accumulators that chooses its kernel."""

    method: Dequantize
    bound: int


@functools.cache
def _program(path: Path, modes: Sequence[FloatMode]) -> Callable[..., list]:
    def run(acc: jax.Array, scale: jax.Array) -> list:
        acc, scale = jnp.broadcast_arrays(acc, scale)
        return [fxp.dequantize(acc, scale, path.bound, path.method, mode) for mode in modes]

    return jax.jit(run)


def _expected(path: Path, acc: np.ndarray, scale: np.ndarray) -> Callable[[FloatMode], np.ndarray]:
    """Words of `acc * scale`, broadcast, in any mode: exact in float64, 32 by 11 bits."""
    value = judges.VALUES[scale]
    if path.method is Dequantize.FUSED:
        return judges.signed(acc.astype(np.float64) * value).rounded
    first = judges.signed(acc.astype(np.float64))

    def stepped(mode: FloatMode) -> np.ndarray:
        words = first.rounded(mode)
        infinite = words & 0x7FFF == judges.INFINITY
        product = judges.signed(np.where(infinite, 1.0, judges.VALUES[words]) * value).rounded(mode)
        return np.where(infinite, words, product)

    return stepped


def _compare(
    path: Path, acc: np.ndarray, scale: np.ndarray, groups: Sequence[kernels.Modes], tally: finding.Tally
) -> None:
    """Accumulators and scales, broadcast, in each mode; a few places by the oracle."""
    expected = _expected(path, acc, scale)
    shape = np.broadcast_shapes(acc.shape, scale.shape)
    accs, scales = (np.broadcast_to(words, shape) for words in (acc, scale))
    places = np.random.default_rng(int(acc.flat[0]) & 0xFFFF).integers(0, accs.size, SAMPLE).tolist()
    for group in groups:
        results = _program(path, tuple(group))(acc, scale.view(np.float16))
        for mode, result in zip(group, results, strict=True):
            found = to_words(result)
            explain = functools.partial(_explain, path, accs, scales, mode, found)
            tally.compare(found, expected(mode), explain)
            for place in places:
                asked = scalar.dequantized(int(accs.flat[place]), int(scales.flat[place]), path.method, mode)
                tally.sample(int(found.flat[place]), asked, functools.partial(explain, np.array([place])))


def _explain(
    path: Path, accs: np.ndarray, scales: np.ndarray, mode: FloatMode, found: np.ndarray, wrong: np.ndarray
) -> Counterexample:
    """The wrong place of the shortest accumulator and scale."""
    pairs = ((int(accs.flat[place]), int(scales.flat[place]), place) for place in wrong.tolist())
    acc, scale, place = min(pairs, key=lambda pair: (_length(pair[0]), abs(pair[0]), finding.simplicity(pair[1])))
    right = int(_expected(path, np.array([acc]), np.array([scale]))(mode)[0])
    asked = scalar.dequantized(acc, scale, path.method, mode)
    what = (("method", path.method.value, ""), ("acc_bound", str(path.bound), ""))
    operands = (finding.shown("acc", acc, integer_encoding(32)), finding.shown("scale", scale), *what)
    return finding.counterexample(operands, mode, int(found.flat[place]), right, asked)


def _length(acc: int) -> int:
    return len(f"{abs(acc):b}".rstrip("0"))


def _check_short(effort: Effort, tally: finding.Tally) -> None:
    path, groups = Path(Dequantize.FUSED, SHORT), kernels.GROUPS[:1]
    accs = np.arange(-SHORT, SHORT + 1, dtype=np.int32)
    if effort is Effort.QUICK:
        accs = accs[(np.abs(accs) < 1024) | (accs % 61 == 0)]
    for start in range(0, len(accs), PER_BLOCK):
        _compare(path, accs[start : start + PER_BLOCK, None], SIGNIFICANDS[None, :], groups, tally)


def _check_boundary(effort: Effort, tally: finding.Tally) -> None:
    """Every scale (quick: every 16th) with the accumulators beside overflow and at the ends, both signs, all modes."""
    scales = NORMAL[:: 16 if effort is Effort.QUICK else 1]
    beside = np.array([65504, 65520, 65536])[None, :] / judges.VALUES[scales][:, None]
    accs = np.floor(np.minimum(beside, LAST))[..., None].astype(np.int64) + np.arange(-2, 4)
    ends = np.broadcast_to([0, 1, 2, 3, LAST - 2, LAST - 1], (len(scales), 6))
    accs = np.clip(np.concatenate([accs.reshape(len(scales), -1), ends], axis=1), 0, LAST - 1)
    accs = np.concatenate([accs, -accs, np.full((len(scales), 1), -LAST)], axis=1).astype(np.int32)
    for bound in (INTEGER, MIDDLE, WIDE):
        within = np.clip(accs, -bound, bound) if bound < LAST else accs
        for start in range(0, len(scales), 1024):
            rows = slice(start, start + 1024)
            _compare(Path(Dequantize.FUSED, bound), within[rows], scales[rows, None], kernels.GROUPS, tally)


def _check_symmetry(tally: finding.Tally) -> None:
    """Drawn accumulators of every length, both signs, every scale exponent: the kernel itself, not its reduction."""
    draw = np.random.default_rng(23)
    lengths = np.repeat(np.arange(1, 24), 16)
    accs = draw.integers(1 << (lengths - 1), 1 << lengths).astype(np.int32)
    scales = np.concatenate([draw.choice(NORMAL[e << 10 : (e + 1) << 10], 32) for e in range(30)])
    for sign in (1, -1):
        for bound in (INTEGER, MIDDLE):
            within = sign * accs[accs <= bound, None]
            _compare(Path(Dequantize.FUSED, bound), within, scales[None, :], kernels.GROUPS[:1], tally)


def _check_wide(tally: finding.Tally) -> None:
    values = structured_int32()
    accs = values[:: max(1, len(values) // 20000)]
    path = Path(Dequantize.FUSED, WIDE)
    for start in range(0, len(accs), 4096):
        _compare(path, accs[start : start + 4096, None], STEPPED[None, :], kernels.GROUPS, tally)


def _check_stepped(accs: np.ndarray, tally: finding.Tally) -> None:
    path = Path(Dequantize.TWO_STEP, MIDDLE)
    for start in range(0, len(accs), 1 << 15):
        _compare(path, accs[start : start + (1 << 15), None], STEPPED[None, :], kernels.GROUPS[:1], tally)


def _check_significands(bound: int, accs: np.ndarray, tally: finding.Tally) -> None:
    """Accumulators times every significand; the sign is that of the accumulator's parity of ones."""
    odd = np.bitwise_count(accs) % 2 == 1
    accs = np.where(odd, -accs, accs).astype(np.int32)
    for start in range(0, len(accs), PER_BLOCK):
        block = accs[start : start + PER_BLOCK, None]
        _compare(Path(Dequantize.FUSED, bound), block, SIGNIFICANDS[None, :] - SIXTEENTH, kernels.GROUPS[:1], tally)


def check(effort: Effort, index: int) -> Outcome:
    """Chunks 0 to 3 parts of the module's list; then 2^20 accumulators each of two_step, 2^13 of the other paths."""
    tally = finding.Tally()
    if index == 0:
        _check_short(effort, tally)
    elif index == 1:
        _check_boundary(effort, tally)
    elif index == 2:
        _check_symmetry(tally)
    elif index == 3:
        _check_wide(tally)
    elif effort is Effort.QUICK and index == 4:
        _check_stepped(np.arange(-LAST, LAST, 97, dtype=np.int32), tally)
    elif effort is Effort.QUICK:
        _check_significands(MIDDLE, FIRST + np.arange(0, LAST - FIRST, 2053), tally)
        _check_significands(INTEGER, np.arange(1, INTEGER + 1, 1021), tally)
    elif index < 4 + STEPPED_CHUNKS:
        first = (index - 4 - STEPPED_CHUNKS // 2) << 20
        _check_stepped(np.arange(first, first + (1 << 20), dtype=np.int32), tally)
    elif index < 4 + STEPPED_CHUNKS + MIDDLE_CHUNKS:
        first = FIRST + (index - 4 - STEPPED_CHUNKS) * PER_CHUNK
        _check_significands(MIDDLE, np.arange(first, first + PER_CHUNK), tally)
    else:
        first = 1 + (index - 4 - STEPPED_CHUNKS - MIDDLE_CHUNKS) * PER_CHUNK
        _check_significands(INTEGER, np.arange(first, first + PER_CHUNK), tally)
    return tally.outcome()


def _domain(effort: Effort) -> str:
    if effort is Effort.QUICK:
        return (
            "fused: a slice of short, int32, middle and wide accumulators x 1,024 significands, and beside overflow at "
            "every 16th scale; two_step: every 97th accumulator x 8 scales"
        )
    return (
        "fused, 5 modes: every 24-bit accumulator x every scale (2^22 significands x 1,024, by symmetry of sign and "
        "exponent; |acc| to 2^13 and to 2^20 apart); 20 modes: beside overflow at all 30,720 scales; structured 32-bit "
        "accumulators; two_step: every 24-bit accumulator x 8 scales"
    )


def _chunks(effort: Effort) -> int:
    return 6 if effort is Effort.QUICK else 4 + STEPPED_CHUNKS + MIDDLE_CHUNKS + INTEGER_CHUNKS


CLAIMS = (
    Claim(
        name="fxp.dequantize",
        statement="fused is acc * scale rounded once, two_step acc rounded, then the product rounded",
        clauses=("D1", "D2", "F3", "F6"),
        method=Method.EXHAUSTIVE,
        domain=_domain,
        chunks=_chunks,
        check=check,
    ),
)
