// The ports that designs under test have in the benches: a parameter port, up to three words in, up to five that pass beside an
// accepted input, up to six out; words are 32 bits wide, the first lowest.
`define CASE_PORTS \
    input  logic clk, rst, p_write, input logic [3:0] p_kind, input logic [15:0] p_at, p_word, \
    input  logic in_valid, output logic in_ready, input logic [95:0] in_data, \
    output logic mid_valid, output logic [159:0] mid_data, \
    output logic out_valid, input logic out_ready, output logic [191:0] out_data
