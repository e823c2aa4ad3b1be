"""Codes of fully quantized TFLite files: int8 weights, and maps of int8 whose zero point FXP can carry.

A code q of zero point z stands for (q - z) * scale. FXP's zero is code 0 (SPEC.md F7, M1): z = 0 is a signed code of 8
bits, and z = -128, as behind a ReLU, an unsigned one, q + 128; every other z is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from bitrow.formats import Fxp
from bitrow.importers.onnx_builder import StepBuilder
from bitrow.importers.onnx_quantizers import least_format
from bitrow.importers.onnx_values import FileMap, Known, OnnxValue
from bitrow.importers.operators import FileQuantizer, NotImported, Requantize
from bitrow.importers.tflite_call import TfliteCall
from bitrow.importers.tflite_file import INT8, TfliteFile, TfliteTensor

_FORMATS = {0: Fxp(8), -128: Fxp(8, signed=False)}  # by zero point
# What chooses or moves codes: its result has the codes of what it reads.
_MOVES = frozenset({"MAX_POOL_2D", "RESHAPE", "SQUEEZE", "TRANSPOSE", "PAD", "CONCATENATION", "RESIZE_NEAREST_NEIGHBOR",
                    "DEPTH_TO_SPACE"})  # fmt: skip
_HOST = frozenset({"SOFTMAX", "LOG_SOFTMAX", "DEQUANTIZE", "RESHAPE", "SQUEEZE"})  # nothing but this behind: the host's
_INT32 = 2


def map_quantizer(tensor: TfliteTensor) -> FileQuantizer:
    """The quantizer of a map of codes.

    Raises:
        NotImported: no scale, several, or a zero point that no FXP format has.
    """
    if len(tensor.scales) != 1 or not tensor.scales[0] > 0:
        raise NotImported(f"found {len(tensor.scales)} scales of a map, expected a positive one (SPEC.md F8)")
    zero = tensor.zeros[0] if tensor.zeros else 0
    if zero not in _FORMATS:
        raise NotImported(f"found zero point {zero}, expected 0, or -128 of values from 0: FXP's zero is code 0 (M1)")
    return FileQuantizer(np.asarray(tensor.scales[0], np.float32), _FORMATS[zero])


def constant(file: TfliteFile, place: int) -> Known:
    """A constant: of weights as their codes stand for, with scale and format; of a bias int32 the same as float32.

    Raises:
        NotImported: what `TfliteFile.array` refuses; scales that do not fit, zero points other than 0.
    """
    tensor, array = file.tensors[place], file.array(place)
    if tensor.kind not in (INT8, _INT32) or not tensor.scales:
        if tensor.kind == INT8:
            raise NotImported(f"found codes {tensor.name[:80]!r} without a scale, expected one or one for each output")
        return Known(array)
    scale = np.asarray(tensor.scales, np.float32)
    if any(tensor.zeros):
        raise NotImported(f"found a zero point of weights {tensor.name[:80]!r}, expected 0: zero is code 0 (M1)")
    if not (scale > 0).all() or not np.isfinite(scale).all():
        raise NotImported(f"found a scale of {tensor.name[:80]!r} that is not positive, expected positive ones")
    if scale.size == 1:
        along = scale.reshape(())
    else:
        axis = tensor.axis
        if not 0 <= axis < array.ndim or scale.size != array.shape[axis]:
            raise NotImported(f"found {scale.size} scales of shape {list(array.shape)}, expected one for each output")
        along = scale.reshape([-1 if place == axis else 1 for place in range(array.ndim)])
    file.spend(8 * array.size)
    value = (array.astype(np.float64) * along).astype(np.float32)
    return Known(value, along, least_format(array)) if tensor.kind == INT8 else Known(value)


def left_to_host(file: TfliteFile, outputs: Sequence[int]) -> set[int]:
    """Tensors that nothing of the network reads: the outputs, and those that become them by what the host does.

    Their codes are the host's, whatever their zero point.
    """
    readers = Counter(place for node in file.nodes for place in set(node.inputs))
    found = set(outputs)
    for node in reversed(file.nodes):
        if node.operator in _HOST and found.issuperset(node.outputs) and readers[node.inputs[0]] == 1:
            found.add(node.inputs[0])
    return found


def coded(build: StepBuilder, call: TfliteCall, made: OnnxValue) -> OnnxValue:
    """The result of an operator that makes int8: the map behind a quantizer, unless its codes are those that it reads.

    Raises:
        NotImported: codes that no FXP format has, or others than those that are only moved.
    """
    tensor = call.file.tensors[call.node.outputs[0]]
    if tensor.kind != INT8 or not isinstance(made, FileMap):
        return made
    quantizer = map_quantizer(tensor)
    if call.operator in _MOVES:
        for place in call.node.inputs:
            given = call.file.tensors[place] if place >= 0 else tensor
            codes = given.kind == INT8 and given.data is None
            if codes and (given.scales, given.zeros) != (tensor.scales, tensor.zeros):
                raise NotImported("found other codes than those of what it reads, expected the same")
        return made
    return build.step(call, Requantize(quantizer), made, part=9)


def quantize(build: StepBuilder, call: TfliteCall) -> OnnxValue:
    """QUANTIZE of float32: the quantizer is that of its result (`coded`); of codes to others it is refused."""
    given = call.file.tensors[call.node.inputs[0]]
    if given.kind == INT8:
        raise NotImported("found codes put into other codes, expected float32: rounded twice, they are another number")
    return call.map()


def dequantize(build: StepBuilder, call: TfliteCall) -> OnnxValue:
    """DEQUANTIZE of a map of int8, which stays the map that its codes stand for, or of a constant."""
    found = call.found(0)
    if isinstance(found, FileMap):
        return found
    known = call.known(0)
    if known.array.dtype != np.float16:
        if known.scale is None:
            raise NotImported(f"found a constant of {known.array.dtype}, expected FLOAT16, or INT8 with a scale")
        return known
    call.file.spend(known.array.size * 4)
    return Known(known.array.astype(np.float32))
