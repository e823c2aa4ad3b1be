"""Faults of transposed convolutions (SPEC.md C5)."""

from __future__ import annotations

from bitrow.faults.mutant import Edit, FaultFamily, Mutant

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
    _fault("transposed_gradient_sides_swapped",
           "a transposed convolution's gradient begins by the padding of the other side",
           _BACKWARD, f"return gather.forward_gather(turned, hw, {_ALONG}, config.groups)",
           "return gather.forward_gather(turned, hw, tuple(one._replace(before=one.after, after=one.before)"
           f" for one in {_ALONG}), config.groups)"),
)  # fmt: skip
