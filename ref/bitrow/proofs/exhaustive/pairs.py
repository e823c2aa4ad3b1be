"""FP16 add, sub, mul and div over all 2^32 operand pairs, in all twenty modes (SPEC.md F2 to F6).

The kernel runs on every pair. The judge works out each exact result once, for magnitudes, and rounds it both ways:
(-x) + (-y) = -(x + y), x - y = x + (-y), and the sign of a product or quotient is the exclusive-or of the
operands', all of them exact. Pairs with an infinity or a NaN, and quotients by zero, are the same in every mode:
numpy's float16 decides. Nearest even has numpy's float16 as a second judge, on all pairs, and a sample of each
chunk the oracle.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable

import numpy as np

from bitrow.errors import BitrowError
from bitrow.formats import FloatMode, Rounding
from bitrow.oracle import fp16 as oracle
from bitrow.proofs import judges
from bitrow.proofs.claim import Claim, Counterexample, Effort, Method, Outcome
from bitrow.proofs.exhaustive import finding, kernels
from bitrow.proofs.judges import INFINITY, LEAST_NORMAL, SIGN, Bracket

MAGNITUDES = 1 << 15
PER_CHUNK = 64  # first magnitudes, each with both signs and all second words: 8M pairs
PER_BLOCK = 8
SAMPLE = 4  # pairs of a block that the oracle computes in each mode

# First magnitudes of --quick: zero, subnormals and normals at their ends, ties, long and short significands.
QUICK = np.array(
    [0x0000, 0x0001, 0x0002, 0x0003, 0x0155, 0x01FF, 0x0200, 0x03FE, 0x03FF, 0x0400, 0x0401, 0x0402, 0x05A5, 0x07FF,
     0x0800, 0x0801, 0x0BFF, 0x0C00, 0x1000, 0x13FF, 0x1400, 0x1401, 0x17FF, 0x1AAA, 0x1FFF, 0x2400, 0x2801, 0x2BFF,
     0x2E66, 0x3001, 0x3400, 0x3555, 0x3800, 0x3801, 0x3AAB, 0x3BFE, 0x3BFF, 0x3C00, 0x3C01, 0x3C02, 0x3D55, 0x3DA8,
     0x3E00, 0x3FFF, 0x4000, 0x4200, 0x4248, 0x47FF, 0x4BFF, 0x5000, 0x53FF, 0x5555, 0x5801, 0x63D0, 0x6800, 0x6BFF,
     0x73FF, 0x7400, 0x77FF, 0x7801, 0x7BFE, 0x7BFF, 0x7C00, 0x7E01],
    np.uint16,
)  # fmt: skip

_NUMPY: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
}  # fmt: skip


class PairJudge:
    """Expected words of first magnitudes `[k]` with both signs and every second word: `[2, k, 2, 32768]`."""

    def __init__(self, name: str, magnitudes: np.ndarray) -> None:
        self._name, self._magnitudes, self._zero_columns = name, magnitudes, 1
        self._finite = magnitudes < INFINITY
        first = np.stack([magnitudes, magnitudes | SIGN])[..., None]
        with np.errstate(all="ignore"):
            words = _NUMPY[name](first.view(np.float16), judges.EVERY_WORD.view(np.float16)).view(np.uint16)
        self.numpy = judges.canonical(words).reshape(2, -1, 2, MAGNITUDES)
        x = np.where(self._finite, judges.VALUES[magnitudes], 0.0)[:, None]
        self._leads = np.zeros(0)  # of sums: 1 where the first magnitude is the larger, -1 where the second is
        self._brackets = self._exact(x, judges.VALUES[None, :INFINITY])

    def flushed(self) -> PairJudge:
        """The judge of the modes with flush: each subnormal operand reads as zero (SPEC.md F5)."""
        subnormal = (self._magnitudes > 0) & (self._magnitudes < LEAST_NORMAL)
        out = PairJudge(self._name, judges.flushed(self._magnitudes)) if subnormal.any() else copy.copy(self)
        out._zero_columns = LEAST_NORMAL
        out.numpy = _second_flushed(out.numpy)
        if out._leads.size:
            out._leads = _second_flushed(out._leads)
        out._brackets = tuple(Bracket(*map(_second_flushed, part)) for part in out._brackets)
        return out

    def _exact(self, x: np.ndarray, y: np.ndarray) -> tuple[Bracket, ...]:
        """Brackets of the exact results of finite magnitudes: one, or those of sum and difference."""
        with np.errstate(all="ignore"):
            if self._name == "mul":
                return (judges.bracket(x * y),)
            if self._name == "div":
                return (judges.bracket(np.where(y == 0, 0.0, x / y)),)
            self._leads = np.sign(x - y)
            return judges.bracket(x + y), judges.bracket(np.abs(x - y))

    def expected(self, mode: FloatMode) -> np.ndarray:
        """Words under a mode; with `flush`, of the judge that `flushed` gives."""
        out = np.empty_like(self.numpy)
        out[..., INFINITY:] = self.numpy[..., INFINITY:]
        fill = self._sums if self._name in ("add", "sub") else self._products
        fill(out[..., :INFINITY], mode)
        out[:, ~self._finite] = self.numpy[:, ~self._finite]
        if self._name == "div":
            out[..., : self._zero_columns] = self.numpy[..., : self._zero_columns]
        return out

    def _ways(self, part: Bracket, mode: FloatMode) -> tuple[np.ndarray, np.ndarray]:
        """Words of a positive and of a negative result."""
        plus, minus = (judges.direction_of(mode.rounding, negative) for negative in (False, True))
        up = part.rounded(plus, mode.overflow, mode.flush)
        return up, (up if plus == minus else part.rounded(minus, mode.overflow, mode.flush)) | SIGN

    def _products(self, out: np.ndarray, mode: FloatMode) -> None:
        plus, minus = self._ways(self._brackets[0], mode)
        for a in (0, 1):
            for b in (0, 1):
                out[a, :, b] = minus if a ^ b else plus

    def _sums(self, out: np.ndarray, mode: FloatMode) -> None:
        zero = SIGN if mode.rounding is Rounding.DOWN else np.uint16(0)
        total, apart = self._ways(self._brackets[0], mode), self._ways(self._brackets[1], mode)
        for a in (0, 1):
            for b in (0, 1):
                second = 1 - b if self._name == "sub" else b
                if a == second:
                    out[a, :, b] = total[a]
                else:
                    out[a, :, b] = np.where(self._leads > 0, apart[a], np.where(self._leads < 0, apart[second], zero))


def _second_flushed(part: np.ndarray) -> np.ndarray:
    """A copy whose columns of subnormal second operands are that of zero."""
    part = part.copy()
    part[..., :LEAST_NORMAL] = part[..., :1]
    return part


def judge_for(name: str, magnitudes: np.ndarray, mode: FloatMode) -> np.ndarray:
    """Expected words `[2, k, 2, 32768]` of a block under one mode."""
    judge = PairJudge(name, magnitudes)
    return (judge.flushed() if mode.flush else judge).expected(mode)


def first_words(magnitudes: np.ndarray) -> np.ndarray:
    """First operands of a block, positive then negative, as float16 `[2k, 1]`."""
    return np.concatenate([magnitudes, magnitudes | SIGN]).view(np.float16)[:, None]


def _every() -> np.ndarray:
    return judges.EVERY_WORD.view(np.float16)[None, :]


def _explain(name: str, mode: FloatMode, block: np.ndarray, wrong: np.ndarray) -> Counterexample:
    """The simplest counterexample of a mode: of simple first operands, else of the block where it was noticed."""
    pairs = _simplest_wrong(name, mode)
    if pairs is None:
        firsts = first_words(block).view(np.uint16).reshape(-1)
        rows, columns = np.divmod(wrong, 1 << 16)
        pairs = min(zip(firsts[rows].tolist(), columns.tolist(), strict=True), key=finding.tuple_key)
    a, b = pairs
    operands = (np.array([[word]], np.uint16).view(np.float16) for word in (a, b))
    (result,) = kernels.run(name, (mode,), *operands)
    expected = int(judge_for(name, np.array([a & 0x7FFF], np.uint16), mode)[a >> 15, 0, b >> 15, b & 0x7FFF])
    confirmed = getattr(oracle, name)(a, b, mode)
    return finding.counterexample(_shown(a, b), mode, int(result[0, 0]), expected, confirmed)


def _shown(a: int, b: int) -> finding.Shown:
    return finding.shown("a", a), finding.shown("b", b)


def _simplest_wrong(name: str, mode: FloatMode, blocks: int = 32) -> tuple[int, int] | None:
    """The simplest wrong pair among the simplest first operands, block by block."""
    magnitudes = [word for word in finding.simplest_words().tolist() if word < 0x8000]
    for start in range(0, blocks * PER_BLOCK, PER_BLOCK):
        block = np.array(magnitudes[start : start + PER_BLOCK], np.uint16)
        (found,) = kernels.run(name, (mode,), first_words(block), _every())
        wrong = found.reshape(2, PER_BLOCK, 2, MAGNITUDES) != judge_for(name, block, mode)
        places = np.argwhere(wrong)
        if len(places):
            pairs = ((int(block[k]) | a << 15, m | b << 15) for a, k, b, m in places.tolist())
            return min(pairs, key=finding.tuple_key)
    return None


def _check_block(name: str, block: np.ndarray, tally: finding.Tally) -> None:
    judge = PairJudge(name, block)
    if not np.array_equal(judge.numpy, judge.expected(FloatMode())):
        raise BitrowError(f"fp16.{name}: found two judges that differ, expected one answer")
    both = {False: judge, True: judge.flushed()}
    for group in kernels.GROUPS:
        results = kernels.run(name, group, first_words(block), _every())
        for mode, found in zip(group, results, strict=True):
            expected = both[mode.flush].expected(mode)
            explain = functools.partial(_explain, name, mode, block)
            tally.compare(found.reshape(-1), expected.reshape(-1), explain)
            _ask_oracle(name, mode, block, found, tally)


def _ask_oracle(name: str, mode: FloatMode, block: np.ndarray, found: np.ndarray, tally: finding.Tally) -> None:
    """A few of the block's pairs by the oracle."""
    draw = np.random.default_rng(int(block[0]))
    firsts = first_words(block).view(np.uint16).reshape(-1)
    rows, columns = draw.integers(0, len(firsts), SAMPLE), draw.integers(0, 1 << 16, SAMPLE)
    for row, b in zip(rows.tolist(), columns.tolist(), strict=True):
        a, result = int(firsts[row]), int(found[row, b])
        expected = getattr(oracle, name)(a, b, mode)
        explain = functools.partial(finding.counterexample, _shown(a, b), mode, result, expected, expected)
        tally.sample(result, expected, explain)


