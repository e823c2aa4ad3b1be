"""The original beside what was made of it: the float network, convolution by convolution, and the accelerator's bits.

Three comparisons. The float twin's output against the original's. Each convolution of the float twin on the original's
own values against the original's result, held to the bound of two float32 sums in any order (SPEC.md E3). The
accelerator's output against the original's, with, for each convolution, its sums in codes against float32 simulated
quantization, held to its certificate (E2: equal; E3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bitrow import exactness, network
from bitrow.exactness import FORWARD, Certificate
from bitrow.float_conv import float_conv
from bitrow.graph import INPUT, Convolution, convolutions, shapes
from bitrow.importers.calibration import ImportedModel, float_twins
from bitrow.importers.emit import FloatNetwork
from bitrow.importers.operators import FileQuantizer
from bitrow.model_file import Model
from bitrow.outputs import by_name

# Images f32[n,h,w,c], names of values and the axes of each: those values, f32[n,h,w,c] or f32[n,c].
Original = Callable[[np.ndarray, list[str], Mapping[str, tuple[str, ...]]], dict[str, np.ndarray]]


class OutputDifference(NamedTuple):
    """How far an output is from the original's: the largest difference, the original's largest magnitude, and, of a
    classifier, in how many of the images the largest value is in the same place."""

    largest: float
    magnitude: float
    same_top: int | None
    images: int

    def __str__(self) -> str:
        share = f"{self.largest / self.magnitude:.2g}" if self.magnitude else "0"
        top = "" if self.same_top is None else f", top-1 equal in {self.same_top} of {self.images} images"
        return f"largest difference {self.largest:.3g} of {self.magnitude:.3g} ({share}){top}"


class BoundCheck(NamedTuple):
    """Convolutions held to a bound: how many, how many within it, the largest difference as a share of its bound, and
    the layer where that is."""

    convolutions: int
    within: int
    worst: float
    layer: str


class CheckReport(NamedTuple):
    """What the check found; `certificates` counts convolutions by what SPEC.md E says of them.

    `twin` and `bits` are of the output, or the first of several; `others` the same of the others, by name.
    """

    twin: OutputDifference
    bits: OutputDifference
    original: BoundCheck
    codes: BoundCheck
    certificates: dict[str, int]
    others: dict[str, tuple[OutputDifference, OutputDifference]]

    def lines(self) -> Iterator[str]:
        """The report's lines."""
        yield f"float twin beside the original: {self.twin}"
        yield f"accelerator beside the original: {self.bits}"
        for name, pair in self.others.items():
            for what, found in zip(("float twin", "accelerator"), pair, strict=True):
                yield f"{what} beside the original, {name}: {found}"
        for name, bound, what in (("original", self.original, "E3"), ("codes", self.codes, "their certificates")):
            yield (
                f"convolutions within {what} of {_OTHER[name]}: {bound.within} of {bound.convolutions}, "
                f"at most {bound.worst:.2g} of the bound ({bound.layer})"
            )
        yield "certificates: " + ", ".join(f"{count} hold {clause}" for clause, count in self.certificates.items())

    def to_json(self) -> dict[str, Any]:
        """The figures by name."""
        fields = self._asdict().items()
        found = {name: value._asdict() if hasattr(value, "_asdict") else value for name, value in fields}
        found["others"] = {name: {"twin": twin._asdict(), "bits": bits._asdict()}
                           for name, (twin, bits) in self.others.items()}  # fmt: skip
        return found


_OTHER = {"original": "the original's", "codes": "float32 simulated quantization"}


def checked(original: Original, made: FloatNetwork, imported: ImportedModel, images: np.ndarray) -> CheckReport:
    """Run the original beside its import on images f32[n,h,w,c]; convolutions on the first of them.

    Raises:
        BitrowError: what `original` raises: onnxruntime is not installed, or cannot run the file.
    """
    model = imported.model
    (twin, bits), *others = _differences(original, made, model, images)
    found = exactness.certify(model.network, model.params)
    certificates = {one.layer: one for one in found if one.direction == FORWARD}
    counted: dict[str, int] = {}
    for one in certificates.values():
        held = next((clause for clause in ("E2", "E3") if clause in one.holds), "none")
        counted[held] = counted.get(held, 0) + 1
    return CheckReport(
        twin,
        bits,
        _original_bounds(original, made, images[:1]),
        _code_bounds(model, imported, certificates, images[:1]),
        counted,
        dict(zip(made.network.more_outputs, others, strict=True)),
    )


