"""Products of codes, and the quantizers of every FP16 word (SPEC.md M1, Q1, Q2, Q4)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bitrow.contract.encoding import FP16_WORD, MASK_WORD, Encoding, code_encoding, integer_encoding
from bitrow.formats import FXP4, FXP8, UFXP4, Accumulator, FloatMode, Fxp
from bitrow.host import inverse_scale
from bitrow.ops import fxp, mac
from bitrow.oracle import fxp as oracle
from bitrow.proofs import judges, scalar
from bitrow.proofs.claim import Claim, Counterexample, Effort, Method, Outcome
from bitrow.proofs.exhaustive import finding, kernels
from bitrow.proofs.judges import INFINITY, SIGN
from bitrow.vectors.operations import to_words

FORMATS = tuple(Fxp(bits, signed) for bits in range(2, 9) for signed in (True, False))
PLACES = mac.Places(mac.NO_PADDING)


def codes(fmt: Fxp) -> np.ndarray:
    """Every code of a format, int8 or uint8."""
    return np.arange(fmt.min, fmt.max + 1).astype(np.int8 if fmt.signed else np.uint8)


def _products(x: np.ndarray, weight: np.ndarray, groups: int, three_wide: bool) -> np.ndarray:
    """Accumulators of a convolution without padding; `weight` `[1, kw, c_in, c_out]`."""

    @jax.jit
    def run(x: jax.Array, weight: jax.Array) -> jax.Array:
        kernel = mac.prepare(weight, three_wide, groups, (8, 8), 1 << 16)
        return mac.accumulate(x, kernel, PLACES, Accumulator(32), 1 << 16)

    return np.asarray(run(x, weight))


def _explain_product(
    x_code: np.ndarray, weight_code: np.ndarray, fmts: tuple[Fxp, Fxp], found: np.ndarray, right: np.ndarray,
    wrong: np.ndarray,
) -> Counterexample:  # fmt: skip
    x, w = (np.broadcast_to(code, found.shape).reshape(-1) for code in (x_code, weight_code))
    at = min(wrong.tolist(), key=lambda i: (abs(int(x[i])) + abs(int(w[i])), int(x[i]), int(w[i])))
    a, b, expected = int(x[at]), int(w[at]), int(right.reshape(-1)[at])
    operands = tuple(
        finding.shown(name, code, code_encoding(fmt))
        for name, code, fmt in zip(("x_code", "weight_code"), (a, b), fmts, strict=True)
    )
    met = oracle.mac([a], [b], Accumulator(32)) if expected else 0  # 0 where the code meets another weight
    return finding.counterexample(operands, None, int(found.reshape(-1)[at]), expected, met, integer_encoding(32))


def _check_products(effort: Effort, index: int) -> Outcome:
    """Pairs of formats by matrix product; FXP4 by each way of convolving, its code at each place of the window."""
    tally = finding.Tally()
    for fmts in ((FXP4, FXP4), *(() if effort is Effort.QUICK else product(FORMATS, FORMATS))):
        x, weight = codes(fmts[0])[:, None, None, None], codes(fmts[1])[None, None, None, :]
        found = _products(x, weight, 1, False)
        right = x.astype(np.int64) * weight
        tally.compare(found, right, functools.partial(_explain_product, x, weight, fmts, found, right))
    every = codes(FXP4)
    x = np.zeros((16, 6, 1, 6, 1), np.int8)  # the code at each of six columns: four outputs of three-wide windows
    for column in range(6):
        x[:, column, 0, column, 0] = every
    weight = np.zeros((1, 3, 1, 3, 16), np.int8)
    for tap in range(3):
        weight[0, tap, 0, tap] = every
    x, weight = x.reshape(96, 1, 6, 1), weight.reshape(1, 3, 1, 48)
    met = np.array([[column == place + tap for place in range(4) for tap in range(3)] for column in range(6)])
    right = np.einsum("i,cpt,j->icptj", every.astype(int), met.reshape(6, 4, 3).astype(int), every.astype(int))
    right = right.reshape(96, 1, 4, 48)
    first, second = np.repeat(every, 6)[:, None, None, None], np.tile(every, 3)[None, None, None, :]
    for three_wide in (False, True):
        found = _products(x, weight, 1, three_wide)
        tally.compare(found, right, functools.partial(_explain_product, first, second, (FXP4, FXP4), found, right))
    # depthwise: 16 channels of one code each
    for shift in range(16):
        x, weight = every[None, None, None, :], np.roll(every, shift)[None, None, None, :]
        found = _products(x, weight, 16, False)
        right = x.astype(int) * weight
        tally.compare(found, right, functools.partial(_explain_product, x, weight, (FXP4, FXP4), found, right))
    return tally.outcome()


def _check_transforms(effort: Effort, index: int) -> Outcome:
    """F(4, 3): 24 times each output of each place, and, of all magnitudes it takes, the largest values."""
    tally = finding.Tally()
    of_codes, of_weights, of_products = (np.array(m) for m in (mac.OF_CODES, mac.OF_WEIGHTS, mac.OF_PRODUCTS))
    found = np.einsum("ri,ij,it->rjt", of_products, of_codes, of_weights)
    met = np.array([[[column == place + tap for tap in range(3)] for column in range(6)] for place in range(4)])
    tally.compare(found, 24 * met, functools.partial(_explain_transform, "place, column, tap", found, 24 * met))
    signs = np.array(list(product((-1, 1), repeat=6)))
    for a, b in product(range(1, 129), repeat=2):
        bound = ((1 << 31) - 1) // 24  # the largest taken
        if not mac.three_wide_fits((a, b), bound):
            continue
        codes, weights = np.abs(a * signs @ of_codes.T).max(0), np.abs(b * signs[:, :3] @ of_weights.T).max(0)
        share = codes * weights / (3 * a * b)  # of the accumulator's worst case, that of each sum of products
        within = np.array([codes.max() <= 127, weights.max() <= 127, share.max() * bound < 1 << 31])
        every = np.ones(3, bool)
        tally.compare(within, every, functools.partial(_explain_transform, f"({a}, {b})", within, every))
    return tally.outcome()


def _explain_transform(what: str, found: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> Counterexample:
    at = int(wrong[0])
    place = finding.shown(what, at, integer_encoding(32))
    expected = int(right.reshape(-1)[at])
    return finding.counterexample((place,), None, int(found.reshape(-1)[at]), expected, expected, integer_encoding(32))


QUANTIZERS = (FXP4, UFXP4, Fxp(4, narrow=True), FXP8, Fxp(2))
POWERS = tuple(2.0**e for e in range(-14, 15))
OTHERS = tuple(
    float(np.float16(significand / 1024 * 2.0**e))
    for e in (-14, -9, -4, -1, 0, 3, 8, 13)
    for significand in (1025, 1177, 1365, 1536, 1707, 2046, 2047)
)
PER_CHUNK = 64  # scales of a chunk


def every_scale() -> list[float]:
    """Every scale that F8 allows: all FP16 numbers from 2^-14 to 2^14."""
    first, last = (int(np.float16(scale).view(np.uint16)) for scale in (2.0**-14, 2.0**14))
    return judges.VALUES[first : last + 1].tolist()


@functools.cache
def _quantizers(fmt: Fxp, modes: Sequence[FloatMode]) -> Callable[..., list]:
    def run(x: jax.Array, inverse: jax.Array) -> list:
        x, inverse = jnp.broadcast_arrays(x, inverse)
        out = []
        for mode in modes:
            taps: dict[str, jax.Array] = {}
            fxp.quantize(x, inverse, fmt, mode, taps.__setitem__)
            out.append((taps["t"], taps["code"], taps["mask"]))
        return out

    return jax.jit(run)


class QuantizerJudge:
    """Expected t, code and mask of every word times some inverse scales, `[k, 65536]`."""

    def __init__(self, inverses: np.ndarray, flush: bool) -> None:
        words = judges.flushed(judges.EVERY_WORD) if flush else judges.EVERY_WORD
        self._finite = (words & ~SIGN) < INFINITY
        value = np.where(self._finite, judges.VALUES[words], 0.0)
        # no inverse is subnormal: a scale of at most 2^14 has one of at least 2^-14
        self._inside = judges.signed(value[None, :] * inverses[:, None])
        self._special = judges.canonical(judges.EVERY_WORD.copy())

    def t(self, mode: FloatMode) -> np.ndarray:
        return np.where(self._finite, self._inside.rounded(mode), self._special)


@functools.cache
def code_and_mask(fmt: Fxp) -> tuple[np.ndarray, np.ndarray]:
    """Code and mask of each word t, by numpy's rint on float64; a NaN is 0 and does not pass."""
    nan = np.isnan(judges.VALUES)
    nearest = np.rint(np.where(nan, 0.0, judges.VALUES))
    code = np.clip(nearest, fmt.min, fmt.max).astype(np.int8 if fmt.signed else np.uint8)
    return code, (~nan & (nearest >= fmt.min) & (nearest <= fmt.max)).astype(np.uint8)


