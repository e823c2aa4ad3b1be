"""Max and average pools (SPEC.md A2, A3)."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float16, Float32, UInt8, UInt32

from bitrow.config import AvgPoolConfig, MaxPoolConfig
from bitrow.config.windows import Windows, both
from bitrow.doors import guard
from bitrow.formats import FP16, FP32
from bitrow.layers.layer import Gradients, Layer, Upstream
from bitrow.layers.pool_windows import check_window, float_windows, gathered, spread_rows
from bitrow.layers.rows import Operands, Rows, RowTask, Written
from bitrow.layers.twin import FloatLayer, Site, Twin
from bitrow.ops import fp16, meshes, softfloat
from bitrow.ops.mac import forward_places, pad_spatial, windows
from bitrow.ops.reduce import fp32_add, opaque, running, tree
from bitrow.ops.tap import Tap, no_tap

_PADDING_KEY = -0x8000  # below every number's key
_NAN_KEY = 0x7FFF


def order_key(x: Array) -> Array:
    """int32 that orders FP16 as A2 does: NaN highest, -0 equal to +0."""
    word = fp16.bits(x).astype(jnp.int32)
    magnitude = word & 0x7FFF
    key = jnp.where(word > 0x7FFF, -magnitude, magnitude)
    return jnp.where(magnitude > FP16.infinity_bits, _NAN_KEY, key)


def max_forward(
    config: MaxPoolConfig, x: Float16[Array, "n h w c"], tap: Tap = no_tap
) -> tuple[Float16[Array, "n oh ow c"], UInt8[Array, "n oh ow c"]]:
    """The first maximum of each window, and its place in it, kh*KW + kw. Taps y, index.

    Raises:
        BitrowError: a map smaller than the window.
    """
    check_window(config.windows, x.shape)
    padding = forward_places(config.windows).padding
    present = jnp.pad(jnp.ones(x.shape[1:3], bool), [edge[:2] for edge in padding])
    return max_rows(config, pad_spatial(x, padding, jnp.float16(0)), present, tap)


def max_rows(
    config: MaxPoolConfig, x: Float16[Array, "n h w c"], present: Bool[Array, "h w"], tap: Tap = no_tap
) -> tuple[Float16[Array, "n oh ow c"], UInt8[Array, "n oh ow c"]]:
    """`max_forward` of a padded slab: elements that are not `present` never win (SPEC.md A2)."""
    size, stride = both(config.kernel), both(config.stride)
    key = order_key(x)
    here = present[None, :, :, None] | jnp.zeros_like(key, bool)  # split over a mesh as x is
    key = jnp.where(here, key, jnp.int32(_PADDING_KEY))
    values = windows(fp16.canonical(x), size, stride)
    keys = windows(key, size, stride)
    best, y, index = keys[0], values[0], jnp.zeros(keys[0].shape, jnp.uint8)
    for place in range(1, len(keys)):
        better = keys[place] > best
        best = jnp.where(better, keys[place], best)
        y = jnp.where(better, values[place], y)
        index = jnp.where(better, jnp.uint8(place), index)
    tap("y", y)
    tap("index", index)
    return y, index


def max_backward(
    config: MaxPoolConfig,
    index: UInt8[Array, "n oh ow c"],
    dy: Float16[Array, "n oh ow c"],
    input_hw: tuple[int, int],
    tap: Tap = no_tap,
) -> Float16[Array, "n h w c"]:
    """Each dy to its window's winner; several windows' dy are added in row-major order. Tap dx."""
    indices, present = spread_rows(config.windows[0], index, input_hw[0])
    gradients, _ = spread_rows(config.windows[0], dy, input_hw[0])
    dx = max_gradient_rows(config, indices, gradients, present, input_hw[1])
    tap("dx", dx)
    return dx


def max_gradient_rows(
    config: MaxPoolConfig,
    indices: Sequence[UInt8[Array, "n h ow c"]],
    gradients: Sequence[Float16[Array, "n h ow c"]],
    present: Sequence[Bool[Array, "#n h 1 1"]],
    width: int,
) -> Float16[Array, "n h w c"]:
    """`max_backward` of any rows: for each kh, the window rows that meet them at kh, and where there is one."""
    kernel = both(config.kernel)[1]
    won = [
        (index == kh * kernel + kw) & here
        for kh, (index, here) in enumerate(zip(indices, present, strict=True))
        for kw in range(kernel)
    ]
    return gathered(config.windows[1], gradients, won, width, config.mode)


def avg_forward(
    config: AvgPoolConfig, x: Float16[Array, "n h w c"], tap: Tap = no_tap
) -> Float16[Array, "n oh ow c"]:
    """Mean of each window in FP32, rounded once to FP16. Taps sum_level*, sum_running, sum, y.

    Raises:
        BitrowError: a map smaller than the window.
    """
    lie = config.windows(x.shape[1:3])
    check_window(lie, x.shape)
    if config.apart:
        kh, kw = lie[0].kernel, lie[1].kernel
        rows = avg_row_sums(config, x[:, : x.shape[1] // kh * kh], kh, kw, tap)
    else:
        rows = _shared_row_sums(config, pad_spatial(x, forward_places(lie).padding, jnp.float16(0)), lie, tap)
    total = running(jnp.moveaxis(rows, 2, 0), fp32_add, tap)
    tap("sum", total)
    y = _mean(config, softfloat.float32_bits(total), x.shape[1:3])
    tap("y", y)
    return y


def avg_row_sums(
    config: AvgPoolConfig, x: Float16[Array, "n h w c"], kh: int, kw: int, tap: Tap = no_tap
) -> Float32[Array, "n oh kh ow c"]:
    """Sum of each row of each window, by a pairwise tree over w (SPEC.md A3); whole windows of `kh` rows in x."""
    n, h, w, c = x.shape
    wide = fp16.widen(x[:, :, : w // kw * kw], config.mode)
    return tree(meshes.reshape(wide, (n, h // kh, kh, w // kw, kw, c)), 4, fp32_add, tap)


def _shared_row_sums(config: AvgPoolConfig, padded: Array, lie: Windows, tap: Tap = no_tap) -> Array:
    """`avg_row_sums` of windows that lie anywhere on a padded map."""
    (kh, kw), stride = (window.kernel for window in lie), (lie[0].stride, lie[1].stride)
    met = windows(opaque(fp16.widen(padded, config.mode)), (kh, kw), stride)
    rows = [jnp.stack(met[at : at + kw], axis=3) for at in range(0, kh * kw, kw)]
    return tree(jnp.stack(rows, axis=2), 4, fp32_add, tap)


def avg_scale(config: AvgPoolConfig, words: UInt32[Array, "*s"], count: int) -> Float16[Array, "*s"]:
    """FP32 words times fp32(1/count), one rounding to FP16 (SPEC.md A3)."""
    if count & (count - 1) == 0:  # sums and gradients are far above FP32's subnormals: the product is exact
        return fp16.round_once(softfloat.bits_float32(words) * jnp.float32(1 / count), config.mode)
    inv_n = softfloat.from_ratio(1, count, FP32)
    return softfloat.bits_float16(softfloat.mul(words, inv_n, FP32, config.mode, FP16))


def _counts(config: AvgPoolConfig, hw: tuple[int, ...]) -> np.ndarray:
    """n of each window, int64[oh, ow] (SPEC.md A3)."""
    rows, columns = (
        [window.kernel] * window.results(size) if config.count_padding else window.inside(size)
        for window, size in zip(config.windows(hw), hw, strict=True)
    )
    return np.outer(rows, columns)


def _mean(
    config: AvgPoolConfig, words: UInt32[Array, "n h ow c"], hw: tuple[int, ...], row: Array | None = None
) -> Float16[Array, "n h ow c"]:
    """Words of each window of a map of `hw` times its fp32(1/n); of one row of windows, if given."""
    counts = _counts(config, hw)
    different, which = np.unique(counts, return_inverse=True)
    if len(different) == 1:
        return avg_scale(config, words, int(different[0]))
    inverses = jnp.stack([softfloat.from_ratio(1, int(count), FP32) for count in different])
    inv_n = inverses[jnp.asarray(which.reshape(counts.shape), jnp.int32)][None, :, :, None]
    if row is not None:
        inv_n = lax.dynamic_slice_in_dim(inv_n, row, 1, axis=1)
    return softfloat.bits_float16(softfloat.mul(words, inv_n, FP32, config.mode, FP16))


def avg_backward(
    config: AvgPoolConfig,
    dy: Float16[Array, "n oh ow c"],
    input_hw: tuple[int, int],
    tap: Tap = no_tap,
) -> Float16[Array, "n h w c"]:
    """dy times fp32(1/n), rounded once, to every input of its window; +0 to inputs of none.

    Where windows share inputs their gradients are added in row-major order. Taps scaled (there only), dx.
    """
    lie = config.windows(input_hw)
    if config.apart:
        kh, kw = lie[0].kernel, lie[1].kernel
        dx = jnp.repeat(avg_gradient_rows(config, dy, kh * kw, kw, input_hw[1]), kh, axis=1)
        dx = lax.pad(dx, jnp.float16(0), ((0, 0, 0), (0, input_hw[0] - dx.shape[1], 0), (0, 0, 0), (0, 0, 0)))
    else:
        scaled = _mean(config, softfloat.float32_bits(fp16.widen(dy, config.mode)), input_hw)
        tap("scaled", scaled)
        dx = avg_shared_gradient_rows(config, *spread_rows(lie[0], scaled, input_hw[0]), input_hw[1])
    tap("dx", dx)
    return dx


def avg_gradient_rows(
    config: AvgPoolConfig, dy: Float16[Array, "n h ow c"], count: int, kw: int, width: int
) -> Float16[Array, "n h w c"]:
    """The gradient that each input row under a row of windows takes; +0 in columns under none (SPEC.md A3)."""
    each = avg_scale(config, softfloat.float32_bits(fp16.widen(dy, config.mode)), count)
    dx = jnp.repeat(each, kw, axis=2)
    return lax.pad(dx, jnp.float16(0), ((0, 0, 0), (0, 0, 0), (0, width - dx.shape[2], 0), (0, 0, 0)))


def avg_shared_gradient_rows(
    config: AvgPoolConfig,
    scaled: Sequence[Float16[Array, "n h ow c"]],
    present: Sequence[Bool[Array, "#n h 1 1"]],
    width: int,
) -> Float16[Array, "n h w c"]:
    """Sums of the windows' gradients that hold each input: for each kh, the window rows that meet rows at kh, and
    where there is one (SPEC.md A3)."""
    across = config.windows((len(scaled), width))[1]
    here = [one & jnp.ones_like(each, bool) for each, one in zip(scaled, present, strict=True)]
    goes = [one for one in here for _ in range(across.kernel)]
    return gathered(across, scaled, goes, width, config.mode)


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
    return lax.reduce_window(inputs[0], -jnp.inf, lax.max, *float_windows(config.windows)), None


def _avg_float(config: AvgPoolConfig, layer: FloatLayer, inputs: list[Array]) -> tuple[Array, None]:
    n, h, w, c = inputs[0].shape
    lie = config.windows((h, w))
    if not config.apart:
        total = lax.reduce_window(inputs[0], 0.0, lax.add, *float_windows(lie))
        return total / jnp.asarray(_counts(config, (h, w)), jnp.float32)[None, :, :, None], None
    kh, kw = lie[0].kernel, lie[1].kernel
    cropped = inputs[0][:, : h // kh * kh, : w // kw * kw, :]
    return cropped.reshape(n, h // kh, kh, w // kw, kw, c).mean((2, 4)), None


def _shrink(site: Site) -> float:
    (h, w, _), (oh, ow, _) = site.shape, site.output
    return oh * ow / (h * w)


def _part(config: AvgPoolConfig, site: Site) -> float:
    """Of a mean that one element is, about."""
    down, across = config.windows(site.shape)
    return _shrink(site) if config.apart else 1 / (down.kernel * across.kernel)


def _max_row(config: MaxPoolConfig, task: RowTask, operands: Operands) -> tuple[Array, Written]:
    (_, w, c), across = task.place.shape, config.windows[1]
    columns = jnp.asarray(np.pad(np.ones(w, bool), (across.before, across.after)))
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
    kw = config.windows(task.place.shape)[1].kernel
    added = avg_row_sums(config, task.take("x", 1, w, c), 1, kw)[:, :, 0]
    return (softfloat.float32_bits(fp32_add(softfloat.bits_float32(total), added)),)


def _avg_row(config: AvgPoolConfig, task: RowTask, operands: Operands) -> tuple[Array, Written]:
    lie = config.windows(task.place.shape)
    if config.apart:
        return avg_scale(config, task.take("sum"), lie[0].kernel * lie[1].kernel), ()
    rows = _shared_row_sums(config, task.slab("x", task.place.shape[2]), lie)
    total = softfloat.float32_bits(running(jnp.moveaxis(rows, 2, 0), fp32_add))
    return task.settle(_mean(config, total, task.place.shape[:2], task.row[0])), ()


def _avg_row_back(config: AvgPoolConfig, task: RowTask, dy: Array) -> Written:
    """Where windows share inputs their gradients are scaled before they meet."""
    if config.apart:
        return (dy,)
    words = softfloat.float32_bits(fp16.widen(dy.reshape(-1, 1, *task.place.out[1:]), config.mode))
    return (_mean(config, words, task.place.shape[:2], task.row[0]),)


def _avg_row_gradient(config: AvgPoolConfig, task: RowTask) -> Written:
    """Rows come by the windows' order, and so by descending kh."""
    lie = config.windows(task.place.shape)
    if not config.apart:
        present = [one.reshape(1, 1, 1, 1) for one in task.present("dy")]
        scaled = [one.reshape(-1, 1, *task.place.out[1:]) for one in task.taken("dy")]
        return (avg_shared_gradient_rows(config, scaled[::-1], present[::-1], task.place.shape[1]),)
    kh, kw = lie[0].kernel, lie[1].kernel
    dx = avg_gradient_rows(config, task.take("dy", 1, *task.place.out[1:]), kh * kw, kw, task.place.shape[1])
    return (jnp.where(task.present("dy")[0], dx, jnp.float16(0)),)


MAX_LAYER = Layer(
    _max_pass, _max_back, Rows(_max_row, gradient=_max_row_gradient),
    twin=Twin(_max_float, moment=lambda config, site: 2 * site.moments[0],
              gradient=lambda config, site, dy: dy * _shrink(site)),
)  # fmt: skip
AVG_LAYER = Layer(
    _avg_pass, _avg_back, Rows(_avg_row, _avg_row_back, _avg_row_head, _avg_row_gradient),
    twin=Twin(_avg_float, moment=lambda config, site: site.moments[0] / 3,
              gradient=lambda config, site, dy: dy * _shrink(site) * _part(config, site)),
)  # fmt: skip

guard(__name__)
