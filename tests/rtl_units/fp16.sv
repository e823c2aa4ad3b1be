// FP16 arithmetic of SPEC.md F1 to F6 under the default mode, written from the contract alone, in the part of the
// language that every reader takes. Each BUG_ macro plants one fault.

// 11 bits of significand, the exponent of their last bit, and what kind of word it is
module fp16_fields (input logic [15:0] w, output logic [10:0] sig, output logic signed [11:0] lsb,
                    output logic nan, inf, zero);
  logic [4:0] field;
`ifdef BUG_FLUSH_OPERAND
  assign field = w[14:10];
  assign sig = {field != 0, field == 0 ? 10'd0 : w[9:0]};
  assign zero = field == 0;
`else
  assign field = w[14:10];
  assign sig = {field != 0, w[9:0]};
  assign zero = w[14:0] == 0;
`endif
  assign lsb = $signed({7'd0, field == 0 ? 5'd1 : field}) - 12'sd25;
  assign nan = field == 5'd31 && w[9:0] != 0;
  assign inf = field == 5'd31 && w[9:0] == 0;
endmodule

// sign * mag * 2^e rounded once, to nearest even
module fp16_round (input logic s, input logic [47:0] mag, input logic signed [11:0] e, output logic [15:0] y);
  integer i;
  logic [5:0] top;
  logic signed [11:0] q, sh;
  logic [47:0] keep, sum;
  logic guard, sticky, up;
  always @* begin
    top = 0;
    for (i = 0; i < 48; i = i + 1) if (mag[i]) top = i;
    q = $signed({6'd0, top}) + e - 12'sd10;
    if (q < -12'sd24) q = -12'sd24;
    sh = q - e;
    guard = 0;
    sticky = 0;
    if (sh > 0) begin
      keep = sh > 47 ? 48'd0 : mag >> sh;
      for (i = 0; i < 48; i = i + 1) begin
        if (i == sh - 1) guard = mag[i];
        if (i < sh - 1) sticky = sticky | mag[i];
      end
    end else keep = mag << -sh;
`ifdef BUG_NO_STICKY
    sticky = 0;
`endif
    up = guard & (sticky | keep[0]);
`ifdef BUG_TRUNCATE
    up = 0;
`endif
`ifdef BUG_TIES_AWAY
    up = guard;
`endif
`ifdef BUG_TIES_ODD
    up = guard & (sticky | ~keep[0]);
