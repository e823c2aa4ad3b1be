"""A kernel's jaxpr as C: each primitive's statement is what JAX computes; one function serves several parameters."""

from __future__ import annotations

import ctypes
import functools
import itertools
import subprocess
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from bitrow.errors import BitrowError
from bitrow.export.c_model import find_compiler
from bitrow.lower.c import Function, constant, expression, type_of
from bitrow.lower.trace import Trace, trace
from c_library import needs_compiler
from test_lower import INTEGERS, ONE, TWO, bits_of, computed, edges

pytestmark = needs_compiler
BITS = Path(__file__).parents[1] / "ref" / "bitrow" / "export" / "c" / "bits.c"
HEAD = "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n"


def on_arrays(name: str, found: Trace, parameters: str = "") -> str:
    """A C function that runs `name` on arrays, words of a bool's result as bytes."""
    kinds = [type_of(dtype) for dtype in found.given]
    result = type_of(found.results[0].dtype)
    given = ", ".join(f"const {kind} *x{place}" for place, kind in enumerate(kinds))
    called = ", ".join(f"x{place}[i]" for place in range(len(kinds)))
    return (f"void run_{name}(size_t n, {given}, {result} *y{parameters and ', uint32_t p, uint32_t q'}) {{ "
            f"for (size_t i = 0; i < n; i++) y[i] = {name}({called}{parameters}); }}\n")  # fmt: skip


def text(name: str, function: Function, found: Trace, parameters: str = "") -> str:
    given = ", ".join(f"{type_of(dtype)} a{place}" for place, dtype in enumerate(found.given))
    body = "\n".join(function.lines())
    return f"static inline {type_of(found.results[0].dtype)} {name}({given}{parameters}) {{\n{body}\n}}\n"


def compiled(folder: Path, source: str) -> ctypes.CDLL:
    """The library of a C source under the sanitizer of undefined behaviour, which stops at the first."""
    (folder / "test.c").write_text(HEAD + BITS.read_text() + source)
    flags = ["-std=c99", "-O1", "-Wall", "-Wno-unused-function", "-Wno-unused-parameter", "-Wno-bool-operation"]
    out = folder / "test.so"
    command = [
        find_compiler(),
        *flags,
        "-fsanitize=undefined",
        "-fsanitize-undefined-trap-on-error",
        "-shared",
        "-fPIC",
    ]
    done = subprocess.run(
        [*command, "-o", str(out), str(folder / "test.c")], capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    return ctypes.CDLL(str(out))


def ran(library: ctypes.CDLL, name: str, found: Trace, arrays: list[np.ndarray], *parameters: int) -> list[int]:
    """What the C function makes of arrays, as words."""
    out = np.empty(arrays[0].size, found.results[0].dtype)
    pointers = [ctypes.c_void_p(each.ctypes.data) for each in (*arrays, out)]
    getattr(library, f"run_{name}")(ctypes.c_size_t(out.size), *pointers, *map(ctypes.c_uint32, parameters))
    return bits_of(out)


def test_every_primitive_of_every_dtype(tmp_path: Path) -> None:
    """SPEC.md F2: edge words and pairs of them, by the C of each primitive, without undefined behaviour."""
    cases: dict[str, tuple[Any, list[np.ndarray], Trace]] = {}
    source = ""
    for dtype in INTEGERS:
        words = edges(dtype)
        pairs = [np.ascontiguousarray(each.ravel()) for each in np.meshgrid(words, words)]
        for table, arrays in ((ONE, [words]), (TWO, pairs)):
            for label, function in table.items():
                name = f"f_{label.replace(' ', '_')}_{dtype}_{len(arrays)}"
                found = trace(function, [dtype] * len(arrays))
                cases[name] = function, arrays, found
                made = Function(name, tuple(f"a{place}" for place in range(len(arrays))), {(): found})
                source += text(name, made, found) + on_arrays(name, found)
    library = compiled(tmp_path, source)
    for name, (function, arrays, found) in cases.items():
        assert ran(library, name, found, arrays) == computed(function, arrays), name


def test_one_function_of_several_parameters(tmp_path: Path) -> None:
    """SPEC.md F3: where traces differ by a statement, an operand, a number or their order, each choice does its own."""

    def kernel(a: Any, b: Any, p: int, q: int) -> Any:
        if q:
            a = jnp.where(a > 7, a ^ jnp.uint32(p), a)
        total = a + b if p != 1 else b * a - jnp.uint32(3)
        total = jnp.minimum(total, jnp.uint32(1000 + p)) if p == 2 else total
        return (total >> jnp.uint32(p)) + (jnp.uint32(q) if p else lax.clz(a))

    choices = list(itertools.product(range(4), range(2)))
    traces = {choice: trace(kernel, ["uint32", "uint32"], *choice) for choice in choices}
    function = Function("kernel", ("a0", "a1"), traces, ("p", "q"))
    assert len(function.lines()) < sum(len(each.statements) for each in traces.values()) / 2
    first = traces[0, 0]
    library = compiled(
        tmp_path, text("kernel", function, first, ", uint32_t p, uint32_t q") + on_arrays("kernel", first, ", p, q")
    )
    words = edges("uint32")
    pairs = [np.ascontiguousarray(each.ravel()) for each in np.meshgrid(words, words)]
    for choice in choices:
        expected = computed(functools.partial(lambda choice, a, b: kernel(a, b, *choice), choice), pairs)
        assert ran(library, "kernel", first, pairs, *choice) == expected, choice


def test_equal_statements_are_recorded_once_and_counters_leave_none() -> None:
    """A term is no tuple: an argument and a statement of one number are two things."""

    def kernel(a: Any, b: Any) -> Any:
        once, again = a.astype(jnp.int32), a.astype(jnp.int32)
        number = jnp.int32(3) * jnp.int32(2) + jnp.int32(1)
        return (once + again) * number + b.astype(jnp.int32)

    found = trace(kernel, ["uint32", "uint32"])
    assert [each.operation for each in found.statements] == [
        "convert_element_type", "add", "mul", "convert_element_type", "add",
    ]  # fmt: skip
    assert found.statements[0] != found.statements[3]


def test_words_that_c_is_not_printed_for_are_refused() -> None:
    """One line that names the operation and the dtype."""
    with pytest.raises(BitrowError, match="C: found add of int64"):
        expression("add", np.dtype("int64"), [("a", np.dtype("int64"))] * 2)
    with pytest.raises(BitrowError, match="C: found cbrt"):
        expression("cbrt", np.dtype("uint32"), [("a", np.dtype("uint32"))])
    assert constant(-(1 << 31), np.dtype("int32")) == "INT32_MIN"
