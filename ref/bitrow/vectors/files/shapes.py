"""What a case's tensors must be to each other: shapes, scales, accumulator width (SPEC.md C1, F8, D3, M2).

Standard library and numpy only. Rules go by the tensors' names, which SPEC.md fixes (T1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bitrow.config import (
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    LinearConfig,
    MaxPoolConfig,
)
from bitrow.contract.encoding import Encoding, Kind, Role
from bitrow.errors import BitrowError
from bitrow.formats import FP16, SCALE_MAX, SCALE_MIN, Fxp
from bitrow.vectors import operations
from bitrow.vectors.files import block_shapes
from bitrow.vectors.files.decode import FloatWord, word_text
from bitrow.vectors.files.schema import CaseEntry, TensorEntry

TensorShape = tuple[int, ...]
_OF_X = ("t", "x_code", "mask")
_OF_Y = ("acc", "acc_fp16", "deq", "y")
_OF_DY = ("dy_folded", "dy_words", "dy_t", "dy_code")
_OF_DX = ("dx_acc", "dx_acc_fp16", "dx_sum", "dx_deq", "dx")
_MAPS = ("y", "z", "ay", "yy", "dz", "dy", "dzy", "adz", "py", "adz_py")
_SCALE_TENSORS = ("x_inv_scale", "dy_inv_scale", "inv_scale", "w_scale", "x_scale", "dy_scale")
_PRODUCT_SCALES = ("scale", "dx_scale")


class Shapes:
    """The tensors of a case by name, with the demands that raise."""

    def __init__(self, case: CaseEntry) -> None:
        self.case = case
        self.tensors: Mapping[str, TensorEntry] = {tensor.name: tensor for tensor in case.tensors}

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def of(self, name: str, rank: int) -> TensorShape:
        """The shape of `name`, which must exist with `rank` axes."""
        if name not in self.tensors:
            raise BitrowError(
                f"{self.case.name}: found no tensor {name}, expected one for {self.case.operation}"
            )
        shape = self.tensors[name].shape
        if len(shape) != rank:
            raise BitrowError(f"{self.case.name}/{name}: found shape {list(shape)}, expected {rank} axes")
        return shape

    def same(self, names: tuple[str, ...], *expected: TensorShape) -> None:
        """Each of `names` that exists has one of the `expected` shapes."""
        for name in names:
            if name in self.tensors and self.tensors[name].shape not in expected:
                options = " or ".join(str(list(shape)) for shape in expected)
                found = list(self.tensors[name].shape)
                raise BitrowError(f"{self.case.name}/{name}: found shape {found}, expected {options}")


def _conv(shapes: Shapes, config: ConvConfig) -> None:
    kh, kw, c_in_group, c_out = shapes.of("weight_code", 4)
    config.check(shapes.case.name, (kh, kw, c_in_group, c_out))
    x_name = next((name for name in ("x", "mask", "dx") if name in shapes), "x")
    x = shapes.of(x_name, 4)
    if x[3] != c_in_group * config.groups:
        raise BitrowError(
            f"{shapes.case.name}/{x_name}: found {x[3]} channels, "
            f"expected {c_in_group * config.groups} for {config.groups} groups of {c_in_group}"
        )
    rows, columns = config.output_hw((kh, kw), x[1:3])
    if rows < 1 or columns < 1:
        raise BitrowError(
            f"{shapes.case.name}/weight_code: found a kernel of {kh}x{kw}, "
            f"expected one that fits a map of {x[1]}x{x[2]} with padding {config.padding}"
        )
    y = (x[0], rows, columns, c_out)
    shapes.same(("x", *_OF_X, *_OF_DX), x)
    shapes.same((*_OF_Y, *_OF_DY), y)
    shapes.same(("dy",), y)
    shapes.same(("acc_running",), (kh * kw * c_in_group, *y))
    terms = kh * kw * (c_out // config.groups)
    shapes.same(("dx_acc_running", "dx_sum_running"), (terms, *x))
    shapes.same(("x_inv_scale", "dy_inv_scale", "dx_scale", "seed"), ())
    shapes.same(("scale", "w_scale"), (), (c_out,))
    shapes.same(("bias",), (c_out,))


def _batch_norm(shapes: Shapes, _: BatchNormConfig) -> None:
    name = next((name for name in ("y", "dz", "z") if name in shapes), "y")
    n, h, w, c = shapes.of(name, 4)
    shapes.same(_MAPS, (n, h, w, c))
    for tensor in shapes.tensors.values():
        if tensor.name.endswith("_running"):
            shapes.same((tensor.name,), (n * h, c))
        elif "_level" in tensor.name:
            level = int(tensor.name.rpartition("_level")[2] or 0)
            width = (1 << (w - 1).bit_length()) >> level
            shapes.same((tensor.name,), (n, h, max(width, 1), c))
        elif tensor.name in ("m", "eps"):
            shapes.same((tensor.name,), ())
        elif tensor.name not in _MAPS:
            shapes.same((tensor.name,), (c,))


def _max_pool(shapes: Shapes, config: MaxPoolConfig) -> None:
    small = next((name for name in ("y", "index", "dy") if name in shapes), "y")
    n, rows, columns, c = shapes.of(small, 4)
    shapes.same(("y", "index", "dy"), (n, rows, columns, c))
    for name in ("x", "dx"):
        if name not in shapes:
            continue
        size = shapes.of(name, 4)
        expected = tuple(window.results(s) for window, s in zip(config.windows, size[1:3], strict=True))
        if (size[0], *expected, size[3]) != (n, rows, columns, c):
            fits = [size[0], *expected, size[3]]
            found = [n, rows, columns, c]
            raise BitrowError(f"{shapes.case.name}/{small}: found shape {found}, expected {fits}")


def _avg_pool(shapes: Shapes, config: AvgPoolConfig) -> None:
    large = next((name for name in ("x", "dx") if name in shapes), "x")
    n, h, w, c = shapes.of(large, 4)
    windows = config.windows((h, w))
    rows, columns = windows[0].results(h), windows[1].results(w)
    shapes.same(("x", "dx"), (n, h, w, c))
    shapes.same(("y", "dy", "sum", "scaled"), (n, rows, columns, c))
    shapes.same(("sum_running",), (windows[0].kernel, n, rows, columns, c))


def _linear(shapes: Shapes, _: LinearConfig) -> None:
    inputs, outputs = shapes.of("weight", 2)
    name = next((name for name in ("x", "dx", "dy", "y") if name in shapes), "x")
    n = shapes.of(name, 2)[0]
    shapes.same(("x", "dx"), (n, inputs))
    shapes.same(("y", "dy"), (n, outputs))
    shapes.same(("bias",), (outputs,))


def _alike(shapes: Shapes, config: object) -> None:
    """Elementwise operations: an axis of one name has one size; a parameter may be one for all."""
    operation, sizes = operations.find(shapes.case.operation, config), dict[str, int]()
    for tensor in shapes.case.tensors:
        axes = operation.line(tensor.name).axes
        if tensor.role is Role.PARAMETER and not tensor.shape:
            continue
        shape = shapes.of(tensor.name, len(axes))
        shapes.same((tensor.name,), tuple(sizes.setdefault(axis, size) for axis, size in zip(axes, shape, strict=True)))


def _concat(shapes: Shapes, config: object) -> None:
    _alike(shapes, config)
    x, other = (shapes.of(name, 4) for name in ("x", "other"))
    shapes.same(("y",), (*x[:3], x[3] + other[3]))


def _accumulate(shapes: Shapes, _: object) -> None:
    dys = next(tensor.shape for tensor in shapes.case.tensors if tensor.name == "dys")
    sums = [tensor.name for tensor in shapes.case.tensors if tensor.role is not Role.INPUT]
    shapes.same(tuple(sums), dys[1:])


def _pack(shapes: Shapes, fmt: Fxp) -> None:
    n, h, w, c = shapes.of("code", 4)
    shapes.same(("packed",), (n, h, -(-w * c // 2) if fmt.bits <= 4 else w * c))


def _lfsr(shapes: Shapes, _: object) -> None:
    (runs,) = shapes.of("start", 1)
    if shapes.of("words", 2)[0] != runs:
        found = shapes.of("words", 2)[0]
        raise BitrowError(f"{shapes.case.name}/words: found {found} runs, expected {runs}")


def _network(shapes: Shapes, _: object) -> None:
    """A whole training pass: the input gradient has the input's shape."""
    shapes.same(("dx",), shapes.of("x", 4))


