"""Quantizers of ONNX files: QONNX's Quant, and QuantizeLinear, Clip, DequantizeLinear (QCDQ).

Zero points are 0, rounding is to nearest even, widths are 2 to 8 bits (SPEC.md F7, Q1).
"""

from __future__ import annotations

import numpy as np

from bitrow.errors import BitrowError
from bitrow.formats import Fxp
from bitrow.importers.onnx_builder import StepBuilder
from bitrow.importers.onnx_node import OnnxNode
from bitrow.importers.onnx_values import FileCodes, Known, OnnxValue, number_array
from bitrow.importers.operators import FileQuantizer, NotImported, Requantize

_ROUNDINGS = ("ROUND", "HALF_EVEN")


def quant(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    """Quant of a map or of weights."""
    if node.text("rounding_mode", "ROUND").upper() not in _ROUNDINGS:
        raise NotImported(f"found rounding_mode {node.text('rounding_mode', '')}, expected ROUND, to nearest even")
    _check_zero(node, 2)
    width = number_array(node.known(3)).reshape(-1)
    if width.size != 1 or width[0] != int(width[0]):
        raise NotImported(f"found bit widths {width[:4].tolist()}, expected one whole number")
    fmt = _format(int(width[0]), bool(node.integer("signed", 1)), bool(node.integer("narrow", 0)))
    return _quantized(build, node, _scale(node, 1), fmt)


def _quantized(build: StepBuilder, node: OnnxNode, scale: np.ndarray, fmt: Fxp) -> OnnxValue:
    given = node.found(0)
    if isinstance(given, Known):
        array = _fits(number_array(given), scale)
        codes = np.clip(np.rint(array / scale), fmt.min, fmt.max)
        return Known((codes * scale).astype(np.float32), scale, fmt)
    return build.step(node, Requantize(_map_quantizer(scale, fmt)), node.map(0))


def _fits(array: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """`array`, if scales do not make it larger."""
    dims = (1,) * (array.ndim - scale.ndim) + scale.shape
    if len(dims) > array.ndim or any(one not in (1, size) for one, size in zip(dims, array.shape, strict=True)):
        raise NotImported(f"found scales of shape {list(scale.shape)} for {list(array.shape)}, expected no more")
    return array


def _map_quantizer(scale: np.ndarray, fmt: Fxp) -> FileQuantizer:
    if scale.size != 1:
        raise NotImported(f"found {scale.size} scales of a map, expected one (SPEC.md F8)")
    return FileQuantizer(scale.reshape(()), fmt)


def _scale(node: OnnxNode, place: int) -> np.ndarray:
    scale = number_array(node.known(place))
    if not (scale > 0).all() or not scale.size:
        raise NotImported("found a scale that is not positive, expected positive ones")
    return scale


def _check_zero(node: OnnxNode, place: int) -> None:
    if node.given(place) and node.known(place).array.any():
        raise NotImported("found a zero point other than 0, expected 0: zero is code 0 (SPEC.md M1)")


def _format(bits: int, signed: bool, narrow: bool = False) -> Fxp:
    try:
        return Fxp(bits, signed, narrow and signed)
    except BitrowError as error:
        raise NotImported(f"found {error}") from None


def _bounds_format(low: int, high: int) -> Fxp:
    """The format of codes from `low` to `high`."""
    for bits in range(2, 9):
        for signed, narrow in ((True, False), (True, True), (False, False)):
            fmt = Fxp(bits, signed, narrow)
            if (fmt.min, fmt.max) == (low, high):
                return fmt
    raise NotImported(f"found codes from {low} to {high}, expected those of 2 to 8 bits (SPEC.md F7)")


_INTEGERS = {"int8": Fxp(8), "uint8": Fxp(8, signed=False)}


def quantize_linear(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    """Codes of a map, or of weights."""
    _check_zero(node, 2)
    dtype = str(node.known(2).array.dtype) if node.given(2) else "uint8"
    if not node.given(2) and node.integer("output_dtype", 0) not in (0, 2):  # ONNX's number of uint8
        raise NotImported(f"found output_dtype {node.integer('output_dtype', 0)}, expected a zero point of that type")
    if dtype not in _INTEGERS:
        raise NotImported(f"found codes of {dtype}, expected int8 or uint8")
    scale, fmt, given = _scale(node, 1), _INTEGERS[dtype], node.found(0)
    if isinstance(given, Known):
        array = number_array(given)
        return Known(np.clip(np.rint(array / _along(node, scale, array.shape)), fmt.min, fmt.max).astype(dtype))
    return FileCodes(node.map(0), _map_quantizer(scale, fmt))


def clip_codes(node: OnnxNode) -> OnnxValue:
    """A Clip between QuantizeLinear and DequantizeLinear: fewer bits."""
    codes = node.found(0)
    low, high = node.number(1, None), node.number(2, None)
    if isinstance(codes, Known):
        return Known(np.clip(codes.array, low, high).astype(codes.array.dtype))
    assert isinstance(codes, FileCodes)
    held = codes.quantizer.fmt
    fmt = _bounds_format(int(held.min if low is None else low), int(held.max if high is None else high))
    return codes._replace(quantizer=codes.quantizer._replace(fmt=fmt))


def dequantize_linear(build: StepBuilder, node: OnnxNode) -> OnnxValue:
    """A quantizer where its codes come from a map; weights of codes where they are a constant."""
    _check_zero(node, 2)
    scale, given = _scale(node, 1), node.found(0)
    if isinstance(given, FileCodes):
        if scale.size != 1 or scale.reshape(()) != given.quantizer.scale:
            raise NotImported("found another scale than QuantizeLinear's, expected the same")
        return build.step(node, Requantize(given.quantizer), given.map)
    codes = node.known(0).array
    along = _along(node, scale, codes.shape)
    array = (codes.astype(np.float64) * along).astype(np.float32)
    if str(codes.dtype) in _INTEGERS:
        return Known(array, along, least_format(codes))
    if codes.dtype != np.int32:
        raise NotImported(f"found codes of {codes.dtype}, expected int8, uint8 or, of a bias, int32")
    return Known(array)


def least_format(codes: np.ndarray) -> Fxp:
    """The narrowest format that holds these codes: what a Clip said before they were stored is not in the file."""
    low, high = int(codes.min(initial=0)), int(codes.max(initial=0))
    for bits in range(2, 9):
        fmt = Fxp(bits, codes.dtype == np.int8)
        if fmt.min <= low and high <= fmt.max:
            return fmt
    raise NotImported(f"found codes from {low} to {high}, expected those of 2 to 8 bits (SPEC.md F7)")


def _along(node: OnnxNode, scale: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Scales along the axis that the node names, of as many dimensions as the codes."""
    if scale.size == 1:
        return scale.reshape(())
    axis, rank = node.integer("axis", 1), len(shape)
    if scale.ndim != 1 or not -rank <= axis < rank or node.integer("block_size", 0) or scale.size != shape[axis]:
        raise NotImported(f"found scales of shape {list(scale.shape)}, expected one, or one for each output")
    dims = [1] * rank
    dims[axis] = scale.size
    return scale.reshape(dims)


def is_code_clip(given: OnnxValue) -> bool:
    """Whether a Clip is of codes."""
    return isinstance(given, FileCodes) or (isinstance(given, Known) and given.array.dtype in (np.int8, np.uint8))


