`include "bugs.svh"
// Deliberate faults, a switch each: its name, the clause of SPEC.md, what it does. With the macro BITROW_BUGS, for benches, a
// switch is set by the simulator's option +BUG_NAME; with the macro BITROW_BUG, a string, one of them is set for good.
`ifdef BITROW_BUG
`define SWITCH(NAME) localparam NAME = `BITROW_BUG == `"NAME`";
`else
`define SWITCH(NAME) bit NAME = $test$plusargs(`"BUG_``NAME`") != 0;
`endif
`ifdef BITROW_WITH_BUGS
package bugs;
  // FP16 arithmetic
  `SWITCH(truncated)                // F3: results are cut off instead of rounded
  `SWITCH(ties_away)                // F3: ties go away from zero
  `SWITCH(sticky_lost)              // F2: of what rounding discards only the first bit is looked at
  `SWITCH(align_sticky_lost)        // F2: an adder forgets what it shifts out of the smaller operand
  `SWITCH(results_flushed)          // F5: subnormal results become zero
  `SWITCH(operands_flushed)         // F5: subnormal operands are read as zero
  `SWITCH(overflow_to_largest)      // F6: overflow gives the largest number
  `SWITCH(zero_sum_negative)        // F3: x - x is -0
  `SWITCH(nan_payload)              // F4: a sum returns its NaN operand as it is
  `SWITCH(nan_sign)                 // F4: every NaN that arithmetic makes has its sign set
  `SWITCH(infinity_times_zero)      // F4: infinity times zero is infinity
  // Quantizer, stochastic words, packing
  `SWITCH(codes_truncated)          // Q1: codes are cut off toward zero
  `SWITCH(codes_ties_away)          // Q1: ties of codes go away from zero
  `SWITCH(codes_wrap)               // Q1: codes outside the range wrap
  `SWITCH(codes_narrow)             // Q1: the smallest code is never given
  `SWITCH(nan_code_largest)         // Q2: NaN gives the largest code
  `SWITCH(mask_stuck)               // Q4: the mask is stuck at 1
  `SWITCH(mask_exclusive)           // Q4: the mask is 0 at the ends of the range
  `SWITCH(word_to_magnitude)        // Q3: the stochastic word is added to the magnitude
  `SWITCH(lfsr_taps)                // Q3: the LFSR has the taps 0xb402
  `SWITCH(lfsr_early)               // Q3: element i takes the state after i steps
  `SWITCH(nibbles_swapped)          // Q5: the element of lower index lies in the high nibble
  `SWITCH(nibbles_zero_extended)    // Q5: a short code's sign is not extended in its nibble
  // Multiply and accumulate, dequantize
  `SWITCH(acc_not_cleared)          // M2: a sum goes on from the one before
  `SWITCH(acc_wraps)                // M2: a saturating accumulator wraps
  `SWITCH(acc_short)                // M2: the accumulator's sign bit is read one place low
  `SWITCH(codes_signed)             // M1: unsigned codes are read as signed
  `SWITCH(last_product_lost)        // M1: the last product of each sum is lost
  `SWITCH(dequantized_in_two)       // D1: a fused dequantizer rounds the accumulator first
  `SWITCH(bias_early)               // D3: the bias is added before the one rounding of the dequantizer
  `SWITCH(scale_of_neighbour)       // D3: a channel is dequantized by the scale of the one before
  // Rows
  `SWITCH(padding_shifted)          // M1: windows read one column to the right
  `SWITCH(padding_edge)             // M1: padding at the left repeats the edge
  `SWITCH(stale_row)                // M1: a window starts before its last row is whole
  `SWITCH(row_overwritten)          // M1: the ring lets a row into the slot of a row that is still read
  `SWITCH(kernel_turned)            // M1: the kernel is rotated where it should not be, and not where it should
  `SWITCH(channels_reversed)        // M1: result channels take the weights in reverse
  `SWITCH(mask_ignored)             // C2: the gradient of clipped inputs passes
  // Norm
  `SWITCH(norm_fused)               // B1: the norm's product and sum are rounded once
  `SWITCH(norm_neighbour)           // B1: a channel takes the norm of the one before
endpackage
`endif