def _differences(
    original: Original, made: FloatNetwork, model: Model, images: np.ndarray
) -> Iterator[tuple[OutputDifference, OutputDifference]]:  # fmt: skip
    """Of each output: the float twin's and the accelerator's from the original's."""
    names = [made.values[name] for name in made.network.outputs]
    expected = original(images, names, made.layouts)
    found, _ = _forward(model.network, model.params, jnp.asarray(images, jnp.float16))
    twins, bits = float_twins(made, images).values(), by_name(model.network, found).values()
    for name, twin, got in zip(names, twins, bits, strict=True):
        wanted = expected[name]
        yield _difference(twin, wanted), _difference(np.asarray(got, np.float32), wanted)


_forward = jax.jit(network.forward, static_argnums=0)


def _difference(got: np.ndarray, expected: np.ndarray) -> OutputDifference:
    classes = expected.size == len(expected) * expected.shape[-1]
    got, expected = (value.reshape(len(value), -1).astype(np.float64) for value in (got, expected))
    same = int((got.argmax(axis=1) == expected.argmax(axis=1)).sum()) if classes else None
    return OutputDifference(float(np.abs(got - expected).max()), float(np.abs(expected).max()), same, len(got))


def _bound_check(shares: dict[str, float]) -> BoundCheck:
    worst = max(shares, key=lambda name: shares[name], default="none")
    within = sum(share <= 1 for share in shares.values())
    return BoundCheck(len(shares), within, shares.get(worst, 0.0), worst)


def _original_bounds(original: Original, made: FloatNetwork, image: np.ndarray) -> BoundCheck:
    """Each convolution on the original's input, against the original's result."""
    wanted = {conv.name: (made.values[conv.input], made.values[conv.name]) for conv in convolutions(made.network)}
    readable = {name: pair for name, pair in wanted.items() if not any("\n" in value for value in pair)}
    names = [value for pair in readable.values() for value in pair if value != made.values[INPUT]]
    values = original(image, names, made.layouts) | {made.values[INPUT]: image}
    shares = {}
    for conv in convolutions(made.network):
        if conv.name in readable:
            x, y = (values[name] for name in readable[conv.name])
            shares[conv.name] = _original_share(made, conv, x, y)
    return _bound_check(shares)


def _original_share(made: FloatNetwork, conv: Convolution, x: np.ndarray, y: np.ndarray) -> float:
    x = _quantized(x.reshape(1, *shapes(made.network)[conv.input]), made.quantizers.get(conv.name, (None, None))[0])
    weight, bias = made.model.params[conv.name]
    got = np.asarray(float_conv(conv.config, jnp.asarray(x), weight), np.float64)
    size = np.asarray(float_conv(conv.config, jnp.abs(x), jnp.abs(weight)), np.float64)
    if bias is not None:
        got, size = got + np.asarray(bias), size + np.abs(np.asarray(bias))
    terms = int(np.prod(weight.shape[:3]))
    gamma = float(exactness.gamma(terms + 3))  # the bias is one more
    bound = 2 * gamma * size / (1 - gamma)
    difference = np.abs(got - y.reshape(got.shape))
    return float((difference / np.maximum(bound, np.finfo(np.float64).tiny)).max())


def _quantized(x: np.ndarray, quantizer: FileQuantizer | None) -> np.ndarray:
    if quantizer is None:
        return x
    codes = np.clip(np.rint(x / quantizer.scale), quantizer.fmt.min, quantizer.fmt.max)
    return (codes * quantizer.scale).astype(np.float32)


def _code_bounds(
    model: Model, imported: ImportedModel, certificates: dict[str, Certificate], image: np.ndarray
) -> BoundCheck:
    """Each convolution's sum in codes, against the float32 convolution of what the codes stand for."""
    taps = _codes(model.network, model.params, jnp.asarray(image, jnp.float16))
    shares = {}
    for conv in convolutions(model.network):
        x_scale, w_scale = imported.scales[conv.name]
        x = jnp.asarray(taps[f"{conv.name}/forward/x_code"], jnp.float32) * jnp.float32(x_scale)
        weight = np.asarray(model.params[conv.name].weight_code, np.float64) * w_scale
        simulated = np.asarray(float_conv(conv.config, x, jnp.asarray(weight, jnp.float32)), np.float64)
        unit = x_scale * w_scale
        difference = np.abs(simulated / unit - np.asarray(taps[f"{conv.name}/forward/acc"], np.float64)).max()
        bound = float(certificates[conv.name].error)
        shares[conv.name] = float(difference) / bound if bound else float(difference > 0) * 2.0
    return _bound_check(shares)


def _taps(graph: Any, params: Any, x: jax.Array) -> dict[str, jax.Array]:
    found: dict[str, jax.Array] = {}

    def keep(name: str, value: jax.Array) -> None:
        if name.endswith(("/x_code", "/forward/acc")):
            found[name] = value

    network.forward(graph, params, x, keep)
    return found


_codes = jax.jit(_taps, static_argnums=0)
