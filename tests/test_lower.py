"""A kernel's jaxpr as z3 terms: each primitive's term, simplified on constants, is what JAX computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import z3
from jax import lax

from bitrow.errors import BitrowError
from bitrow.formats import FP16, FP32, FloatMode, Rounding
from bitrow.lower.smt import Smt, word
from bitrow.lower.target import Word
from bitrow.lower.walk import lower
from bitrow.ops import fp16, lfsr, mac, softfloat

INTEGERS = ("uint8", "int8", "uint16", "int32", "uint32")

ONE = {
    "neg": lax.neg, "abs": jnp.abs, "not": lax.bitwise_not, "clz": lax.clz,
    "population_count": lax.population_count, "integer_pow": lambda a: lax.integer_pow(a, 5), "power 0": lambda a: a**0,
    "to bool": lambda a: lax.convert_element_type(a, jnp.bool_), "copy": jnp.copy,
    "moved": lambda a: jnp.broadcast_to(a.reshape(*a.shape, 1), (*a.shape, 1)).squeeze(-1),
    **{f"to {dtype}": lambda a, dtype=dtype: lax.convert_element_type(a, dtype) for dtype in INTEGERS},
}  # fmt: skip
TWO = {
    "add": lax.add, "sub": lax.sub, "mul": lax.mul, "div": lax.div, "rem": lax.rem, "max": lax.max, "min": lax.min,
    "and": lax.bitwise_and, "or": lax.bitwise_or, "xor": lax.bitwise_xor, "shift_left": lax.shift_left,
    "shift_right_logical": lax.shift_right_logical, "shift_right_arithmetic": lax.shift_right_arithmetic,
    "eq": lax.eq, "ne": lax.ne, "lt": lax.lt, "le": lax.le, "gt": lax.gt, "ge": lax.ge,
    "select_n": lambda a, b: lax.select_n(a > b, b, a),
    "select_n of words": lambda a, b: lax.select_n(a.astype(jnp.int32), b, a, b ^ a),
    "clamp": lambda a, b: lax.clamp(lax.min(a, b), a ^ b, lax.max(a, b)),
    "logic": lambda a, b: ((a > b) & ~(a == 3)) | ((b < a) ^ (b != 3)) == (a > 1),
    "remainder": jnp.remainder,
}  # fmt: skip


def edges(dtype: str) -> np.ndarray:
    """Words at the ends of a dtype and around its width, and drawn ones."""
    bits = 8 * np.dtype(dtype).itemsize
    ends = [0, 1, 3, bits - 1, bits, (1 << bits) - 1, 1 << (bits - 1), (1 << (bits - 1)) - 1]
    return np.array([*ends, *np.random.default_rng(5).integers(0, 1 << bits, 2)], f"uint{bits}").view(dtype)


def drawn(dtype: str, operands: int) -> list[np.ndarray]:
    """FP16 words, 24 for each operand."""
    return list(np.random.default_rng(5).integers(0, 1 << 16, (operands, 24)).astype(dtype))


def bits_of(values: Any) -> list[int]:
    """An array of any dtype as its words."""
    array = np.asarray(values)
    return array.view(f"u{array.itemsize}").ravel().tolist()


def simplified(function: Callable[..., Any], arrays: Sequence[np.ndarray], *parameters: Any) -> list[int]:
    """What the terms of `function` are for each element of the arrays."""
    names = [word(f"x{place}", array.dtype) for place, array in enumerate(arrays)]
    term = lower(function, Smt(), *names, *parameters).term
    found = []
    for row in zip(*map(bits_of, arrays), strict=True):
        given = [(name.term, z3.BitVecVal(bits, name.bits)) for name, bits in zip(names, row, strict=True)]
        value = z3.simplify(z3.substitute(term, *given))
        found.append(int(z3.is_true(value)) if z3.is_bool(value) else value.as_long())
    return found


def computed(function: Callable[..., Any], arrays: Sequence[np.ndarray], *parameters: Any) -> list[int]:
    """What JAX computes for the arrays, compiled."""
    return bits_of(jax.jit(lambda *words: function(*words, *parameters))(*map(jnp.asarray, arrays)))


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", ONE)
def test_a_primitive_of_one_operand(name: str, dtype: str) -> None:
    """Counts, signs and conversions of edge words."""
    words = edges(dtype)
    assert simplified(ONE[name], [words]) == computed(ONE[name], [words])


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", TWO)
def test_a_primitive_of_two_operands(name: str, dtype: str) -> None:
    """Every pair of edge words: division by zero, shifts by the width or more, the ends of each dtype."""
    words = edges(dtype)
    pairs = [each.ravel() for each in np.meshgrid(words, words)]
    assert simplified(TWO[name], pairs) == computed(TWO[name], pairs)


@pytest.mark.parametrize("name", ["add", "mul", "div", "sub"])
def test_terms_compute_what_the_kernels_compute(name: str) -> None:
    """SPEC.md F2: the term of each operation gives the kernel's word, on drawn words."""
    words = drawn("uint32", 2)
    kernel = getattr(softfloat, name)
    assert simplified(kernel, words, FP16) == computed(kernel, words, FP16)


def test_a_loop_of_a_known_length_is_unrolled() -> None:
    """SPEC.md F2: the 27 turns of the square root."""
    words = drawn("uint32", 1)
    assert simplified(softfloat.sqrt, words, FP16) == computed(softfloat.sqrt, words, FP16)


