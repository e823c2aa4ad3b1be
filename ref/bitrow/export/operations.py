"""Each operation of the contract as a C function: its program's lines under its conditions (SPEC.md, Programs)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from bitrow.config import AvgPoolConfig, BatchNormConfig, ConvConfig, SigmoidConfig, SiluConfig
from bitrow.config.sigmoid import LEAST_BITS, MOST_BITS
from bitrow.contract.frame import ROW_AXES
from bitrow.contract.operation import Operation
from bitrow.contract.operations import OPERATIONS
from bitrow.contract.program import Line
from bitrow.errors import BitrowError
from bitrow.export import body as parts
from bitrow.export.body import Body, CValue, axis_name, carrier, public_carrier
from bitrow.export.configs import struct_of
from bitrow.export.structures import TWINS, elementwise
from bitrow.formats import FP16, FloatMode

# What guards ask, where it is no field of the configuration: of convolutions, and of average pools.
_NONE = (*(f"stride[{i}]" for i in range(2)), *(f"padding[{i}]" for i in range(4)))
_APART = " && ".join(f"config->{name} == 0" for name in _NONE)
_CONDITIONS = {
    "two_step": "config->dequantize == BW_DEQUANTIZE_TWO_STEP",
    "biased": "args->bias != NULL",
    "folded": "config->fold",
    "float": "config->gradient == BW_GRADIENT_FP16",
    "drawn": "config->dy_rounding == BW_QUANT_ROUNDING_STOCHASTIC && config->gradient != BW_GRADIENT_FP16",
    "clamped": "config->accumulator.overflow == BW_ACC_SATURATE && bw_bound(args->kh, args->kw, "
               "{terms} / config->groups, config->{codes}, config->weight_format) > bw_high(config->accumulator.bits)",
}  # fmt: skip


def function_name(operation: Operation) -> str:
    """The C function's name: of several operations of a name each has its clause behind it."""
    name = operation.name.replace(".", "_")
    same = [each for each in OPERATIONS if each.name == operation.name]
    clause = [word.lower() for word in operation.program.name.split() if word not in ("forward", "backward")]
    return "_".join(("bw_run", name, *(clause if len(same) > 1 else ())))


def _condition(operation: Operation, name: str) -> str:
    kind = operation.configured_by
    if name == "apart" and kind is AvgPoolConfig:
        return _APART
    if name in _CONDITIONS and kind is ConvConfig:
        back = operation.name.endswith(".backward")
        terms, codes = ("args->c_out", "dy_format") if back else ("args->c_in", "x_format")
        return _CONDITIONS[name].format(terms=terms, codes=codes)
    if dataclasses.is_dataclass(kind) and name in {each.name for each in dataclasses.fields(kind)}:
        return f"config->{name}"
    raise BitrowError(f"C {operation.name}: found the condition {name!r}, expected a field of {kind.__name__}, "
                      f"or of a convolution one of {', '.join(_CONDITIONS)}")  # fmt: skip


def arguments(operation: Operation) -> Iterator[tuple[str, str]]:
    """The fields of an operation's struct, type and name: sizes, what is given, where results go, rows."""
    for axis in parts.given_axes(operation):
        yield "int32_t", axis
    for name, line in parts.given(operation).items():
        yield f"const {public_carrier(line.format)} *", name
        if name in parts.shared(operation):
            yield "int32_t", f"{name}_count"
    for name, line in parts.results(operation).items():
        yield f"{public_carrier(line.format)} *", name
    if operation.by_rows:
        yield "int64_t", "first_row"
        yield "int64_t", "rows"


def _program(operation: Operation) -> str:
    return "\n".join(f"   {row.strip()}" for row in operation.program.text.strip().splitlines())


def declaration(operation: Operation) -> str:
    """The struct and the function of an operation, for the header."""
    name = function_name(operation)
    listed = "\n".join(f"    {kind}{'' if kind.endswith('*') else ' '}{field};" for kind, field in arguments(operation))
    return (
        f"/* SPEC.md {operation.program.name}:\n{_program(operation)} */\n"
        f"typedef struct {{\n{listed}\n}} {name}_args;\n"
        f"int32_t {name}(const {struct_of(operation.configured_by)} *config, const {name}_args *args, "
        "const bw_taps *taps);\n"
    )


def _accumulators(operation: Operation) -> tuple[int, ...]:
    """Widths that `acc` may have in the operation's lines."""
    return (16, 32) if any(line.format == "acc" for line in operation.program.lines) else (0,)


def definition(operation: Operation) -> str:
    """The function, and where the accumulator's format is the configuration's one for each.

    Raises:
        BitrowError: a condition, a structure or formats that have no C.
    """
    name, widths = function_name(operation), _accumulators(operation)
    head = f"(const {struct_of(operation.configured_by)} *config, const {name}_args *args, const bw_taps *taps)"
    if widths == (0,):
        return f"int32_t {name}{head} {{\n{_body(operation, 0)}}}\n"
    both = "".join(f"static int32_t {name}_acc{width}{head} {{\n{_body(operation, width)}}}\n\n" for width in widths)
    chosen = f"config->accumulator == {FP16.bits} ? {name}_acc16(config, args, taps) : {name}_acc32(config, args, taps)"
    return f"{both}int32_t {name}{head} {{\n    return {chosen};\n}}\n"


def _body(operation: Operation, acc: int) -> str:
    body = Body(operation, acc)
    _open(body)
    _sizes(body)
    _rows(body)
    _given(body)
    for name in sorted(operation.program.conditions):
        body.put(f"const bool if_{name} = {_condition(operation, name)};", f"(void)if_{name};")
    _declare(body)
    for line in operation.program.lines:
        if not line.given:
            _line(body, line)
    body.put("return bw_end(&call);")
    return "\n".join(body.lines) + "\n"


