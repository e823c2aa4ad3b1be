"""Exactness certificates: what is proved of each convolution of a network, from its weight codes and scales.

A certificate says which of SPEC.md's statements on equivalence with simulated quantization (E1 to E4) hold for
every input, and how far apart the two can be. `docs/proofs.md` has the proofs. Numpy only: a machine without JAX
reads and checks certificates, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from bitrow.config import ConvConfig
from bitrow.errors import BitrowError
from bitrow.formats import FP16, FP32, Float, Fxp, Gradient
from bitrow.graph import Network, convolutions

FORWARD, GRADIENT = "forward", "gradient"

FLOAT32_INTEGERS = 1 << (FP32.fraction_bits + 1)  # float32 holds every integer up to here (SPEC.md E2)
FP16_INTEGERS = 1 << (FP16.fraction_bits + 1)  # and FP16 up to here (E4)
FP16_MAX = 65504
UNIT = Fraction(1, FLOAT32_INTEGERS)  # unit roundoff of float32, the u of E3
_DIGITS = 3  # of an error bound, rounded up


def gamma(terms: int, unit: Fraction = UNIT) -> Fraction:
    """`gamma_K = K*u / (1 - K*u)` of SPEC.md E3, exactly.

    Raises:
        BitrowError: so many terms that K*u reaches 1, where there is no bound.
    """
    if terms * unit >= 1:
        raise BitrowError(f"gamma: found {terms} terms, expected fewer than {1 / unit}")
    return terms * unit / (1 - terms * unit)


@dataclass(frozen=True)
class Certificate:
    """What is proved of one convolution in one direction, whatever its input.

    `terms`: products added for one result, the K of M2 and E3. `bound`: M2's worst case, from the formats alone.
    `magnitudes`: the largest sum of magnitudes of codes' products that these weight codes allow.
    `code_range`, `weight_range`: smallest and largest code of the data's format, and found among the weights.
    `power_of_two`: every scale involved is one. `fxp` is False for the gradient of C3, which has no codes.
    """

    layer: str
    direction: str
    terms: int
    code_range: tuple[int, int]
    weight_range: tuple[int, int]
    bound: int
    magnitudes: int
    acc_bits: int
    power_of_two: bool
    fxp: bool = True

    @property
    def bits(self) -> int:
        """The narrowest accumulator that never overflows, in bits."""
        return self.magnitudes.bit_length() + 1

    @property
    def fits(self) -> bool:
        """Whether no sum can leave the accumulator, in any order (SPEC.md M2)."""
        return self.bits <= self.acc_bits

    @property
    def holds(self) -> tuple[str, ...]:
        """Clauses of SPEC.md E that hold for this convolution.

        E1: the integer sum is the exact one. E2: float32 simulated quantization in any order is bit-identical.
        E3: it is within the bound. E4: even FP16 accumulation of the codes' products would be exact.
        """
        if not self.fxp or not self.fits:
            return ()
        order_free = self.power_of_two and self.magnitudes <= FLOAT32_INTEGERS
        exact_fp16 = ("E4",) if self.magnitudes <= FP16_INTEGERS else ()
        return ("E1", "E2" if order_free else "E3", *exact_fp16)

    @property
    def error(self) -> Fraction:
        """Bound on |float32 - exact|, in units of the accumulator's lowest bit, `sx*sw` (E2: 0; E3)."""
        if "E2" in self.holds:
            return Fraction(0)
        return gamma(self.terms + 2) * self.magnitudes

    @property
    def ulps(self) -> Fraction:
        """`error` in units in the last place of float32 at the sum of magnitudes."""
        return self.error / _ulp(self.magnitudes, FP32)

    @property
    def two_step_equal(self) -> bool:
        """Whether `two_step` and `fused` dequantizers give the same word for every sum (SPEC.md D1, D2)."""
        largest = min(self.magnitudes, 1 << (self.acc_bits - 1))  # the register's, where the sum wraps or saturates
        return two_step_equal(largest, self.power_of_two)

    def to_json(self) -> dict[str, Any]:
        """The entry of a manifest (SPEC.md V4), short: it stands there once for each convolution.

        The gradient of C3 has no codes: what it is instead is all that there is to say.
        """
        if not self.fxp:
            return {"terms": self.terms, "holds": "C3"}
        found = {
            "terms": self.terms,
            "codes": [*self.code_range, *self.weight_range],
            "bound": self.bound,
            "magnitudes": self.magnitudes,
            "bits": self.bits,
            "scale": "power_of_two" if self.power_of_two else "general",
            "holds": " ".join(self.holds) or "none",
        }
        if "E3" in self.holds:
            found |= {"error_lsb": up(self.error), "error_ulp": up(self.ulps)}
        return found | {"two_step": "equal" if self.two_step_equal else "may_differ"}


def up(value: Fraction) -> float:
    """`value`, 0 or more, rounded up to a few decimal digits: still a bound."""
    if value == 0:
        return 0.0
    places = _DIGITS - math.floor(math.log10(value)) - 1
    scaled = math.ceil(value * Fraction(10) ** places)
    return float(Fraction(scaled) / Fraction(10) ** places)


