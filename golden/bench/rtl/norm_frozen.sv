// Frozen batch norm of a word (SPEC.md B1): z = fp16(fp16(a*y) + b), or with FMA fp16(a*y + b).
`include "bugs.svh"
module norm_frozen #(
    parameter int FMA = 0, parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (
    input  logic [15:0] y, a, b,
    output logic [15:0] ay, z);
  fp16_mul #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) multiply (.a, .b(y), .y(ay));
`ifdef BITROW_WITH_BUGS
  localparam int FUSES = 1;
`else
  localparam int FUSES = FMA;
`endif
  logic [15:0] added, fused;
  fp16_add #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) add (.a(ay), .b, .y(added));
  if (FUSES != 0) begin : once
    fp16_fma #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) fma (.a, .b(y), .c(b), .y(fused));
  end else begin : twice
    assign fused = added;
  end
  assign z = FMA != 0 || `BUG(norm_fused) ? fused : added;
endmodule
