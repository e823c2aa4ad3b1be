"""The suite `corners`: cases that see what others of their operations do not.

Sums that a sticky bit of the alignment decides, the last bit of a stochastic word, the order of a sum, and convolutions
of the shipped model with masks of both values (SPEC.md F2, Q3, Q4, A3, A4, A8, C2).
"""

from __future__ import annotations

import numpy as np

from bitrow.config import ConvConfig
from bitrow.contract import conv
from bitrow.vectors.bit_views import to_words
from bitrow.vectors.entries import Entry, entry
from bitrow.vectors.passes import MODEL
from bitrow.vectors.problem import Problem
from bitrow.vectors.stimulus import corner_problems as corner
from bitrow.vectors.stimulus import problems
from bitrow.vectors.stimulus import stream as stimulus
from bitrow.vectors.stimulus.stream import SPECIAL_WORDS, Stream

# The shipped model's convolutions, with the map that they run on here.
_CONVS = (
    ("stem_conv", 4, 4), ("s1b1_1_conv", 3, 4), ("s1b1_2_conv", 3, 3), ("s2b1_1_conv", 4, 4), ("s2b1_2_conv", 3, 3),
    ("s2b1_proj_conv", 4, 4), ("s3b1_1_conv", 4, 3), ("s3b1_2_conv", 3, 3), ("s3b1_proj_conv", 3, 4),
)  # fmt: skip
_BRIGHT, _GAIN = 6, 2  # of the shipped samples that which, twice as bright, is clipped by every convolution's quantizer


def masked(stream: Stream, name: str, layer: str, hw: tuple[int, int], backward: bool) -> Problem:
    """A convolution of the shipped model on words beyond its quantizer's range, forward; backward with half of the
    mask's words 0."""
    from bitrow import models

    model = models.load(MODEL)
    config = model.network.node(layer).config
    assert isinstance(config, ConvConfig)
    params = model.params[layer]._asdict()
    own = {part: to_words(value) for part, value in params.items() if value is not None}
    kh, kw, c_in, c_out = own["weight_code"].shape
    c_in *= config.groups
    shape = (1, *(config.output_hw((kh, kw), hw) if backward else hw), c_out if backward else c_in)
    inverse, fmt = own["dy_inv_scale" if backward else "x_inv_scale"], config.dy_format if backward else config.x_format
    pool = np.concatenate([stimulus.quantizer_words(int(inverse), fmt), SPECIAL_WORDS])
    words = problems.around(stream, shape, 1 / float(inverse.view(np.float16)), fmt, pool)
    operation = conv.BACKWARD if backward else conv.FORWARD
    given = {part: own[part] for part in operation.parameters if part in own}
    if backward:
        return Problem(name, operation, config, given | {"dy": words, "mask": _mask(stream, (1, *hw, c_in))})
    return Problem(name, operation, config, given | {"x": words})


def _mask(stream: Stream, shape: tuple[int, ...]) -> np.ndarray:
    """Masks of both values in every channel."""
    mask = stream.below(2, shape).astype(np.uint8)
    mask[0, 0, 0], mask[0, -1, -1] = 0, 1
    return mask


def bright(stream: Stream, name: str) -> Problem:
    """A whole training pass of the shipped model in which the mask of every convolution has both values."""
    from bitrow import models
    from bitrow.vectors.judge import networks

    model = models.load(MODEL)
    assert model.samples is not None
    images = (model.samples.images * np.float16(_GAIN)).astype(np.float16)
    brighter = model._replace(samples=model.samples._replace(images=images))
    return networks.pass_problem(MODEL, brighter, name, slice(_BRIGHT, _BRIGHT + 1))


def _masked() -> list[Entry]:
    return [entry(f"masked_{layer}_{'backward' if backward else 'forward'}", masked, layer, (h, w), backward)
            for layer, h, w in _CONVS for backward in (False, True)]  # fmt: skip


def corners() -> list[Entry]:
    """Few and small, as the golden set of them is committed."""
    return [
        entry("fp16_add_alignment", corner.aligned, "add"),
        entry("fp16_sub_alignment", corner.aligned, "sub"),
        entry("fxp_quantize_stochastic_low_bits", corner.low_bits, ConvConfig()),
        entry("linear_cancelling_forward", corner.head, False),
        entry("linear_cancelling_backward", corner.head, True),
        entry("avg_pool_cancelling_forward", corner.average),
        entry(f"bright{_BRIGHT}_whole", bright),
        *(one for one in _masked() if one.name in ("masked_stem_conv_backward", "masked_s2b1_proj_conv_backward")),
    ]


def more() -> list[Entry]:
    """More of them, for the suite `standard`: every convolution of the shipped model, and what is larger."""
    return [
        entry("conv_1x1_stochastic_low_bits_backward", corner.low_bits_of_dy),
        entry("multiply_gate_cancelling_backward", corner.gate),
        *_masked(),
    ]
