"""The C++ program that runs a unit on inputs by number, beside the contract's kernel printed as C."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bitrow.export import model
from bitrow.lower.c import Function, type_of
from bitrow.lower.trace import trace
from bitrow.proofs.rtl.binding import Binding
from bitrow.proofs.rtl.units import UnitPort
from bitrow.vectors.files.decode import float_of

# v has the contract's inputs as values, the last one's turning fastest; e0, e1, ... are the contract's results.
_PROGRAM = """#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include "verilated.h"
#include "Vunit.h"
{bits}
{function}
double sc_time_stamp() {{ return 0; }}
int main(int, char **argv) {{
    static Vunit top;
    enum {{ N = {count} }};
    const int64_t low[N] = {{{lows}}}, high[N] = {{{highs}}};
    int64_t v[N];
    const uint64_t first = strtoull(argv[1], nullptr, 10), last = strtoull(argv[2], nullptr, 10);
    uint64_t left = first;
    for (int k = N - 1; k >= 0; k--) {{
        const uint64_t many = (uint64_t)(high[k] - low[k] + 1);
        v[k] = low[k] + (int64_t)(left % many);
        left /= many;
    }}
    {ties}
    for (uint64_t at = first; at < last; at++) {{
        {drive}
        top.eval();
        {expected}
        contract({call});
        if ({differ}) {{
            printf("bad");
            for (int k = 0; k < N; k++) printf(" %lld", (long long)v[k]);
            printf("\\n");
            return 0;
        }}
        for (int k = N - 1; k >= 0 && ++v[k] > high[k]; k--) v[k] = low[k];
    }}
    printf("done\\n");
    return 0;
}}
"""


def _kernel(binding: Binding) -> tuple[str, list[str]]:
    """The contract as a C function that stores its results, and their C types."""
    contract, results = binding.contract, binding.results
    names = [port.name for port in contract.inputs]

    def several(*words: Any) -> tuple[Any, ...]:
        found = contract.kernel(**dict(zip(names, words, strict=True)))
        return tuple(found[port.name] for port in results)

    made = trace(several, [port.dtype for port in contract.inputs])
    types = [type_of(word.dtype) for word in made.results]
    arguments = [f"{type_of(port.dtype)} {name}" for port, name in zip(contract.inputs, names, strict=True)]
    arguments += [f"{kind} *r{place}" for place, kind in enumerate(types)]
    lines = Function("contract", tuple(names), {(): made}).lines()
    stored = [line.replace("return ", "*r0 = ") if line.startswith("return ") else line for line in lines]
    return "\n    ".join([f"static inline void contract({', '.join(arguments)}) {{", *stored]) + "\n}", types


def _bits(port: UnitPort, text: str) -> str:
    return f"((uint64_t)(uint32_t){text} & {(1 << port.bits) - 1:#x}u)"


def _differ(port: UnitPort, place: int, unit: str, any_nan: bool) -> str:
    found, expected = f"(uint64_t)top.{unit}", _bits(port, f"e{place}")
    fmt, text = float_of(port.encoding), f"{found} != {expected}"
    if not any_nan or fmt is None:
        return text
    nan = [f"(({word} & {fmt.sign_mask - 1:#x}u) > {fmt.infinity_bits:#x}u)" for word in (found, expected)]
    return f"({text} && !({' && '.join(nan)}))"


def _listed(ports: Sequence[UnitPort], end: str) -> str:
    return ", ".join(str(getattr(port, end)) for port in ports)


def source(binding: Binding, any_nan: bool) -> str:
    """The program: `PROGRAM FIRST LAST` says `done`, or `bad` and the values of the first input that differs."""
    function, types = _kernel(binding)
    inputs, results = binding.contract.inputs, binding.results
    given = [f"({type_of(port.dtype)})v[{place}]" for place, port in enumerate(inputs)]
    return _PROGRAM.format(
        bits=model.part("bits.c"), function=function, count=len(inputs),
        lows=_listed(inputs, "low"), highs=_listed(inputs, "high"),
        ties=" ".join(f"top.{name} = {value}u;" for name, value in binding.constant.items()),
        drive=" ".join(f"top.{binding.driven[p.name]} = {_bits(p, f'v[{at}]')};" for at, p in enumerate(inputs)),
        expected=" ".join(f"{kind} e{place};" for place, kind in enumerate(types)),
        call=", ".join([*given, *(f"&e{place}" for place in range(len(types)))]),
        differ=" || ".join(_differ(p, at, binding.compared[p.name], any_nan) for at, p in enumerate(results)),
    )  # fmt: skip
