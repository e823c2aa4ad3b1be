// Constants of the vector case digit0_s3b1_relu_forward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package digit0_s3b1_relu_forward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "digit0_s3b1_relu_forward";
  localparam OPERATION = "relu.forward";
  localparam int CONFIG_SIX = 0;
  localparam int X_BITS = 16;
  localparam int X_DEPTH = 128;
  localparam int X_DIM_N = 1;
  localparam int X_DIM_H = 2;
  localparam int X_DIM_W = 2;
  localparam int X_DIM_C = 32;
  localparam X_HEX = "x.hex";
  localparam int Y_BITS = 16;
  localparam int Y_DEPTH = 128;
  localparam int Y_DIM_N = 1;
  localparam int Y_DIM_H = 2;
  localparam int Y_DIM_W = 2;
  localparam int Y_DIM_C = 32;
  localparam Y_HEX = "y.hex";
endpackage : digit0_s3b1_relu_forward_pkg
/* verilator lint_on UNUSEDPARAM */
