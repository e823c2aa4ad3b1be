"""Lines as C: single words in loops, the declared sums, and the table of all twins (SPEC.md B2, A3 to A5, T2)."""

from __future__ import annotations

import dataclasses

from bitrow.contract import interpreter
from bitrow.contract.frame import together
from bitrow.contract.program import Line
from bitrow.errors import BitrowError
from bitrow.export import arithmetic, placement, sequences, windows
from bitrow.export.body import Body, CTwin, CValue, axis_name, own_sizes
from bitrow.export.windows import plan, pools

_LEVEL = "_level"


def elementwise(body: Body, line: Line) -> None:
    """A line of single words: its loops, and its operation inside."""
    operands = tuple(body.read(name) for name in line.operands)
    sizes = own_sizes(operands, line.axes)
    value = body.make(line, sizes)
    body.check()
    operands = tuple(_alone(body, each, value.axes) for each in operands)
    depth = body.loops(value.axes, sizes)
    text = arithmetic.element(line, [body.element(each) for each in operands], body.target)
    kind = f"uint{body.bits(line.format)}_t" if line.format not in ("int", "reg") else "int32_t"
    body.put(f"v_{line.name}[{body.place(value)}] = ({kind})({text});")
    body.finish(depth)
    body.report(line, sizes)


def _alone(body: Body, value: CValue, axes: tuple[str, ...]) -> CValue:
    """An operand for results along `axes`; along another axis it may have one element only."""
    others = [axis for axis in value.axes if axis not in axes]
    for axis in others:
        body.refuse(f"{value.count or body.size(axis, value.sizes)} != 1")
    left = tuple(axis for axis in value.axes if axis in axes)
    return dataclasses.replace(value, axes=left, count=value.count if left else "")


def _widened(body: Body, line: Line, source: CValue) -> str:
    """The source's words in the line's width."""
    if body.bits(source.format) == body.bits(line.format):
        return f"v_{source.name}"
    count = body.product(source.axes, source.sizes)
    body.put(f"uint32_t *leaves = bw_take(&call, {count}, sizeof *leaves);")
    body.check()
    body.begin(f"for (int64_t i = 0; i < {count}; i++)")
    body.put(f"leaves[i] = bw_word_fp16_to_fp32(mode, v_{source.name}[i]);")
    body.finish()
    return "leaves"


def _tree(body: Body, line: Line, source: CValue) -> None:
    axes = together(line.axes)
    at = next(at for at, axis in enumerate(axes) if axis.endswith(_LEVEL))
    if source.axes != tuple(axis.removesuffix(_LEVEL) for axis in axes):
        raise BitrowError(f"C {line.name}: found a tree over {' '.join(source.axes)}, expected the line's axes")
    outer, inner = body.product(axes[:at], source.sizes), body.product(axes[at + 1 :], source.sizes)
    place = next(at for at, axis in enumerate(line.axes) if axis.endswith(_LEVEL))
    rank, shape = body.shape(line.axes, source.sizes | {line.axes[place]: "0"})
    size, bits = body.size(source.axes[at], source.sizes), body.bits(line.format)
    body.begin("")
    leaves = _widened(body, line, source)
    body.put(f"int64_t shape[] = {shape.removeprefix('(int64_t[])')};")
    body.put(f'v_{line.name} = bw_tree(&call, "{line.name}", {bits}, {leaves}, {outer}, {size}, {inner}, {rank}, '
             f"shape, {place});")  # fmt: skip
    body.finish()
    body.check()
    left = (*axes[:at], *axes[at + 1 :])
    body.known[line.name] = CValue(line.name, left, line.format, own_sizes((source,), left))


def _running(body: Body, line: Line, source: CValue) -> None:
    axes = together(line.axes)
    sizes = own_sizes((source,), axes)
    value = body.make(line, sizes)
    body.check()
    bits, first = body.bits(line.format), axes[0]
    depth = body.loops(axes[1:], sizes)
    body.put(f"uint{bits}_t total = 0u;")
    at = f"i_{axis_name(first)}"
    body.begin(f"for (int64_t {at} = 0; {at} < {body.size(first, sizes)}; {at}++)")
    body.put(f"total = (uint{bits}_t)bw_sum(mode, {bits}, total, {body.element(source).text});",
             f"v_{line.name}[{body.place(value)}] = total;")  # fmt: skip
    body.finish(depth + 1)
    body.report(line, sizes)


