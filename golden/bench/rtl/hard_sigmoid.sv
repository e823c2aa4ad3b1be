// Hard sigmoid, forward and its gradient (SPEC.md A9), of the FP16 units.
module hard_sigmoid #(
    parameter int ALPHA = 'h3155, parameter int BETA = 'h3800,
    parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (
    input  logic [15:0] x,
    output logic [15:0] scaled, shifted, y);
  localparam logic [15:0] ONE = 16'h3c00;
  logic passes;
  logic [15:0] positive;
  fp16_mul #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) scale (.a(x), .b(16'(ALPHA)), .y(scaled));
  fp16_add #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) shift (.a(scaled), .b(16'(BETA)), .y(shifted));
  fp16_relu clip (.x(shifted), .y(positive), .passes);
  assign y = passes && positive > ONE ? ONE : positive;
endmodule

module hard_sigmoid_gradient #(
    parameter int ALPHA = 'h3155,
    parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (
    input  logic [15:0] y, dy,
    output logic [15:0] slope, dx);
  fp16_mul #(.ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) scale (.a(dy), .b(16'(ALPHA)), .y(slope));
  fp16_select pass (.word(slope), .passes(y != 0 && y < 16'h3c00), .y(dx));  // negative words lie above
endmodule
