// What meets a convolution's sums last: dequantizer, bias, the mask of a gradient (SPEC.md D, C2). Combinational.
`include "bugs.svh"
module conv_tail #(
    parameter int ACC_BITS = 24, parameter int TWO_STEP = 0, parameter int BIASED = 0, parameter int MASKED = 0,
    parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (
    input  logic signed [ACC_BITS-1:0] acc,
    input  logic [15:0] scale, bias,
    input  logic passes,
    output logic [15:0] acc_fp16, deq, y);
  fxp_dequantize #(.WIDTH(ACC_BITS), .TWO_STEP(TWO_STEP), .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH))
      dequantize (.acc, .scale, .acc_fp16, .deq);
  logic [15:0] sum;
  if (BIASED != 0) begin : biased
    logic [15:0] late;
    fp16_add #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) add (.a(deq), .b(bias), .y(late));
`ifdef BITROW_WITH_BUGS
    // acc*scale + bias with one rounding, in units of 2^-25
    wire signed [95:0] product = (96'(acc) * $signed(96'({1'b1, scale[9:0]}))) << scale[14:10];
    wire [95:0] addend = 96'({bias[14:10] != 0, bias[9:0]}) << (bias[14:10] == 0 ? 5'd1 : bias[14:10]);
    wire signed [95:0] whole = bias[15] ? product - $signed(addend) : product + $signed(addend);
    logic [15:0] early;
    fp16_round #(.WIDTH(96), .EXPONENT(6), .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) round (
        .sign(whole < 0), .magnitude(whole < 0 ? -whole : whole), .exponent(-6'sd25), .word(early));
    assign sum = `BUG(bias_early) ? early : late;
`else
    assign sum = late;
`endif
  end else begin : plain
    assign sum = deq;
  end
  assign y = MASKED != 0 && !passes && !`BUG(mask_ignored) ? 16'd0 : sum;
endmodule
