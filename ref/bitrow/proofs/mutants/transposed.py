"""The property that finds faults of transposed convolutions (SPEC.md C5)."""

from __future__ import annotations

import functools

import numpy as np

from bitrow.config import ConvConfig
from bitrow.formats import AccOverflow, Accumulator
from bitrow.proofs.mutants.conv_judge import conv_backward, conv_forward
from bitrow.proofs.mutants.properties import Property
from bitrow.proofs.mutants.runs import OperationRun, differing
from bitrow.vectors.stimulus import problems
from bitrow.vectors.stimulus.problems import ConvShapes
from bitrow.vectors.stimulus.stream import Stream

_REGISTER = ConvConfig(padding=1, accumulator=Accumulator(9, AccOverflow.SATURATE), transposed=True)
_SIDES = ConvConfig(
    stride=(2, 1), padding=(1, 0, 2, 1), dilation=(1, 2), groups=2, transposed=True, output_padding=(1, 0)
)


@functools.cache
def _expected() -> list[OperationRun]:
    size, small, stream = ConvShapes(1, 4, 5, 6, 3, 2, 6), ConvShapes(1, 3, 4, 2, c_out=3), Stream("property", "C5")
    forward = [problems.conv_forward(stream, "sides", _SIDES, size),
               problems.conv_forward(stream, "register", _REGISTER, small)]  # fmt: skip
    backward = problems.conv_backward(stream, "sides", _SIDES, size)
    with np.errstate(all="ignore"):
        found = [(one, conv_forward(one.config, one.given)) for one in forward]
        return [*found, (backward, conv_backward(backward.config, backward.given))]


TRANSPOSED_PROPERTIES = (
    Property("transposed_by_placing", "each code puts its products where a transposed convolution adds them", "C5",
             lambda: differing(_expected())),
)  # fmt: skip
