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

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bitrow.errors import BitrowError
from bitrow.reading import LISTING, read_text
from bitrow.transfer.numerics import HOST

_SCOPE = re.compile(rf'op_name="[^"]*[/(]{HOST}\w*[)/]')
_FLAGS = "fast|nnan|ninf|nsz|arcp|contract|afn|reassoc"
_BINARY = re.compile(rf"(fadd|fsub|fmul|fdiv|frem)((?: (?:{_FLAGS}))*) (<[^>]*>|\w+) (\S+), (\S+)")
_INSTRUCTION = re.compile(r"^\s+(%[^\s=]+) = (.*)$")
_DEFINE = re.compile(r"^define .*@(\"[^\"]+\"|[\w.$-]+)\(")
_LOOSE = re.compile(
    r"\b(?:f(?:add|sub|mul|div|rem|neg|cmp|ptrunc|pext)|select|phi|call)\b(?!.*@llvm\.(?:max|min))"
    r"[^,(]*\b(?:fast|arcp|contract|afn|reassoc)\b"
)  # a maximum has no order
_CALL = re.compile(r"call[^@]*@llvm\.(vector\.reduce\.\w+|[a-z]+(?:\.[a-z]+)?)[\w.]*?\.(v\d+)?(f16|bf16|f32|f64)\(")
_EXACT_CALLS = ("fabs", "copysign", "is.fpclass", "masked.load", "masked.store", "masked.gather", "masked.scatter")
_FUSED_CALLS = ("fma", "fmuladd")
_THROUGH = re.compile(r"^(?:fneg|fpext|freeze|shufflevector|extractelement|insertelement|fabs)\b")
_OPERAND = re.compile(r"%[\w.$-]+")
_COMPUTATION = re.compile(r"^(?:ENTRY )?(%[\w.-]+) .*\{$")
_EXPANDED = re.compile(r" (?:exponential|log|log-plus-one|exponential-minus-one|power|tanh|logistic|cosine|sine|erf)\(")
_FLOATS = re.compile(r"\b(?:f16|bf16|f32|f64)\[")
_ORDERED = re.compile(
    r" = (\(?[a-z0-9]+\[[^=]*?) (reduce|reduce-window|dot|convolution|all-reduce|reduce-scatter|scatter|select-and-scatter)\("
)


class Violation(NamedTuple):
    """Something in a compiled program that may give other bits elsewhere; `sources` are "file:line function".

    `host`: it lies in a scope or function whose name begins with HOST, whose bits the contract leaves to the host.
    """

    program: str
    kernel: str
    rule: str
    instruction: str
    sources: tuple[str, ...]
    host: bool = False

    def __str__(self) -> str:
        where = ", ".join(self.sources[:3]) or "no source line"
        return f"{self.program}: {self.rule} in {self.kernel} ({where}): found {self.instruction[:160]}"


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


def _compile(program: str, jitted: Any, arguments: Sequence[Any]) -> tuple[Callable[..., Any], Listing]:
    with tempfile.TemporaryDirectory(prefix="bitrow-") as folder:
        options = {"xla_dump_to": folder, "xla_dump_hlo_as_text": True}
        compiled = jitted.lower(*arguments).compile(compiler_options=options)
        files = sorted(Path(folder).iterdir())
        ir = {path.name: read_text(path, LISTING) for path in files if path.name.endswith("ir-with-opt.ll")}
        hlo = [read_text(path, LISTING) for path in files if path.name.endswith("after_optimizations.txt")]
    if not hlo:
        raise BitrowError(f"{program}: found no dump by backend {jax.default_backend()}, expected optimized HLO")
    return compiled, Listing(program, ir, "\n".join(hlo))


def violations(found: Listing) -> list[Violation]:
    """Everything that breaks a rule, in the order of the files."""
    origins = _Origins(found.hlo)
    every: list[Violation] = []
    for text in found.ir.values():
        for kernel, rule, instruction in ir_findings(text.splitlines()):
            sources, host = origins.of_kernel(kernel, instruction)
            every.append(Violation(found.program, kernel, rule, instruction, sources, host))
    for rule, line in hlo_findings(found.hlo):
        sources, host = origins.of_lines([line])
        every.append(Violation(found.program, _name(line), rule, line.strip(), sources, host))
    return every


