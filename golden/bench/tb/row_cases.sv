// The designs of rows and sequences, with the ports that the benches drive.
`include "case_ports.svh"

// A convolution, and with NORMED the frozen batch norm behind it. In: the map. Beside: folded, word, t, code, mask.
// Out: acc, acc_fp16, deq, y, ay, z.
module conv_case #(
    parameter int N = 1, parameter int H = 8, parameter int W = 8, parameter int C = 1,
    parameter int OH = 8, parameter int OW = 8, parameter int OC = 8,
    parameter int KH = 3, parameter int KW = 3, parameter int GROUPS = 1,
    parameter int STRIDE_H = 1, parameter int STRIDE_W = 1, parameter int DILATION_H = 1, parameter int DILATION_W = 1,
    parameter int TOP = 1, parameter int LEFT = 1, parameter int SPREAD = 0, parameter int SWAPPED = 0,
    parameter int X_BITS = 4, parameter int X_SIGNED = 1, parameter int X_NARROW = 0,
    parameter int W_BITS = 4, parameter int W_SIGNED = 1, parameter int ACC_BITS = 24, parameter int ACC_OVERFLOW = 0,
    parameter int TWO_STEP = 0, parameter int SCALES = 1, parameter int FOLDS = 1,
    parameter int BIASED = 0, parameter int FOLDED = 0, parameter int DRAWN = 0, parameter int MASKED = 0,
    parameter int NORMED = 0, parameter int FMA = 0,
    parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (`CASE_PORTS);
  logic [15:0] folded, word, t, acc_fp16, deq, y_data;
  logic [X_BITS-1:0] code;
  logic mask, y_valid, y_ready;
  logic signed [ACC_BITS-1:0] acc;
  conv_rows #(.N(N), .H(H), .W(W), .C(C), .OH(OH), .OW(OW), .OC(OC), .KH(KH), .KW(KW), .GROUPS(GROUPS),
      .STRIDE_H(STRIDE_H), .STRIDE_W(STRIDE_W), .DILATION_H(DILATION_H), .DILATION_W(DILATION_W), .TOP(TOP), .LEFT(LEFT),
      .SPREAD(SPREAD), .SWAPPED(SWAPPED), .X_BITS(X_BITS), .X_SIGNED(X_SIGNED), .X_NARROW(X_NARROW), .W_BITS(W_BITS),
      .W_SIGNED(W_SIGNED), .ACC_BITS(ACC_BITS), .SATURATE(ACC_OVERFLOW == 2 ? 1 : 0), .TWO_STEP(TWO_STEP),
      .SCALES(SCALES), .FOLDS(FOLDS), .BIASED(BIASED), .FOLDED(FOLDED), .DRAWN(DRAWN), .MASKED(MASKED),
      .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) rows (
      .clk, .rst, .p_write, .p_kind, .p_at, .p_word, .x_valid(in_valid), .x_ready(in_ready), .x_data(in_data[15:0]),
      .folded, .word, .t, .code, .mask, .y_valid, .y_ready, .acc, .acc_fp16, .deq, .y_data);
  assign mid_valid = in_valid && in_ready;
  assign mid_data = {31'd0, mask, 32'(code), 16'd0, t, 16'd0, word, 16'd0, folded};

  wire [127:0] results = {16'd0, y_data, 16'd0, deq, 16'd0, acc_fp16, 32'(acc)};
  if (NORMED != 0) begin : layer
    logic [15:0] ay, z;
    norm_rows #(.C(OC), .FMA(FMA), .PASSED(128), .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) norm (
        .clk, .rst, .p_write, .p_kind, .p_at, .p_word, .y_valid, .y_ready, .y_data, .y_beside(results),
        .z_valid(out_valid), .z_ready(out_ready), .ay_data(ay), .z_data(z), .z_beside(out_data[127:0]));
    assign out_data[191:128] = {16'd0, z, 16'd0, ay};
  end else begin : alone
    pipe #(.WIDTH(128), .STAGES(2)) stages (.clk, .rst, .in_valid(y_valid), .in_ready(y_ready), .in_data(results),
        .out_valid, .out_ready, .out_data(out_data[127:0]));
    assign out_data[191:128] = '0;
  end
endmodule

// Frozen batch norm alone. In: y. Out: ay, z.
module norm_case #(
    parameter int C = 8, parameter int FMA = 0,
    parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (`CASE_PORTS);
  logic [15:0] ay, z, y;
  norm_rows #(.C(C), .FMA(FMA), .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) norm (
      .clk, .rst, .p_write, .p_kind, .p_at, .p_word, .y_valid(in_valid), .y_ready(in_ready), .y_data(in_data[15:0]),
      .y_beside(in_data[15:0]), .z_valid(out_valid), .z_ready(out_ready), .ay_data(ay), .z_data(z), .z_beside(y));
  assign out_data = {144'd0, z, 16'd0, ay};
  assign {mid_valid, mid_data} = '0;
endmodule

// Packing. In: codes. Out: bytes.
module pack_case #(parameter int BITS = 4, parameter int SIGNED = 1, parameter int ROW = 1) (`CASE_PORTS);
  logic [7:0] data;
  fxp_pack #(.BITS(BITS), .SIGNED(SIGNED), .ROW(ROW)) pack (.clk, .rst, .in_valid, .in_ready, .code(in_data[BITS-1:0]),
      .out_valid, .out_ready, .data);
  assign out_data = {184'd0, data};
  assign {mid_valid, mid_data} = '0;
endmodule

// The LFSR. In: numbers of elements, and the seed. Out: COUNT words from each on.
module lfsr_case #(parameter int COUNT = 1) (`CASE_PORTS);
  logic [15:0] word;
  integer left;
  assign in_ready = !rst && left == 0;
  assign out_valid = left != 0;
  wire load = in_valid && in_ready;
  lfsr16 lfsr (.clk, .load, .step(out_valid && out_ready), .seed(in_data[47:32]), .start(in_data[31:0]), .word);
  always_ff @(posedge clk)
    if (rst) left <= 0;
    else if (load) left <= COUNT;
    else if (out_valid && out_ready) left <= left - 1;
  assign out_data = {176'd0, word};
  assign {mid_valid, mid_data} = '0;
endmodule