def _check_scales(scales: Sequence[float], fmt: Fxp, groups: Sequence[kernels.Modes], tally: finding.Tally) -> None:
    inverses = np.array([inverse_scale(scale) for scale in scales], np.float16)
    x = judges.EVERY_WORD.view(np.float16)[None, :]
    judge: dict[bool, QuantizerJudge] = {}
    for group in groups:
        flush = group[0].flush
        judge.setdefault(flush, QuantizerJudge(inverses.astype(np.float64), flush))
        for mode, taps in zip(group, _quantizers(fmt, tuple(group))(x, inverses[:, None]), strict=True):
            t = judge[flush].t(mode)
            expected = (t, *(table[t] for table in code_and_mask(fmt)))
            encodings = (FP16_WORD, code_encoding(fmt), MASK_WORD)
            for name, encoding, tap, right in zip(("t", "code", "mask"), encodings, taps, expected, strict=True):
                words = to_words(tap)
                explain = functools.partial(_explain_scale, inverses, fmt, mode, _Tap(name, encoding, words, right))
                tally.compare(words, right, explain)
                _ask_oracle(inverses, fmt, mode, name, words, tally, explain)


def _ask_oracle(
    inverses: np.ndarray, fmt: Fxp, mode: FloatMode, name: str, found: np.ndarray, tally: finding.Tally,
    explain: Callable[[np.ndarray], Counterexample],
) -> None:  # fmt: skip
    """Two elements of the tap by the oracle."""
    for place in np.random.default_rng(int(inverses.view(np.uint16)[0])).integers(0, found.size, 2).tolist():
        inverse = int(inverses.view(np.uint16)[place >> 16])
        asked = scalar.quantized(place & 0xFFFF, inverse, fmt, mode)[name]
        tally.sample(int(found.reshape(-1)[place]), asked, functools.partial(explain, np.array([place])))