def _ulp(magnitude: int, fmt: Float) -> Fraction:
    return Fraction(2) ** (max(magnitude, 1).bit_length() - 1 - fmt.fraction_bits)


def two_step_equal(largest: int, power_of_two: bool) -> bool:
    """Whether D1 and D2 agree on every accumulator of magnitude up to `largest`, in every mode.

    FP16 holds the sum itself up to 2^11. Beyond, a power of two only moves the exponent, so that the first
    rounding is the only one, as long as the sum does not overflow FP16.
    """
    return largest <= (FP16_MAX if power_of_two else FP16_INTEGERS)


def is_power_of_two(values: np.ndarray) -> bool:
    """Whether all of an array of positive FP16 numbers (float16, or their words) are powers of two."""
    words = np.asarray(values)
    words = words.view(np.uint16) if words.dtype == np.float16 else words
    return bool((words & ((1 << FP16.fraction_bits) - 1) == 0).all())


def sum_of_magnitudes(config: ConvConfig, direction: str, weight_code: np.ndarray) -> int:
    """The largest sum of |weight code| that one result meets, weights `[kh, kw, c_in/groups, c_out]`.

    Forward it runs over a whole kernel. Backward a result meets only every S-th row and column of the kernel (a
    dilation that shares a factor with S brings them closer), so the sum is taken phase by phase; a transposed
    convolution has it the other way round (C5).
    """
    sizes = np.abs(np.asarray(weight_code, np.int64))
    kh, kw, c_in, c_out = sizes.shape
    spread = (direction == FORWARD) == config.transposed
    down, across = (window.step if spread else 1 for window in config.windows((kh, kw)))
    if direction == FORWARD:
        channels = sizes.sum(axis=2)
    else:
        channels = sizes.reshape(kh, kw, c_in, config.groups, c_out // config.groups).sum(axis=4).reshape(kh, kw, -1)
    phases = (channels[i::down, j::across] for i in range(min(down, kh)) for j in range(min(across, kw)))
    return max(int(phase.sum(axis=(0, 1)).max()) for phase in phases)


def certify_direction(
    layer: str,
    config: ConvConfig,
    direction: str,
    weight_code: np.ndarray,
    inv_scale: np.ndarray | None = None,
    scale: np.ndarray | None = None,
) -> Certificate:
    """The certificate of one convolution in one direction.

    Args:
        layer: its name.
        config: its configuration.
        direction: "forward" or "gradient".
        weight_code: integers `[kh, kw, c_in/groups, c_out]`.
        inv_scale: the quantizer's factor, FP16 or its words (`x_inv_scale`, `dy_inv_scale`); None under C3.
        scale: the dequantizer's, FP16 or its words (`scale`, `dx_scale`), one or one for each channel.
    """
    codes: Fxp = config.x_format if direction == FORWARD else config.dy_format
    kh, kw, c_in, c_out = weight_code.shape
    terms = kh * kw * (c_in if direction == FORWARD else c_out // config.groups)
    fxp = direction == FORWARD or config.gradient is Gradient.FXP
    # The host's product of scales is rounded. Where it and the inverse are powers of two, so are both factors.
    power = fxp and all(value is not None and is_power_of_two(value) for value in (inv_scale, scale))
    return Certificate(
        layer=layer,
        direction=direction,
        terms=terms,
        code_range=(codes.min, codes.max),
        weight_range=(int(weight_code.min()), int(weight_code.max())),
        bound=config.bounds(weight_code.shape)[direction != FORWARD],
        magnitudes=sum_of_magnitudes(config, direction, weight_code) * codes.max_magnitude,
        acc_bits=config.accumulator.bits,
        power_of_two=power,
        fxp=fxp,
    )


def _layer(name: str, config: ConvConfig, params: Any) -> Iterator[Certificate]:
    weight = np.asarray(params.weight_code)
    arrays = {
        key: None if value is None else np.asarray(value) for key, value in params._asdict().items()
    }
    yield certify_direction(name, config, FORWARD, weight, arrays["x_inv_scale"], arrays["scale"])
    if config.gradient is Gradient.FXP and arrays["dx_scale"] is None:
        return  # a scale for each channel without `fold`: there is no such gradient (SPEC.md C2)
    yield certify_direction(name, config, GRADIENT, weight, arrays["dy_inv_scale"], arrays["dx_scale"])


def certify(network: Network, parameters: Mapping[str, Any]) -> list[Certificate]:
    """Certificates of a network's convolutions in network order, forward and then input gradient.

    Args:
        network: the graph.
        parameters: by layer; those of convolutions are `layers.conv.ConvParams`.

    Raises:
        BitrowError: naming network and layer; a convolution has no parameters.
    """
    found: list[Certificate] = []
    for name, config, *_ in convolutions(network):
        if name not in parameters:
            raise BitrowError(f"{network.name} {name}: found no parameters, expected a convolution's")
        found += _layer(name, config, parameters[name])
    return found
