"""Where the instructions of an optimized HLO dump come from, by the tables at its head."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bitrow.transfer.numerics import HOST

COMPUTATION = re.compile(r"^(?:ENTRY )?(%[\w.-]+) .*\{$")
OPERAND = re.compile(r"%[\w.$-]+")
_SCOPE = re.compile(rf'op_name="[^"]*[/(]{HOST}\w*[)/]')
_EXPANDED = re.compile(r" (?:exponential|log|log-plus-one|exponential-minus-one|power|tanh|logistic|cosine|sine|erf)\(")
_MOVED = re.compile(r" (?:broadcast|bitcast|reshape|copy|transpose|slice|negate)\(")


def defined_name(line: str) -> str:
    """The name that a line of HLO defines."""
    return line.split(" = ")[0].replace("ROOT", "").strip()


class Origins:
    """Where HLO instructions come from, by the tables at the head of a dump."""

    def __init__(self, hlo: str) -> None:
        self._tables = {name: dict(re.findall(r"^(\d+) (.*)$", body, re.M)) for name, body in re.findall(
            r"^(FileNames|FunctionNames|FileLocations|StackFrames)\n((?:\d+ .*\n)+)", hlo, re.M)}  # fmt: skip
        self._bodies: dict[str, list[str]] = {}
        self._lines: dict[str, str] = {}
        self._callers: dict[str, str] = {}
        body = ""
        for line in hlo.splitlines():
            if head := COMPUTATION.match(line):
                body = head[1]
                self._bodies[body] = []
            elif body and " = " in line:
                self._bodies[body].append(line)
                self._lines[defined_name(line)] = line
                for called in re.findall(r"(?:calls|to_apply|body)=(%[\w.-]+)", line):
                    self._callers[called] = line
        self._within = {defined_name(line): name for name, lines in self._bodies.items() for line in lines}

    def of_kernel(self, kernel: str, instruction: str) -> tuple[tuple[str, ...], bool]:
        """Of the float operations that a kernel was made of: those of the instruction's kind where there are such, of
        sums those that read a product."""
        # XLA of JAX 0.10.0 names the kernel of a matrix product after it, "dot.4_kernel".
        line = self._lines.get(f"%{kernel}") or self._lines.get(f"%{kernel.removesuffix('_kernel')}", "")
        called = re.search(r"(?:calls|to_apply)=(%[\w.-]+)", line)
        body = self._bodies.get(called[1], []) if called else []
        kind = {"fmul": "multiply", "fadd": "add", "fsub": "subtract", "fdiv": "divide"}.get(instruction.split(" ")[0])
        floats = [line for line in body if re.search(r" = (?:f16|bf16|f32|f64)\[", line)]
        expanded = [line for line in floats if _EXPANDED.search(line)]
        same = [line for line in floats if kind and f" {kind}(" in line]
        fused = [line for line in same if kind in ("add", "subtract") and self._reads_product(line)]
        return self.of_lines(fused or expanded or same or floats or [line])

    def _reads_product(self, line: str, depth: int = 4) -> bool:
        operands = [self._lines.get(name, "") for name in OPERAND.findall(line)[1:]]
        moved = [one for one in operands if _MOVED.search(one)]
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
            names = [name for one in ahead for name in OPERAND.findall(one.split(", calls=")[0])[1:]]
            callers = [self._callers.get(self._within.get(defined_name(one), ""), "") for one in ahead]
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
        return f"{short_path(file)}:{part.get('line', '?')} {function}"


def short_path(file: str) -> str:
    """A path's last two parts: enough to find it, and no machine's own."""
    return "/".join(Path(file).parts[-2:])
