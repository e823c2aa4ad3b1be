"""What the host makes of the emulated processor's lines: equal or different, and what its machine code computes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from bitrow import models
from bitrow.backend import program_digests
from bitrow.errors import BitrowError
from bitrow.vectors.judge import identity, networks
from bitrow.vectors.judge.identity_digests import DIGESTS
from other_isa import guest
from other_isa.processors import Processor

# objdump writes "offset: word mnemonic operands"; half operands are h0 to h31, v0.4h, v0.8h, or z0.h of SVE.
_INSTRUCTION = re.compile(r"^\s+[0-9a-f]+:\s+[0-9a-f]{8}\s+(f\w+)\s+(.*)$")
_HALF = re.compile(r"\b(h\d+|v\d+\.[48]h|z\d+\.h)\b")
_FUSED = re.compile(r"fn?m(add|sub|la|ls|ad|sb)|fml[as]l2?")
_PLAIN = re.compile(r"fadd|fsubr?|fn?mul|fabd|fdivr?|fsqrt|frecp\w|frsqrt\w")


class Code(NamedTuple):
    """Instructions of a program: arithmetic on FP16, those of them that fuse product and sum, and fused FP32 ones."""

    half: int = 0
    half_fused: int = 0
    single_fused: int = 0

    def __str__(self) -> str:
        return f"{self.half} on FP16, {self.half_fused} of them fused; {self.single_fused} fused on FP32"


def count(disassembly: str) -> Code:
    """What objdump's text of one or more object files computes with."""
    half = half_fused = single_fused = 0
    for line in disassembly.splitlines():
        found = _INSTRUCTION.match(line)
        fused = bool(found and _FUSED.fullmatch(found[1]))
        if not found or not (fused or _PLAIN.fullmatch(found[1])):
            continue
        on_half = bool(_HALF.search(found[2]))
        half += on_half
        half_fused += on_half and fused
        single_fused += fused and not on_half
    return Code(half, half_fused, single_fused)


def twice_rounded(operands: np.ndarray) -> np.ndarray:
    """numpy's a * b, rounded, + c, rounded, of uint16 words (3, n); every NaN is 0x7E00."""
    a, b, c = operands.view(np.float16)
    with np.errstate(all="ignore"):
        words = (a * b + c).view(np.uint16)
    return np.where(words & 0x7FFF > 0x7C00, np.uint16(0x7E00), words)


def wrong_words(found: str, operands: np.ndarray) -> int:
    """How many of the little-endian words in hex are not `twice_rounded`."""
    words = np.frombuffer(bytes.fromhex(found), "<u2")
    if words.shape != operands.shape[1:]:
        raise BitrowError(f"the emulated machine: found {words.size} words, expected {operands.shape[1]}")
    return int(np.count_nonzero(words != twice_rounded(operands)))


def check_features(found: Iterable[str], processor: Processor) -> None:
    """Whether LLVM could read what the processor has.

    Raises:
        BitrowError: FP16 arithmetic is not where it was to be, or is where it was not.
    """
    have = "asimdhp" in set(found)
    if have != processor.half:
        shown = " ".join(found) or "none"
        raise BitrowError(f"/proc/cpuinfo of the emulated machine: found features {shown[:80]}, "
                          f"expected {'' if processor.half else 'no '}asimdhp")  # fmt: skip


def check_contracts(wrong: int, code: Code, processor: Processor) -> None:
    """A product and a sum that nothing keeps apart must be fused where there is FP16 arithmetic: else nothing is shown.

    Raises:
        BitrowError: the compiler fused nothing, or fused without FP16 arithmetic.
    """
    if bool(wrong) != processor.half or bool(code.half_fused) != processor.half:
        expected = "some fused on FP16, and wrong words" if processor.half else "no FP16 arithmetic, and no wrong word"
        raise BitrowError(f"the unguarded product and sum: found {code}, {wrong} wrong words; expected {expected}")


def faults(name: str, same: bool, code: Code) -> list[str]:
    """What is wrong with a kernel: its bits; or that the compiler narrowed it to FP16 arithmetic, and may fuse that."""
    return [f"{name} ({what})" for what, wrong in (("other bits", not same), ("computes on FP16", code.half)) if wrong]


def expected(name: str) -> str:
    """The oracle's digest of a problem, or of an untapped program."""
    if name == guest.MODEL:
        problem = networks.pass_problem(name, models.load(name), "pass", slice(1))
        return identity.digest(problem.operation.oracle(problem.config, problem.given))
    return program_digests.DIGESTS.get(name) or DIGESTS[name.removeprefix("untapped_")]
