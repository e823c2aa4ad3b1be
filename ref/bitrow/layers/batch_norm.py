"""Batch norm: frozen (B1), and with batch statistics reorganised into one pass over the rows (B2 to B4)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float16

from bitrow.config import BatchNormConfig, Statistics
from bitrow.config.rows import Place
from bitrow.doors import guard
from bitrow.errors import BitrowError
from bitrow.formats import FP16
from bitrow.host import fold_batch_norm, host_fp32
from bitrow.layers.batch_statistics import (
    BatchParams,
    BatchSaved,
    BatchStatistics,
    gradient,
    gradient_rows,
    row_sums,
    statistics,
)
from bitrow.layers.frozen import zero_cotangent
from bitrow.layers.layer import Gradients, Layer, Upstream
from bitrow.layers.rows import Operands, Rows, RowTask, Written
from bitrow.layers.twin import EPS, Calibration, FloatLayer, Norm, Site, Stats, Twin
from bitrow.ops import fp16, meshes, softfloat
from bitrow.ops.tap import Tap, no_tap
from bitrow.splitmix import Draw

_MOMENTUM = 0.9  # of the float twin's running statistics


class FrozenParams(NamedTuple):
    """Folded coefficients of B1: z = a*y + b."""

    a: Float16[Array, "c"]
    b: Float16[Array, "c"]


def fold(
    layer: str, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float
) -> FrozenParams:
    """Host fold of B1 in binary64; float32 `[c]` in.

    Raises:
        BitrowError: naming `layer` and the channel; a coefficient that FP16 cannot hold.
    """
    a, b = fold_batch_norm(layer, gamma, beta, mean, var, eps)
    return FrozenParams(jnp.asarray(a), jnp.asarray(b))


def affine(
    config: BatchNormConfig, a: Float16[Array, "c"], b: Float16[Array, "c"], y: Float16[Array, "n h w c"],
    tap: Tap = no_tap,
) -> Float16[Array, "n h w c"]:
    """z = a*y + b of any rows (SPEC.md B1). Taps ay (absent with fma), z."""
    if config.fma:
        z = fp16.fma(a, y, b, config.mode)
    elif tap is no_tap:
        z = fp16.mul_add(a, y, b, config.mode)
    else:
        ay = fp16.mul(a, y, config.mode)
        tap("ay", ay)
        z = fp16.add(ay, b, config.mode)
    tap("z", z)
    return z


def forward_frozen(
    config: BatchNormConfig, params: FrozenParams, y: Float16[Array, "n h w c"], tap: Tap = no_tap
) -> Float16[Array, "n h w c"]:
    """z = a*y + b (SPEC.md B1). Taps ay (absent with fma), z."""
    return affine(config, params.a, params.b, y, tap)


def backward_frozen(
    config: BatchNormConfig, params: FrozenParams, dz: Float16[Array, "n h w c"], tap: Tap = no_tap
) -> Float16[Array, "n h w c"]:
    """dy = a*dz (SPEC.md B1). Tap dy."""
    dy = fp16.mul(params.a, dz, config.mode)
    tap("dy", dy)
    return dy


def forward_batch(
    config: BatchNormConfig, params: BatchParams, y: Float16[Array, "n h w c"], tap: Tap = no_tap
) -> tuple[Float16[Array, "n h w c"], BatchSaved]:
    """z with the batch's own statistics, and what backward needs (SPEC.md B2). Taps as B2 names them.

    Raises:
        BitrowError: no elements, which have no mean.
    """
    r1, r2 = row_sums(config, y, y, tap=tap)
    found = statistics(config, params, r1, r2, y.shape[0] * y.shape[1] * y.shape[2], tap)
    z = affine(config, found.a16, found.b16, y, tap)
    return z, BatchSaved(y, found.mean, found.r, found.a, found.a16)


def backward_batch(
    config: BatchNormConfig, saved: BatchSaved, dz: Float16[Array, "n h w c"], tap: Tap = no_tap
) -> tuple[Float16[Array, "n h w c"], Array, Array]:
    """dy, dgamma, dbeta (`[c]`, in the accumulator's format) from y, not from its normalised value (SPEC.md B3, B4)."""
    t1, t2 = row_sums(config, dz, saved.y, ("dzy", "t1", "t2"), tap)
    count = dz.shape[0] * dz.shape[1] * dz.shape[2]
    found = gradient(config, saved, t1, t2, count, tap)
    dy = gradient_rows(config, saved.a16, found.p16, found.q16, dz, saved.y, tap)
    return dy, found.dgamma, found.dbeta


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def apply_frozen(config: BatchNormConfig, params: FrozenParams, y: Float16[Array, "n h w c"]) -> Array:
    """`forward_frozen`, differentiable in y by `backward_frozen`; a and b are frozen (SPEC.md C4)."""
    return forward_frozen(config, params, y)


def _frozen_forward(config: BatchNormConfig, params: FrozenParams, y: Array) -> tuple[Array, FrozenParams]:
    return forward_frozen(config, params, y), params


def _frozen_backward(config: BatchNormConfig, params: FrozenParams, dz: Array) -> tuple[FrozenParams, Array]:
    return zero_cotangent(params), backward_frozen(config, params, dz)


apply_frozen.defvjp(_frozen_forward, _frozen_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def apply_batch(config: BatchNormConfig, params: BatchParams, y: Float16[Array, "n h w c"]) -> Array:
    """`forward_batch`'s z, differentiable by `backward_batch` in y, gamma and beta (SPEC.md B3, B4).

    Raises:
        BitrowError: y split by `shard_map` under one gamma: the statistics of parts are not the batch's.
    """
    return _batch_forward(config, params, y)[0]


def _batch_forward(config: BatchNormConfig, params: BatchParams, y: Array) -> tuple[Array, BatchSaved]:
    split = meshes.varying(y) - meshes.varying(params.gamma)
    if split:
        raise BitrowError(
            f"batch norm y: found parts along {', '.join(sorted(split))}, expected the whole batch, whose statistics "
            f"B2 takes; or a gamma, beta and eps of each part's own"
        )
    return forward_batch(config, params, y)


def _batch_backward(config: BatchNormConfig, saved: BatchSaved, dz: Array) -> tuple[BatchParams, Array]:
    dy, dgamma, dbeta = backward_batch(config, saved, dz)
    zero = jnp.zeros((), jnp.float32)
    return BatchParams(dgamma.astype(jnp.float32), dbeta.astype(jnp.float32), zero), dy


apply_batch.defvjp(_batch_forward, _batch_backward)


class BatchNormGrad(NamedTuple):
    """Gradients of a batch norm's gamma and beta, [c], in the accumulator's format (SPEC.md B3, B4)."""

    dgamma: Array
    dbeta: Array


def _batch(config: BatchNormConfig) -> bool:
    return config.statistics is Statistics.BATCH


def _forward(
    config: BatchNormConfig, params: FrozenParams | BatchParams, inputs: list[Array], tap: Tap
) -> tuple[Array, BatchSaved | None]:
    if isinstance(params, BatchParams):
        return forward_batch(config, params, inputs[0], tap)
    return forward_frozen(config, params, inputs[0], tap), None


def _backward(config: BatchNormConfig, up: Upstream) -> Gradients:
    if not _batch(config):
        return Gradients((backward_frozen(config, up.params, up.dy, up.tap),))
    dx, dgamma, dbeta = backward_batch(config, up.saved, up.dy, up.tap)
    return Gradients((dx,), BatchNormGrad(dgamma, dbeta))


def _check(where: str, config: BatchNormConfig, params: FrozenParams | BatchParams) -> None:
    if isinstance(params, BatchParams) and float(params.eps) < 0:
        raise BitrowError(f"{where} eps: found {float(params.eps)!r}, expected 0 or more")


def _float(config: BatchNormConfig, layer: FloatLayer, inputs: list[Array]) -> tuple[Array, Stats]:
    (y,), norm, stats = inputs, layer.params, layer.stats
    if layer.train:
        mean, var = y.mean((0, 1, 2)), y.var((0, 1, 2))
        stats = Stats(*(_MOMENTUM * old + (1 - _MOMENTUM) * new for old, new in zip(stats, (mean, var), strict=True)))
    else:
        mean, var = stats
    a = norm.gamma / jnp.sqrt(var + EPS)
    b = norm.beta - mean * a
    return y * jnp.broadcast_to(a, y.shape) + jnp.broadcast_to(b, y.shape), stats


def _initialize(config: BatchNormConfig, site: Site, rng: np.random.Generator) -> FloatLayer:
    ones, zeros = (make(site.output[2], jnp.float32) for make in (jnp.ones, jnp.zeros))
    return FloatLayer(Norm(ones, zeros), Stats(zeros, ones))


def _calibrate(
    config: BatchNormConfig, site: Site, layer: FloatLayer, found: Calibration
) -> FrozenParams | BatchParams:
    gain, norm = found.gain, layer.params
    if _batch(config):
        values = {name: jnp.asarray(host_fp32(site.where, name, value)) for name, value in norm._asdict().items()}
        return BatchParams(**values, eps=jnp.float32(EPS * gain * gain))
    gamma, beta, mean, var = (np.asarray(value, np.float32) for value in (*norm, *layer.stats))
    mean, var = mean * np.float32(gain), var * np.float32(gain * gain)  # powers of two: no digit changes
    return fold(site.where, gamma, beta, mean, var, EPS * gain * gain)


def _draw(config: BatchNormConfig, site: Site, deviation: float, draw: Draw) -> FrozenParams | BatchParams:
    (moment,), channels = site.moments, site.output[2:]
    gamma, spread = (draw.about(1.0, 0.25, channels) for _ in range(2))
    beta, centre = (draw.about(0.0, 0.25, channels) for _ in range(2))
    mean, var = (v.astype(np.float32) for v in (centre * math.sqrt(moment), spread * moment))
    gamma, beta = gamma.astype(np.float32), beta.astype(np.float32)
    if not _batch(config):
        return fold(site.where, gamma, beta, mean, var, EPS)
    return BatchParams(*map(jnp.asarray, (gamma, beta, np.float32(EPS))))


TWIN = Twin(
    _float, _initialize, lambda params: isinstance(params, Norm), _calibrate, _draw, normalizes=True,
    moment=lambda config, site: 1.0, gradient=lambda config, site, dy: dy / site.moments[0],
)  # fmt: skip


# By rows, the sums of the whole batch are made into coefficients by the first row that comes behind the barrier; their
# words lie in registers that the other rows reuse.


def _row_head(config: BatchNormConfig, task: RowTask) -> Written:
    y = task.take("y", 1, *task.place.shape[1:])
    return tuple(softfloat.to_bits(sums, config.accumulator) for sums in row_sums(config, y, y))


def _row(config: BatchNormConfig, task: RowTask, operands: Operands) -> tuple[Array, Written]:
    """B1's row; or B2's second half: a normalised row, and the words of the statistics."""
    if not _batch(config):
        return forward_frozen(config, task.ready, operands[0]), ()
    y = task.take("y", 1, *task.place.shape[1:])
    kept = task.take("statistics", 5 * task.place.out[2])

    def compute() -> Array:
        r1, r2 = (softfloat.from_bits(task.whole(name), config.accumulator) for name in ("r1", "r2"))
        found = statistics(config, task.ready, r1, r2, _row_count(task))
        return _spread(task, [found.mean, found.r, found.a, *map(softfloat.float16_bits, found[3:])])

    words = lax.cond(task.first, compute, lambda: kept)
    found = _statistics(words[0])
    return affine(config, found.a16, found.b16, y), (words,)


def _row_back(config: BatchNormConfig, task: RowTask, dy: Array) -> Written:
    """B1's row; or the row's sums of B3, and dz for what comes behind the barrier."""
    if not _batch(config):
        return (backward_frozen(config, task.ready, dy),)
    shape = (task.lanes, 1, *task.place.out[1:])
    sums = row_sums(config, dy.reshape(shape), task.take("y").reshape(shape), ("dzy", "t1", "t2"))
    return *(softfloat.to_bits(one, config.accumulator) for one in sums), dy


def _row_gradient(config: BatchNormConfig, task: RowTask) -> Written:
    """B3's second half: the words of p, q, dgamma and dbeta, and a row of dy."""
    shape, channels = task.place.out[1:], task.place.out[2]
    dz, y = (task.take(name, 1, *shape) for name in ("dy", "y"))
    found = _statistics(task.take("statistics", 5 * channels)[0])
    kept = task.take("coefficients", 4 * channels)

    def compute() -> Array:
        t1, t2 = (softfloat.from_bits(task.whole(name), config.accumulator) for name in ("t1", "t2"))
        made = gradient(config, found, t1, t2, _row_count(task))
        sums = [softfloat.to_bits(value, config.accumulator) for value in made[2:]]
        return _spread(task, [*map(softfloat.float16_bits, made[:2]), *sums])

    words = lax.cond(task.first, compute, lambda: kept)
    p16, q16 = (softfloat.from_bits(v, FP16) for v in words[0].reshape(4, -1)[:2])
    return words, gradient_rows(config, found.a16, p16, q16, dz, y)


def _row_count(task: RowTask) -> int:
    return task.images * task.lanes * task.place.out[0] * task.place.out[1]


def _spread(task: RowTask, vectors: list[Array]) -> Array:
    """Channel vectors side by side, the same in each lane."""
    words = jnp.concatenate(vectors)
    return jnp.broadcast_to(words, (task.lanes, words.size))


def _statistics(words: Array) -> BatchStatistics:
    mean, r, a, a16, b16 = words.reshape(5, -1)
    return BatchStatistics(mean, r, a, softfloat.bits_float16(a16), softfloat.bits_float16(b16))


def _row_params(
    config: BatchNormConfig, params: FrozenParams | BatchParams, place: Place, training: bool
) -> FrozenParams | BatchParams:
    if isinstance(params, BatchParams):
        return params
    return FrozenParams(*(jnp.tile(vector, place.out[1]) for vector in params))


def _row_trained(config: BatchNormConfig, whole: Mapping[str, Callable[[], Array]]) -> BatchNormGrad | None:
    if not _batch(config):
        return None
    words = whole["coefficients"]()[0, 0].reshape(4, -1)[2:]
    return BatchNormGrad(*(softfloat.from_bits(v, config.accumulator) for v in words))


ROWS = Rows(_row, _row_back, _row_head, _row_gradient, prepare=_row_params, trained=_row_trained)
LAYER = Layer(
    _forward, _backward, ROWS, lambda config: BatchParams if _batch(config) else FrozenParams, _batch, check=_check,
    twin=TWIN,
)  # fmt: skip

guard(__name__)