class _Tap(NamedTuple):
    """A tap of the quantizer: its words as found and as expected."""

    name: str
    encoding: Encoding
    found: np.ndarray
    expected: np.ndarray


def _explain_scale(
    inverses: np.ndarray, fmt: Fxp, mode: FloatMode, tap: _Tap, wrong: np.ndarray
) -> Counterexample:
    scales = inverses.view(np.uint16).tolist()
    pairs = ((place & 0xFFFF, scales[place >> 16], place) for place in wrong.tolist())
    x, inverse, place = min(pairs, key=lambda pair: finding.tuple_key(pair[:2]))
    asked = scalar.quantized(x, inverse, fmt, mode)[tap.name]
    what = (("format", repr(fmt), ""), ("tap", tap.name, ""))
    operands = (finding.shown("x", x), finding.shown("x_inv_scale", inverse), *what)
    result, right = int(tap.found.reshape(-1)[place]), int(tap.expected.reshape(-1)[place])
    return finding.counterexample(operands, mode, result, right, asked, tap.encoding)


def _check_quantize(effort: Effort, index: int) -> Outcome:
    """A chunk for each format, at the stated scales; then every scale of F8 for FXP4 in the default mode."""
    tally = finding.Tally()
    if index < len(QUANTIZERS):
        scales = [*POWERS, *OTHERS] if effort is Effort.FULL else list(POWERS)
        groups = kernels.GROUPS if effort is Effort.FULL or index == 0 else kernels.GROUPS[:1]
        for start in range(0, len(scales), 8):
            _check_scales(scales[start : start + 8], QUANTIZERS[index], groups, tally)
    else:
        first = (index - len(QUANTIZERS)) * PER_CHUNK
        scales = every_scale()[first : first + PER_CHUNK]
        for start in range(0, len(scales), 8):
            _check_scales(scales[start : start + 8], FXP4, ((FloatMode(),),), tally)
    return tally.outcome()


def _quantize_domain(effort: Effort) -> str:
    if effort is Effort.QUICK:
        return "all words x 29 power-of-two scales, FXP4 in 20 modes, UFXP4, narrow FXP4, FXP8 and Fxp(2) in 5"
    return f"all words x 29 power-of-two and {len(OTHERS)} other scales, 5 formats, 20 modes; FXP4 x all 28,673 scales"


CLAIMS = (
    Claim(
        name="fxp.products",
        statement="a product of two codes is exact in the accumulator, whichever way it is convolved",
        clauses=("F7", "M1"),
        method=Method.EXHAUSTIVE,
        domain=lambda effort: "all 256 pairs of FXP4 codes, at each place of a window, by matrix product, F(4, 3) and "
        f"depthwise{'; all pairs of codes of 2 to 8 bits, signed and unsigned' if effort is Effort.FULL else ''}",
        chunks=lambda effort: 1,
        check=_check_products,
    ),
    Claim(
        name="fxp.four_by_three",
        statement="F(4, 3) is 24 times the convolution, and no code, weight or sum that it transforms leaves its type",
        clauses=("M1",),
        method=Method.EXHAUSTIVE,
        domain=lambda effort: "each of 4 outputs, 6 columns and 3 taps; the largest values of all magnitudes it takes",
        chunks=lambda effort: 1,
        check=_check_transforms,
    ),
    Claim(
        name="fxp.quantize",
        statement="t is rounded once, its code to nearest even and clipped, the mask is where nothing was clipped",
        clauses=("F8", "Q1", "Q2", "Q4"),
        method=Method.EXHAUSTIVE,
        domain=_quantize_domain,
        chunks=lambda effort: len(QUANTIZERS) + (effort is Effort.FULL) * -(-28673 // PER_CHUNK),
        check=_check_quantize,
    ),
)
