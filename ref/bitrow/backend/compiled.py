"""What the compiler made of a program: its optimized LLVM IR and HLO, read for all that could give other bits.

A right result on one machine proves nothing about the next: LLVM leaves a half product beside a half sum, and only a
processor with FP16 arithmetic fuses them. So the program itself is read. What is refused (SPEC.md F2, F9, B2):

- arithmetic on half or bfloat, whose width and fusing are the processor's;
- a sum that reads a product directly, which a backend may contract to one rounding;
- a fused multiply-add, and the flags that allow one, or another order: contract, reassoc, arcp, afn, fast;
- a sum over floats whose order is the compiler's: reduce, dot, convolution, all-reduce, scatter;
- a narrowing that is widened again with nothing between but moves, which XLA deletes as excess precision.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from bitrow.backend.cast_pairs import cast_pairs
from bitrow.backend.origins import COMPUTATION, OPERAND, Origins, defined_name
from bitrow.backend.violation import Violation
from bitrow.errors import BitrowError
from bitrow.reading import LISTING, read_text

_CACHE = "jax_enable_compilation_cache"
_FLAGS = "fast|nnan|ninf|nsz|arcp|contract|afn|reassoc"
_BINARY = re.compile(rf"(fadd|fsub|fmul|fdiv|frem)(?: (?:{_FLAGS}))* (<[^>]*>|\w+) (\S+), (\S+)")
_INSTRUCTION = re.compile(r"^\s+(%[^\s=]+) = (.*)$")
_DEFINE = re.compile(r"^define .*@(\"[^\"]+\"|[\w.$-]+)\(")
_LOOSE = re.compile(
    r"\b(?:f(?:add|sub|mul|div|rem|neg|cmp|ptrunc|pext)|select|phi|call)\b(?!.*@llvm\.(?:max|min))"
    r"[^,(]*\b(?:fast|arcp|contract|afn|reassoc)\b"
)  # a maximum has no order
_CALL = re.compile(r"call[^@]*@llvm\.(vector\.reduce\.\w+|[a-z]+(?:\.[a-z]+)?)[\w.]*?\.(v\d+)?(f16|bf16|f32|f64)\(")
_EXACT_CALLS = ("fabs", "copysign", "is.fpclass", "masked.load", "masked.store", "masked.gather", "masked.scatter")
_FUSED_CALLS = ("fma", "fmuladd")
_THROUGH = re.compile(r"^(?:fneg|fpext|freeze|shufflevector|extractelement|insertelement)\b")
_FLOATS = re.compile(r"\b(?:f16|bf16|f32|f64)\[")
_ORDERED = re.compile(
    r" = (\(?[a-z0-9]+\[[^=]*?) "
    r"(reduce|reduce-window|dot|convolution|all-reduce|reduce-scatter|scatter|select-and-scatter)\("
)


@dataclass(frozen=True)
class Listing:
    """What XLA wrote of one program: optimized LLVM IR by file name, and the optimized HLO."""

    program: str
    ir: Mapping[str, str]
    hlo: str


def audit(program: str, function: Callable[..., Any], arguments: Sequence[Any]) -> list[Violation]:
    """What breaks the rules in `function`'s program: see `read`."""
    return read(program, function, arguments)[1]


def read(
    program: str, function: Callable[..., Any], arguments: Sequence[Any]
) -> tuple[Callable[..., Any], list[Violation]]:
    """Compile `function`, jitted or to be jitted, as a user's call would: the program to be called with such
    arguments, and what in it breaks the rules, the host's own work left out (SPEC.md A4).

    Raises:
        BitrowError: the backend writes no dump.
    """
    jitted = function if hasattr(function, "lower") else jax.jit(function)
    pairs = cast_pairs(program, jitted, arguments)
    compiled, listing = _compile(program, jitted, arguments)
    return compiled, [one for one in (*pairs, *violations(listing)) if not one.host]


@contextlib.contextmanager
def _uncached() -> Iterator[None]:
    """Without the persistent cache that JAX_COMPILATION_CACHE_DIR names: of what comes from there no IR is written."""
    given = getattr(jax.config, _CACHE)
    jax.config.update(_CACHE, False)
    reset_cache()  # JAX looks at the switch once
    try:
        yield
    finally:
        jax.config.update(_CACHE, given)
        reset_cache()


