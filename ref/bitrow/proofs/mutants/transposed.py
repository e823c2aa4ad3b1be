"""Faults of transposed convolutions, and the property that finds them (SPEC.md C5).

They are for the catalogue of `prove mutants` when a committed set holds such convolutions.
"""

from __future__ import annotations

import functools

import numpy as np

from bitrow.config import ConvConfig
from bitrow.formats import AccOverflow, Accumulator
from bitrow.proofs.mutants.layer_properties import conv_backward, conv_forward
from bitrow.proofs.mutants.mutant import Edit, FaultFamily, Mutant
from bitrow.proofs.mutants.properties import Property
from bitrow.proofs.mutants.runs import OperationRun, differing
from bitrow.vectors.stimulus import problems
from bitrow.vectors.stimulus.problems import ConvShapes
from bitrow.vectors.stimulus.stream import Stream

_FORWARD, _BACKWARD = "contract.conv:_forward_gather", "contract.conv:_gradient_gather"
_ALONG = "config.windows(weight.shape)"
_TURNED = "turned = gather.turned(weight, config.groups)"
_TURNED_BACK = "turned, hw = gather.turned(weight, config.groups)"


def _fault(name: str, does: str, where: str, before: str, after: str) -> Mutant:
    family = FaultFamily.CONVOLUTION if where == _FORWARD else FaultFamily.GRADIENT
    return Mutant(name, does, family, "C5", (Edit(where, before, after),))


TRANSPOSED = (
    _fault("transposed_kernel_not_rotated", "a transposed convolution meets its kernel as it lies",
           _FORWARD, _TURNED, "turned = gather.turned(weight[::-1, ::-1], config.groups)"),
    _fault("transposed_sides_swapped", "a transposed convolution cuts the result's other sides",
           _FORWARD, f"return gather.gradient_gather(turned, hw, {_ALONG}, config.groups)",
           "return gather.gradient_gather(turned, hw, tuple(one._replace(before=one.after, after=one.before)"
           f" for one in {_ALONG}), config.groups)"),
    _fault("output_padding_at_the_beginning", "the output padding's rows lie at the result's beginning",
           _FORWARD, f"return gather.gradient_gather(turned, hw, {_ALONG}, config.groups)",
           "return gather.gradient_gather(turned, hw, tuple(one._replace(before=one.before - more,"
           " after=one.after + more) for one, size, at in zip(config.windows(weight.shape), x_hw, hw)"
           " for more in [at - one.spanned(size)]), config.groups)"),
    _fault("transposed_groups_not_swapped", "a transposed convolution's groups take channels in turn",
           _FORWARD, _TURNED, "turned = gather.turned(weight[..., np.arange(weight.shape[3]).reshape(config.groups, -1)"
           ".T.reshape(-1)], config.groups)"),
    _fault("transposed_gradient_rotated", "the gradient of a transposed convolution rotates its kernel",
           _BACKWARD, _TURNED_BACK, "turned, hw = gather.turned(weight[::-1, ::-1], config.groups)"),
    _fault("transposed_gradient_sides_swapped", "the gradient's windows begin by the padding of the other side",
           _BACKWARD, f"return gather.forward_gather(turned, hw, {_ALONG}, config.groups)",
           "return gather.forward_gather(turned, hw, tuple(one._replace(before=one.after, after=one.before)"
           f" for one in {_ALONG}), config.groups)"),
)  # fmt: skip

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
