"""All 2^32 operand pairs of FP16 add and mul, and every word of sqrt, against numpy's float16 (SPEC.md F2).

Run as `python -m bitrow.proofs.fp16_hashes [add|mul|sqrt ...]`; `c.add` and so on are the compiled C model's. Prints,
for each operation, the SHA-256 of all its results: little-endian uint16, first operand major, every NaN as 0x7E00.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np

from bitrow.errors import BitrowError
from bitrow.ops import fp16
from bitrow.proofs import judges
from bitrow.terminal import put, say

WORDS = 1 << 16
FIRST_PER_CHUNK = 64  # 64 first operands x 65,536 second ones: 4M pairs at a time

KERNELS: dict[str, Callable[..., jax.Array]] = {"add": fp16.add, "mul": fp16.mul, "sqrt": fp16.sqrt}
OF_C = "c."  # before the name of an operation that the C model computes
JUDGES: dict[str, Callable[..., np.ndarray]] = {"add": np.add, "mul": np.multiply, "sqrt": np.sqrt}


def operands(name: str) -> Iterator[tuple[np.ndarray, ...]]:
    """Every operand tuple of the operation in order, as float16 arrays a chunk at a time."""
    every = np.arange(WORDS, dtype=np.uint16).view(np.float16)
    if name == "sqrt":
        yield (every,)
        return
    for first in range(0, WORDS, FIRST_PER_CHUNK):
        yield every[first : first + FIRST_PER_CHUNK, None], every[None, :]


def judge(name: str, chunk: tuple[np.ndarray, ...]) -> np.ndarray:
    """numpy's words for a chunk, flat."""
    with np.errstate(all="ignore"):
        return judges.canonical(JUDGES[name](*chunk).view(np.uint16).reshape(-1))


def first_difference(name: str, chunk: tuple[np.ndarray, ...], found: np.ndarray, expected: np.ndarray) -> str:
    """One line that names the first wrong result and its operands."""
    at = int(np.flatnonzero(found != expected)[0])
    words = [int(np.broadcast_to(x, np.broadcast_shapes(*(c.shape for c in chunk))).reshape(-1)[at].view(np.uint16))
             for x in chunk]
    given = ", ".join(f"0x{w:04x}" for w in words)
    return f"{name}({given}): found 0x{found[at]:04x}, expected 0x{expected[at]:04x}"


ChunkWords = Callable[[tuple[np.ndarray, ...]], np.ndarray]


def words_of(name: str) -> ChunkWords:
    """What computes a chunk: the kernel, compiled, or the C model, compiled by the C compiler.

    Raises:
        BitrowError: no C compiler.
    """
    if not name.startswith(OF_C):
        kernel = jax.jit(KERNELS[name])
        return lambda chunk: np.asarray(kernel(*(jnp.asarray(x) for x in chunk))).view(np.uint16).reshape(-1)
    from bitrow.export.c_model import CModel
    from bitrow.formats import FloatMode

    model, own = CModel.build(("-O3",)), f"fp16_{name.removeprefix(OF_C)}"

    def run(chunk: tuple[np.ndarray, ...]) -> np.ndarray:
        whole = (np.ascontiguousarray(each).view(np.uint16) for each in np.broadcast_arrays(*chunk))
        return model.array(own, FloatMode(), *whole).reshape(-1)

    return run


def check(name: str, advance: Callable[[int], object] = lambda count: None) -> tuple[int, str]:
    """Run every operand tuple of `name`; how many there were, and the SHA-256 of all results.

    Raises:
        BitrowError: the first result that differs from numpy's.
    """
    compute, digest, count = words_of(name), hashlib.sha256(), 0
    name = name.removeprefix(OF_C)
    with ThreadPoolExecutor(2) as pool:  # numpy and hashlib release the interpreter while JAX computes
        hashing = None
        for chunk in operands(name):
            expected = pool.submit(judge, name, chunk)
            found = compute(chunk)
            if not np.array_equal(found, expected.result()):
                raise BitrowError(first_difference(name, chunk, found, expected.result()))
            if hashing is not None:
                hashing.result()
            hashing = pool.submit(digest.update, found.astype("<u2").tobytes())
            count += found.size
            advance(found.size)
        assert hashing is not None
        hashing.result()
    return count, digest.hexdigest()


def main(names: list[str]) -> int:
    """Check the named operations, by default all; exit status 0 where every word agrees."""
    from rich.progress import Progress

    for name in names or list(KERNELS):
        if name.removeprefix(OF_C) not in KERNELS:
            say(f"exhaustive: found {name!r}, expected one of {', '.join(KERNELS)}, or with {OF_C} before it")
            return 2
        total = WORDS if name.endswith("sqrt") else WORDS * WORDS
        try:
            with Progress(transient=True) as progress:
                task = progress.add_task(name, total=total)
                count, digest = check(name, functools.partial(progress.advance, task))
        except BitrowError as error:
            say(error)
            return 1
        put([f"{name}: {count} results equal numpy's float16; sha256 {digest}"])
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
