"""SystemVerilog packages that import the C model's functions by DPI-C, and an example that calls them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bitrow.export import configs, model
from bitrow.export.network import LayerFunction, NetworkStages, results
from bitrow.formats import Flag

_TYPES = {"uint8_t": "byte unsigned", "uint16_t": "shortint unsigned", "uint32_t": "int unsigned", "int32_t": "int",
          "bw_mode": "int unsigned"}  # fmt: skip
_OTHERS = """
int32_t quantize(uint16_t t, int32_t low, int32_t high)
uint8_t inside(uint16_t t, int32_t low, int32_t high)
int32_t quantize_drawn(uint16_t t, uint16_t word, int32_t low, int32_t high)
uint16_t dequantize(bw_mode mode, int32_t acc, uint16_t scale)
uint16_t dequantize_two_step(bw_mode mode, int32_t acc, uint16_t scale)
int32_t mac_wrap(int32_t acc, int32_t x, int32_t weight, int32_t bits)
int32_t mac_saturate(int32_t acc, int32_t x, int32_t weight, int32_t bits)
"""


def others() -> tuple[model.Prototype, ...]:
    """The public functions of single words that are not printed from a kernel alone."""
    return tuple(map(model.Prototype, _OTHERS.strip().splitlines()))


def _import(prototype: model.Prototype) -> str:
    listed = ", ".join(f"input {_TYPES[kind]} {name}" for kind, name in prototype.arguments)
    return f'    import "DPI-C" pure function {_TYPES[prototype.type]} bw_{prototype.name}({listed});'


def package() -> str:
    """bitrow_pkg.sv: every function of single words, and the modes."""
    roundings = "\n".join(f"    localparam int unsigned BW_{each.name} = {place};"
                          for place, each in enumerate(configs.ROUNDINGS))  # fmt: skip
    flags = "\n".join(f"    localparam int unsigned BW_{flag.name} = {int(flag)};" for flag in Flag)
    imports = "\n".join(_import(each) for each in (*model.prototypes(), *others()))
    return f"""// The arithmetic of single words (SPEC.md F, Q, D, M), computed by bitrow.c. A mode is a rounding, and
// as wanted BW_SATURATE, BW_FLUSH, and for flags BW_TINY_BEFORE added to it. Codes and accumulators are ints,
// FP16 and LFSR words shortints.
package bitrow_pkg;
{roundings}
    localparam int unsigned BW_SATURATE = 8;
    localparam int unsigned BW_FLUSH = 16;
    localparam int unsigned BW_TINY_BEFORE = 32;
{flags}

{imports}
endpackage
"""


_DPI = "cc -std=c99 -O2 -c bitrow.c && verilator --binary bitrow_pkg.sv bitrow_example.sv $PWD/bitrow.o"


def example(command: str = _DPI) -> str:
    """bitrow_example.sv: a module that calls the package, and says what it found; `command` compiles it."""
    return f"// Words of the contract in a simulation:\n//   {command}\n" + """module bitrow_example;
    import bitrow_pkg::*;

    initial begin
        shortint unsigned sum, product;
        sum = bw_fp16_add(BW_NEAREST_EVEN, 16'h3c00, 16'h3c00);  // 1 + 1
        product = bw_fp16_mul(BW_UP + BW_FLUSH, 16'h0400, 16'h3800);  // 2^-14 * 0.5, flushed
        if (sum != 16'h4000 || product != 16'h0000 || bw_quantize(16'h4a00, -8, 7) != 7 ||
            bw_dequantize(BW_NEAREST_EVEN, -3, 16'h3800) != 16'hbe00) begin
            $display("bitrow_example: FAILED, sum %h product %h", sum, product);
            $fatal;
        end
        $display("bitrow_example: sum %h product %h", sum, product);
        $finish;
    end
endmodule
"""


def _arguments(stage: LayerFunction) -> Iterator[str]:
    for port in stage.ports:
        yield f"{'input' if port.read else 'output'} {_TYPES[port.type]} {port.name}[{port.size}]"


def network_package(stages: NetworkStages) -> str:
    """NAME_pkg.sv: a network's layers and its whole pass, for one image."""
    network = stages.model.network
    image, found = math.prod(network.input_shape), results(network).values()
    rows = [f'    import "DPI-C" function int {stage.name}_one({", ".join(_arguments(stage))});'
            for stage in (*stages.forward.values(), *stages.backward.values())]  # fmt: skip
    listed = [f"input shortint unsigned x[{image}]"]
    listed += [f"input shortint unsigned {one.gradient}[{one.size}]" for one in found]
    listed += [f"output shortint unsigned {one.value}[{one.size}]" for one in found]
    listed.append(f"output shortint unsigned dx[{image}]")
    rows.append(f'    import "DPI-C" function int {stages.name}_pass_one({", ".join(listed)});')
    imports = "\n".join(rows)
    return f"""// {stages.name}, a function for each layer and direction, computed by {stages.name}.c; 0 is success.
package {stages.name}_pkg;
{imports}
endpackage
"""