def _partial_sums(body: Body, line: Line, source: CValue) -> None:
    rest, first = source.axes[1:], source.axes[0]
    value = body.make(line, source.sizes, source.axes)
    body.check()
    bits = body.bits(line.format)
    depth = body.loops(rest, source.sizes)
    body.put(f"uint{bits}_t total = 0u;")
    body.begin(f"for (int64_t i_{first} = 0; i_{first} < {body.size(first, source.sizes)}; i_{first}++)")
    here = body.element(source).text
    body.put(f"total = i_{first} == 0 ? {here} : (uint{bits}_t)bw_sum(mode, {bits}, total, {here});",
             f"v_{line.name}[{body.place(value)}] = total;")  # fmt: skip
    body.finish(depth + 1)
    rank, shape = body.shape(line.axes, source.sizes)
    body.begin(f"for (int64_t i = 1; i < {body.size(first, source.sizes)}; i++)")
    body.put(f'bw_report_numbered(&call, "{line.name}", i, v_{line.name} + i * {body.product(rest, source.sizes)}, '
             f"{bits}, {rank}, {shape});")  # fmt: skip
    body.finish()


def _last(body: Body, line: Line, source: CValue) -> None:
    first, rest = source.axes[0], source.axes[1:]
    sizes = {axis: size for axis, size in source.sizes.items() if axis in rest}
    value = body.make(line, sizes)
    body.check()
    depth = body.loops(rest, sizes)
    body.put(f"const int64_t i_{axis_name(first)} = {body.size(first, source.sizes)} - 1;",
             f"v_{line.name}[{body.place(value)}] = {body.element(source).text};")  # fmt: skip
    body.finish(depth)
    body.report(line, sizes)


def _root(body: Body, line: Line, source: CValue) -> None:
    elementwise(body, dataclasses.replace(line, op="copy"))


def _reciprocal(body: Body, line: Line) -> None:
    """1 / M, or of each window of an average 1 / the elements that count."""
    value = body.make(line, {})
    body.check()
    bits = body.bits(line.format)
    count = "s_n_h * s_w"
    body.begin("")
    if pools(body):
        plan(body, pool=True)
        h, w = ("target_h", "target_w") if body.operation.name.endswith(".backward") else ("source_h", "source_w")
        body.put("const bool padding = config->count_padding;")
        count = (f"bw_counted(plan.down, plan.{h}, i_n_oh % s_oh, padding) * "
                 f"bw_counted(plan.across, plan.{w}, i_ow, padding)")  # fmt: skip
    depth = body.loops(value.axes, {})
    body.put(f"v_{line.name}[{body.place(value)}] = (uint{bits}_t)bw_reciprocal({bits}, {count});")
    body.finish(depth + 1)
    body.report(line, {})


def complete(twins: dict[str, CTwin]) -> dict[str, CTwin]:
    """The table, if with the lines of single words it has all that a program may use, and nothing else.

    Raises:
        BitrowError: naming what is missing, or what no program knows.
    """
    known = arithmetic.KNOWN | set(twins)
    for found, wanted in ((known, interpreter.KNOWN), (interpreter.KNOWN, known)):
        if wanted - found:
            raise BitrowError(
                f"C: found no twin of {', '.join(sorted(wanted - found))}, expected what interpreter.KNOWN has"
            )
    return twins


SUMS: dict[str, CTwin] = {
    "tree": _tree,
    "running": _running,
    "partial_sums": _partial_sums,
    "last": _last,
    "root": _root,
    "reciprocal": _reciprocal,
}
TWINS = complete(SUMS | windows.WINDOWS | sequences.SEQUENCES | placement.PLACEMENT)