def check(name: str, effort: Effort, index: int) -> Outcome:
    """Chunk `index` of the operation: 64 first magnitudes, both signs, every second word, twenty modes."""
    firsts = QUICK if effort is Effort.QUICK else np.arange(index * PER_CHUNK, (index + 1) * PER_CHUNK, dtype=np.uint16)
    tally = finding.Tally()
    for start in range(0, PER_CHUNK, PER_BLOCK):
        _check_block(name, firsts[start : start + PER_BLOCK], tally)
        if tally.counterexample:
            break
    return tally.outcome()


def _domain(effort: Effort) -> str:
    if effort is Effort.FULL:
        return "all 2^32 operand pairs in all 20 modes"
    return "64 first magnitudes, both signs, with all 65,536 second words, in all 20 modes"


def _chunks(effort: Effort) -> int:
    return 1 if effort is Effort.QUICK else MAGNITUDES // PER_CHUNK


def _claim(name: str, meaning: str) -> Claim:
    return Claim(
        name=f"fp16.{name}",
        statement=f"{name} of the kernels is {meaning}, rounded once, for every pair of FP16 words",
        clauses=("F2", "F3", "F4", "F5", "F6"),
        method=Method.EXHAUSTIVE,
        domain=_domain,
        chunks=_chunks,
        check=functools.partial(check, name),
    )


CLAIMS = (_claim("add", "a + b"), _claim("sub", "a - b"), _claim("mul", "a * b"), _claim("div", "a / b"))
