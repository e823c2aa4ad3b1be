"""C twins of what has an order of its own: the LFSR's words, bytes of codes, channels joined (SPEC.md Q3, Q5, A7)."""

from __future__ import annotations

from bitrow.contract.frame import together
from bitrow.contract.program import Line
from bitrow.export.body import Body, CTwin, CValue, axis_name, own_sizes


def _draw(body: Body, line: Line, seed: CValue, source: CValue) -> None:
    value = body.make(line, own_sizes((source,), together(line.axes)))
    body.check()
    row = axis_name(value.axes[0])
    width = body.product(value.axes[1:], value.sizes)
    body.put(f"bw_lfsr_words(v_{seed.name}[0], (uint64_t)(first_{row} * {width}), "
             f"(size_t)((end_{row} - first_{row}) * {width}), v_{line.name} + first_{row} * {width});")  # fmt: skip
    body.report(line, value.sizes)


def _stream(body: Body, line: Line, seed: CValue, start: CValue, count: CValue) -> None:
    runs, element = line.axes
    body.refuse(f"v_{count.name}[0] != s_{element}")
    body.make(line, {})
    body.check()
    body.begin(f"for (int64_t i = 0; i < s_{runs}; i++)")
    body.put(f"bw_lfsr_words(v_{seed.name}[0], (uint64_t)v_{start.name}[i], (size_t)s_{element}, "
             f"v_{line.name} + i * s_{element});")  # fmt: skip
    body.finish()
    body.report(line, {})


def _pack(body: Body, line: Line, source: CValue) -> None:
    row, width = source.axes[0], body.product(source.axes[1:], source.sizes)
    body.refuse(f"(int64_t)bw_packed_size({body.format_of(source.format)}, (size_t)({width})) != s_{line.axes[-1]}")
    body.make(line, {})
    body.check()
    body.begin(f"for (int64_t i = 0; i < s_{axis_name(row)}; i++)")
    body.put(f"bw_pack({body.format_of(source.format)}, (size_t)({width}), v_{source.name} + i * {width}, "
             f"v_{line.name} + i * s_{line.axes[-1]});")  # fmt: skip
    body.finish()
    body.report(line, {})


def _join(body: Body, line: Line, *maps: CValue) -> None:
    *rest, last = together(line.axes)
    total = " + ".join(body.size(value.axes[-1], value.sizes) for value in maps)
    body.refuse(f"s_{last} != {total}")
    value = body.make(line, {})
    body.check()
    depth = body.loops(rest, {})
    body.put(f"int64_t i_{last} = 0;")
    for each in maps:
        own = each.axes[-1]
        body.begin(f"for (int64_t i_{own} = 0; i_{own} < {body.size(own, each.sizes)}; i_{own}++)")
        body.put(f"v_{line.name}[{body.place(value)}] = {body.element(each).text};", f"i_{last}++;")
        body.finish()
    body.finish(depth)
    body.report(line, {})


SEQUENCES: dict[str, CTwin] = {"draw": _draw, "stream": _stream, "pack": _pack, "join": _join}