_RULES: dict[str, Callable[[Shapes, Any], None]] = {
    "conv": _conv,
    "batch_norm": _batch_norm,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "linear": _linear,
    "concat": _concat,
    "multiply": block_shapes.multiply,
    "upsample": block_shapes.upsample,
    "depth_to_space": block_shapes.depth_to_space,
    "gradient.accumulate": _accumulate,
    "fxp.pack": _pack,
    "lfsr": _lfsr,
    "network": _network,
}


def check_shapes(case: CaseEntry) -> None:
    """Refuse shapes that do not fit the operation, and an accumulator too small for it (SPEC.md C1, M2).

    Raises:
        BitrowError: naming the case, the tensor, the shape found and the one expected.
    """
    rule = _RULES.get(case.operation) or _RULES.get(case.operation.partition(".")[0], _alike)
    rule(Shapes(case), case.config)


def _encoding_text(encoding: Encoding) -> str:
    sign = "signed" if encoding.signed else "unsigned"
    return f"{sign} {encoding.kind.value} words of {encoding.bits} bits"


def check_ports(case: CaseEntry) -> None:
    """Refuse tensors that the operation does not have, or has in another role or encoding (SPEC.md V2).

    Raises:
        BitrowError: naming the tensor, what was found and what was expected; an unknown operation.
    """
    operation = operations.find(case.operation, case.config)
    expected = {tensor.name: operation.encoding(tensor.name, case.config) for tensor in case.tensors}
    for tensor in case.tensors:
        where, encoding = f"{case.name}/{tensor.name}", expected[tensor.name]
        if tensor.encoding != encoding:
            found = _encoding_text(tensor.encoding)
            raise BitrowError(f"{where}: found {found}, expected {_encoding_text(encoding)}")
        if tensor.role is not operation.role(tensor.name):
            wanted = operation.role(tensor.name).value
            raise BitrowError(f"{where} role: found {tensor.role.value}, expected {wanted}")
        layout = operation.line(tensor.name).layout
        if tensor.layout not in ("", layout):
            raise BitrowError(f"{where} layout: found {tensor.layout!r}, expected {layout!r}")
    for name in (*operation.inputs, *operation.outputs):
        if name not in expected:
            raise BitrowError(f"{case.name}: found no tensor {name}, expected one for {case.operation}")


