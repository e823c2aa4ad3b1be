"""The frozen FXP convolution (SPEC.md Q, M, D, C)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from bitrow import typed
from bitrow.config.base import (
    ArraySpec,
    LayerConfig,
    LayerSize,
    SavedMap,
    Shape,
    check_extent,
    positive,
    window_size,
)
from bitrow.config.rows import (
    FLAG,
    HALF,
    Buffer,
    Ops,
    Phase,
    Place,
    RingKind,
    RowPlan,
    Take,
    codes,
    elements,
    gradient_rows,
    input_rows,
)
from bitrow.config.windows import Pair, Sides, Windows, along, both, settle
from bitrow.errors import BitrowError
from bitrow.formats import (
    FXP4,
    AccOverflow,
    Accumulator,
    Dequantize,
    FloatMode,
    Fxp,
    Gradient,
    QuantRounding,
    magnitude_bound,
)
from bitrow.reading.records import later

KernelShape = tuple[int, int, int, int]  # kh, kw, c_in/groups, c_out


@dataclass(frozen=True)
class ConvSize(LayerSize):
    """Size of a convolution: kernel rows and columns, output channels, and which parameters it has.

    `per_channel`: one weight scale for each output channel (SPEC.md F8); `bias`: an FP16 bias (D3).

    Raises:
        BitrowError: a field of another type.
    """

    kh: int
    kw: int
    c_out: int
    per_channel: bool = False
    bias: bool = False

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "convolution size")


@dataclass(frozen=True)
class ConvConfig(LayerConfig):
    """A frozen FXP convolution: stride, padding, dilation, groups (SPEC.md Q, M, D, C).

    `stride` and `dilation` are one int, or one each for rows and columns; `padding` is one int, or top, bottom, left
    and right. Where all are alike a tuple becomes the int.
    `x_format`, `weight_format`, `dy_format` are the code formats of input, weights and output gradient;
    `fold` moves a per-channel weight scale into dy before it is quantized (C2). `transposed`: its windows lie on the
    result and not on the input, whose codes are spread by the stride (C5); `padding` then cuts the result's sides, and
    `output_padding`, an int or one each for rows and columns, adds to its end.

    Raises:
        BitrowError: stride, dilation or groups below 1, negative padding, output padding of a stride or more, or
            without `transposed`, a field of another type.
    """

    label = "convolution"
    size_type = ConvSize

    stride: Pair = 1
    padding: Sides = 0
    groups: int = 1
    x_format: Fxp = FXP4
    weight_format: Fxp = FXP4
    dy_format: Fxp = FXP4
    accumulator: Accumulator = Accumulator()
    dequantize: Dequantize = Dequantize.FUSED
    gradient: Gradient = Gradient.FXP
    dy_rounding: QuantRounding = QuantRounding.NEAREST_EVEN
    fold: bool = False
    mode: FloatMode = FloatMode()
    dilation: Pair = later(1)
    transposed: bool = later(False)
    output_padding: Pair = later(0)

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, stride=1, padding=0, dilation=1, output_padding=0)
        positive(self.label, "groups", self.groups, 1)
        if self.output_padding != 0 and not self.transposed:
            found = f"found {self.output_padding} of a convolution that is not transposed"
            raise BitrowError(f"{self.label} output_padding: {found}, expected 0")
        if any(more >= step for more, step in zip(both(self.output_padding), both(self.stride), strict=True)):
            found = f"found {self.output_padding} at stride {self.stride}"
            raise BitrowError(f"{self.label} output_padding: {found}, expected less than the stride")

    def windows(self, kernel_hw: Sequence[int]) -> Windows:
        """How windows of a kernel of so many rows and columns lie: on the input (C1), or on the result (C5)."""
        return along(kernel_hw, self.stride, self.padding, self.dilation)

    def output_hw(self, kernel_hw: Sequence[int], hw: Sequence[int]) -> tuple[int, int]:
        """Rows and columns of the result for an input of `hw` (C1, C5); below 1 where nothing fits."""
        windows = self.windows(kernel_hw)
        if self.transposed:
            more = both(self.output_padding)
            down, across = (one.spanned(size) + extra for one, size, extra in zip(windows, hw, more, strict=True))
        else:
            down, across = (one.results(size) for one, size in zip(windows, hw, strict=True))
        return down, across

    def bounds(self, kernel_shape: tuple[int, ...]) -> tuple[int, int]:
        """Worst-case |acc| of M2, forward and of the input gradient, for `[kh, kw, c_in/groups, c_out]`.

        Raises:
            BitrowError: a shape that is not four ints.
        """
        kernel_shape = typed.coerce("convolution kernel_shape", KernelShape, kernel_shape)
        kh, kw, c_in_group, c_out = kernel_shape
        forward = magnitude_bound(kh * kw * c_in_group, self.x_format, self.weight_format)
        terms = kh * kw * (c_out // self.groups)
        return forward, magnitude_bound(terms, self.dy_format, self.weight_format)

    def check(self, layer: str, kernel_shape: tuple[int, ...]) -> None:
        """Refuse a kernel that the groups do not divide or the accumulator cannot hold (SPEC.md M2).

        Raises:
            BitrowError: naming `layer`, the bound and the accumulator's range; a shape that is not four ints from 1.
        """
        kernel_shape = typed.coerce(f"{layer} kernel_shape", KernelShape, kernel_shape)
        if min(kernel_shape) < 1:
            raise BitrowError(f"{layer} kernel_shape: found {kernel_shape}, expected four ints from 1")
        if kernel_shape[3] % self.groups:
            raise BitrowError(
                f"{layer}: found {kernel_shape[3]} output channels, expected a multiple of {self.groups} groups"
            )
        if self.accumulator.overflow is not AccOverflow.ERROR:
            return
        forward, gradient = self.bounds(kernel_shape)
        bound = forward if self.gradient is Gradient.FP16 else max(forward, gradient)
        if bound > self.accumulator.max:
            raise BitrowError(
                f"{layer}: accumulator of {self.accumulator.bits} bits holds {self.accumulator.max}, "
                f"expected room for the worst case {bound}; widen it or choose wrap or saturate"
            )

    def weight_shape(self, size: ConvSize, shape: Shape) -> KernelShape:
        """`[kh, kw, c_in/groups, c_out]`."""
        return size.kh, size.kw, shape[2] // self.groups, size.c_out

    def output_shape(self, where: str, size: ConvSize, inputs: Sequence[Shape]) -> Shape:
        (shape,) = inputs
        if min(size.kh, size.kw, size.c_out) < 1:
            raise BitrowError(f"{where} size: found {size}, expected kernel and channels from 1 up")
        if shape[2] % self.groups:
            raise BitrowError(f"{where}: found {shape[2]} input channels, expected a multiple of {self.groups} groups")
        kernel = self.weight_shape(size, shape)
        check_extent(where, kernel, "weights")
        self.check(where, kernel)
        if not self.transposed:
            return (*window_size(where, shape, self.windows((size.kh, size.kw))), size.c_out)
        rows, columns = self.output_hw((size.kh, size.kw), shape[:2])
        if min(rows, columns) < 1:
            raise BitrowError(
                f"{where}: found a {size.kh}x{size.kw} kernel that makes {rows}x{columns} of a {shape[0]}x{shape[1]} "
                f"map with padding {self.padding}, expected a result"
            )
        return rows, columns, size.c_out

    def arrays(self, size: ConvSize, shape: Shape, channels: int) -> dict[str, ArraySpec]:
        """Codes of the weights, FP16 scales and bias (F7, F8, D3), the seed of Q3."""
        per_channel = ArraySpec("float16", (channels,) if size.per_channel else ())
        scalar = ArraySpec("float16", ())
        found = {
            "weight_code": ArraySpec("int8" if self.weight_format.signed else "uint8", self.weight_shape(size, shape)),
            "x_inv_scale": scalar,
            "scale": per_channel,
            "w_scale": per_channel,
            "dy_inv_scale": scalar,
            "seed": ArraySpec("uint16", ()),
        }
        if self.gradient is Gradient.FXP and (self.fold or not size.per_channel):
            found["dx_scale"] = scalar
        if size.bias:
            found["bias"] = ArraySpec("float16", (channels,))
        return found

    def masters(self, size: ConvSize, shape: Shape, channels: int) -> dict[str, tuple[int, ...]]:
        return {"weight": self.weight_shape(size, shape)} | ({"bias": (channels,)} if size.bias else {})

    def saved(self, trained: Collection[str], passes: bool) -> list[SavedMap]:
        mask = [SavedMap("mask", 1)] if passes else []
        return mask + ([SavedMap("codes", self.x_format.stored_bits, operand=True)] if "weight" in trained else [])

    def row_plan(self, place: Place) -> RowPlan:
        """Windows of codes, made by the stage before, multiply into rows for the chain; backward the same with dy.

        A transposed one takes rows of codes as others take dy's, and dy's as others take codes.
        """
        head, chain, back = Phase.FORWARD_HEAD, Phase.FORWARD_CHAIN, Phase.BACKWARD_HEAD
        fxp = self.gradient is Gradient.FXP
        window, across = self.windows((place.size.kh, place.size.kw))
        # Zeros between columns cannot lie in memory, so with a stride there are none beside them either.
        reach = across.extent - 1
        margin = (max(0, reach - across.before), max(0, reach - across.after)) if across.stride == 1 else (0, 0)
        ways = (Take.WINDOW, (across.before, across.after)), (Take.MEETING, margin)
        (take, beside), (take_back, beside_back) = reversed(ways) if self.transposed else ways
        return RowPlan(
            head=True,
            window=window,
            rise=window.stride if self.transposed else 1,
            inputs=(
                input_rows(head, take, codes(self.x_format), beside, "x_code"),
                Buffer("mask", RingKind.MASK, FLAG, chain, ((back, Take.SAME),), tap="mask"),
            ),
            buffers=(
                Buffer("deq", RingKind.HANDOFF, HALF, head, ((chain, Take.SAME),), tap="y"),
                gradient_rows(take_back, codes(self.dy_format) if fxp else HALF, beside_back, "dy_code"),
            ),
            products=(head, back),
            coded=(head, back) if fxp else (head,),
            wide=(back,),
            weights=codes(self.weight_format),
            sums=self.accumulator.bits,
            ordered=self._ordered(self.weight_shape(place.size, place.shape)),
            groups=self.groups,
        )

    def _ordered(self, kernel: KernelShape) -> bool:
        """The accumulator may clamp, and then the order of products decides (SPEC.md M2)."""
        clamps = self.accumulator.overflow is AccOverflow.SATURATE
        return clamps and max(self.bounds(kernel)) > self.accumulator.max

    def row_ops(self, place: Place, phase: Phase, rows: Any) -> Ops:
        size, groups, row = place.size, self.groups, elements(place.out)
        # products along a row of the kernel: of all its columns, or of those that meet codes and no zeros of the stride
        columns, meeting = size.kw, self.windows((size.kh, size.kw))[1].sharing
        if self.transposed:
            columns, meeting = meeting, columns
        match phase:
            case Phase.FORWARD_CHAIN:
                return Ops(add=int(size.bias) * row)
            case Phase.BACKWARD_CHAIN:
                return Ops(mul=int(self.fold) * row, quantize=int(self.gradient is Gradient.FXP) * row)
            case Phase.FORWARD_HEAD:
                terms = rows * columns * (place.shape[2] // groups)
            case Phase.BACKWARD_HEAD:
                row, terms = elements(place.shape), rows * meeting * (size.c_out // groups)
        return Ops(macs=row * terms, outputs=row, deq=row)
