"""A 3x3 convolution with frozen batch norm, forward and input gradient, against plain float32 JAX.

Run as `python benchmarks/bench_layers.py`. The bit-accurate side quantizes, dequantizes and keeps the mask; the
float32 side is `conv * a + b` and its vjp in x. Parameters are arguments on both sides, so neither is folded into
the program. Then beside torch and QPyTorch, where they are: pip install 'bitrow[bench]'.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import qpytorch_step
import torch_layer
from bitrow.config import BatchNormConfig, ConvConfig
from bitrow.host import Scales
from bitrow.layers import batch_norm, conv
from timing import Timing, race, ratio

SHAPES = [(32, 16, 16, 128), (32, 32, 32, 32)]
Shape = tuple[int, int, int, int]
CONV, NORM = ConvConfig(stride=1, padding=1), BatchNormConfig()
SCALES = Scales(0.25, 0.0625, 0.125)


def bit_accurate(params: conv.ConvParams, norm: batch_norm.FrozenParams, x: jax.Array, dz: jax.Array):
    """Forward and input gradient of the accelerator, FP16 in and out."""
    y, mask = conv.forward(CONV, params, x)
    z = batch_norm.forward_frozen(NORM, norm, y)
    return z, conv.backward(CONV, params, mask, batch_norm.backward_frozen(NORM, norm, dz))


def float32(weight: jax.Array, a: jax.Array, b: jax.Array, x: jax.Array, dz: jax.Array):
    """The same two passes in plain float32."""

    def layer(x: jax.Array) -> jax.Array:
        dims = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, weight, (1, 1), [(1, 1)] * 2, dimension_numbers=dims) * a + b

    z, vjp = jax.vjp(layer, x)
    return z, vjp(dz)[0]


class Drawn(NamedTuple):
    """A layer and what it is run on."""

    codes: np.ndarray
    params: conv.ConvParams
    norm: batch_norm.FrozenParams
    x: jax.Array
    dz: jax.Array


def drawn(shape: Shape) -> Drawn:
    """The same of each shape."""
    rng, c = np.random.default_rng(0), shape[-1]
    codes = rng.integers(-8, 8, (3, 3, c, c))
    norm = batch_norm.fold(
        "norm", rng.uniform(0.5, 2, c), rng.normal(size=c), rng.normal(size=c), rng.uniform(0.5, 2, c), 1e-5
    )
    x, dz = (jnp.asarray(rng.normal(size=shape), jnp.float16) for _ in range(2))
    return Drawn(codes, conv.make_params(CONV, "conv", codes, SCALES), norm, x, dz)


def races(shape: Shape) -> dict[str, dict[str, Timing]]:
    """Both passes of convolution and norm, and the norm alone, of both sides."""
    codes, params, norm, x, dz = drawn(shape)
    weight = jnp.asarray(codes, jnp.float32) * SCALES.w
    a, b = norm.a.astype(jnp.float32), norm.b.astype(jnp.float32)
    x32, dz32 = x.astype(jnp.float32), dz.astype(jnp.float32)
    passes = race({
        "bitrow": (bit_accurate, (params, norm, x, dz)),
        "float32": (float32, (weight, a, b, x32, dz32)),
    })
    norms = race({
        "bitrow": (lambda norm, y: batch_norm.forward_frozen(NORM, norm, y), (norm, x)),
        "float32": (lambda a, b, y: y * a + b, (a, b, x32)),
    }, rounds=201)  # a tenth of a millisecond each: the median needs many
    return {"conv + norm, both passes": passes, "frozen norm alone": norms}


def peers(table: Table, shape: Shape) -> None:
    """Both passes beside torch's, with how many words of the result are bitrow's.

    torch slows JAX down in the same process: each runs unmeasured just before it is measured.
    """
    codes, params, norm, x, dz = drawn(shape)
    others = torch_layer.contenders(codes, SCALES, norm, x, dz)
    timing = race({"bitrow": (bit_accurate, (params, norm, x, dz))}, rounds=21, ready=others, warm=True)
    ours = np.asarray(jax.jit(bit_accurate)(params, norm, x, dz)[0], np.float32)
    for name, call in others.items():
        equal = (np.moveaxis(call()[0].detach().numpy(), 1, 3) == ours).mean()
        table.add_row("x".join(map(str, shape)), name, f"{timing['bitrow'].run_ms:.2f}", f"{timing[name].run_ms:.2f}",
                      f"{ratio(timing['bitrow'], timing[name]):.2f}", f"{equal:.1%}")  # fmt: skip


def main() -> None:
    """Print one row for each shape and pair."""
    table = Table("shape", "what", "bitrow ms", "float32 ms", "ratio", "compile ms", "float32 compile ms")
    for shape in SHAPES:
        for what, timing in races(shape).items():
            ours, plain = timing["bitrow"], timing["float32"]
            table.add_row(
                "x".join(map(str, shape)), what, f"{ours.run_ms:.2f}", f"{plain.run_ms:.2f}",
                f"{ratio(ours, plain):.2f}", f"{ours.compile_ms:.0f}", f"{plain.compile_ms:.0f}",
            )
    console = Console(width=120)
    console.print(table)
    if (reason := qpytorch_step.missing()) is not None:
        console.print(f"torch, QPyTorch: skipped, {reason}")
        return
    table = Table("shape", "both passes beside", "bitrow ms", "it, ms", "ratio", "words that equal bitrow's")
    for shape in SHAPES:
        peers(table, shape)
    console.print(table)


if __name__ == "__main__":
    main()
