// Registers with a handshake: STAGES cycles from in to out; all stages move, or none.
module pipe #(
    parameter int WIDTH = 16, parameter int STAGES = 3) (
    input  logic clk, rst,
    input  logic in_valid, output logic in_ready, input  logic [WIDTH-1:0] in_data,
    output logic out_valid, input  logic out_ready, output logic [WIDTH-1:0] out_data);
  logic [STAGES-1:0] full;
  logic [STAGES*WIDTH-1:0] words;
  wire go = !out_valid || out_ready;
  assign in_ready = go && !rst;
  assign out_valid = full[STAGES-1];
  assign out_data = words[STAGES*WIDTH-1 -: WIDTH];
  always_ff @(posedge clk)
    if (rst) full <= '0;
    else if (go) begin
      full <= STAGES'({full, in_valid});
      words <= (STAGES*WIDTH)'({words, in_data});
    end
endmodule
