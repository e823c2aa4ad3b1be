"""What a frozen convolution holds, and what is made ready of it: parameters, kernels, places (SPEC.md C, D3, M2)."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float16, UInt16

from bitrow.config import ConvConfig
from bitrow.doors import guard
from bitrow.errors import BitrowError
from bitrow.formats import Gradient
from bitrow.host import (
    Scales,
    check_scale,
    exact_fp16,
    integer_codes,
    inverse_scale,
    product_scale,
    product_scales,
)
from bitrow.ops import fxp, lfsr, mac
from bitrow.ops.dtypes import Code


class ConvParams(NamedTuple):
    """Frozen parameters of a convolution. `scale` and `w_scale` are scalars or one for each output channel.

    `dx_scale` is None where a per-channel weight scale without `fold` leaves no FXP input gradient (SPEC.md C2).
    """

    weight_code: Code[Array, "kh kw c_in c_out"]
    x_inv_scale: Float16[Array, ""]
    scale: Float16[Array, "..."]
    w_scale: Float16[Array, "..."]
    dy_inv_scale: Float16[Array, ""]
    dx_scale: Float16[Array, ""] | None
    bias: Float16[Array, "channels"] | None
    seed: UInt16[Array, ""]


def make_params(
    config: ConvConfig,
    layer: str,
    weight_code: np.ndarray,
    scales: Scales,
    bias: np.ndarray | None = None,
    seed: int = 1,
) -> ConvParams:
    """Check a layer and compute what the host stores for it (SPEC.md F8, Q1, M2, D3).

    Args:
        config: the layer's configuration.
        layer: its name, for messages.
        weight_code: integers `[kh, kw, c_in/groups, c_out]` in `config.weight_format`.
        scales: of the input, the weights and the output gradient.
        bias: finite FP16 numbers `[c_out]`, of any dtype that holds them, added after the dequantizer.
        seed: of the stochastic rounding of dy.

    Raises:
        BitrowError: naming `layer`; a scale outside F8, a product outside D3, codes outside the format, an
            accumulator too small for the worst case (M2), a bias or scale of another length, a bias that is no FP16
            number.
    """
    fmt = config.weight_format
    weight_code = integer_codes(layer, weight_code, fmt)
    config.check(layer, weight_code.shape)
    c_out = weight_code.shape[3]
    w_scales = np.asarray(scales.w)
    for name, array in (("w_scale", w_scales), ("bias", None if bias is None else np.asarray(bias))):
        if array is not None and array.shape not in ((), (c_out,)):
            raise BitrowError(f"{layer} {name}: found shape {array.shape}, expected {c_out} channels")
    lfsr.check_seed(layer, seed)
    x_scale, dy_scale = check_scale(layer, "x_scale", scales.x), check_scale(layer, "dy_scale", scales.dy)
    w_scales = _weight_scales(layer, w_scales)
    if w_scales.ndim == 0:
        scale = np.array(product_scale(layer, "x_scale * w_scale", x_scale, float(w_scales)))
    else:
        scale = product_scales(layer, "x_scale * w_scale", x_scale, w_scales.tolist())
    return ConvParams(
        weight_code=jnp.asarray(weight_code, fxp.code_dtype(fmt)),
        x_inv_scale=jnp.float16(inverse_scale(x_scale)),
        scale=jnp.asarray(scale, jnp.float16),
        w_scale=jnp.asarray(w_scales, jnp.float16),
        dy_inv_scale=jnp.float16(inverse_scale(dy_scale)),
        dx_scale=_dx_scale(config, layer, w_scales, dy_scale),
        bias=None if bias is None else jnp.broadcast_to(jnp.asarray(exact_fp16(layer, "bias", bias)), (c_out,)),
        seed=jnp.uint16(seed),
    )


def _weight_scales(layer: str, given: np.ndarray) -> np.ndarray:
    """float64 `[]` or `[c_out]`."""
    if not given.ndim:
        return np.array(check_scale(layer, "w_scale", given.item()))
    return np.array([check_scale(layer, f"w_scale channel {c}", each) for c, each in enumerate(given)])


def _dx_scale(config: ConvConfig, layer: str, w_scales: np.ndarray, dy_scale: float) -> Array | None:
    if config.gradient is Gradient.FP16:
        return None
    if config.fold:
        return jnp.float16(dy_scale)
    if w_scales.ndim:
        return None
    return jnp.float16(product_scale(layer, "dy_scale * w_scale", dy_scale, float(w_scales)))


def check_input(config: ConvConfig, params: ConvParams, shape: tuple[int, ...]) -> None:
    """Refuse an input or parameters that do not fit the kernel.

    Raises:
        BitrowError: another channel count, a map smaller than the kernel, or what `check_params` refuses.
    """
    check_params(config, params)
    kh, kw, c_in, _ = params.weight_code.shape
    if shape[3] != c_in * config.groups:
        raise BitrowError(f"convolution input: found {shape[3]} channels, expected {c_in * config.groups}")
    down, across = config.windows((kh, kw))
    if min(config.output_hw((kh, kw), shape[1:3])) < 1:
        raise BitrowError(
            f"convolution input: found {shape[1]}x{shape[2]}, expected at least the kernel of "
            f"{down.extent}x{across.extent} with padding {config.padding}"
        )


def check_params(config: ConvConfig, params: ConvParams) -> None:
    """Refuse parameters that do not fit each other or the configuration.

    Raises:
        BitrowError: codes of the other signedness, scales or a bias that are not one for each output channel.
    """
    code = params.weight_code
    if code.dtype != fxp.code_dtype(config.weight_format):
        raise BitrowError(
            f"convolution weight_code: found {code.dtype}, expected {fxp.code_dtype(config.weight_format)} "
            f"for {config.weight_format}"
        )
    channels = (code.shape[3],)
    for name, array, allowed in (
        ("scale", params.scale, ((), channels)), ("w_scale", params.w_scale, ((), channels)),
        ("bias", params.bias, (channels,)),
    ):  # fmt: skip
        if array is not None and array.shape not in allowed:
            raise BitrowError(f"convolution {name}: found shape {list(array.shape)}, expected {list(channels)}")


def check_gradient(config: ConvConfig, params: ConvParams, shape: tuple[int, ...], dy_hw: tuple[int, ...]) -> None:
    """Refuse an output gradient of another size than `forward`'s output for an input of `shape`."""
    kh, kw, c_in, _ = params.weight_code.shape
    if shape[3] != c_in * config.groups:
        raise BitrowError(f"convolution mask: found {shape[3]} channels, expected {c_in * config.groups}")
    expected = config.output_hw((kh, kw), shape[1:3])
    if dy_hw != expected:
        raise BitrowError(
            f"convolution dy: found {dy_hw[0]}x{dy_hw[1]}, expected {expected[0]}x{expected[1]} "
            f"for an input of {shape[1]}x{shape[2]}"
        )


