"""Exactness certificates: what they say is what convolutions of extreme inputs do (SPEC.md E, M2, V4)."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from bitrow import exactness, models
from bitrow.config import ConvConfig
from bitrow.errors import BitrowError
from bitrow.exactness import FORWARD, GRADIENT, certify, certify_direction
from bitrow.formats import AccOverflow, Accumulator, Gradient
from bitrow.host import Scales, inverse_scale
from bitrow.layers import conv


def extreme_sums(config: ConvConfig, weight: np.ndarray) -> tuple[int, int]:
    """The largest result of |weight| on maps of ones, both directions, scattered and gathered one by one."""
    kh, kw, c_in, c_out = weight.shape
    g, s, size = config.groups, config.stride, 6 * config.stride
    sizes = abs(weight.astype(int))
    dx = np.zeros((size * s + kh, size * s + kw, c_in * g), int)
    best = 0
    for i, j, c in np.ndindex(size, size, c_out):
        first = c // (c_out // g) * c_in
        best = max(best, int(sizes[:, :, :, c].sum()))
        dx[i * s : i * s + kh, j * s : j * s + kw, first : first + c_in] += sizes[:, :, :, c]
    return best, int(dx.max())


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 5)])
def test_sums_of_magnitudes_are_reached(stride: int, kernel: tuple[int, int]) -> None:
    """SPEC.md M1, C2, E2: the certificate's sum is the largest that an input can make, in both directions."""
    rng = np.random.default_rng(stride)
    config = ConvConfig(stride=stride, groups=2)
    weight = rng.integers(-8, 8, (*kernel, 3, 4)).astype(np.int8)
    forward, gradient = extreme_sums(config, weight)
    found = [certify_direction("conv", config, way, weight).magnitudes for way in (FORWARD, GRADIENT)]
    assert found == [8 * forward, 8 * gradient]


def certificate(largest: int, power: bool, overflow: AccOverflow = AccOverflow.ERROR, bits: int = 32):
    """A certificate of a sum of magnitudes, whatever its layer."""
    config = ConvConfig(accumulator=Accumulator(bits, overflow))
    weight = np.full((1, 1, largest // 8, 1), 1, np.int8)
    scale = np.float16(0.5 if power else 0.3)
    return certify_direction("conv", config, FORWARD, weight, scale, scale)


def test_verdicts_change_where_the_contract_says() -> None:
    """SPEC.md E2, E3, E4, D2: at 2^24, at 2^11, at 65504, and where the register is too small."""
    assert certificate(2048, True).holds == ("E1", "E2", "E4")
    assert certificate(2056, True).holds == ("E1", "E2")
    assert certificate(2048, False).holds == ("E1", "E3", "E4")
    assert certificate(2056, False).holds == ("E1", "E3")
    assert certificate(1 << 24, True).holds == ("E1", "E2")
    assert certificate((1 << 24) + 8, True).holds == ("E1", "E3")
    assert certificate(128, True, AccOverflow.WRAP, 8).holds == ()
    assert certificate(120, True, AccOverflow.WRAP, 8).holds == ("E1", "E2", "E4")
    assert certificate(65504, True).two_step_equal and not certificate(65512, True).two_step_equal
    assert certificate(2048, False).two_step_equal and not certificate(2056, False).two_step_equal


def test_error_bound_is_gamma_times_the_magnitudes() -> None:
    """SPEC.md E3: exactly, and rounded up where it is printed."""
    found = certificate(2056, False)
    u = Fraction(1, 1 << 24)
    terms = 2056 // 8 + 2
    assert found.error == terms * u / (1 - terms * u) * 2056
    assert Fraction(str(found.to_json()["error_lsb"])) >= found.error
    assert certificate(2056, True).error == 0
    with pytest.raises(BitrowError, match="gamma: found"):
        exactness.gamma(1 << 24)


def test_an_inverse_that_is_a_power_of_two_has_such_a_scale() -> None:
    """SPEC.md F8, Q1: every scale there is; so the certificate may go by the inverse that a case holds."""
    words = np.arange(0x0400, 0x7401, dtype=np.uint16)
    for scale in words[:: 1 if len(words) < 40000 else 2].view(np.float16):
        inverse = np.float16(inverse_scale(float(scale)))
        assert exactness.is_power_of_two(np.array(inverse)) == exactness.is_power_of_two(np.array(scale))


def test_a_network_has_a_certificate_for_each_convolution_and_direction() -> None:
    """SPEC.md E, C2, C3: the shipped model's; none for a gradient that there is not."""
    model = models.load("resnet8_digits")
    found = certify(model.network, model.params)
    convs = [node.name for node in model.network.nodes if isinstance(node.config, ConvConfig)]
    assert [c.layer for c in found] == [name for name in convs for _ in range(2)]
    assert all("E1" in c.holds and c.magnitudes <= c.bound for c in found)
    with pytest.raises(BitrowError, match="found no parameters"):
        certify(model.network, {})
    weight = np.ones((1, 1, 2, 2), int)
    per_channel = conv.make_params(ConvConfig(), "conv", weight, Scales(1.0, np.array([1.0, 0.5]), 1.0))
    assert [c.direction for c in exactness._layer("conv", ConvConfig(), per_channel)] == [FORWARD]
    halves = ConvConfig(gradient=Gradient.FP16)
    params = conv.make_params(halves, "conv", weight, Scales(1.0, 1.0, 1.0))
    assert [c.to_json()["holds"] for c in exactness._layer("conv", halves, params)][1] == "C3"
