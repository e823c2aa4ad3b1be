"""Residual add, and the sum of gradients at a fan-out (SPEC.md A2, A5)."""

from __future__ import annotations

from collections.abc import Sequence

from jax import Array
from jaxtyping import Float16

from bitrow.config import AddConfig
from bitrow.doors import guard
from bitrow.formats import FloatMode
from bitrow.layers.layer import Gradients, Layer, Upstream
from bitrow.layers.rows import Operands, Rows, RowTask, Written
from bitrow.layers.twin import Twin
from bitrow.ops import fp16
from bitrow.ops.tap import Tap, no_tap


def forward(
    config: AddConfig, x: Float16[Array, "*s"], shortcut: Float16[Array, "*s"], tap: Tap = no_tap
) -> Float16[Array, "*s"]:
    """x + shortcut, rounded once. Tap y."""
    y = fp16.add(x, shortcut, config.mode)
    tap("y", y)
    return y


def accumulate(
    dys: Sequence[Float16[Array, "*s"]], mode: FloatMode = FloatMode(), tap: Tap = no_tap
) -> Float16[Array, "*s"]:
    """Gradients of one value's consumers summed in the order given, the last consumer's first. Tap sum_N, dx."""
    dx = dys[0]
    for n, dy in enumerate(dys[1:], start=1):
        dx = fp16.add(dx, dy, mode)
        tap(f"sum_{n}", dx)
    tap("dx", dx)
    return dx


def apply(config: AddConfig, x: Float16[Array, "*s"], shortcut: Float16[Array, "*s"]) -> Float16[Array, "*s"]:
    """`forward`; the gradient passes to both operands unchanged."""
    return LAYER.apply(config, None, x, shortcut)


def _forward(config: AddConfig, params: None, inputs: list[Array], tap: Tap) -> tuple[Array, None]:
    return forward(config, inputs[0], inputs[1], tap), None


def _backward(config: AddConfig, up: Upstream) -> Gradients:
    return Gradients((up.dy, up.dy))


TWIN = Twin(lambda config, layer, inputs: (inputs[0] + inputs[1], None), moment=lambda config, site: sum(site.moments))


def _row(config: AddConfig, task: RowTask, operands: Operands) -> tuple[Array, Written]:
    return forward(config, operands[0], operands[1]), ()


def _row_back(config: AddConfig, task: RowTask, dy: Array) -> Written:
    return dy, dy


LAYER = Layer(_forward, _backward, Rows(_row, _row_back), twin=TWIN)

guard(__name__)
