"""Which arithmetic a network trains in, chosen by one value, how its gradients are quantized, what weights are kept.

Standard library only. The names on the command line are those of the values here, joined by hyphens, as in
`bit_accurate-fxp4-stochastic-delayed`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Any

from bitrow import typed
from bitrow.config import ConvConfig
from bitrow.errors import BitrowError
from bitrow.formats import FXP4, FXP8, Fxp, Gradient, QuantRounding
from bitrow.graph import Network, Node

ROW_BITS = 4  # how many powers of two the scales of a tensor's rows may span
HOST = "host"  # begins the name scope or function of what the host does in float32; no contract fixes its bits (A4)
# How XLA compiles what runs for long: in vectors as wide as the processor has, where XLA takes half of AVX-512's.
COMPILED = {"xla_cpu_prefer_vector_width": 512}
AXIS = "batch"  # the name of the mesh axis over which a batch is split


class Numerics(enum.Enum):
    """Arithmetic of the forward and backward pass.

    FLOAT32 is plain float32. SIMULATED convolves `scale * code` in float32 and rounds to FP16 where the contract
    rounds (SPEC.md E2, E3). BIT_ACCURATE is the contract.
    """

    FLOAT32 = "float32"
    SIMULATED = "simulated"
    BIT_ACCURATE = "bit_accurate"


class Scaling(enum.Enum):
    """Where the scale of an output gradient's codes comes from.

    STATIC is calibrated once. DELAYED follows the largest magnitudes of the last steps and changes between steps
    only. ROW gives each row (n, h) a power of two times the tensor's scale, up to 2^ROW_BITS, from the row's own
    largest magnitude. LOG is static, and its codes are sign and exponent: 0, 1, 2, 4, ... 64 times the scale, as in
    Chmiel et al. 2021 (LUQ); with stochastic rounding their mean is the gradient.
    """

    STATIC = "static"
    DELAYED = "delayed"
    ROW = "row"
    LOG = "log"


class ScaleRule(enum.Enum):
    """How the scale of a convolution's input trains, a number each (`learned_scales`).

    LSQ by every value's rounding error, and by the clipped ones (Esser et al. 2020); PACT by the clipped ones alone
    (Choi et al. 2018): with uniform codes the clip is the scale times the largest code.
    """

    LSQ = "lsq"
    PACT = "pact"


class TrainedWeights(enum.Enum):
    """What trained convolutions keep: float32 masters, or codes alone (`trained_codes`), with QAS or without."""

    MASTERS = "masters"
    CODES = "codes"
    QAS = "qas"


@dataclass(frozen=True)
class GradientNumerics:
    """Output gradients of convolutions: codes of `fmt`, or FP16 where it is None (SPEC.md C2, C3).

    Raises:
        BitrowError: stochastic rounding or a scaling of FP16 gradients, row scales of more than 4 bits, or log codes of
            others than 4; a field of another type.
    """

    fmt: Fxp | None = FXP4
    rounding: QuantRounding = QuantRounding.NEAREST_EVEN
    scaling: Scaling = Scaling.STATIC

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "gradient")
        default = (QuantRounding.NEAREST_EVEN, Scaling.STATIC)
        if self.fmt is None and (self.rounding, self.scaling) != default:
            raise BitrowError(f"gradient fp16: found {self.rounding.value} and {self.scaling.value}, expected neither")
        if self.scaling is Scaling.ROW and self.fmt is not None and self.fmt.bits + ROW_BITS > FXP8.bits:
            raise BitrowError(f"gradient row scales: found codes of {self.fmt.bits} bits, expected at most 4")
        if self.scaling is Scaling.LOG and self.fmt != FXP4:
            raise BitrowError(f"gradient log codes: found codes of {self.fmt and self.fmt.bits} bits, expected 4")

    @property
    def name(self) -> str:
        """As the command line writes it."""
        if self.fmt is None:
            return "fp16"
        rounding = "nearest" if self.rounding is QuantRounding.NEAREST_EVEN else "stochastic"
        return f"fxp{self.fmt.bits}-{rounding}-{self.scaling.value}"


@dataclass(frozen=True)
class TrainingNumerics:
    """The numerics of a run: its passes and, unless they are float32, its gradients and weights.

    Raises:
        BitrowError: codes in float32; a field of another type.
    """

    numerics: Numerics
    gradient: GradientNumerics = GradientNumerics()
    weights: TrainedWeights = TrainedWeights.MASTERS

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "arithmetic")
        if self.numerics is Numerics.FLOAT32 and self.weights is not TrainedWeights.MASTERS:
            raise BitrowError(f"numerics float32: found weights {self.weights.value}, expected masters")

    @property
    def name(self) -> str:
        """As the command line writes it: `float32`, or as in `simulated-fxp4-nearest-static`."""
        if self.numerics is Numerics.FLOAT32:
            return self.numerics.value
        return f"{self.numerics.value}-{self.suffix}"

    @property
    def suffix(self) -> str:
        """What follows the first word of a name: gradients, and weights that are no masters."""
        kept = "" if self.weights is TrainedWeights.MASTERS else f"-{self.weights.value}"
        return f"{self.gradient.name}{kept}"


_FORMATS: dict[str, Fxp | None] = {"fxp4": FXP4, "fxp8": FXP8, "fp16": None}
_ROUNDINGS = {"nearest": QuantRounding.NEAREST_EVEN, "stochastic": QuantRounding.STOCHASTIC}
_SCALINGS = {scaling.value: scaling for scaling in Scaling}
_WEIGHTS = {weights.value: weights for weights in TrainedWeights}


_WORDS: dict[str, dict[str, Any]] = {
    "fmt": _FORMATS, "rounding": _ROUNDINGS, "scaling": _SCALINGS, "weights": _WEIGHTS,
}  # fmt: skip


def parse(name: str) -> TrainingNumerics:
    """The arithmetic called `name`; what is left out is FXP4, nearest, static, masters.

    Raises:
        BitrowError: an unknown word, a word of a kind twice, or a combination that GradientNumerics refuses.
    """
    first, *rest = name.split("-")
    kinds = {kind.value: kind for kind in Numerics}
    if first not in kinds:
        raise BitrowError(f"numerics: found {name!r}, expected it to begin with one of {', '.join(kinds)}")
    if rest and kinds[first] is Numerics.FLOAT32:
        raise BitrowError(f"numerics: found {name!r}, expected nothing after float32, which has no codes")
    found: dict[str, Any] = {}
    for word in rest:
        for field, choices in _WORDS.items():
            if word in choices and field not in found:
                found[field] = choices[word]
                break
        else:
            known = ", ".join(word for choices in _WORDS.values() for word in choices)
            raise BitrowError(f"numerics {name!r}: found {word!r}, expected once each of {known}")
    weights = found.pop("weights", TrainedWeights.MASTERS)
    gradient = replace(GradientNumerics(), **found)
    return TrainingNumerics(kinds[first], gradient, weights)


def wide_format(fmt: Fxp, scaling: Scaling) -> Fxp:
    """Of the codes that the accumulator takes: those of rows, and logarithmic ones, are `ROW_BITS` wider than `fmt`."""
    return replace(fmt, bits=fmt.bits + ROW_BITS) if scaling in (Scaling.ROW, Scaling.LOG) else fmt


def with_gradient(network: Network, gradient: GradientNumerics) -> Network:
    """The network with every convolution's gradient as `gradient` says (SPEC.md C2, C3).

    Under row scales the codes of the tensor are `ROW_BITS` wider than those of a row, and log codes as wide.

    Raises:
        BitrowError: naming the layer; an accumulator too small for the wider codes (M2).
    """
    return replace(network, nodes=tuple(_with_gradient(node, gradient) for node in network.nodes))


def _with_gradient(node: Node, gradient: GradientNumerics) -> Node:
    if not isinstance(node.config, ConvConfig):
        return node
    if gradient.fmt is None:
        return replace(node, config=replace(node.config, gradient=Gradient.FP16))
    fmt = wide_format(gradient.fmt, gradient.scaling)
    config = replace(node.config, gradient=Gradient.FXP, dy_format=fmt, dy_rounding=gradient.rounding)
    return replace(node, config=config)
