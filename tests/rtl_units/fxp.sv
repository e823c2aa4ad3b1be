// Quantizer, dequantizer, MAC lane, LFSR and packing of SPEC.md Q, D and M, on fp16.sv.

// t = x * x_inv_scale, rounded to the nearest integer, clipped; the mask of what was inside
module quantizer #(parameter BITS = 4) (input logic [15:0] x, x_inv_scale,
                                        output logic [15:0] t, output logic [BITS-1:0] code, output logic mask);
  logic [10:0] sig;
  logic signed [11:0] lsb;
  logic nan, inf, zero, up;
  logic [47:0] fixed;  // |t| in units of 2^-24
  logic signed [25:0] r, low, high;
  fp16_mul scaled (.a(x), .b(x_inv_scale), .y(t));
  fp16_fields fields (.w(t), .sig(sig), .lsb(lsb), .nan(nan), .inf(inf), .zero(zero));
  always @* begin
    low = -(26'sd1 << (BITS - 1));
    high = (26'sd1 << (BITS - 1)) - 26'sd1;
`ifdef BUG_SYMMETRIC
    low = -high;
`endif
    fixed = {37'd0, sig} << (lsb + 12'sd24);
    if (inf) fixed = 48'hff_ff00_0000;
    up = fixed[23] & ((fixed[22:0] != 0) | fixed[24]);
`ifdef BUG_HALF_UP
    up = fixed[23];
`endif
    r = $signed({2'd0, fixed[47:24]}) + $signed({25'd0, up});
    if (t[15]) r = -r;
    mask = r >= low && r <= high && !nan;
    if (r < low) r = low;
    if (r > high) r = high;
`ifdef BUG_NAN_LARGEST
    if (nan) r = high;
`else
    if (nan) r = 0;
`endif
    code = r[BITS-1:0];
  end
endmodule

// acc * scale, the exact product rounded once
module dequantizer #(parameter ACC = 24) (input logic signed [ACC-1:0] acc, input logic [15:0] scale,
                                          output logic [15:0] deq);
  logic [10:0] sig;
  logic signed [11:0] lsb;
  logic nan, inf, zero;
  logic [ACC-1:0] mag;
  logic [15:0] rounded;
  fp16_fields fields (.w(scale), .sig(sig), .lsb(lsb), .nan(nan), .inf(inf), .zero(zero));
`ifdef BUG_MAGNITUDE_SHORT
  assign mag = acc[ACC-1] ? ~acc : acc;
`else
  assign mag = acc[ACC-1] ? -acc : acc;
`endif
  fp16_round round (.s(acc[ACC-1]), .mag({{(48 - ACC){1'b0}}, mag} * {37'd0, sig}), .e(lsb), .y(rounded));
  assign deq = acc == 0 ? 16'd0 : rounded;
endmodule

// one product a cycle into a register
module mac_lane #(parameter ACC = 24, SATURATE = 0) (input logic clk, clear, en, input logic signed [3:0] x, w,
                                                     output logic signed [ACC-1:0] acc);
  logic signed [7:0] product;
  logic signed [ACC:0] sum;
`ifdef BUG_UNSIGNED_CODES
  assign product = $signed({1'b0, x}) * w;
`else
  assign product = x * w;
`endif
  assign sum = acc + product;
  always @(posedge clk)
    if (clear) acc <= 0;
    else if (en) begin
`ifdef BUG_NO_CLAMP
      acc <= sum[ACC-1:0];
`else
      if (SATURATE != 0 && sum[ACC] != sum[ACC-1]) acc <= {sum[ACC], {(ACC - 1){~sum[ACC]}}};
      else acc <= sum[ACC-1:0];
`endif
    end
endmodule

// the 16-bit Galois register of stochastic rounding
module lfsr16 (input logic clk, load, step, input logic [15:0] seed, output logic [15:0] word);
  logic [15:0] taps;
`ifdef BUG_TAP
  assign taps = 16'hb402;
`else
  assign taps = 16'hb400;
`endif
  always @(posedge clk)
    if (load) word <= seed;
    else if (step) word <= (word >> 1) ^ (word[0] ? taps : 16'd0);
endmodule

// two codes in a byte, the first in the low nibble
module pack2 (input logic signed [3:0] first, second, output logic [7:0] packed_byte);
`ifdef BUG_NIBBLES
  assign packed_byte = {first, second};
`else
  assign packed_byte = {second, first};
`endif
endmodule
