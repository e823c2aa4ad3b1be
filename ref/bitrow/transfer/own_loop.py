"""What a training loop of one's own needs beside optax: scales for modules of one's own, a loss scale inside, delayed
scales, weights that train as codes, and a warning where a layer's gradient codes are all zero. docs/own_loop.md has a
whole loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from bitrow import host, typed
from bitrow.calibrate import LEAST_GRADIENT_PRODUCT, LOSS_SCALE_MAX, CalibrationRule, LeastSquares
from bitrow.errors import BitrowError
from bitrow.layers import conv as conv_layer
from bitrow.transfer import gradient, loss_scale
from bitrow.transfer.conv_module import OBSERVER, Conv, Probe
from bitrow.transfer.convolution import BackwardScales, ForwardScales
from bitrow.transfer.loss_scale import LossScale
from bitrow.transfer.numerics import Numerics, ScaleRule, Scaling
from bitrow.transfer.trained_codes import CodeGrid, on_grid

TRAINED = (nnx.Param, Probe)  # what to differentiate by where scales are delayed, as nnx.DiffState(0, TRAINED)


class LossScaled(nnx.Module):
    """`module` with a loss scale inside: its result is float32, and the gradient of any loss of it fits the scales of
    output gradients (`loss_scale.LossScale`); a `NetworkModule` of `pretrain.ready` has one already.
    """

    def __init__(self, module: nnx.Module, how: LossScale = LossScale()) -> None:
        self.module, self.how = module, how

    def __call__(self, *inputs: Array) -> Any:
        """The module's result as float32, or several of them."""
        return loss_scale.call(self.how, self.module, lambda module, *inputs: module(*inputs), *inputs)


def convolutions(module: nnx.Module) -> dict[str, Conv]:
    """The module's convolutions by path, as in "layers/c1"; each learns its path as its name."""
    found = {"/".join(map(str, path)): each for path, each in nnx.iter_modules(module) if isinstance(each, Conv)}
    for name, conv in found.items():
        conv.name = name
    return found


def keep_codes(module: nnx.Module) -> dict[str, CodeGrid]:
    """Put the weights of the module's convolutions on the codes that stand for them, to train as such.

    The grids by path of the weight, as in "layers/c1/weight", for `trained_codes.as_codes` around an optimizer.

    Raises:
        BitrowError: no convolution, one without scales, or one in float32, which has no codes.
    """
    grids = {}
    for name, conv in convolutions(module).items():
        if conv.in_float or not conv.calibrated:
            found = "float32" if conv.in_float else "no scales"
            raise BitrowError(f"codes {name}: found {found}, expected a calibrated convolution in other numerics")
        grid = CodeGrid(conv.config.weight_format, conv.scales.get_value().w_scale)
        conv.weight.set_value(on_grid(conv.weight.get_value(), grid))
        grids[f"{name}/weight"] = grid
    if not grids:
        raise BitrowError("codes: found no convolution, expected some")
    return grids


def watch(module: nnx.Module, on: bool = True) -> None:
    """Warn, by `warnings.warn` with the layer's path, after a step in which a convolution's codes are all zero.

    The program that differentiates the module then calls the host in such steps; without it, it never does.
    """
    for name, conv in convolutions(module).items():
        conv.warn = name if on else ""


def calibrate(
    module: nnx.Module, x: Array, loss: Callable[[Any], Array], rule: CalibrationRule = LeastSquares(),
    learn: ScaleRule | str | None = None, *, power_of_two: bool = False,
) -> LossScaled:  # fmt: skip
    """The module with the scales of its convolutions chosen (SPEC.md F8, D3) on images x f32[n,h,w,c].

    It is run in float32 and differentiated once; `loss` makes a scalar of its result, whatever its size. `rule` chooses
    scales as in `bitrow.calibrate`. What comes back has the loss scale inside that the scales assume. `learn`: the
    inputs' scales train from there on, by LSQ or PACT, each a number among the module's parameters; with
    `power_of_two` they stay powers of two.

    Raises:
        BitrowError: no convolution, one that is not called once, a gradient so small that no scale fits, or what
            `layers.conv.make_params` refuses, with the layer's path.
    """
    by = None if learn is None else typed.coerce("calibrate learn", ScaleRule, learn)
    found = convolutions(module)
    if not found:
        raise BitrowError("calibrate: found no convolution, expected some")
    inputs, gradients = _measured(module, found, jnp.asarray(x, jnp.float32), loss)
    chosen = {name: _chosen(conv, inputs[name], gradients[name], rule) for name, conv in found.items()}
    products = [dy * (1.0 if found[name].config.fold else w) for name, (_, w, dy) in chosen.items() if dy]
    least = min(products, default=1.0)
    scale = max(1.0, 2.0 ** np.ceil(np.log2(LEAST_GRADIENT_PRODUCT / least)))
    if scale > LOSS_SCALE_MAX:
        raise BitrowError(f"calibrate: found gradients that need a loss scale of {scale:g}, expected at most "
                          f"{LOSS_SCALE_MAX:g}")  # fmt: skip
    for name, conv in found.items():
        x_scale, w_scale, dy_scale = chosen[name]
        _take(conv, x_scale, w_scale, host.as_scale(dy_scale * scale) if dy_scale else 1.0)
        if by is not None:
            conv.learn_scale(power_of_two, by)
    return LossScaled(module, LossScale(float(scale)))