def _name(line: str) -> str:
    """The name that a line of HLO defines."""
    return line.split(" = ")[0].replace("ROOT", "").strip()


def ir_findings(lines: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """(kernel, rule, instruction) of one module of LLVM IR."""
    kernel, made = "", {}
    for line in lines:
        if define := _DEFINE.match(line):
            kernel, made = define[1].strip('"'), {}
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
        opcode, _, kind, *operands = binary.groups()
        if "half" in kind or "bfloat" in kind:
            return "half arithmetic"
        if opcode in ("fadd", "fsub") and any(_is_product(operand, made) for operand in operands):
            return "a sum reads a product"
    if text.startswith("fneg") and "half" in text.split("%")[0]:
        return ""  # a sign bit
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
        return any(_is_product(operand, made) for operand in _OPERAND.findall(text))
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
        if head := _COMPUTATION.match(line):
            name = head[1]
        elif re.search(r" = (?:f16|bf16|f32|f64)\[\][^ ]* (?:add|multiply|subtract)\(", line):
            found.add(name)
    return frozenset(found)


class _Origins:
    """Where HLO instructions come from, by the tables at the head of a dump."""

    def __init__(self, hlo: str) -> None:
        self._tables = {name: dict(re.findall(r"^(\d+) (.*)$", body, re.M)) for name, body in re.findall(
            r"^(FileNames|FunctionNames|FileLocations|StackFrames)\n((?:\d+ .*\n)+)", hlo, re.M)}  # fmt: skip
        self._bodies: dict[str, list[str]] = {}
        self._lines: dict[str, str] = {}
        self._callers: dict[str, str] = {}
        body = ""
        for line in hlo.splitlines():
            if head := _COMPUTATION.match(line):
                body = head[1]
                self._bodies[body] = []
            elif body and " = " in line:
                self._bodies[body].append(line)
                self._lines[_name(line)] = line
                for called in re.findall(r"(?:calls|to_apply|body)=(%[\w.-]+)", line):
                    self._callers[called] = line
        self._within = {_name(line): name for name, lines in self._bodies.items() for line in lines}

    def of_kernel(self, kernel: str, instruction: str) -> tuple[tuple[str, ...], bool]:
        """Of the float operations that a kernel was made of: those of the instruction's kind where there are such, of
        sums those that read a product."""
        called = re.search(r"(?:calls|to_apply)=(%[\w.-]+)", self._lines.get(f"%{kernel}", ""))
        body = self._bodies.get(called[1], []) if called else []
        kind = {"fmul": "multiply", "fadd": "add", "fsub": "subtract", "fdiv": "divide"}.get(instruction.split(" ")[0])
        floats = [line for line in body if re.search(r" = (?:f16|bf16|f32|f64)\[", line)]
        expanded = [line for line in floats if _EXPANDED.search(line)]
        same = [line for line in floats if kind and f" {kind}(" in line]
        fused = [line for line in same if kind in ("add", "subtract") and self._reads_product(line)]
        return self.of_lines(fused or expanded or same or floats or [self._lines.get(f"%{kernel}", "")])

    def _reads_product(self, line: str, depth: int = 4) -> bool:
        operands = [self._lines.get(name, "") for name in _OPERAND.findall(line)[1:]]
        moved = [one for one in operands if re.search(r" (?:broadcast|bitcast|reshape|copy|transpose|slice|negate)\(", one)]
        return any(" multiply(" in one for one in operands) or (
            depth > 0 and any(self._reads_product(one, depth - 1) for one in moved)
        )

    def of_lines(self, lines: Sequence[str]) -> tuple[tuple[str, ...], bool]:
        """Sources of some instructions, and whether all of them are the host's."""
        known = [self._nearest(line) for line in lines]
        sources = [source for line in known if (source := self._source(line))]
        return tuple(dict.fromkeys(sources)), bool(known) and all(_SCOPE.search(line) for line in known)

    def _nearest(self, line: str, steps: int = 6) -> str:
        """The line, or where XLA made it itself the nearest of those that call it or feed it that has an origin."""
        seen, ahead = set(), [line]
        for _ in range(steps):
            for one in ahead:
                if "op_name=" in one:
                    return one
            names = [name for one in ahead for name in _OPERAND.findall(one.split(", calls=")[0])[1:]]
            callers = [self._callers.get(self._within.get(_name(one), ""), "") for one in ahead]
            ahead = [*callers, *(self._lines.get(name, "") for name in names if name not in seen)]
            seen.update(names)
        return line

    def _source(self, line: str) -> str:
        """The innermost frame, as "folder/file:line function"; "" where none is known."""
        frame = re.search(r"stack_frame_id=(\d+)", line)
        location = frame and re.search(r"file_location_id=(\d+)", self._tables.get("StackFrames", {}).get(frame[1], ""))
        if not location:
            return ""
        part = dict(re.findall(r"(\w+)=(\d+)", self._tables.get("FileLocations", {}).get(location[1], "")))
        file = self._tables.get("FileNames", {}).get(part.get("file_name_id", ""), "?").strip('"')
        function = self._tables.get("FunctionNames", {}).get(part.get("function_name_id", ""), "?").strip('"')
        return f"{_short(file)}:{part.get('line', '?')} {function}"


def _short(file: str) -> str:
    """A path's last two parts: enough to find it, and no machine's own."""
    return "/".join(Path(file).parts[-2:])


_MOVES = frozenset(
    ["reshape", "broadcast_in_dim", "transpose", "slice", "squeeze", "concatenate", "pad", "gather", "dynamic_slice", "rev", "copy", "copy_p", "select_n", "dynamic_update_slice", "expand_dims", "split", "optimization_barrier"]
)


def cast_pairs(program: str, jitted: Any, arguments: Sequence[Any]) -> list[Violation]:
    """Narrowings to float16 that are widened again with only moves between, in the traced program."""
    closed = jitted.trace(*arguments).jaxpr
    found: list[Violation] = []
    _follow(closed.jaxpr, [False] * len(closed.jaxpr.invars), program, found)
    return list(dict.fromkeys(found))


def _follow(jaxpr: Any, fresh: Sequence[bool], program: str, found: list[Violation]) -> list[bool]:
    """Which results are narrowed and not decided since; `fresh` says it of the inputs."""
    known = dict(zip(jaxpr.invars, fresh, strict=True))

    def is_fresh(atom: Any) -> bool:
        return not hasattr(atom, "val") and known.get(atom, False)

    for eqn in jaxpr.eqns:
        inputs = [is_fresh(atom) for atom in eqn.invars]
        name, out = eqn.primitive.name, [False] * len(eqn.outvars)
        if name == "convert_element_type":
            source, target = eqn.invars[0].aval.dtype, eqn.outvars[0].aval.dtype
            out = [source == jnp.float32 and target in (jnp.float16, jnp.bfloat16)]
            if inputs[0] and target == jnp.float32:
                found.append(Violation(program, name, "a cast pair that is deleted", str(eqn)[:120], _eqn_source(eqn)))
        elif name in _MOVES:
            out = [any(inputs)] * len(eqn.outvars)
        else:
            out = _inside(eqn, inputs, program, found) or out
        known.update(zip(eqn.outvars, out, strict=True))
    return [is_fresh(atom) for atom in jaxpr.outvars]


def _inside(eqn: Any, inputs: list[bool], program: str, found: list[Violation]) -> list[bool] | None:
    """Follow the programs that an operation runs; a loop's carry until it says nothing new."""
    result = None
    for value in eqn.params.values():
        for inner in value if isinstance(value, tuple | list) else (value,):
            jaxpr = getattr(inner, "jaxpr", inner)
            if not hasattr(jaxpr, "eqns"):
                continue
            count = len(jaxpr.invars)
            given = inputs[-count:] if len(inputs) >= count else [*inputs, *[False] * (count - len(inputs))]
            out = _follow(jaxpr, given, program, found)
            if eqn.primitive.name in ("scan", "while") and any(out):
                out = _follow(jaxpr, [one or any(out) for one in given], program, found)
            if len(out) == len(eqn.outvars):
                result = out
    return result


def _eqn_source(eqn: Any) -> tuple[str, ...]:
    own = str(Path(jax.__file__).parent)
    frames = eqn.source_info.traceback.frames if eqn.source_info.traceback else ()
    for frame in frames:
        if not frame.file_name.startswith(own):
            return (f"{_short(frame.file_name)}:{frame.line_num} {frame.function_name}",)
    return ()
