"""The layer of `bench_layers` in torch: in float32, and with QPyTorch at bitrow's rounding points (`qpytorch_step`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bitrow.host import Scales
from bitrow.layers.batch_norm import FrozenParams

Call = Callable[[], tuple[Any, Any]]  # the result and the input's gradient, [n,c,h,w]


def contenders(codes: np.ndarray, scales: Scales, norm: FrozenParams, x: Any, dz: Any) -> dict[str, Call]:
    """Both passes of weight codes [kh,kw,c_in,c_out] with padding 1 and a frozen norm, on FP16 numbers [n,h,w,c]."""
    import torch
    from qtorch import FixedPoint, FloatingPoint
    from qtorch.quant import quantizer

    half_format, near = FloatingPoint(exp=5, man=10), {"forward_rounding": "nearest", "backward_rounding": "nearest"}

    def tensor(value: Any) -> Any:
        return torch.tensor(np.asarray(value, np.float32))

    def turned(value: Any) -> Any:
        return tensor(value).permute(0, 3, 1, 2).contiguous()

    def fixed(scale: float) -> Any:
        return FixedPoint(4, -round(math.log2(scale)))

    weight = (tensor(codes) * scales.w).permute(3, 2, 0, 1).contiguous()
    a, b = (tensor(value).reshape(1, -1, 1, 1) for value in (norm.a, norm.b))
    given, upstream = turned(x).requires_grad_(), turned(dz)
    into = quantizer(fixed(scales.x), half_format, clamping_grad_zero=True, **near)
    out = quantizer(half_format, fixed(scales.dy), **near)
    half, back = quantizer(half_format, None, **near), quantizer(None, half_format, **near)

    def gradient_of(z: Any) -> tuple[Any, Any]:
        return z, torch.autograd.grad(z, given, upstream)[0]

    def convolved(value: Any) -> Any:
        return torch.nn.functional.conv2d(value, weight, None, 1, 1)

    return {
        "torch float32": lambda: gradient_of(convolved(given) * a + b),
        "QPyTorch": lambda: gradient_of(half(half(a * back(out(convolved(into(given))))) + b)),
    }