def _open(body: Body) -> None:
    operation = body.operation
    moded = body.is_layer and "mode" in {each.name for each in dataclasses.fields(operation.configured_by)}
    mode = "config->mode" if moded else "BW_NEAREST_EVEN"
    mode = "*config" if issubclass(operation.configured_by, FloatMode) else mode
    body.put(f"const bw_mode mode = {mode};", "bw_call call = {taps, mode, BW_OK, 0, 0, 0, {NULL}};",
             "(void)mode;", "(void)config;")  # fmt: skip
    if operation.configured_by is ConvConfig:
        body.refuse(
            "config->accumulator.bits < 8 || config->accumulator.bits > 32 || config->groups < 1", "BW_BAD_CONFIG"
        )
    if operation.configured_by in (SigmoidConfig, SiluConfig):
        body.refuse(f"config->table_bits < {LEAST_BITS} || config->table_bits > {MOST_BITS}", "BW_BAD_CONFIG")
    if operation.configured_by is BatchNormConfig:
        body.refuse("config->accumulator != 16 && config->accumulator != 32", "BW_BAD_CONFIG")


def _sizes(body: Body) -> None:
    """Every size as s_AXIS; of a pair of row axes their product, too."""
    operation = body.operation
    for axis in parts.given_axes(operation):
        body.put(f"const int64_t s_{axis} = args->{axis};", f"(void)s_{axis};")
    lines = [*operation.inputs.values(), *operation.parameters.values(), *operation.outputs.values()]
    for line in lines:
        if line.name not in operation.static and line.axes:
            body.refuse(
                f"bw_extent({len(line.axes)}, (int64_t[]){{{', '.join(f's_{axis}' for axis in line.axes)}}}) < 0"
            )
    own = {axis for line in operation.program.lines for axis in line.axes} - set(parts.given_axes(operation))
    if any(line.op == "windows" for line in operation.program.lines):
        own.add("kw")
    for axis in sorted(own - {"row", "axis"}):
        if not axis.endswith("_level"):
            body.put(f"int64_t s_{axis} = 0;", f"(void)s_{axis};")


def _rows(body: Body) -> None:
    """The rows that are computed of the result, and of its source those of the same images."""
    operation, axes = body.operation, parts.given_axes(body.operation)
    pairs = [axis for axis in ROW_AXES if set(axis.split()) <= set(axes)]
    for axis in pairs:
        images, height = axis.split()
        body.put(f"const int64_t s_{axis_name(axis)} = s_{images} * s_{height};", f"(void)s_{axis_name(axis)};")
    if not operation.by_rows:
        for axis in pairs:
            body.put(f"const int64_t first_{axis_name(axis)} = 0, end_{axis_name(axis)} = s_{axis_name(axis)};",
                     f"(void)first_{axis_name(axis)};", f"(void)end_{axis_name(axis)};")  # fmt: skip
        return
    target = axis_name(operation.target)
    body.refuse(f"args->first_row < 0 || args->rows < 0 || args->first_row > s_{target} || "
                f"args->rows > s_{target} - args->first_row")  # fmt: skip
    body.put(f"const int64_t first_{target} = args->first_row;",
             f"const int64_t end_{target} = args->rows > 0 ? first_{target} + args->rows : s_{target};",
             f"call.first_row = first_{target};", f"call.end_row = end_{target};")  # fmt: skip
    for axis in pairs:
        if axis != operation.target:
            mine, h = axis_name(axis), f"s_{operation.target.split()[1]}"
            body.put(f"const int64_t first_{mine} = {h} > 0 ? first_{target} / {h} * s_{axis.split()[1]} : 0;",
                     f"const int64_t end_{mine} = {h} > 0 ? (end_{target} + {h} - 1) / {h} * s_{axis.split()[1]} : 0;",
                     f"(void)first_{mine};", f"(void)end_{mine};")  # fmt: skip


def _given(body: Body) -> None:
    """Inputs and parameters as v_NAME; a line that reads one that is not there is found before it runs."""
    operation, shared = body.operation, parts.shared(body.operation)
    for name, line in parts.given(operation).items():
        kind = carrier(line.format, body.acc)
        body.put(f"const {kind} *v_{name} = (const {kind} *)args->{name};", f"(void)v_{name};")
        count = ""
        if name in shared:
            count = f"args->{name}_count"
            body.refuse(f"v_{name} != NULL && {count} != 1 && {count} != s_{line.axes[0]}")
        body.known[name] = CValue(name, _together(line), line.format, {}, count)


def _together(line: Line) -> tuple[str, ...]:
    from bitrow.contract.frame import together

    return together(line.axes)


def _declare(body: Body) -> None:
    for name, line in parts.names(body.operation).items():
        const = "const " if line.op == "tree" else ""
        body.put(f"{const}{carrier(line.format, body.acc)} *v_{name} = NULL;", f"(void)v_{name};")


def _line(body: Body, line: Line) -> None:
    """A line under its conditions."""
    body.put(f"/* {line.name} = {line.op} {' '.join(line.operands)} */")
    asked = " && ".join(f"{'' if wanted else '!'}if_{name}" for name, wanted in line.guard)
    body.begin(f"if ({asked})" if asked else "")
    given = [name for name in line.operands if name in parts.given(body.operation)]
    if given:
        body.refuse(" || ".join(f"v_{name} == NULL" for name in given))
    if line.op in TWINS:
        TWINS[line.op](body, line, *(body.read(name) for name in line.operands))
    else:
        elementwise(body, line)
    body.finish()
