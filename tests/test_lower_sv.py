"""A kernel's jaxpr as SystemVerilog: each primitive's line is what JAX computes, read by a simulator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bitrow.errors import BitrowError
from bitrow.export.hardware import SvPort, SvWord, counts
from bitrow.export.scalars import WordFunction
from bitrow.lower.systemverilog import constant, expression, width_of
from sv_simulators import FOUND, bench, needs_simulator, results, simulate
from test_lower import ONE, TWO, bits_of, computed, edges


def _word(label: str, dtype: str, operands: int) -> SvWord:
    """A primitive of some operands of a dtype as a function of the package."""
    table, name = ONE if operands == 1 else TWO, f"{label.replace(' ', '_')}_{dtype}_{operands}"
    kernel = WordFunction(label, tuple((f"a{place}", dtype) for place in range(operands)), table[label])
    ((word,),) = (trace.results for trace in kernel.traces.values())
    port = SvPort("a", width_of(np.dtype(dtype)))
    ports = tuple(port._replace(name=f"a{place}") for place in range(operands))
    return SvWord(name, ports, SvPort("y", width_of(word.dtype)), kernel, 0, label)


@needs_simulator
def test_every_primitive(tmp_path: Path) -> None:
    """SPEC.md F2: edge words and pairs of them, division by zero and shifts by the width or more among them."""
    given: dict[SvWord, list[np.ndarray]] = {}
    expected: dict[str, list[int]] = {}
    for dtype in ("int8", "uint16", "int32", "uint32"):  # int8 to be widened alone: no kernel computes in it
        words = edges(dtype)
        pairs = [np.ascontiguousarray(each.ravel()) for each in np.meshgrid(words, words)]
        for table, arrays in ((ONE, [words]), (TWO if dtype != "int8" else {}, pairs)):
            for label, function in table.items():
                word = _word(label, dtype, len(arrays))
                given[word] = [np.array(bits_of(each), np.int64) for each in arrays]
                expected[word.name] = computed(function, arrays)
    texts = [word.text() for word in given]
    (tmp_path / "package.sv").write_text(
        "\n".join(("package bitrow_pkg;", *counts(texts), *texts, "endpackage", ""))
    )
    simulate(FOUND[0], tmp_path, "package.sv", bench(tmp_path, given))
    for word in given:
        assert results(tmp_path, word).tolist() == expected[word.name], word.name


def test_words_that_are_not_printed_are_refused() -> None:
    """One line that names the operation and the dtype; numbers below zero are two's complement."""
    with pytest.raises(BitrowError, match="SystemVerilog: found add of int64"):
        expression("add", np.dtype("int64"), [("a", np.dtype("int64"))] * 2)
    with pytest.raises(BitrowError, match="SystemVerilog: found cbrt"):
        expression("cbrt", np.dtype("uint32"), [("a", np.dtype("uint32"))])
    assert constant(-(1 << 31), np.dtype("int32")) == "-32'd2147483648"
    assert constant(255, np.dtype("uint8")) == "8'hff" and constant(1, np.dtype(bool)) == "1'd1"
