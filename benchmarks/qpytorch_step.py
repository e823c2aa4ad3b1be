"""A module of `bitrow.transfer` as QPyTorch simulates it: the same rounding points, float32 values on their grids.

FXP4 of a convolution's input, weights and output gradient, FP16 after every operation that the accelerator rounds, in
both directions. Scales must be powers of two, the only ones that `qtorch` has. It rounds ties of FP16 away from zero,
the accelerator to even, so that a few words differ.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from bitrow.config import AddConfig, AvgPoolConfig, BatchNormConfig, ConvConfig, LinearConfig, ReluConfig
from bitrow.graph import INPUT, consumers
from bitrow.transfer.network_module import NetworkModule


def missing() -> str | None:
    """Why QPyTorch cannot be timed here, None where it can."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # else its idle threads spin in the next contender's time
    try:
        import qtorch.quant  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:  # it compiles its kernels on import
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return None


class Step:
    """A training step of the module's branches and head, by Adam; call it for the loss."""

    def __init__(self, module: NetworkModule, x: np.ndarray, y: np.ndarray, loss_scale: float, rate: float) -> None:
        import torch
        from qtorch import FixedPoint, FloatingPoint
        from qtorch.quant import quantizer

        self.torch, self.network, self.module = torch, module.network, module
        half = FloatingPoint(exp=5, man=10)
        near = {"forward_rounding": "nearest", "backward_rounding": "nearest"}

        def fixed(scale: Any) -> Any:
            return FixedPoint(4, -round(math.log2(float(scale))))

        self.half = quantizer(half, None, **near)
        self.back = quantizer(None, half, **near)
        self.both = quantizer(half, half, **near)
        self.x = torch.tensor(np.moveaxis(x, 3, 1).copy())
        self.y = torch.tensor(y.astype(np.int64))
        self.loss_scale = loss_scale
        self.frozen: dict[str, tuple[Any, ...]] = {}
        for node in self.network.nodes:
            layer: Any = module.layers[node.name]
            if isinstance(node.config, ConvConfig):
                scales, gradient = layer.scales.get_value(), layer.gradient.get_value()
                weight = _tensor(torch, layer.weight).permute(3, 2, 0, 1).contiguous()
                weight = quantizer(fixed(scales.w_scale), None, **near)(weight)
                into = quantizer(fixed(scales.x_scale), half, clamping_grad_zero=True, **near)
                self.frozen[node.name] = weight, into, quantizer(half, fixed(gradient.dy_scale), **near)
            elif isinstance(node.config, BatchNormConfig):
                pair = (self.half(_tensor(torch, v).reshape(1, -1, 1, 1)) for v in (layer.scale, layer.shift))
                self.frozen[node.name] = tuple(pair)
        self.trained = {
            f"{name}/{field}": _tensor(torch, getattr(part, field)).requires_grad_()
            for parts, fields in ((module.branches, ("down", "up")), (_heads(module), ("weight", "bias")))
            for name, part in parts.items() for field in fields
        }  # fmt: skip
        self.adam = torch.optim.Adam(self.trained.values(), rate)

    def __call__(self) -> float:
        functional = self.torch.nn.functional
        self.adam.zero_grad()
        loss = functional.cross_entropy(self.logits(), self.y, reduction="sum") * self.loss_scale
        loss.backward()
        for value in self.trained.values():
            value.grad *= 1 / (len(self.y) * self.loss_scale)
        self.adam.step()
        return loss.item()

    def logits(self) -> Any:
        """Of the batch, by the network's order."""
        readers = {name: len(found) for name, found in consumers(self.network).items()}
        ends = {place.end: place.start for place in self.module.places}
        values = {INPUT: self.half(self.x)}
        for node in self.network.nodes:
            y = self._layer(node, *(values[name] for name in node.inputs))
            if node.name in ends:
                y = self.half(y + self._branch(node.name, values[ends[node.name]], y.shape[2:]))
            shared = readers[node.name] + (node.name in ends.values()) > 1
            values[node.name] = self.back(y) if shared else y
        return values[self.network.output]

    def _layer(self, node: Any, x: Any, *more: Any) -> Any:
        torch, functional = self.torch, self.torch.nn.functional
        match node.config:
            case ConvConfig() as config:
                weight, into, out = self.frozen[node.name]
                return out(functional.conv2d(into(x), weight, None, config.stride, config.padding, 1, config.groups))
            case BatchNormConfig():
                a, b = self.frozen[node.name]
                return self.half(self.half(a * self.back(x)) + b)
            case ReluConfig():
                return torch.relu(x)
            case AddConfig():
                return self.half(x + more[0])
            case AvgPoolConfig():
                return self.half(self.back(x).mean((2, 3), keepdim=True))
            case LinearConfig():
                weight, bias = (self.trained[f"{node.name}/{field}"] for field in ("weight", "bias"))
                return self.both(self.back(x).flatten(1) @ self.half(weight) + bias)
        raise AssertionError(node)

    def _branch(self, name: str, x: Any, size: tuple[int, ...]) -> Any:
        torch, functional = self.torch, self.torch.nn.functional
        down, up = (self.half(self.trained[f"{name}/{field}"]).T[:, :, None, None] for field in ("down", "up"))
        x = self.both(functional.avg_pool2d(self.back(x), 2))
        y = self.both(functional.conv2d(x, down))
        y = self.both(functional.conv2d(torch.relu(y), up))
        return functional.interpolate(y, size=size, mode="nearest")


def _tensor(torch: Any, variable: Any) -> Any:
    return torch.tensor(np.asarray(variable.get_value()))


def _heads(module: NetworkModule) -> dict[str, Any]:
    network = module.network
    return {n.name: module.layers[n.name] for n in network.nodes if isinstance(n.config, LinearConfig)}
