// Frozen batch norm of a stream of words whose last axis is the channel (SPEC.md B1). p_kind 7 writes a, 8 writes b.
// The word that came goes through beside its result.
`include "bugs.svh"
module norm_rows #(
    parameter int C = 8, parameter int FMA = 0, parameter int PASSED = 16,  // bits that go through
    parameter int STAGES = 2,
    parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (
    input  logic clk, rst,
    input  logic p_write, input  logic [3:0] p_kind, input  logic [15:0] p_at, p_word,
    input  logic y_valid, output logic y_ready, input  logic [15:0] y_data, input  logic [PASSED-1:0] y_beside,
    output logic z_valid, input  logic z_ready, output logic [15:0] ay_data, z_data,
    output logic [PASSED-1:0] z_beside);
  logic [15:0] a [0:C-1], b [0:C-1];
  integer channel;
  integer own;
  assign own = `BUG(norm_neighbour) ? (channel + C - 1) % C : channel;
  logic [15:0] ay, z;
  norm_frozen #(.FMA(FMA), .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) norm (
      .y(y_data), .a(a[own]), .b(b[own]), .ay, .z);
  pipe #(.WIDTH(32 + PASSED), .STAGES(STAGES)) stages (.clk, .rst, .in_valid(y_valid), .in_ready(y_ready),
      .in_data({y_beside, ay, z}), .out_valid(z_valid), .out_ready(z_ready), .out_data({z_beside, ay_data, z_data}));
  always_ff @(posedge clk) begin
    if (p_write && p_kind == 4'd7) a[p_at] <= p_word;
    if (p_write && p_kind == 4'd8) b[p_at] <= p_word;
    if (rst) channel <= 0;
    else if (y_valid && y_ready) channel <= channel == C - 1 ? 0 : channel + 1;
  end
endmodule
