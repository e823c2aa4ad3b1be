"""Max and average pools (SPEC.md A2, A3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float16, Float32, UInt8, UInt32

from bitrow.config import AvgPoolConfig, MaxPoolConfig
from bitrow.doors import guard
from bitrow.errors import BitrowError
from bitrow.formats import FP16, FP32
from bitrow.layers.layer import Gradients, Layer, Upstream
from bitrow.layers.rows import Operands, Rows, RowTask, Written
from bitrow.layers.twin import FloatLayer, Site, Twin
from bitrow.ops import fp16, meshes, softfloat
from bitrow.ops.mac import forward_padding, pad_spatial, windows
from bitrow.ops.reduce import fp32_add, running, tree
from bitrow.ops.tap import Tap, no_tap

_PADDING_KEY = -0x8000  # below every number's key
_NAN_KEY = 0x7FFF


def _order_key(x: Array) -> Array:
    """int32 that orders FP16 as A2 does: NaN highest, -0 equal to +0."""
    word = fp16.bits(x).astype(jnp.int32)
    magnitude = word & 0x7FFF
    key = jnp.where(word > 0x7FFF, -magnitude, magnitude)
    return jnp.where(magnitude > FP16.infinity_bits, _NAN_KEY, key)


def max_forward(
    config: MaxPoolConfig, x: Float16[Array, "n h w c"], tap: Tap = no_tap
) -> tuple[Float16[Array, "n oh ow c"], UInt8[Array, "n oh ow c"]]:
    """The first maximum of each window, and its place in it, kh*kernel + kw. Taps y, index.

    Raises:
        BitrowError: a map smaller than the window.
    """
    _check_window(config.kernel, x.shape, config.padding)
    padding = forward_padding(config.padding)
    present = jnp.pad(jnp.ones(x.shape[1:3], bool), config.padding)
    return max_rows(config, pad_spatial(x, padding, jnp.float16(0)), present, tap)


def max_rows(
    config: MaxPoolConfig, x: Float16[Array, "n h w c"], present: Bool[Array, "h w"], tap: Tap = no_tap
) -> tuple[Float16[Array, "n oh ow c"], UInt8[Array, "n oh ow c"]]:
    """`max_forward` of a padded slab: elements that are not `present` never win (SPEC.md A2)."""
    size = (config.kernel, config.kernel)
    key = _order_key(x)
    here = present[None, :, :, None] | jnp.zeros_like(key, bool)  # split over a mesh as x is
    key = jnp.where(here, key, jnp.int32(_PADDING_KEY))
    values = windows(fp16.canonical(x), size, config.stride)
    keys = windows(key, size, config.stride)
    best, y, index = keys[0], values[0], jnp.zeros(keys[0].shape, jnp.uint8)
    for place in range(1, len(keys)):
        better = keys[place] > best
        best = jnp.where(better, keys[place], best)
        y = jnp.where(better, values[place], y)
        index = jnp.where(better, jnp.uint8(place), index)
    tap("y", y)
    tap("index", index)
    return y, index


def _check_window(kernel: int, shape: tuple[int, ...], padding: int) -> None:
    if min(shape[1], shape[2]) + 2 * padding < kernel:
        raise BitrowError(
            f"pool input: found {shape[1]}x{shape[2]} with padding {padding}, expected at least {kernel}x{kernel}"
        )


def max_backward(
    config: MaxPoolConfig,
    index: UInt8[Array, "n oh ow c"],
    dy: Float16[Array, "n oh ow c"],
    input_hw: tuple[int, int],
    tap: Tap = no_tap,
) -> Float16[Array, "n h w c"]:
    """Each dy to its window's winner; several windows' dy are added in row-major order. Tap dx."""
    indices, gradients, present = [], [], []
    for kh in range(config.kernel):
        rows = _placement(config, kh, dy.shape[1], input_hw[0])
        indices.append(pad_spatial(index, (rows, (0, 0, 0)), jnp.uint8(0)))
        gradients.append(pad_spatial(dy, (rows, (0, 0, 0)), jnp.float16(0)))
        present.append(pad_spatial(jnp.ones((1, dy.shape[1], 1, 1), bool), (rows, (0, 0, 0)), jnp.bool_(False)))
    dx = max_gradient_rows(config, indices, gradients, present, input_hw[1])
    tap("dx", dx)
    return dx


def _placement(config: MaxPoolConfig, offset: int, count: int, size: int) -> tuple[int, int, int]:
    """Padding and dilation that put window i's word at input position i*S - P + offset."""
    low = offset - config.padding
    return low, size - low - (count - 1) * config.stride - 1, config.stride - 1


