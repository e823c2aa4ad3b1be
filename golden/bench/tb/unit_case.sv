// An operation of single words behind a handshake and LATENCY cycles. OPERATION is what the case's package says.
`include "case_ports.svh"
module unit_case #(
    parameter OPERATION = "fp16.add", parameter int LATENCY = 3,
    parameter int SIX = 0, parameter int ALPHA = 0, parameter int BETA = 0,
    parameter int BITS = 4, parameter int SIGNED = 1, parameter int NARROW = 0, parameter int ACC_BITS = 24,
    parameter int TWO_STEP = 0,
    parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (`CASE_PORTS);
  wire [31:0] a = in_data[31:0], b = in_data[63:32], c = in_data[95:64];
  logic [15:0] y0, y1, y2, y3;
  logic [127:0] y;
  if (OPERATION == "fp16.add" || OPERATION == "add.forward") begin : unit
    fp16_add #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) dut (.a(a[15:0]), .b(b[15:0]), .y(y0));
  end else if (OPERATION == "fp16.sub") begin : unit
    fp16_add #(.SUBTRACT(1), .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) dut (
        .a(a[15:0]), .b(b[15:0]), .y(y0));
  end else if (OPERATION == "fp16.mul" || OPERATION == "multiply.forward" || OPERATION == "batch_norm.backward") begin : unit
    fp16_mul #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) dut (.a(a[15:0]), .b(b[15:0]), .y(y0));
  end else if (OPERATION == "multiply.backward") begin : unit  // dy, other, x
    fp16_mul #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) dut (.a(a[15:0]), .b(b[15:0]), .y(y0));
    fp16_mul #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) other (.a(a[15:0]), .b(c[15:0]), .y(y1));
  end else if (OPERATION == "fp16.fma") begin : unit
    fp16_fma #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) dut (
        .a(a[15:0]), .b(b[15:0]), .c(c[15:0]), .y(y0));
  end else if (OPERATION == "fp16.from_int32") begin : unit
    fp16_from_int32 #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) dut (.i(a), .y(y0));
  end else if (OPERATION == "fp16.from_float32") begin : unit
    fp16_from_float32 #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) dut (.x(a), .y(y0));
  end else if (OPERATION == "fp16.to_float32") begin : unit
    fp16_to_float32 #(.FLUSH(FLUSH)) dut (.a(a[15:0]), .y({y1, y0}));
  end else if (OPERATION == "relu.forward" || OPERATION == "relu.backward") begin : unit
    logic passes;
    logic [15:0] rectified, gradient;
    fp16_relu #(.SIX(SIX)) dut (.x(a[15:0]), .y(rectified), .passes);
    fp16_select select (.word(b[15:0]), .passes, .y(gradient));
    assign y0 = OPERATION == "relu.forward" ? rectified : gradient;
  end else if (OPERATION == "hard_swish.forward") begin : unit
    hard_swish #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) dut (
        .x(a[15:0]), .shifted(y0), .gate(y1), .gated(y2), .y(y3));
  end else if (OPERATION == "hard_swish.backward") begin : unit
    hard_swish_gradient #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) dut (
        .x(a[15:0]), .dy(b[15:0]), .x_third(y0), .slope(y1), .factor(y2), .dx(y3));
  end else if (OPERATION == "hard_sigmoid.forward") begin : unit
    hard_sigmoid #(.ALPHA(ALPHA), .BETA(BETA), .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) dut (
        .x(a[15:0]), .scaled(y0), .shifted(y1), .y(y2));
  end else if (OPERATION == "hard_sigmoid.backward") begin : unit
    hard_sigmoid_gradient #(.ALPHA(ALPHA), .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) dut (
        .y(a[15:0]), .dy(b[15:0]), .slope(y0), .dx(y1));
  end else if (OPERATION == "fxp.dequantize") begin : unit
    fxp_dequantize #(.WIDTH(ACC_BITS), .TWO_STEP(TWO_STEP), .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH))
        dut (.acc(a[ACC_BITS-1:0]), .scale(b[15:0]), .acc_fp16(y0), .deq(y1));
  end else begin : unit  // fxp.quantize, fxp.quantize_stochastic: x, x_inv_scale, words
    logic [BITS-1:0] code;
    logic mask;
    fxp_quantize #(.BITS(BITS), .SIGNED(SIGNED), .NARROW(NARROW), .DRAWN(OPERATION == "fxp.quantize" ? 0 : 1),
        .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) dut (
        .x(a[15:0]), .inv_scale(b[15:0]), .drawn(c[15:0]), .t(y0), .code, .mask);
    assign y1 = 16'(code);
    assign y2 = 16'(mask);
  end
  localparam int WIDE = OPERATION == "fp16.to_float32" ? 1 : 0;
  assign y = WIDE != 0 ? {96'd0, y1, y0} : {16'd0, y3, 16'd0, y2, 16'd0, y1, 16'd0, y0};
  pipe #(.WIDTH(128), .STAGES(LATENCY)) stages (.clk, .rst, .in_valid, .in_ready, .in_data(y),
      .out_valid, .out_ready, .out_data(out_data[127:0]));
  assign out_data[191:128] = '0;
  assign {mid_valid, mid_data} = '0;
endmodule
