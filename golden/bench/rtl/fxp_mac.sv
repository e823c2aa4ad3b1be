// A lane: one product of codes a cycle is added to a register, which wraps or with SATURATE clamps (SPEC.md M1, M2).
`include "bugs.svh"
module fxp_mac #(
    parameter int X_BITS = 4, parameter int X_SIGNED = 1, parameter int W_BITS = 4, parameter int W_SIGNED = 1,
    parameter int ACC_BITS = 24, parameter int SATURATE = 0) (
    input  logic clk, rst,
    input  logic enable, first,  // a product is added; it starts a sum
    input  logic [X_BITS-1:0] x,
    input  logic [W_BITS-1:0] w,
    output logic signed [ACC_BITS-1:0] acc);
  wire signed [X_BITS:0] x_value = {(X_SIGNED != 0 || `BUG(codes_signed)) && x[X_BITS-1], x};
  wire signed [W_BITS:0] w_value = {W_SIGNED != 0 && w[W_BITS-1], w};
  localparam int WIDE = (ACC_BITS > X_BITS + W_BITS + 2 ? ACC_BITS : X_BITS + W_BITS + 2) + 1;
  localparam logic signed [WIDE-1:0] MAX = (WIDE'(1) << (ACC_BITS - 1)) - 1, MIN = -MAX - 1;
  wire signed [WIDE-1:0] so_far = first && !`BUG(acc_not_cleared) ? '0 : WIDE'(acc);
  wire signed [WIDE-1:0] sum = so_far + WIDE'(x_value) * WIDE'(w_value);
  wire clamps = SATURATE != 0 && !`BUG(acc_wraps);
  wire signed [WIDE-1:0] kept = clamps && sum > MAX ? MAX : clamps && sum < MIN ? MIN : sum;
  always_ff @(posedge clk)
    if (rst) acc <= '0;
    else if (enable) acc <= kept[ACC_BITS-1:0];
endmodule
