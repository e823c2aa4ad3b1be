"""A training step of resnet8 with lite residual branches: bit-accurate against float32, and against QPyTorch.

Run as `python benchmarks/bench_transfer.py [ROWS] [CHANNELS] [WIDTH] [BATCH]`, by default 32 3 1 32. A step is
forward, loss, backward and Adam, jitted whole; gradients are FXP4 under static scales. float32 is the same modules
under Numerics.FLOAT32, flax what one writes without them (`plain_flax`). Steps of an epoch run in `lax.scan`, as
training runs them. QPyTorch is optional: pip install 'bitrow[bench]'.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from rich.console import Console
from rich.table import Table

import plain_flax
import qpytorch_step
from bitrow import calibrate, float_model, zoo
from bitrow.calibrate import LeastSquares
from bitrow.transfer import epoch, network_module, numerics, policies, training
from bitrow.transfer.data import Images
from bitrow.transfer.numerics import COMPILED
from bitrow.transfer.recipe import Recipe
from timing import Timing, race, ratio

CLASSES, STEPS = 10, 4
DEFAULTS = ("32", "3", "1", "32")
LIMITS = {"float32": 1.0, "QPyTorch": 0.3}


def trainer(name: str, shape: tuple[int, int, int], width: float, images: Images, batch: int) -> training.Trainer:
    """Of a calibrated, untrained network; power-of-two scales, so that QPyTorch can have the same."""
    arithmetic, policy, rule = numerics.parse(name), policies.parse("lite_residual"), LeastSquares(power_of_two=True)
    network = zoo.build("resnet8", shape, CLASSES, width)
    if arithmetic.numerics is not numerics.Numerics.FLOAT32:
        network = numerics.with_gradient(network, arithmetic.gradient)
    model = float_model.initialize(network, 1)
    head = model.params["head"]
    weight = np.random.default_rng(1).standard_normal(head.weight.shape) / np.sqrt(head.weight.shape[0])
    model.params["head"] = head._replace(weight=jnp.asarray(weight, jnp.float32))
    scales = calibrate.forward_scales(network, model, images.x, rule)
    gradients = calibrate.gradient_scales(network, model, scales, images.x, images.y, rule)
    params = calibrate.make_params(network, model, scales, gradients.dy_scale)
    module = network_module.from_params(network, params, arithmetic, model, scales)
    policies.prepare(module, policy, 1)
    recipe = Recipe(batch, plain_flax.RATE, loss_scale=gradients.loss_scale)
    return training.Trainer(module, policy, recipe, images, jax.devices()[:1])


def contenders(found: training.Trainer, steps: int) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A step on the first batch, or an epoch of several, with its arguments."""
    recipe, program = found.recipe, found.program
    order = np.arange(steps * recipe.batch, dtype=np.int32).reshape(steps, recipe.batch)
    fixed = found.parts.probes, found.parts.constants
    scale = np.array([recipe.loss_scale, 1 / (recipe.batch * recipe.loss_scale)], np.float32)
    arguments = found.start(), fixed, found.images.x, found.images.y, order, (np.zeros(2, np.uint32), scale)

    def one(state: Any, fixed: Any, x: Any, y: Any, order: Any, numbers: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return epoch.step(program, state, fixed, x[order[0]], y[order[0]], numbers[1])

    def several(*arguments: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return epoch.advance(program, *arguments)

    found = jax.jit(one if steps == 1 else several, compiler_options=COMPILED)  # as training has it
    return found, jax.tree.map(jnp.asarray, arguments)


def plain(shape: tuple[int, int, int], width: float, images: Images, batch: int, steps: int) -> tuple[Any, Any]:
    """`plain_flax` in the same two ways."""
    step, (trained, rest, state) = plain_flax.step(shape, CLASSES, width)
    order = jnp.arange(steps * batch).reshape(steps, batch)

    def several(trained: Any, rest: Any, state: Any, x: Any, y: Any, order: Any) -> Any:
        def body(carry: Any, index: Any) -> Any:
            trained, state, loss = step(carry[0], rest, carry[1], x[index], y[index])
            return (trained, state), loss

        return lax.scan(body, (trained, state), order)

    def one(trained: Any, rest: Any, state: Any, x: Any, y: Any, order: Any) -> Any:
        return step(trained, rest, state, x[order[0]], y[order[0]])

    return (one if steps == 1 else several), (trained, rest, state, jnp.asarray(images.x), jnp.asarray(images.y), order)


def table(what: str, timing: dict[str, Timing], steps: int) -> Table:
    """One row a contender, ratios of bitrow to it."""
    found = Table("contender", "ms a step", "bitrow / it", "limit", "compile s", title=what)
    for name, each in timing.items():
        against = "" if name == "bitrow" else f"{ratio(timing['bitrow'], each):.2f}"
        limit = str(LIMITS.get(name, "")) if steps == 1 else ""
        found.add_row(name, f"{each.run_ms / steps:.2f}", against, limit, f"{each.compile_ms / 1e3:.1f}")
    return found


def drawn(shape: tuple[int, int, int], batch: int) -> Images:
    """Images of an epoch, and their labels."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((STEPS * batch, *shape)).astype(np.float16).astype(np.float32)
    return Images(x, rng.integers(0, CLASSES, len(x)).astype(np.int32))


def main() -> None:
    """Print both tables, and how far QPyTorch's logits are from bitrow's."""
    rows, channels, width, batch = (*sys.argv[1:], *DEFAULTS[len(sys.argv) - 1 :])
    shape, batch = (int(rows), int(rows), int(channels)), int(batch)
    images = drawn(shape, batch)
    ours, theirs = (trainer(name, shape, float(width), images, batch) for name in ("bit_accurate", "float32"))
    console = Console(width=120)
    name = f"resnet8 {'x'.join(map(str, shape))}, width {width}, batch {batch}"
    for steps in (1, STEPS):
        timing = race({
            "bitrow": contenders(ours, steps), "float32": contenders(theirs, steps),
            "flax": plain(shape, float(width), images, batch, steps),
        }, rounds=41 if steps == 1 else 15)  # fmt: skip
        console.print(table(f"{name}: {'one step' if steps == 1 else f'an epoch of {steps} steps'}", timing, steps))
    reason = qpytorch_step.missing()  # last: with torch in the process a step of JAX takes up to 1.6 times as long
    if reason is not None:
        console.print(f"QPyTorch: skipped, {reason}")
        return
    module, recipe = ours.module(ours.start()), ours.recipe
    x = images.x
    other = qpytorch_step.Step(module, x[:batch], images.y[:batch], recipe.loss_scale, recipe.learning_rate)
    logits = np.asarray(jax.jit(module)(jnp.asarray(x[:batch])), np.float32)
    away = np.abs(logits - other.logits().detach().numpy())
    console.print(f"QPyTorch's logits: {(away == 0).mean():.1%} equal bitrow's, the others within {away.max():.2g}")
    timing = race({"bitrow": contenders(ours, 1)}, rounds=21, ready={"QPyTorch": other}, warm=True)
    console.print(table(f"{name}: one step beside QPyTorch", timing, 1))


if __name__ == "__main__":
    main()
