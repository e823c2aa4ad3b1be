// Constants of the vector case digit0_s1b1_relu_backward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package digit0_s1b1_relu_backward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "digit0_s1b1_relu_backward";
  localparam OPERATION = "relu.backward";
  localparam int CONFIG_SIX = 0;
  localparam int X_BITS = 16;
  localparam int X_DEPTH = 512;
  localparam int X_DIM_N = 1;
  localparam int X_DIM_H = 8;
  localparam int X_DIM_W = 8;
  localparam int X_DIM_C = 8;
  localparam X_HEX = "x.hex";
  localparam int DY_BITS = 16;
  localparam int DY_DEPTH = 512;
  localparam int DY_DIM_N = 1;
  localparam int DY_DIM_H = 8;
  localparam int DY_DIM_W = 8;
  localparam int DY_DIM_C = 8;
  localparam DY_HEX = "dy.hex";
  localparam int DX_BITS = 16;
  localparam int DX_DEPTH = 512;
  localparam int DX_DIM_N = 1;
  localparam int DX_DIM_H = 8;
  localparam int DX_DIM_W = 8;
  localparam int DX_DIM_C = 8;
  localparam DX_HEX = "dx.hex";
endpackage : digit0_s1b1_relu_backward_pkg
/* verilator lint_on UNUSEDPARAM */
