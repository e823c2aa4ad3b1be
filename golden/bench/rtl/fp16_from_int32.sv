// A two's complement integer, rounded once to FP16 (SPEC.md F10).
module fp16_from_int32 #(
    parameter int WIDTH = 32, parameter int ROUNDING = 0, parameter int OVERFLOW = 0, parameter int FLUSH = 0) (
    input  logic signed [WIDTH-1:0] i,
    output logic [15:0] y);
  wire [WIDTH-1:0] magnitude = i < 0 ? -i : i;
  fp16_round #(.WIDTH(WIDTH), .EXPONENT(2), .ROUNDING(ROUNDING), .OVERFLOW(OVERFLOW), .FLUSH(FLUSH)) round (
      .sign(i < 0), .magnitude, .exponent(2'sd0), .word(y));
endmodule