def _measured(
    module: nnx.Module, found: dict[str, Conv], x: Array, loss: Callable[[Any], Array]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Inputs and output gradients of the convolutions; the largest gradient of the result is in [1/2, 1)."""
    zeros = {name: jnp.zeros(shape, jnp.float32) for name, shape in _shapes(module, x).items()}
    unused = sorted(set(found) - set(zeros))
    if unused:
        raise BitrowError(f"calibrate {unused[0]}: found no call, expected one")

    def run(offsets: dict[str, Array]) -> tuple[Any, dict[str, Array]]:
        seen: dict[str, Array] = {}

        def look(conv: Conv, x: Array, y: Array) -> Array:
            if conv.name in seen:
                raise BitrowError(f"calibrate {conv.name}: found a second call, expected one")
            seen[conv.name] = x
            return y + offsets[conv.name]

        return _run(module, x, look), seen

    result, pull, seen = jax.vjp(run, zeros, has_aux=True)
    dy = jax.grad(loss)(result)
    power, _ = loss_scale.host_scale(LossScale(), *jax.tree.leaves(dy))
    (gradients,) = pull(jax.tree.map(lambda each: each * power, dy))
    return {name: np.asarray(v) for name, v in seen.items()}, {name: np.asarray(v) for name, v in gradients.items()}


def _run(module: nnx.Module, x: Array, look: Callable[[Conv, Array, Array], Array]) -> Any:
    """The result f32, or several, of a copy of the module in float32, whose convolutions are looked at."""
    copy = nnx.merge(*nnx.split(module), copy=True)
    copy.set_attributes(numerics=Numerics.FLOAT32, raise_if_not_found=False)
    token = OBSERVER.set(look)
    try:
        return jax.tree.map(lambda y: y.astype(jnp.float32), copy(x))
    finally:
        OBSERVER.reset(token)


def _shapes(module: nnx.Module, x: Array) -> dict[str, tuple[int, ...]]:
    """Of every convolution's result."""
    found: dict[str, tuple[int, ...]] = {}

    def look(conv: Conv, x: Array, y: Array) -> Array:
        found[conv.name] = y.shape
        return y

    jax.eval_shape(lambda x: _run(module, x, look), jax.ShapeDtypeStruct(x.shape, jnp.float32))
    return found


def _chosen(conv: Conv, x: np.ndarray, dy: np.ndarray, rule: CalibrationRule) -> tuple[float, float, float]:
    """Scales of the input, the weights, and the output gradient, 0 where that is all zero."""
    config, weight = conv.config, np.asarray(conv.weight.get_value())
    parts = {"input": x, "weight": weight, "output gradient": dy}
    x, weight, dy = (host.host_fp32(conv.name, what, value) for what, value in parts.items())
    x_scale, w_scale = host.as_scale(rule(x, config.x_format)), host.as_scale(rule(weight, config.weight_format))
    folded = dy * np.float32(w_scale) if config.fold else dy
    most = 2 if conv.scaling is Scaling.LOG else 1  # whose largest code is half of the format's
    return x_scale, w_scale, most * rule(folded, config.dy_format) if np.any(dy) else 0.0


def _take(conv: Conv, x_scale: float, w_scale: float, dy_scale: float) -> None:
    config, weight = conv.config, np.asarray(conv.weight.get_value())
    code = host.weight_codes(weight, np.asarray(w_scale, np.float64), config.weight_format)
    seed = conv.gradient.get_value().seed
    scales = host.Scales(x_scale, w_scale, dy_scale)
    made = conv_layer.make_params(config, conv.name, code, scales, seed=int(seed))
    conv.set_scales(
        ForwardScales(jnp.float16(x_scale), made.x_inv_scale, made.w_scale, made.scale),
        BackwardScales(jnp.float16(dy_scale), made.dy_inv_scale, made.dx_scale, seed),
    )
    conv.calibrated = True


class Delayed:
    """Scales of output gradients that follow the last steps' (`numerics.Scaling.DELAYED`), in a loop of one's own.

    For the convolutions of `module` whose scaling is DELAYED; the seeds of stochastic rounding move on in all of them.
    `x` is a batch as every step has one, of which only the shape is read. Differentiate by TRAINED, give the gradients
    of the probes to `step`, which changes the module's scales, and keep what it returns: in a program or out of it.
    """

    def __init__(self, module: nnx.Module, x: Array, power_of_two: bool = False) -> None:
        sizes = (convolutions(module), _shapes(module, x))
        self.rules = {
            name: gradient.ScaleUpdate(conv.config, conv.scaling, int(np.prod(sizes[1][name])), power_of_two)
            for name, conv in sizes[0].items() if name in sizes[1]
        }  # fmt: skip

    def start(self) -> dict[str, Array]:
        """The history before the first step: largest magnitudes f32[16] by path."""
        return {name: jnp.zeros(gradient.HISTORY, jnp.float32) for name in self.rules}

    def step(self, module: nnx.Module, probes: nnx.State, history: dict[str, Array]) -> dict[str, Array]:
        """The history after a step whose gradients of the probes are `probes`; scales of the next step in `module`."""
        seen = {"/".join(map(str, path[:-1])): v.get_value() for path, v in nnx.to_flat_state(probes)}
        after = {}
        for name, conv in convolutions(module).items():
            if name in self.rules:
                scales, w_scale = conv.gradient.get_value(), conv.scales.get_value().w_scale
                new, after[name] = gradient.advance(self.rules[name], scales, w_scale, history[name], seen[name][0])
                conv.gradient.set_value(new)
        return after
