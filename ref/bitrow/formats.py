"""Number formats and their parameters as small frozen values (SPEC.md F, Q, M, D).

Standard library only: the oracle, the kernels and the vector reader all build on this module.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from bitrow import typed
from bitrow.errors import BitrowError

LFSR_TAPS = 0xB400  # Q3
LFSR_PERIOD = 65535


class Rounding(enum.Enum):
    """Rounding direction of an FP16 result (SPEC.md F3)."""

    NEAREST_EVEN = "nearest_even"
    TOWARD_ZERO = "toward_zero"
    UP = "up"
    DOWN = "down"
    NEAREST_AWAY = "nearest_away"


class Overflow(enum.Enum):
    """What a finite result too large for FP16 becomes (SPEC.md F6)."""

    INFINITY = "infinity"
    SATURATE = "saturate"


class Flag(enum.IntFlag):
    """The exceptions of IEEE 754 that an operation raises: the bits of a word of flags (SPEC.md F11)."""

    INEXACT = 1
    UNDERFLOW = 2
    OVERFLOW = 4
    DIVIDE_BY_ZERO = 8
    INVALID = 16


class Tininess(enum.Enum):
    """Which result is tiny: the exact one, or the one rounded with exponents without end (SPEC.md F12)."""

    AFTER_ROUNDING = "after_rounding"
    BEFORE_ROUNDING = "before_rounding"


class AccOverflow(enum.Enum):
    """What a MAC accumulator does past its width (SPEC.md M2)."""

    ERROR = "error"
    WRAP = "wrap"
    SATURATE = "saturate"


class Dequantize(enum.Enum):
    """Accumulator to FP16 in one rounding (SPEC.md D1) or two (D2)."""

    FUSED = "fused"
    TWO_STEP = "two_step"


class QuantRounding(enum.Enum):
    """Rounding of a quantizer to its integer code (SPEC.md Q1, Q3)."""

    NEAREST_EVEN = "nearest_even"
    STOCHASTIC = "stochastic"


class Gradient(enum.Enum):
    """Arithmetic of a convolution's input gradient (SPEC.md C2, C3)."""

    FXP = "fxp"
    FP16 = "fp16"


@dataclass(frozen=True)
class Float:
    """An IEEE 754 binary format; the kernels take those of at most 32 bits (SPEC.md F1).

    Raises:
        BitrowError: fewer than 2 exponent bits or 1 fraction bit, a field of another type.
    """

    exponent_bits: int
    fraction_bits: int

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "Float")
        for name, value, least in (("exponent_bits", self.exponent_bits, 2), ("fraction_bits", self.fraction_bits, 1)):
            if value < least:
                raise BitrowError(f"Float {name}: found {value}, expected {least} or more")

    @property
    def bits(self) -> int:
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def bias(self) -> int:
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def min_exponent(self) -> int:
        """Exponent of the smallest normal number, and of the subnormals' leading place."""
        return 1 - self.bias

    @property
    def max_exponent(self) -> int:
        return self.bias

    @property
    def sign_mask(self) -> int:
        return 1 << (self.bits - 1)

    @property
    def infinity_bits(self) -> int:
        return ((1 << self.exponent_bits) - 1) << self.fraction_bits

    @property
    def nan_bits(self) -> int:
        """The canonical quiet NaN (SPEC.md F4)."""
        return self.infinity_bits | 1 << (self.fraction_bits - 1)

    @property
    def max_finite_bits(self) -> int:
        return self.infinity_bits - 1


@dataclass(frozen=True)
class FloatMode:
    """Parameters of FP16 arithmetic: rounding (SPEC.md F3), overflow (F6), flush of subnormals (F5).

    A member of an enumeration may be given by its value, here and in every configuration: `FloatMode("up")`.

    Raises:
        BitrowError: a field of another type, naming it.
    """

    rounding: Rounding = Rounding.NEAREST_EVEN
    overflow: Overflow = Overflow.INFINITY
    flush: bool = False

    def __post_init__(self) -> None:
        typed.coerce_fields(self, type(self).__name__)


@dataclass(frozen=True)
class FlagMode(FloatMode):
    """Parameters of FP16 arithmetic that reports its exceptions: when a result is tiny, too (SPEC.md F12).

    Raises:
        BitrowError: a field of another type, naming it.
    """

    tininess: Tininess = Tininess.AFTER_ROUNDING

    @property
    def plain(self) -> FloatMode:
        """The parameters that results depend on."""
        return FloatMode(self.rounding, self.overflow, self.flush)


@dataclass(frozen=True)
class Fxp:
    """A fixed-point code format of 2 to 8 bits (SPEC.md F7).

    Raises:
        BitrowError: `bits` outside 2..8, `narrow` without `signed`, or a field of another type.
    """

    bits: int
    signed: bool = True
    narrow: bool = False

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "Fxp")
        if not 2 <= self.bits <= 8:
            raise BitrowError(f"Fxp bits: found {self.bits}, expected 2 to 8")
        if self.narrow and not self.signed:
            raise BitrowError("Fxp narrow: found an unsigned format, expected a signed one")

    @property
    def min(self) -> int:
        if not self.signed:
            return 0
        return -(1 << (self.bits - 1)) + int(self.narrow)

    @property
    def max(self) -> int:
        return (1 << (self.bits - int(self.signed))) - 1

    @property
    def max_magnitude(self) -> int:
        return max(-self.min, self.max)

    @property
    def stored_bits(self) -> int:
        """Bits that a code takes in memory: up to 4 share a byte, others have one (SPEC.md Q5)."""
        return 4 if self.bits <= 4 else 8


@dataclass(frozen=True)
class Accumulator:
    """A two's complement MAC register of 8 to 32 bits (SPEC.md M2).

    Raises:
        BitrowError: `bits` outside 8..32, or a field of another type.
    """

    bits: int = 24
    overflow: AccOverflow = AccOverflow.ERROR

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "accumulator")
        if not 8 <= self.bits <= 32:
            raise BitrowError(f"accumulator bits: found {self.bits}, expected 8 to 32")

    @property
    def min(self) -> int:
        return -(1 << (self.bits - 1))

    @property
    def max(self) -> int:
        return (1 << (self.bits - 1)) - 1


@typed.arguments
def magnitude_bound(terms: int, x_format: Fxp, weight_format: Fxp) -> int:
    """Largest |sum| of `terms` products of the two formats: M2's worst case.

    Raises:
        BitrowError: naming the argument; one of another type.
    """
    return terms * x_format.max_magnitude * weight_format.max_magnitude


FP16 = Float(5, 10)
FP32 = Float(8, 23)
FXP4 = Fxp(4)
UFXP4 = Fxp(4, signed=False)
FXP8 = Fxp(8)

SCALE_MIN = math.ldexp(1.0, -14)
SCALE_MAX = math.ldexp(1.0, 14)
