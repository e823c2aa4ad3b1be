"""C twins of what puts words in other places of a map (SPEC.md A8, A9, A12, A13)."""

from __future__ import annotations

from bitrow.contract.frame import together
from bitrow.contract.program import Line
from bitrow.export.body import Body, CTwin, CValue


def _configured(body: Body, line: Line) -> None:
    body.make(line, {})
    body.check()
    body.put(f"v_{line.name}[0] = (uint16_t)config->{line.name};")
    body.report(line, {})


def _over(body: Body, line: Line, gate: CValue) -> None:
    body.refuse("s_oh != 1 || s_ow != 1")
    value = body.make(line, {})
    body.check()
    depth = body.loops(value.axes, {})
    body.put(f"v_{line.name}[{body.place(value)}] = v_{gate.name}[i_n_h / s_h * s_c + i_c];")
    body.finish(depth)
    body.report(line, {})


def _enlarged(body: Body, down: str, across: str) -> None:
    """Refuse sizes that are not so many times the smaller map's."""
    body.refuse(f"{down} < 1 || {across} < 1 || s_oh != s_h * {down} || s_ow != s_w * {across}")


def _repeat(body: Body, line: Line, x: CValue) -> None:
    _enlarged(body, "config->rows", "config->columns")
    value = body.make(line, {})
    body.check()
    depth = body.loops(value.axes, {})
    row = "i_n_oh / s_oh * s_h + i_n_oh % s_oh / config->rows"
    body.put(f"v_{line.name}[{body.place(value)}] = v_{x.name}[(({row}) * s_w + i_ow / config->columns) * s_c + i_c];")
    body.finish(depth)
    body.report(line, {})


def _repeats(body: Body, line: Line, dy: CValue) -> None:
    _enlarged(body, "config->rows", "config->columns")
    body.put("s_term = (int64_t)config->rows * config->columns;")
    value = body.make(line, {})
    body.check()
    depth = body.loops(value.axes, {})
    row = "i_n_h / s_h * s_oh + i_n_h % s_h * config->rows + i_term / config->columns"
    column = "i_w * config->columns + i_term % config->columns"
    body.put(f"v_{line.name}[{body.place(value)}] = v_{dy.name}[(({row}) * s_ow + {column}) * s_c + i_c];")
    body.finish(depth)
    body.report(line, {})


def _pixels(body: Body, line: Line, source: CValue) -> None:
    """A13 in both directions: a place of the large map and its channel, against a place of the small one and its."""
    _enlarged(body, "config->block", "config->block")
    body.refuse("s_c_x != s_c_y * config->block * config->block")
    value = body.make(line, {})
    body.check()
    large = together(line.axes)[0] == "n oh"
    depth, here = body.loops(value.axes, {}), f"v_{line.name}[{body.place(value)}]"
    if large:
        body.put("const int64_t n = i_n_oh / s_oh, h = i_n_oh % s_oh / config->block, w = i_ow / config->block;",
                 "const int64_t down = i_n_oh % s_oh % config->block, across = i_ow % config->block, c = i_c_y;",
                 "const int64_t place = down * config->block + across, all = (int64_t)config->block * config->block;",
                 "const int64_t deep = config->order == BW_DEPTH_ORDER_DCR ? place * s_c_y + c : c * all + place;",
                 f"{here} = v_{source.name}[((n * s_h + h) * s_w + w) * s_c_x + deep];")  # fmt: skip
    else:
        body.put("const int64_t places = (int64_t)config->block * config->block;",
                 "const bool dcr = config->order == BW_DEPTH_ORDER_DCR;",
                 "const int64_t place = dcr ? i_c_x / s_c_y : i_c_x % places;",
                 "const int64_t c = dcr ? i_c_x % s_c_y : i_c_x / places;",
                 "const int64_t row = i_n_h / s_h * s_oh + i_n_h % s_h * config->block + place / config->block;",
                 "const int64_t column = i_w * config->block + place % config->block;",
                 f"{here} = v_{source.name}[(row * s_ow + column) * s_c_y + c];")  # fmt: skip
    body.finish(depth)
    body.report(line, {})


PLACEMENT: dict[str, CTwin] = {
    "configured": _configured,
    "over": _over,
    "repeat": _repeat,
    "repeats": _repeats,
    "blocks": _pixels,
    "channels": _pixels,
}