def test_words_of_floating_point_dtypes_are_moved_about() -> None:
    """SPEC.md F1, F3: float16 operands and results of the doors, their rounding by integers."""
    mode = FloatMode(Rounding.DOWN)
    halves = [words.view(np.float16) for words in drawn("uint16", 2)]
    for kernel in (fp16.add, fp16.div):
        assert simplified(kernel, halves, mode) == computed(kernel, halves, mode)
    wide = halves[0].astype(np.float32)

    def negative(x: jax.Array) -> jax.Array:
        return jnp.where(lax.bitcast_convert_type(x, jnp.int32) < 0, x, jnp.float32(-0.5))

    for kernel in (fp16.from_float32, negative):
        assert simplified(kernel, [wide]) == computed(kernel, [wide])


def test_results_come_in_the_kernels_own_tree() -> None:
    """An unpacked number is one, of terms."""
    found = lower(softfloat.unpack, Smt(), word("x", np.uint32), FP32)
    assert isinstance(found, softfloat.Unpacked) and all(isinstance(each, Word) for each in found)
    assert found.exponent.signed and found.nan.boolean and found.significand.dtype == np.uint32


def _rule(inside: Any, kind: Callable[..., Any]) -> Any:
    made = kind(inside)
    if kind is jax.custom_jvp:
        made.defjvp(lambda primals, tangents: (made(*primals), tangents[0]))
    if kind is jax.custom_vjp:
        made.defvjp(lambda a: (made(a), None), lambda _, ct: (ct,))
    return made


@pytest.mark.parametrize("kind", [jax.jit, jax.checkpoint, jax.custom_jvp, jax.custom_vjp])
def test_calls_are_followed(kind: Callable[..., Any]) -> None:
    """What a kernel calls is part of it."""
    table = np.uint32(7)
    kernel = _rule(lambda a: (a ^ table) + 1, kind)
    names = {equation.primitive.name for equation in jax.make_jaxpr(kernel)(jnp.uint32(1)).eqns}
    assert names & {"jit", "remat2", "custom_jvp_call", "custom_vjp_call"}
    words = edges("uint32")
    assert simplified(kernel, [words]) == [((w ^ 7) + 1) & 0xFFFFFFFF for w in bits_of(words)]


def loop(a: jax.Array) -> jax.Array:
    return lax.while_loop(lambda x: x < 10, lambda x: x + 1, a)


REFUSED = {
    "while": (loop, r"the primitive while at test_lower\.py:\d+:\d+ \(loop\), expected one of abs, add, and, "),
    "in JAX's own": (lambda a: jnp.sign(a) + jnp.floor_divide(a, 3), r"the primitive sign at test_lower\.py:\d+"),
    "array": (lambda a: (a + jnp.arange(3))[1], r"the primitive iota at test_lower\.py"),
    "elements": (lambda a: jnp.broadcast_to(a, (3,)), r"int32\[3\] in broadcast_in_dim at .*, expected one element"),
    "table": (lambda a: (a, np.arange(3)), r"a constant int32\[3\], expected one number"),
    "float": (lambda a: a.astype(jnp.float32), r"float32\[\] in convert_element_type at .*, expected integers"),
    "sum": (lambda a: lax.bitcast_convert_type(a, jnp.float32) + 1, r"float32\[\] in add at .*, expected integers"),
    "order": (lambda a: (a > 3) < (a > 1), r"bool\[\] in lt at .*, expected integers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_read_wrongly_is_refused(name: str) -> None:
    """One line that names the primitive and the kernel's line."""
    kernel, said = REFUSED[name]
    with pytest.raises(BitrowError, match=f"^lower: found {said}") as caught:
        lower(kernel, Smt(), word("a", np.int32))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kernel", "dtypes", "parameters"),
    [
        (softfloat.unpack, ("uint32",), (FP16,)),
        (softfloat.round_pack, ("uint32", "int32", "uint32"), (FP16,)),
        (softfloat.shift_right_sticky, ("uint32", "uint32"), ()),
        (softfloat.convert, ("uint32",), (FP32, FP16)),
        (softfloat.from_int32, ("int32",), (FP16,)),
        (softfloat.mul, ("uint32", "uint32"), (FP16,)),
        (softfloat.mul_integer, ("int32", "uint32"), (FP16,)),
        (mac.wrap, ("int32",), (16,)),
        (lfsr.step, ("uint16",), ()),
        (lfsr.jump, ("uint16", "uint32"), ()),
    ],
)
def test_an_arrays_program_is_the_scalars(
    kernel: Callable[..., Any], dtypes: tuple[str, ...], parameters: tuple[Any, ...]
) -> None:
    """SPEC.md F2: what is proved of scalars is proved of arrays, since each element goes through the same equations."""

    def program(shape: tuple[int, ...]) -> list[tuple[str, list[str]]]:
        traced = jax.make_jaxpr(lambda *words: kernel(*words, *parameters))
        return equations(traced(*(jax.ShapeDtypeStruct(shape, dtype) for dtype in dtypes)).jaxpr)

    assert program(()) == program((5,)) and len(program(())) > 1


def equations(jaxpr: Any) -> list[tuple[str, list[str]]]:
    """Primitives and their operands' dtypes, in order, calls followed; without those that only give a shape."""
    found: list[tuple[str, list[str]]] = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "jit":
            found += equations(equation.params["jaxpr"].jaxpr)
        elif equation.primitive.name != "broadcast_in_dim":
            found.append((equation.primitive.name, [str(atom.aval.dtype) for atom in equation.invars]))
    return found
