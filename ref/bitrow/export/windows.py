"""C twins of what reads windows of a map (SPEC.md M1, M2, C1 to C3, A2, A3)."""

from __future__ import annotations

import dataclasses

from bitrow.contract.frame import ROW_AXES
from bitrow.contract.program import Line
from bitrow.export.body import Body, CTwin, CValue, axis_name


def pools(body: Body) -> bool:
    return "kernel" in {each.name for each in dataclasses.fields(body.operation.configured_by)}


def plan(body: Body, pool: bool, back: bool | None = None) -> None:
    """Where the operation's windows lie, as `plan`; stops where the sizes are not theirs."""
    if back is None:
        back = body.operation.name.endswith(".backward")
    channels = ("s_c", "s_c") if pool else ("s_c_out", "s_c_in") if back else ("s_c_in", "s_c_out")
    kernel = "config->kernel" if pool else "(int32_t[]){args->kh, args->kw}"
    apart = "config->stride, config->padding, config->dilation"
    if pool and not pools(body):  # the whole map
        kernel, apart = "(int32_t[]){0, 0}", "(int32_t[]){0, 0}, (int32_t[]){0, 0, 0, 0}, (int32_t[]){1, 1}"
    inner, outer = ("s_h, s_w", "s_oh, s_ow")
    sizes = (
        f"{outer}, {channels[0]}, {inner}, {channels[1]}" if back else f"{inner}, {channels[0]}, {outer}, {channels[1]}"
    )
    groups = "s_c" if pool else "config->groups"
    way = str(back).lower()
    ways = f"{way}, {way}" if pool else f"config->transposed != {way}, {way}"
    body.put(f"const bw_plan plan = bw_planned({ways}, {kernel}, {apart}, {sizes}, {groups});")
    body.refuse("!bw_fits(&plan)")
    if not pool:
        body.refuse("config->transposed && !bw_spans(&plan, config->output_padding)")


def _rows(body: Body, axes: tuple[str, ...]) -> str:
    row = axis_name(next(axis for axis in axes if axis in ROW_AXES))
    return f"first_{row}, end_{row}"


def _back(line: Line) -> bool:
    """A convolution's result has the rows of its input where it is a gradient."""
    return "oh" not in line.axes


def _macs(body: Body, line: Line, codes: CValue, weight: CValue) -> None:
    value = body.make(line, {})
    body.check()
    body.begin("")
    plan(body, False, _back(line))
    body.put(f"bw_macs(&call, &plan, {body.format_of(codes.format)}, v_{codes.name}, {body.format_of(weight.format)}, "
             f"v_{weight.name}, config->accumulator, {_rows(body, value.axes)}, v_{line.name});")  # fmt: skip
    body.finish()
    body.check()
    body.report(line, {})


def _each_term(function: str, coded: bool) -> CTwin:
    def run(body: Body, line: Line, source: CValue, weight: CValue) -> None:
        body.begin("")
        plan(body, False, _back(line))
        body.put("s_k = call.taps != NULL ? bw_terms(&plan) : 1;")
        value = body.make(line, {})
        body.check()
        rows = axis_name(next(axis for axis in value.axes if axis in ROW_AXES))
        read = f"{body.format_of(source.format)}, v_{source.name}" if coded else f"v_{source.name}"
        to = "config->accumulator, " if coded else ""
        body.put(f"{function}(&call, &plan, {read}, {body.format_of(weight.format)}, v_{weight.name}, {to}s_{rows}, "
                 f"{_rows(body, value.axes)}, s_k, v_{line.name});")  # fmt: skip
        body.finish()
        body.check()
        body.report(line, {})

    return run


def _maximum(body: Body, line: Line, x: CValue) -> None:
    value = body.make(line, {})
    body.check()
    body.begin("")
    plan(body, True, False)
    out = f"v_{line.name}, NULL" if line.op == "maximum" else f"NULL, v_{line.name}"
    body.put(f"bw_maximum(&plan, v_{x.name}, {_rows(body, value.axes)}, {out});")
    body.finish()
    body.report(line, {})


def _gathered(body: Body, line: Line, dy: CValue, *index: CValue) -> None:
    value = body.make(line, {})
    body.check()
    body.begin("")
    plan(body, True, True)
    won = f"v_{index[0].name}" if index else "NULL"
    body.put(f"bw_gathered(&call, &plan, v_{dy.name}, {won}, {_rows(body, value.axes)}, v_{line.name});")
    body.finish()
    body.report(line, {})


def _windows(body: Body, line: Line, x: CValue) -> None:
    body.begin("")
    plan(body, True, False)
    body.put("s_kh = plan.down.kernel;", "s_kw = plan.across.kernel;")
    value = body.make(line, {"w": "s_kw"})
    body.check()
    body.put(f"bw_windows(&plan, v_{x.name}, {_rows(body, value.axes)}, v_{line.name});")
    body.finish()
    body.report(line, value.sizes)


WINDOWS: dict[str, CTwin] = {
    "macs": _macs,
    "clamped_macs": _each_term("bw_clamped_macs", True),
    "float_macs": _each_term("bw_float_macs", False),
    "maximum": _maximum,
    "place": _maximum,
    "won": _gathered,
    "windows": _windows,
    "spread": _gathered,
}
