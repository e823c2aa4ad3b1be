"""SPEC.md E1 to E4 on the real kernels, and the sharpest counterexamples outside them (proofs: `docs/proofs.md`)."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from bitrow import terminal
from bitrow.config import ConvConfig
from bitrow.exactness import FLOAT32_INTEGERS, Certificate, certify, gamma
from bitrow.formats import FXP4, FXP8, AccOverflow, Accumulator
from bitrow.host import Scales, inverse_scale
from bitrow.layers import conv
from bitrow.ops import fxp
from bitrow.oracle import fxp as oracle
from bitrow.proofs.claim import Claim, Counterexample, Effort, Method, Outcome
from bitrow.terminal import Column

CONFIGS = (ConvConfig(padding=1), ConvConfig(stride=2, padding=1, groups=2))
ORDERS = 4
DRAWS = 6  # convolutions in a chunk
WORST = FXP4.min * FXP4.min  # the largest product of two FXP4 codes


class Sums(NamedTuple):
    """Results of one direction: the kernel's accumulators, flat, and the products that each is the sum of."""

    direction: str
    acc: np.ndarray
    terms: list[list[int]]


def _terms(config: ConvConfig, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> tuple[list, list]:
    """Products of codes by result, forward and of the input gradient, by their definitions (SPEC.md M1, C2)."""
    kh, kw, c_in, c_out = weight.shape
    _, h, w, c_all = x.shape
    down, across = config.windows((kh, kw))
    forward: list[list[int]] = [[] for _ in range(dy.size)]
    gradient: list[list[int]] = [[] for _ in range(x.size)]
    for place, (i, j, c) in enumerate(np.ndindex(*dy.shape[1:])):
        first = c // (c_out // config.groups) * c_in
        for a, b, k in np.ndindex(kh, kw, c_in):
            row, column = i * down.stride - down.before + a, j * across.stride - across.before + b
            if 0 <= row < h and 0 <= column < w:
                factor, channel = int(weight[a, b, k, c]), first + k
                forward[place].append(int(x[0, row, column, channel]) * factor)
                gradient[(row * w + column) * c_all + channel].append(int(dy[0, i, j, c]) * factor)
    return forward, gradient


def draw(index: int) -> tuple[Sums, Sums]:
    """One convolution through the kernels, codes drawn by `index`, forward and input gradient."""
    rng = np.random.default_rng(index)
    config = CONFIGS[index % len(CONFIGS)]
    x = rng.integers(FXP4.min, FXP4.max + 1, (1, 5, 4, 2 * config.groups))
    weight = rng.integers(FXP4.min, FXP4.max + 1, (3, 3, 2, 2 * config.groups))
    params = conv.make_params(config, "drawn", weight, Scales(1.0, 1.0, 1.0))
    taps: dict[str, np.ndarray] = {}

    def tap(name: str, value: object) -> None:
        taps[name] = np.asarray(value)

    y, mask = conv.forward(config, params, jnp.asarray(x, jnp.float16), tap)
    dy = rng.integers(FXP4.min, FXP4.max + 1, y.shape)
    conv.backward(config, params, mask, jnp.asarray(dy, jnp.float16), tap)
    forward, gradient = _terms(config, x, weight, dy)
    return Sums("forward", taps["acc"].reshape(-1), forward), Sums("gradient", taps["dx_acc"].reshape(-1), gradient)


def _scales(rng: np.random.Generator, power_of_two: bool) -> tuple[float, float]:
    if power_of_two:
        first, second = (float(2.0 ** int(e)) for e in rng.integers(-6, 4, 2))
        return first, second
    first, second = (float(word.view(np.float16)) for word in rng.integers(0x2400, 0x4200, 2).astype(np.uint16))
    return first, second


def float32_sum(terms: list[tuple[int, int]], sx: float, sw: float) -> float:
    """Simulated quantization of a dot product: float32 operands, products and sums, in the order given."""
    total = np.float32(0)
    for a, b in terms:
        total = np.float32(total + np.float32(np.float32(sx * a) * np.float32(sw * b)))
    return float(total)


def _wrong(sums: Sums, place: int, found: object, expected: object, judge: str) -> Counterexample:
    operands = ("direction", sums.direction, ""), ("element", str(place), ""), ("products", str(sums.terms[place]), "")
    return Counterexample(operands, str(found), str(expected), judge)


def _e1(sums: Sums, rng: np.random.Generator) -> Counterexample | None:
    sx, sw = map(Fraction, _scales(rng, False))
    for place, terms in enumerate(sums.terms):
        simulated = sum((sx * sw * term for term in terms), Fraction(0))
        if simulated != int(sums.acc[place]) * sx * sw:
            return _wrong(sums, place, int(sums.acc[place]) * sx * sw, simulated, "rationals")
    return None


def _float32(sums: Sums, rng: np.random.Generator, power_of_two: bool) -> Counterexample | None:
    """E2 and E3: float32 sums of the scaled products in several orders against the kernel's accumulator."""
    sx, sw = _scales(rng, power_of_two)
    scale = Fraction(sx) * Fraction(sw)
    for place in rng.permutation(len(sums.terms))[:12].tolist():
        terms = sums.terms[place]
        exact = int(sums.acc[place]) * scale
        bound = Fraction(0) if power_of_two else gamma(len(terms) + 2) * sum(map(abs, terms)) * scale
        for _ in range(ORDERS):
            shuffled = [terms[k] for k in rng.permutation(len(terms)).tolist()]
            found = Fraction(float32_sum([(term, 1) for term in shuffled], sx, sw))
            if abs(found - exact) > bound:
                return _wrong(sums, place, float(found), f"{float(exact)} within {float(bound)}", "rationals")
    return None


def _on_draws(
    name: str,
    statement: str,
    clause: str,
    method: Method,
    check: Callable[[Sums, np.random.Generator], Counterexample | None],
) -> Claim:
    def run(effort: Effort, index: int) -> Outcome:
        cases = 0
        for place in range(index * DRAWS, (index + 1) * DRAWS):
            for sums in draw(place):
                cases += len(sums.terms)
                false = check(sums, np.random.default_rng(place))
                if false is not None:
                    return Outcome(cases, false)
        return Outcome(cases)

    def chunks(effort: Effort) -> int:
        return 1 if effort is Effort.QUICK else 16

    def domain(effort: Effort) -> str:
        return f"{DRAWS * chunks(effort)} drawn convolutions, forward and input gradient"

    return Claim(f"theorem.{name}", statement, (clause,), method, domain, chunks, run)


def fp16_stops(effort: Effort, index: int) -> Outcome:
    """The shortest sum of FXP4 products that FP16 accumulation gets wrong (SPEC.md E4)."""
    products = sorted({abs(a * b) for a in range(FXP4.min, FXP4.max + 1) for b in range(FXP4.min, FXP4.max + 1)})
    before, length, cases = np.float16(0), 1, 0
    while True:
        for last in products:  # before this length every partial sum of the largest products was exact
            cases += 1
            found, exact = float(np.float16(before + np.float16(last))), WORST * (length - 1) + last
            if found != exact:
                note = f"K = {length}: {length - 1} products of {WORST} and one of {last} give {found:g}, not {exact}"
                return Outcome(cases, note=note)
        before, length = np.float16(before + np.float16(WORST)), length + 1


def float32_stops(effort: Effort, index: int) -> Outcome:
    """Scales and codes of the shortest sum whose float32 simulation gives another FP16 word (SPEC.md E3)."""
    significands = 1.0 + np.arange(1024) / 1024
    cases = 0
    for product in sorted({a * b for a in range(1, 9) for b in range(1, 9)}):
        exact = significands[:, None] * significands[None, :] * product  # at most 28 bits: exact in binary64
        once, twice = exact.astype(np.float16), exact.astype(np.float32).astype(np.float16)
        cases += exact.size
        wrong = np.argwhere(once.view(np.uint16) != twice.view(np.uint16))
        if len(wrong):
            sx, sw = (float(significands[k]) for k in wrong[0])
            at = tuple(wrong[0])
            text = f"float32 gives {float(twice[at])!r} in FP16, the exact product {float(once[at])!r}"
            return Outcome(cases, note=f"K = 1: codes' product {product}, scales {sx!r} and {sw!r}: {text}")
    return Outcome(cases, Counterexample((), "one word for every product", "two words that differ", "numpy"))


def register_stops(effort: Effort, index: int) -> Outcome:
    """The shortest sum of FXP4 products that a 16-bit register gets wrong, wrapping or saturating (SPEC.md M2)."""
    overflow = (AccOverflow.WRAP, AccOverflow.SATURATE)[index]
    register = Accumulator(16, overflow)
    length = 1
    while oracle.mac([FXP4.min] * length, [FXP4.min] * length, register) == WORST * length:
        length += 1
    config = ConvConfig(accumulator=register)
    weight = np.full((1, 1, length, 1), FXP4.min)
    params = conv.make_params(config, "searched", weight, Scales(1.0, 1.0, 1.0))
    taps: dict[str, object] = {}
    conv.forward(config, params, jnp.full((1, 1, 1, length), FXP4.min, jnp.float16), taps.__setitem__)
    found = int(np.asarray(taps["acc"]).reshape(()))
    expected = oracle.mac([FXP4.min] * length, [FXP4.min] * length, register)
    if found != expected:
        return Outcome(length, Counterexample((("K", str(length), ""),), str(found), str(expected), "oracle"))
    return Outcome(length, note=f"{overflow.value}, K = {length}: {found}, not {WORST * length}")


def float32_order_stops(effort: Effort, index: int) -> Outcome:
    """The smallest sum of magnitudes at which the order of a float32 sum matters (SPEC.md E2 is sharp)."""
    first = FLOAT32_INTEGERS
    for extra in range(1, 5):
        a, b = np.float32(first), np.float32(extra)
        one, other = float(np.float32(np.float32(a + b) - a)), float(np.float32(np.float32(a - a) + b))
        if one != other:
            note = f"sum of magnitudes past 2^24: {first} + {extra} - {first} gives {one:g}, reordered {other:g}"
            return Outcome(extra, note=note)
    return Outcome(4, Counterexample((), "one sum in every order", "two sums that differ", "numpy"))


def _search(
    name: str, statement: str, clause: str, domain: str, check: Callable[[Effort, int], Outcome], chunks: int = 1
) -> Claim:
    return Claim(f"theorem.{name}", statement, (clause,), Method.SEARCH, lambda _: domain, lambda _: chunks, check)


def idempotent(effort: Effort, index: int) -> Outcome:
    """Every code and scale of F8 by the kernels: a dequantized code quantizes to itself where its value is finite."""
    fmt = (FXP4, FXP8)[index]
    scales = np.arange(0x0400, 0x7401, dtype=np.uint16).view(np.float16)
    inverse = np.array([inverse_scale(float(scale)) for scale in scales], np.float16)
    codes = np.arange(fmt.min, fmt.max + 1, dtype=np.int32)
    every = jnp.broadcast_to(jnp.asarray(codes)[:, None], (len(codes), len(scales)))
    value = fxp.dequantize(every, jnp.asarray(scales)[None, :], fmt.max_magnitude)
    again = np.asarray(fxp.quantize(value, jnp.asarray(inverse)[None, :], fmt)[0])
    finite = np.isfinite(np.asarray(value))
    other = again != codes[:, None]
    wrong = np.argwhere(other & finite)
    if len(wrong):
        at, place = wrong[0]
        operands = ("code", str(codes[at]), ""), ("scale", str(scales[place]), "")
        return Outcome(again.size, Counterexample(operands, str(again[at, place]), str(codes[at]), "the code itself"))
    beside = np.argwhere(other)
    if not len(beside):
        return Outcome(again.size)
    at, place = min(beside.tolist(), key=lambda pair: (scales[pair[1]], abs(codes[pair[0]])))
    note = f"{fmt.bits} bits, where it overflows: {codes[at]} at scale {scales[place]} comes back as {again[at, place]}"
    return Outcome(again.size, note=note)


CLAIMS: tuple[Claim, ...] = (
    Claim("theorem.idempotent", "a dequantized code quantizes to itself, unless its value overflows FP16",
          ("Q1", "D1", "F8"), Method.EXHAUSTIVE, lambda _: "28,673 scales x codes of FXP4 and FXP8", lambda _: 2,
          idempotent),
    _on_draws("E1", "scales factor out of a convolution", "E1", Method.RATIONAL, _e1),
    _on_draws("E2", "with power-of-two scales float32 is exact in any order", "E2", Method.PROPERTY,
              lambda sums, rng: _float32(sums, rng, True)),
    _on_draws("E3", "with other scales float32 is within gamma_(K+2) of the magnitudes", "E3", Method.PROPERTY,
              lambda sums, rng: _float32(sums, rng, False)),
    _search("E2_sharp", "past 2^24 a float32 sum depends on its order", "E2", "three terms", float32_order_stops),
    _search("E3_sharp", "with other scales float32 gives another FP16 word", "E3",
            "2^20 pairs of scales in [1, 2) x products of codes, upward", float32_stops),
    _search("E4_sharp", "FP16 accumulation stops being exact", "E4", "largest FXP4 products, upward in K", fp16_stops),
    _search("M2_sharp", "a 16-bit register stops being exact", "M2", "largest FXP4 products, upward in K",
            register_stops, 2),
)  # fmt: skip


def certificates(name: str) -> list[Certificate]:
    """Certificates of a shipped model, a model file, or a named network with its synthetic parameters.

    Raises:
        BitrowError: no such name, or a model file that cannot be read.
    """
    from bitrow.lookup import find_model

    model = find_model(name)
    return certify(model.network, model.params)


def print_certificates(name: str) -> None:
    """Print the certificates of `certificates(name)` as a table.

    Raises:
        BitrowError: as `certificates`.
    """
    columns = ("terms", "bound", "magnitudes", "bits", "scale", "holds", "error_lsb", "error_ulp", "two_step")
    table = terminal.table(f"exactness of {name}", [Column(name) for name in ("layer", "direction", *columns)])
    for each in certificates(name):
        found = each.to_json()
        terminal.add_row(table, (each.layer, each.direction, *(found.get(column, "") for column in columns)))
    terminal.put_table(table)
