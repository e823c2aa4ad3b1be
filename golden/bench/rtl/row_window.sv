// Where a sum reads its map, one product a cycle (SPEC.md M1, C1, C2, C5), along a row and a column at a time.
// Plain: the windows of a convolution step by the stride. SPREAD: the map itself is spread by the stride and the kernel
// rotated, which is a convolution's gradient, and a transposed convolution.
`include "bugs.svh"
module row_window #(
    parameter int SIZE = 8, parameter int KERNEL = 3, parameter int STRIDE = 1, parameter int DILATION = 1,
    parameter int BEFORE = 1,  // padding before the map
    parameter int SPREAD = 0) (
    input  logic signed [31:0] place, tap,     // in the result, in the kernel as it is swept
    output logic signed [31:0] at, kernel,     // in the map, in the kernel as it is stored
    output logic on_map);
  localparam int EXTENT = (KERNEL - 1) * DILATION;
  integer spread;
  always_comb begin
    spread = place + BEFORE - EXTENT + tap * DILATION;
    if (SPREAD != 0) begin
      at = spread / STRIDE;
      on_map = spread >= 0 && spread % STRIDE == 0 && at < SIZE;
    end else begin
      at = place * STRIDE - BEFORE + tap * DILATION;
      on_map = at >= 0 && at < SIZE;
    end
    kernel = (SPREAD != 0) != `BUG(kernel_turned) ? KERNEL - 1 - tap : tap;
  end
endmodule
