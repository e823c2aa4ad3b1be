"""The frozen FXP convolution in both directions (SPEC.md Q, M, D, C)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bitrow.config import ConvConfig
from bitrow.contract.fixed_point import dequantizer
from bitrow.contract.operation import Given, Operation
from bitrow.contract.program import Program
from bitrow.contract.units import FP16_CLAUSES
from bitrow.errors import BitrowError
from bitrow.formats import AccOverflow, Dequantize, Gradient, QuantRounding
from bitrow.oracle import gather
from bitrow.oracle.gather import Gather, Sources


def _clauses(config: ConvConfig) -> tuple[str, ...]:
    dequantize = "D2" if config.dequantize is Dequantize.TWO_STEP else "D1"
    running = ("T2",) if config.accumulator.overflow is AccOverflow.SATURATE else ()
    way = ("C1", "C5") if config.transposed else ("C1",)
    return (*FP16_CLAUSES, "F7", "F8", "Q1", "Q2", "Q4", "M1", "M2", dequantize, "D3", *way, "T1", *running)


def _gradient_clauses(config: ConvConfig) -> tuple[str, ...]:
    if config.gradient is Gradient.FP16:
        way = ("C5",) if config.transposed else ()
        return (*FP16_CLAUSES, "F8", "F9", "Q4", "C2", "C3", *way, "T1", "T2")
    stochastic = ("Q3",) if config.dy_rounding is QuantRounding.STOCHASTIC else ()
    forward = [clause for clause in _clauses(config) if clause not in ("C1", "T1", "T2")]
    running = ("T2",) if config.accumulator.overflow is AccOverflow.SATURATE else ()
    return (*forward, *stochastic, "C2", "T1", *running)


def _order(config: ConvConfig, fastest: str) -> str:
    if config.accumulator.overflow is AccOverflow.SATURATE:
        return f"kh, kw, {fastest} with {fastest} fastest, clamped after each product"
    return "exact in integers, any order"


def _gradient_order(config: ConvConfig) -> str:
    if config.gradient is Gradient.FP16:
        return "kh, kw, c_out with c_out fastest, sequential from +0"
    return _order(config, "c_out")


def _clamped(config: ConvConfig, bound: int) -> bool:
    """Whether the register can clamp: elsewhere the sum is exact in any order (M2)."""
    return config.accumulator.overflow is AccOverflow.SATURATE and bound > config.accumulator.max


def _forward_conditions(config: ConvConfig, given: Given) -> Mapping[str, bool]:
    clamped = _clamped(config, config.bounds(given["weight_code"].shape)[0])
    return dequantizer(config) | {"clamped": clamped, "biased": "bias" in given}


def _gradient_conditions(config: ConvConfig, given: Given) -> Mapping[str, bool]:
    clamped = _clamped(config, config.bounds(given["weight_code"].shape)[1])
    float_gradient = config.gradient is Gradient.FP16
    drawn = config.dy_rounding is QuantRounding.STOCHASTIC and not float_gradient
    return dequantizer(config) | {"clamped": clamped, "folded": config.fold, "float": float_gradient, "drawn": drawn}


def _forward_sources(config: ConvConfig, given: Given) -> Sources:
    weight, rows = given["weight_code"], given["x"].shape[1]
    if config.transposed:
        return gather.gradient_sources(_results(config, weight, given["x"])[0], rows, config.windows(weight.shape)[0])
    return gather.forward_sources(rows, config.windows(weight.shape)[0])


def _gradient_sources(config: ConvConfig, given: Given) -> Sources:
    window, rows = config.windows(given["weight_code"].shape)[0], given["dy"].shape[1]
    if config.transposed:
        return gather.forward_sources(rows, window)
    return gather.gradient_sources(given["mask"].shape[1], rows, window)


def _forward_gather(config: ConvConfig, given: Given) -> Gather:
    x_hw, weight = (given["x"].shape[1], given["x"].shape[2]), given["weight_code"]
    if config.transposed:
        turned = gather.turned(weight, config.groups)
        hw = _results(config, weight, given["x"])
        return gather.gradient_gather(turned, hw, config.windows(weight.shape), config.groups)
    return gather.forward_gather(weight, x_hw, config.windows(weight.shape), config.groups)


def _gradient_gather(config: ConvConfig, given: Given) -> Gather:
    x_hw, weight = (given["mask"].shape[1], given["mask"].shape[2]), given["weight_code"]
    if config.transposed:
        turned, hw = gather.turned(weight, config.groups), (given["dy"].shape[1], given["dy"].shape[2])
        return gather.forward_gather(turned, hw, config.windows(weight.shape), config.groups)
    return gather.gradient_gather(weight, x_hw, config.windows(weight.shape), config.groups)


def _results(config: ConvConfig, weight: np.ndarray, x: np.ndarray) -> tuple[int, int]:
    return config.output_hw(weight.shape[:2], x.shape[1:3])


def _check_shapes(config: ConvConfig, kernel: tuple[int, ...], x_shape: tuple[int, ...]) -> None:
    if len(kernel) != 4 or len(x_shape) != 4:
        raise BitrowError(f"convolution: found shapes {kernel} and {x_shape}, expected four axes each")
    config.check("convolution", (kernel[0], kernel[1], kernel[2], kernel[3]))
    if x_shape[3] != kernel[2] * config.groups:
        raise BitrowError(f"convolution: found {x_shape[3]} channels, expected {kernel[2] * config.groups}")


def _check_forward(config: ConvConfig, given: Given) -> None:
    _check_shapes(config, given["weight_code"].shape, given["x"].shape)


def _check_gradient(config: ConvConfig, given: Given) -> None:
    kernel, x_shape, dy_shape = given["weight_code"].shape, given["mask"].shape, given["dy"].shape
    _check_shapes(config, kernel, x_shape)
    if given["w_scale"].size != 1 and not config.fold:
        raise BitrowError(f"convolution w_scale: found {given['w_scale'].size} scales, expected one, or fold")
    expected = (x_shape[0], *config.output_hw(kernel[:2], x_shape[1:3]), kernel[3])
    if dy_shape != expected:
        raise BitrowError(f"convolution dy: found shape {dy_shape}, expected {expected}")


FORWARD = Operation(
    "conv.forward",
    Program("C1", """
        in  x           : 16, n h w c_in
        par weight_code : weight, kh kw c_in c_out
        par x_inv_scale : 16
        par scale       : 16, c_out
        par bias        : 16, c_out
            t           : 16, n h w c_in        = mul x x_inv_scale
            x_code      : x, n h w c_in         = quantize t
        out mask        : mask, n h w c_in      = inside t
            acc_running : reg, k n oh ow c_out  = clamped_macs x_code weight_code if clamped
            acc         : reg, n oh ow c_out    = last acc_running                if clamped
            acc         : reg, n oh ow c_out    = macs x_code weight_code         if not clamped
            acc_fp16    : 16, n oh ow c_out     = convert acc                     if two_step
            deq         : 16, n oh ow c_out     = mul acc_fp16 scale              if two_step
            deq         : 16, n oh ow c_out     = mul acc scale                   if not two_step
        out y           : 16, n oh ow c_out     = add deq bias                    if biased
        out y           : 16, n oh ow c_out     = copy deq                        if not biased
    """),
    ConvConfig,
    _clauses, lambda config: _order(config, "c_in"), _forward_conditions, by_rows=True,
    row_sources=_forward_sources, gather=_forward_gather, check=_check_forward,
)  # fmt: skip

BACKWARD = Operation(
    "conv.backward",
    Program("C2", """
        in  dy             : 16, n oh ow c_out
        kept mask          : mask, n h w c_in
        par weight_code    : weight, kh kw c_in c_out
        par w_scale        : 16, c_out
        par dy_inv_scale   : 16
        par dx_scale       : 16
        par seed           : lfsr
            dy_folded      : 16, n oh ow c_out   = mul dy w_scale                    if folded
            dy_words       : lfsr, n oh ow c_out = draw seed dy                      if drawn
            dy_t           : 16, n oh ow c_out   = mul dy_folded dy_inv_scale        if folded and not float
            dy_t           : 16, n oh ow c_out   = mul dy dy_inv_scale               if not folded and not float
            dy_code        : dy, n oh ow c_out   = quantize_drawn dy_t dy_words      if drawn
            dy_code        : dy, n oh ow c_out   = quantize dy_t                     if not drawn and not float
            dx_acc_running : reg, k n h w c_in   = clamped_macs dy_code weight_code  if clamped and not float
            dx_acc         : reg, n h w c_in     = last dx_acc_running               if clamped and not float
            dx_acc         : reg, n h w c_in     = macs dy_code weight_code          if not clamped and not float
            dx_sum_running : 32, k n h w c_in    = float_macs dy_folded weight_code  if folded and float
            dx_sum_running : 32, k n h w c_in    = float_macs dy weight_code         if not folded and float
            dx_sum         : 32, n h w c_in      = last dx_sum_running               if float
            dx_acc_fp16    : 16, n h w c_in      = convert dx_acc                    if two_step and not float
            dx_deq         : 16, n h w c_in      = mul dx_acc_fp16 dx_scale          if two_step and not float
            dx_deq         : 16, n h w c_in      = mul dx_acc dx_scale               if not two_step and not float
            dx_deq         : 16, n h w c_in      = mul dx_sum 1                      if folded and float
            dx_deq         : 16, n h w c_in      = mul dx_sum w_scale                if not folded and float
        out dx             : 16, n h w c_in      = select dx_deq mask
    """),
    ConvConfig,
    _gradient_clauses, _gradient_order, _gradient_conditions, by_rows=True,
    row_sources=_gradient_sources, gather=_gradient_gather, check=_check_gradient, checked=("w_scale",),
)  # fmt: skip

CONV = (FORWARD, BACKWARD)
