// relu(x), or relu6(x), and whether a gradient passes (SPEC.md A1).
module fp16_relu #(
    parameter int SIX = 0) (
    input  logic [15:0] x,
    output logic [15:0] y,
    output logic passes);
  localparam logic [15:0] SIX_WORD = 16'h4600;
  wire nan = x[14:0] > 15'h7c00;
  wire positive = !nan && !x[15] && x != 0;
  wire clipped = SIX != 0 && positive && x > SIX_WORD;
  assign passes = positive && !(SIX != 0 && x >= SIX_WORD);
  assign y = nan ? 16'h7e00 : clipped ? SIX_WORD : positive ? x : 16'd0;
endmodule
