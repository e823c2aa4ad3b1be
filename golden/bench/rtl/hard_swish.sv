// Hard swish, forward and its derivative (SPEC.md A6), of the FP16 units.
module hard_swish #(
    parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (
    input  logic [15:0] x,
    output logic [15:0] shifted, gate, gated, y);
  logic passes;
  fp16_add #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) shift (.a(x), .b(16'h4200), .y(shifted));
  fp16_relu #(.SIX(1)) clip (.x(shifted), .y(gate), .passes);
  fp16_mul #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) multiply (.a(x), .b(gate), .y(gated));
  fp16_mul #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) sixth (.a(gated), .b(16'h3155), .y);
endmodule

module hard_swish_gradient #(
    parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (
    input  logic [15:0] x, dy,
    output logic [15:0] x_third, slope, factor, dx);
  fp16_mul #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) third (.a(x), .b(16'h3555), .y(x_third));
  fp16_add #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) half (.a(x_third), .b(16'h3800), .y(slope));
  fp16_mul #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) multiply (.a(dy), .b(factor), .y(dx));
  always_comb
    if (x[14:0] > 15'h7c00) factor = 16'h7e00;
    else if (x[14:0] < 15'h4200) factor = slope;
    else factor = x[15] ? 16'h0000 : 16'h3c00;
endmodule
