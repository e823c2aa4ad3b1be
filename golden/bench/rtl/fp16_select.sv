// A gradient where its mask passes it, +0 elsewhere (SPEC.md Q4, A1); a NaN is the canonical one (F4).
module fp16_select (
    input  logic [15:0] word, input logic passes,
    output logic [15:0] y);
  assign y = !passes ? 16'd0 : word[14:0] > 15'h7c00 ? 16'h7e00 : word;
endmodule