def code_range(config: Any, name: str) -> tuple[int, int] | None:
    """Smallest and largest code of a tensor by its format in the configuration (SPEC.md F7)."""
    formats = {"x_code": "x_format", "weight_code": "weight_format", "dy_code": "dy_format"}
    fmt = getattr(config, formats.get(name, ""), None)
    return None if fmt is None else (fmt.min, fmt.max)


def holds_scales(tensor: TensorEntry) -> bool:
    """Whether the words of a tensor are scales that a dequantizer or quantizer takes (SPEC.md F8, D3)."""
    named = tensor.name in _SCALE_TENSORS or tensor.name in _PRODUCT_SCALES
    return named and tensor.role is Role.PARAMETER and tensor.encoding.kind is Kind.FP16


def scale_problem(tensor: TensorEntry, word: int) -> str | None:
    """Why `word` is no scale, None where it is one; `tensor` is one that `holds_scales`.

    Scales and their inverses lie in [2^-14, 2^14] (SPEC.md F8); the product that a dequantizer multiplies by
    is a positive normal FP16 number (D3).
    """
    product = tensor.name in _PRODUCT_SCALES
    low, high = (0.0, 65504.0) if product else (SCALE_MIN, SCALE_MAX)
    number = FloatWord(FP16, word)
    value = number.value
    if number.kind == "normal" and value is not None and value > 0 and low <= value <= high:
        return None
    expected = "a positive normal FP16 number" if product else "a positive FP16 number in [2^-14, 2^14]"
    clause = "D3" if product else "F8"
    kind = "negative" if number.negative and number.kind in ("normal", "subnormal") else number.kind
    return (
        f"found the {kind} scale {word_text(word, tensor.encoding)}, expected {expected} (SPEC.md {clause})"
    )
