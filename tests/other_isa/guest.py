"""What runs inside the emulated processor: one line of JSON for each thing computed. Nothing is judged here.

Usage: python guest.py DUMP NAME ... DUMP is where XLA_FLAGS has XLA dump its programs; names are those of the fixed
problems of `bitrow.vectors.judge.identity`, of the programs of `bitrow.backend.programs`, and of UNTAPPED.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jax import Array, lax

from bitrow import models
from bitrow.backend import programs
from bitrow.layers import batch_norm
from bitrow.ops import fp16
from bitrow.vectors.judge import identity, networks
from bitrow.vectors.operations import Words, to_words
from bitrow.vectors.stimulus.stream import Stream

TRIPLES = 2048
MODEL = "resnet8_digits"


def triples() -> np.ndarray:
    """The uint16 words of a, b and c, (3, TRIPLES), of SHA-256 as in every other machine."""
    return Stream("other_isa", 1).words(16, (3, TRIPLES))


def narrowed(a: Array, b: Array, c: Array) -> Array:
    """float16 a * b + c in the form that LLVM narrows to half arithmetic, where a processor that has it contracts.

    This was `fp16.mul_add` once. It is wrong on purpose where FP16 arithmetic is seen, and so shows that it is.
    """
    wide = [x.astype(jnp.float32) for x in (a, b, c)]
    product = lax.bitcast_convert_type((wide[0] * wide[1]).astype(jnp.float16), jnp.uint16)
    product = product | lax.optimization_barrier(jnp.uint16(0))
    total = lax.bitcast_convert_type(product, jnp.float16).astype(jnp.float32) + wide[2]
    return fp16.canonical(total.astype(jnp.float16))


def untapped_norm() -> Words:
    """The problem `batch_norm_frozen` as networks run it: compiled, and no tap keeps product and sum apart."""
    problem = identity.problems()["batch_norm_frozen"]
    y, a, b = (jnp.asarray(problem.given[name].view(np.float16)) for name in ("y", "a", "b"))
    z = jax.jit(batch_norm.forward_frozen, static_argnums=0)(problem.config, batch_norm.FrozenParams(a, b), y)
    return {"z": to_words(z)}


def whole_pass() -> Words:
    """Forward and backward pass of the shipped network on its first sample, compiled whole, without taps."""
    x, dlogits = (words.view(np.float16) for words in networks.sample(models.load(MODEL), slice(1)))
    found = networks.kernel(MODEL, {"x": x, "dlogits": dlogits}, compiled=True)
    return {name: to_words(array) for name, array in found.items()}


UNTAPPED: dict[str, Callable[[], Words]] = {"untapped_batch_norm_frozen": untapped_norm, MODEL: whole_pass}


def words_of(name: str) -> Words:
    """What is computed under a name, compiled whole."""
    if name in UNTAPPED:
        return UNTAPPED[name]()
    if name in programs.programs():
        return programs.run(programs.programs()[name])
    return identity.compiled(identity.problems()[name])


def features() -> list[str]:
    """The processor's, as LLVM reads them."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].split() for line in lines if line.startswith("Features")), [])


class Report:
    """Lines of JSON; with each, the object files that XLA compiled since the last, and the seconds."""

    def __init__(self, dump: Path) -> None:
        self._dump, self._seen, self._start = dump, set[str](), time.perf_counter()

    def say(self, **found: Any) -> None:
        """One line, at once."""
        objects = {path.name for path in self._dump.glob("*.o")} - self._seen
        seconds = round(time.perf_counter() - self._start, 1)
        print(json.dumps(found | {"objects": sorted(objects), "seconds": seconds}), flush=True)
        self._seen |= objects
        self._start = time.perf_counter()


def main(dump: str, *names: str) -> None:
    """Versions, the words of two sums of products, the digests."""
    report = Report(Path(dump))
    report.say(features=features(), versions={
        "machine": platform.machine(), "python": platform.python_version(), "jax": jax.__version__,
        "jaxlib": jaxlib.__version__, "numpy": np.__version__})  # fmt: skip
    operands = triples().view(np.float16)
    for kernel in (narrowed, fp16.mul_add):
        words = np.asarray(jax.jit(kernel)(*operands)).view(np.uint16)
        report.say(kernel=kernel.__name__, words=words.astype("<u2").tobytes().hex())
    for name in names:
        report.say(name=name, digest=identity.digest(words_of(name)))


if __name__ == "__main__":
    main(*sys.argv[1:])