def max_gradient_rows(
    config: MaxPoolConfig,
    indices: Sequence[UInt8[Array, "n h ow c"]],
    gradients: Sequence[Float16[Array, "n h ow c"]],
    present: Sequence[Bool[Array, "#n h 1 1"]],
    width: int,
) -> Float16[Array, "n h w c"]:
    """`max_backward` of any rows: for each kh, the window rows that meet them at kh, and where there is one."""
    ow = gradients[0].shape[2]
    dx = seen = None
    # An input's windows in row-major order meet it at descending (kh, kw). The first dy is taken, not added to +0.
    for at in reversed(range(config.kernel * config.kernel)):
        kh, kw = divmod(at, config.kernel)
        columns = ((0, 0, 0), _placement(config, kw, ow, width))
        won = pad_spatial((indices[kh] == at) & present[kh], columns, jnp.bool_(False))
        gradient = pad_spatial(gradients[kh], columns, jnp.float16(0))
        more = fp16.canonical(gradient)
        if dx is None or seen is None:
            dx, seen = jnp.where(won, more, jnp.float16(0)), won
            continue
        more = jnp.where(seen, fp16.add(dx, gradient, config.mode), more)
        dx, seen = jnp.where(won, more, dx), seen | won
    assert dx is not None  # a kernel has a place
    return dx


def _avg_window(config: AvgPoolConfig, hw: tuple[int, ...]) -> tuple[int, int]:
    return (hw[0], hw[1]) if config.kernel is None else (config.kernel, config.kernel)


