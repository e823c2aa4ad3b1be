// The stochastic rounder's words (SPEC.md Q3): a 16-bit Galois LFSR that jumps ahead to an element in one cycle.
`include "bugs.svh"
module lfsr16 (
    input  logic clk, load, step,
    input  logic [15:0] seed,
    input  logic [31:0] start,    // with load: the number of the element whose word comes first
    output logic [15:0] word);    // of the element; step goes on to the next
  function automatic logic [15:0] next(logic [15:0] state, logic [15:0] taps);
    next = (state >> 1) ^ (state[0] ? taps : 16'd0);
  endfunction

  // One step is linear in the bits: the columns of its 1st, 2nd, 4th, ... 32768th power, 16 words each.
  function automatic logic [4095:0] powers(logic [15:0] taps);
    logic [15:0] image;
    integer place, power, row;
    powers = '0;
    for (place = 0; place < 16; place = place + 1) begin
      image = 16'd1 << place;
      powers[16*place +: 16] = (image >> 1) ^ (image[0] ? taps : 16'd0);
    end
    for (power = 1; power < 16; power = power + 1)
      for (place = 0; place < 16; place = place + 1) begin
        image = 16'd0;
        for (row = 0; row < 16; row = row + 1)
          if (powers[256*(power-1) + 16*place + row]) image = image ^ powers[256*(power-1) + 16*row +: 16];
        powers[256*power + 16*place +: 16] = image;
      end
  endfunction
  localparam logic [15:0] TAPS = 16'hb400, OTHER = 16'hb402;
  localparam logic [4095:0] POWERS = powers(TAPS), OTHER_POWERS = powers(OTHER);

  // 2^16 steps are one, for the period is 2^16 - 1.
  function automatic logic [15:0] jump(logic [15:0] from, logic [31:0] steps, logic [4095:0] matrix);
    logic [15:0] image;
    jump = from;
    for (int place = 0; place < 32; place++)
      if (steps[place]) begin
        image = 16'd0;
        for (int row = 0; row < 16; row++) if (jump[row]) image = image ^ matrix[256*(place % 16) + 16*row +: 16];
        jump = image;
      end
  endfunction

  logic [15:0] state;
  wire [15:0] following = next(state, `BUG(lfsr_taps) ? OTHER : TAPS);
  assign word = `BUG(lfsr_early) ? state : following;
  always_ff @(posedge clk)
    if (load) state <= jump(seed, start, `BUG(lfsr_taps) ? OTHER_POWERS : POWERS);
    else if (step) state <= following;
endmodule