def forward_places(config: ConvConfig, params: ConvParams, hw: tuple[int, ...]) -> mac.Places:
    """Where the kernel meets an input of `hw` rows and columns."""
    kernel = params.weight_code.shape
    if config.transposed:
        return mac.gradient_places(config.windows(kernel), hw, config.output_hw(kernel[:2], hw))
    return mac.forward_places(config.windows(kernel))


def gradient_places(
    config: ConvConfig, params: ConvParams, dy_hw: tuple[int, ...], hw: tuple[int, ...]
) -> mac.Places:
    """Where the gradient's kernel meets an output gradient of so many rows and columns, for an input of `hw`."""
    if config.transposed:
        return mac.forward_places(config.windows(params.weight_code.shape))
    return mac.gradient_places(config.windows(params.weight_code.shape), dy_hw, hw)


def forward_kernel(config: ConvConfig, params: ConvParams, row: int = 0) -> mac.Kernel:
    """The weights ready for `accumulate`, of whole maps or of one row with so many columns; rotated where C5 asks."""
    weight = params.weight_code[::-1, ::-1] if config.transposed else params.weight_code
    if row:
        return mac.prepare_row(weight, config.groups, row)
    magnitudes = config.x_format.max_magnitude, config.weight_format.max_magnitude
    bound = config.bounds(weight.shape)[0]
    return mac.prepare(weight, _side_by_side(config, config.transposed), config.groups, magnitudes, bound)


def _side_by_side(config: ConvConfig, spread: bool) -> bool:
    """Windows read every position, and lie at every place: a map that is `spread` has them so at any stride."""
    return config.dilation == 1 and (spread or config.stride == 1)


def gradient_kernel(config: ConvConfig, params: ConvParams, row: int = 0) -> mac.Kernel:
    """The input gradient's kernel, channels swapped, rotated unless C5 says no, ready for `multiply_gradient`."""
    turn = mac.swap if config.transposed else mac.rotate
    if row:
        return mac.prepare_row(turn(params.weight_code, config.groups), config.groups, row)
    magnitudes = config.dy_format.max_magnitude, config.weight_format.max_magnitude
    bound, dense = config.bounds(params.weight_code.shape)[1], _side_by_side(config, not config.transposed)
    if config.transposed:
        return mac.prepare(turn(params.weight_code, config.groups), dense, config.groups, magnitudes, bound)
    return mac.prepare_gradient(params.weight_code, dense, config.groups, magnitudes, bound)


guard(__name__)