def avg_forward(
    config: AvgPoolConfig, x: Float16[Array, "n h w c"], tap: Tap = no_tap
) -> Float16[Array, "n oh ow c"]:
    """Mean of each window in FP32, rounded once to FP16. Taps sum_level*, sum_running, sum, y.

    Raises:
        BitrowError: a map smaller than the window.
    """
    if config.kernel is not None:
        _check_window(config.kernel, x.shape, 0)
    kh, kw = _avg_window(config, x.shape[1:3])
    rows = avg_row_sums(config, x[:, : x.shape[1] // kh * kh], kh, kw, tap)
    total = running(jnp.moveaxis(rows, 2, 0), fp32_add, tap)
    tap("sum", total)
    y = avg_scale(config, softfloat.float32_bits(total), kh * kw)
    tap("y", y)
    return y


def avg_row_sums(
    config: AvgPoolConfig, x: Float16[Array, "n h w c"], kh: int, kw: int, tap: Tap = no_tap
) -> Float32[Array, "n oh kh ow c"]:
    """Sum of each row of each window, by a pairwise tree over w (SPEC.md A3); whole windows of `kh` rows in x."""
    n, h, w, c = x.shape
    wide = fp16.widen(x[:, :, : w // kw * kw], config.mode)
    return tree(meshes.reshape(wide, (n, h // kh, kh, w // kw, kw, c)), 4, fp32_add, tap)


def avg_scale(config: AvgPoolConfig, words: UInt32[Array, "*s"], count: int) -> Float16[Array, "*s"]:
    """FP32 words times fp32(1/count), one rounding to FP16 (SPEC.md A3)."""
    if count & (count - 1) == 0:  # sums and gradients are far above FP32's subnormals: the product is exact
        return fp16.round_once(softfloat.bits_float32(words) * jnp.float32(1 / count), config.mode)
    inv_n = softfloat.from_ratio(1, count, FP32)
    return softfloat.bits_float16(softfloat.mul(words, inv_n, FP32, config.mode, FP16))


def avg_backward(
    config: AvgPoolConfig,
    dy: Float16[Array, "n oh ow c"],
    input_hw: tuple[int, int],
    tap: Tap = no_tap,
) -> Float16[Array, "n h w c"]:
    """dy times fp32(1/n), rounded once, to every input of its window; +0 to the others. Tap dx."""
    kh, kw = _avg_window(config, input_hw)
    dx = jnp.repeat(avg_gradient_rows(config, dy, kh * kw, kw, input_hw[1]), kh, axis=1)
    dx = lax.pad(dx, jnp.float16(0), ((0, 0, 0), (0, input_hw[0] - dx.shape[1], 0), (0, 0, 0), (0, 0, 0)))
    tap("dx", dx)
    return dx


def avg_gradient_rows(
    config: AvgPoolConfig, dy: Float16[Array, "n h ow c"], count: int, kw: int, width: int
) -> Float16[Array, "n h w c"]:
    """The gradient that each input row under a row of windows takes; +0 in columns under none (SPEC.md A3)."""
    each = avg_scale(config, softfloat.float32_bits(fp16.widen(dy, config.mode)), count)
    dx = jnp.repeat(each, kw, axis=2)
    return lax.pad(dx, jnp.float16(0), ((0, 0, 0), (0, 0, 0), (0, width - dx.shape[2], 0), (0, 0, 0)))


def apply_max(config: MaxPoolConfig, x: Float16[Array, "n h w c"]) -> Float16[Array, "n oh ow c"]:
    """`max_forward`'s y, differentiable by `max_backward`."""
    return MAX_LAYER.apply(config, None, x)


def apply_avg(config: AvgPoolConfig, x: Float16[Array, "n h w c"]) -> Float16[Array, "n oh ow c"]:
    """`avg_forward`, differentiable by `avg_backward`."""
    return AVG_LAYER.apply(config, None, x)


def _max_pass(config: MaxPoolConfig, params: None, inputs: list[Array], tap: Tap) -> tuple[Array, Array]:
    return max_forward(config, inputs[0], tap)


def _max_back(config: MaxPoolConfig, up: Upstream) -> Gradients:
    return Gradients((max_backward(config, up.saved, up.dy, up.shape[:2], up.tap),))


def _avg_pass(config: AvgPoolConfig, params: None, inputs: list[Array], tap: Tap) -> tuple[Array, None]:
    return avg_forward(config, inputs[0], tap), None


def _avg_back(config: AvgPoolConfig, up: Upstream) -> Gradients:
    return Gradients((avg_backward(config, up.dy, up.shape[:2], up.tap),))


def _max_float(config: MaxPoolConfig, layer: FloatLayer, inputs: list[Array]) -> tuple[Array, None]:
    window, stride = (1, config.kernel, config.kernel, 1), (1, config.stride, config.stride, 1)
    padding = ((0, 0), (config.padding, config.padding), (config.padding, config.padding), (0, 0))
    return lax.reduce_window(inputs[0], -jnp.inf, lax.max, window, stride, padding), None


def _avg_float(config: AvgPoolConfig, layer: FloatLayer, inputs: list[Array]) -> tuple[Array, None]:
    n, h, w, c = inputs[0].shape
    kh, kw = _avg_window(config, (h, w))
    cropped = inputs[0][:, : h // kh * kh, : w // kw * kw, :]
    return cropped.reshape(n, h // kh, kh, w // kw, kw, c).mean((2, 4)), None


def _shrink(site: Site) -> float:
    (h, w, _), (oh, ow, _) = site.shape, site.output
    return oh * ow / (h * w)


def _max_row(config: MaxPoolConfig, task: RowTask, operands: Operands) -> tuple[Array, Written]:
    _, w, c = task.place.shape
    columns = jnp.asarray(np.pad(np.ones(w, bool), config.padding))
    present = jnp.stack(task.present("x"))[:, None] & columns[None]
    y, index = max_rows(config, task.slab("x", c), present)
    return task.settle(y), (index,)


def _max_row_gradient(config: MaxPoolConfig, task: RowTask) -> Written:
    """Rows come by the windows' order, and so by descending kh."""
    row, present = (-1, 1, *task.place.out[1:]), [one.reshape(1, 1, 1, 1) for one in task.present("dy")]
    index, dy = ([one.reshape(row) for one in task.taken(name)] for name in ("index", "dy"))
    return (max_gradient_rows(config, index[::-1], dy[::-1], present[::-1], task.place.shape[1]),)


def _avg_row_head(config: AvgPoolConfig, task: RowTask) -> Written:
    _, w, c = task.place.shape
    total = task.take("sum", 1, *task.place.out[1:])
    added = avg_row_sums(config, task.take("x", 1, w, c), 1, config.kernel or w)[:, :, 0]
    return (softfloat.float32_bits(fp32_add(softfloat.bits_float32(total), added)),)


def _avg_row(config: AvgPoolConfig, task: RowTask, operands: Operands) -> tuple[Array, Written]:
    return avg_scale(config, task.take("sum"), math.prod(_avg_window(config, task.place.shape))), ()


def _avg_row_gradient(config: AvgPoolConfig, task: RowTask) -> Written:
    kh, kw = _avg_window(config, task.place.shape)
    dx = avg_gradient_rows(config, task.take("dy", 1, *task.place.out[1:]), kh * kw, kw, task.place.shape[1])
    return (jnp.where(task.present("dy")[0], dx, jnp.float16(0)),)


MAX_LAYER = Layer(
    _max_pass, _max_back, Rows(_max_row, gradient=_max_row_gradient),
    twin=Twin(_max_float, moment=lambda config, site: 2 * site.moments[0],
              gradient=lambda config, site, dy: dy * _shrink(site)),
)  # fmt: skip
AVG_LAYER = Layer(
    _avg_pass, _avg_back, Rows(_avg_row, head=_avg_row_head, gradient=_avg_row_gradient),
    twin=Twin(_avg_float, moment=lambda config, site: site.moments[0] / 3,
              gradient=lambda config, site, dy: dy * _shrink(site) ** 2),
)  # fmt: skip

guard(__name__)