def _compile(program: str, jitted: Any, arguments: Sequence[Any]) -> tuple[Callable[..., Any], Listing]:
    with tempfile.TemporaryDirectory(prefix="bitrow-") as folder:
        options = {"xla_dump_to": folder, "xla_dump_hlo_as_text": True}
        with _uncached():
            compiled = jitted.lower(*arguments).compile(compiler_options=options)
        files = sorted(Path(folder).iterdir())
        ir = {path.name: read_text(path, LISTING) for path in files if path.name.endswith("ir-with-opt.ll")}
        hlo = [read_text(path, LISTING) for path in files if path.name.endswith("after_optimizations.txt")]
    if not hlo:
        raise BitrowError(f"{program}: found no dump by backend {jax.default_backend()}, expected optimized HLO")
    return compiled, Listing(program, ir, "\n".join(hlo))


def violations(found: Listing) -> list[Violation]:
    """Everything that breaks a rule, in the order of the files."""
    origins = Origins(found.hlo)
    every: list[Violation] = []
    for text in found.ir.values():
        for kernel, rule, instruction in ir_findings(text.splitlines()):
            sources, host = origins.of_kernel(kernel, instruction)
            every.append(Violation(found.program, kernel, rule, instruction, sources, host))
    for rule, line in hlo_findings(found.hlo):
        sources, host = origins.of_lines([line])
        every.append(Violation(found.program, defined_name(line), rule, line.strip(), sources, host))
    return every


def ir_findings(lines: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """(kernel, rule, instruction) of one module of LLVM IR."""
    kernel, made = "", dict[str, str]()
    for line in lines:
        if define := _DEFINE.match(line):
            kernel, made = define[1].strip('"'), dict[str, str]()
        match = _INSTRUCTION.match(line)
        if not match:
            continue
        name, text = match[1], match[2].removeprefix("tail ")
        made[name] = text
        if rule := _rule(text, made):
            yield kernel, rule, text


def _rule(text: str, made: Mapping[str, str]) -> str:
    """The rule that an instruction breaks, or ""."""
    if binary := _BINARY.match(text):
        opcode, kind, *operands = binary.groups()
        if "half" in kind or "bfloat" in kind:
            return "half arithmetic"
        if opcode in ("fadd", "fsub") and any(_is_product(operand, made) for operand in operands):
            return "a sum reads a product"
    if call := _CALL.match(text):
        name, width = call[1], call[3]
        if name.startswith("vector.reduce.f") and name not in ("vector.reduce.fmin", "vector.reduce.fmax"):
            return "a float reduction in the compiler's order"
        if name in _FUSED_CALLS:
            return "a fused multiply-add"
        if width in ("f16", "bf16") and name not in _EXACT_CALLS:
            return "half arithmetic"
    return "a flag that allows other bits" if _LOOSE.search(text) else ""


def _is_product(name: str, made: Mapping[str, str]) -> bool:
    """Whether a value is a product, seen through what moves or widens it."""
    text = made.get(name, "")
    if text.startswith("fmul"):
        return True
    if _THROUGH.match(text) or (text.startswith("call") and "@llvm.fabs" in text):
        return any(_is_product(operand, made) for operand in OPERAND.findall(text))
    return False


def hlo_findings(hlo: str) -> Iterator[tuple[str, str]]:
    """(rule, line) of sums whose order is the compiler's."""
    adders = _adders(hlo)
    for line in hlo.splitlines():
        match = _ORDERED.search(line)
        if not match or not _FLOATS.search(match[1]):
            continue
        applied = re.search(r"(?:to_apply|scatter)=(%[\w.-]+)", line)
        if match[2] in ("dot", "convolution") or applied is None or applied[1] in adders:
            yield "a float reduction in the compiler's order", line


def _adders(hlo: str) -> frozenset[str]:
    """Computations that add or multiply floats; a maximum has no order."""
    found, name = set(), ""
    for line in hlo.splitlines():
        if head := COMPUTATION.match(line):
            name = head[1]
        elif re.search(r" = (?:f16|bf16|f32|f64)\[\][^ ]* (?:add|multiply|subtract)\(", line):
            found.add(name)
    return frozenset(found)