`endif
    sum = keep + up + ({36'd0, q + 12'sd24} << 10);
`ifdef BUG_FLUSH_RESULT
    if (sum < 48'h400) sum = 0;
`endif
`ifdef BUG_OVERFLOW_LARGEST
    if (sum >= 48'h7c00) sum = 48'h7bff;
`else
    if (sum >= 48'h7c00) sum = 48'h7c00;
`endif
    y = mag == 0 ? {s, 15'd0} : {s, sum[14:0]};
  end
endmodule

// the larger leads; the smaller is aligned with guard, round and sticky bits
module fp16_add (input logic [15:0] a, b, output logic [15:0] y);
  integer i;
  logic [15:0] x, z, sum, rounded;
  logic [10:0] sx, sz;
  logic signed [11:0] ex, ez, gap;
  logic nx, ix, zx, nz, iz, zz, lost, opposite;
  logic [13:0] low;
  assign {x, z} = a[14:0] >= b[14:0] ? {a, b} : {b, a};
  fp16_fields first (.w(x), .sig(sx), .lsb(ex), .nan(nx), .inf(ix), .zero(zx));
  fp16_fields second (.w(z), .sig(sz), .lsb(ez), .nan(nz), .inf(iz), .zero(zz));
  assign opposite = x[15] != z[15];
  always @* begin
    gap = ex - ez;
    lost = 0;
    for (i = 0; i < 11; i = i + 1) if (i + 3 < gap) lost = lost | sz[i];
`ifdef BUG_NO_ALIGNED_STICKY
    lost = 0;
`endif
`ifdef BUG_SHORT_ALIGNER
    low = gap > 11 ? 14'd0 : ({sz, 3'b000} >> gap);
`else
    low = gap > 13 ? 14'd0 : ({sz, 3'b000} >> gap);
`endif
    low[0] = low[0] | lost;
    sum = opposite ? {2'd0, sx, 3'b000} - {2'd0, low} : {2'd0, sx, 3'b000} + {2'd0, low};
  end
  fp16_round round (.s(x[15]), .mag({32'd0, sum}), .e(ex - 12'sd3), .y(rounded));
  always @* begin
    y = rounded;
`ifdef BUG_ZERO_SIGN
    if (sum == 0) y = {x[15], 15'd0};
`else
    if (sum == 0) y = {x[15] & z[15], 15'd0};
`endif
    if (ix) y = x;
`ifndef BUG_INF_MINUS_INF
    if (ix && iz && opposite) y = 16'h7e00;
`endif
`ifdef BUG_NAN_PAYLOAD
    if (nx) y = x;
`else
    if (nx || nz) y = 16'h7e00;
`endif
  end
endmodule

module fp16_sub (input logic [15:0] a, b, output logic [15:0] y);
  fp16_add add (.a(a), .b({~b[15], b[14:0]}), .y(y));
endmodule

module fp16_mul (input logic [15:0] a, b, output logic [15:0] y);
  logic [10:0] sa, sb;
  logic signed [11:0] ea, eb;
  logic na, ia, za, nb, ib, zb, s;
  logic [15:0] rounded;
  logic [47:0] product;
  fp16_fields first (.w(a), .sig(sa), .lsb(ea), .nan(na), .inf(ia), .zero(za));
  fp16_fields second (.w(b), .sig(sb), .lsb(eb), .nan(nb), .inf(ib), .zero(zb));
  assign s = a[15] ^ b[15];
`ifdef BUG_PRODUCT_SHORT
  assign product = ({37'd0, sa} * {37'd0, sb}) & 48'hfffffffffffe;
`else
  assign product = {37'd0, sa} * {37'd0, sb};
`endif
  fp16_round round (.s(s), .mag(product), .e(ea + eb), .y(rounded));
  always @* begin
    y = rounded;
    if (ia || ib) y = {s, 15'h7c00};
`ifdef BUG_INF_TIMES_ZERO
    if (na || nb) y = 16'h7e00;
`else
    if (na || nb || (ia && zb) || (ib && za)) y = 16'h7e00;
`endif
  end
endmodule

// 24 quotient bits by restoring division of significands whose leading ones stand at bit 10
module fp16_div (input logic [15:0] a, b, output logic [15:0] y);
  integer i;
  logic [10:0] sa, sb;
  logic [3:0] ua, ub;
  logic signed [11:0] ea, eb;
  logic na, ia, za, nb, ib, zb, s;
  logic [11:0] rest;
  logic [10:0] divisor;
  logic [23:0] quotient;
  logic [15:0] rounded;
  fp16_fields first (.w(a), .sig(sa), .lsb(ea), .nan(na), .inf(ia), .zero(za));
  fp16_fields second (.w(b), .sig(sb), .lsb(eb), .nan(nb), .inf(ib), .zero(zb));
  assign s = a[15] ^ b[15];
  always @* begin
    ua = 0;
    ub = 0;
    for (i = 0; i < 11; i = i + 1) begin
      if (sa[i]) ua = 10 - i;
      if (sb[i]) ub = 10 - i;
    end
    divisor = sb << ub;
    rest = {1'b0, sa << ua};
    quotient = 0;
    for (i = 0; i < 24; i = i + 1) begin
      quotient = quotient << 1;
      if (rest >= {1'b0, divisor}) begin
        rest = rest - {1'b0, divisor};
        quotient[0] = 1;
      end
      rest = rest << 1;
    end
  end
  fp16_round round (.s(s), .mag({23'd0, quotient, rest != 0}),
                    .e(ea - $signed({8'd0, ua}) - eb + $signed({8'd0, ub}) - 12'sd24), .y(rounded));
  always @* begin
    y = rounded;
    if (ib || za) y = {s, 15'd0};
    if (ia || zb) y = {s, 15'h7c00};
    if (na || nb || (ia && ib) || (za && zb)) y = 16'h7e00;
  end
endmodule

// the later word wins where it is greater; NaN is the greatest, zeros are equal
module fp16_max (input logic [15:0] a, b, output logic [15:0] y, output logic index);
  logic na, nb;
  logic signed [16:0] ka, kb;
  assign na = a[14:0] > 15'h7c00;
  assign nb = b[14:0] > 15'h7c00;
  assign ka = a[15] ? -$signed({2'b00, a[14:0]}) : $signed({2'b00, a[14:0]});
  assign kb = b[15] ? -$signed({2'b00, b[14:0]}) : $signed({2'b00, b[14:0]});
`ifdef BUG_LATER_WINS
  assign index = na ? 1'b0 : nb ? 1'b1 : kb >= ka;
`elsif BUG_NAN_LOSES
  assign index = na ? 1'b1 : nb ? 1'b0 : kb > ka;
`else
  assign index = na ? 1'b0 : nb ? 1'b1 : kb > ka;
`endif
  assign y = na || nb ? 16'h7e00 : index ? b : a;
endmodule

// z = a*y + b, each step rounded (B1)
module norm_frozen (input logic [15:0] a, y, b, output logic [15:0] ay, z);
  fp16_mul product (.a(a), .b(y), .y(ay));
`ifdef BUG_NORM_SWAPPED
  fp16_add total (.a(ay), .b(a), .y(z));
`else
  fp16_add total (.a(ay), .b(b), .y(z));
`endif
endmodule

// a sum two cycles later, one each cycle, as long as `en` is set
module fp16_add_piped (input logic clk, rst, en, input logic [15:0] a, b, output logic [15:0] y);
  logic [15:0] first, second, sum;
  fp16_add add (.a(first), .b(second), .y(sum));
  always @(posedge clk)
    if (rst) begin
      first <= 0;
      second <= 0;
      y <= 0;
    end else if (en) begin
      first <= a;
`ifdef BUG_UNREGISTERED
      second <= first;
`else
      second <= b;
`endif
      y <= sum;
    end
endmodule

// the root by restoring digits: 26 of them, of a significand whose exponent is made even
module fp16_sqrt (input logic [15:0] a, output logic [15:0] y);
  integer i;
  logic [10:0] sa;
  logic [3:0] up;
  logic signed [11:0] ea, even;
  logic na, ia, za;
  logic [51:0] radicand;
  logic [27:0] rest, trial;
  logic [25:0] root;
  logic [15:0] rounded;
  fp16_fields fields (.w(a), .sig(sa), .lsb(ea), .nan(na), .inf(ia), .zero(za));
  always @* begin
    up = 0;
    for (i = 0; i < 11; i = i + 1) if (sa[i]) up = 10 - i;
    even = ea - $signed({8'd0, up});
    radicand = even[0] ? {sa << up, 41'd0} : {1'b0, sa << up, 40'd0};
    even = even - $signed({11'd0, even[0]});
    rest = 0;
    root = 0;
    for (i = 25; i >= 0; i = i - 1) begin
      rest = {rest[25:0], radicand[51:50]};
      radicand = radicand << 2;
      trial = {root, 2'b01};
      root = root << 1;
      if (rest >= trial) begin
        rest = rest - trial;
        root[0] = 1;
      end
    end
  end
  fp16_round round (.s(1'b0), .mag({21'd0, root, rest != 0}), .e((even >>> 1) - 12'sd21), .y(rounded));
  always @* begin
    y = rounded;
    if (ia) y = 16'h7c00;
`ifdef BUG_ROOT_NEGATIVE
    if (na) y = 16'h7e00;
`else
    if (na || (a[15] && !za)) y = 16'h7e00;
`endif
    if (za) y = a;
  end
endmodule
