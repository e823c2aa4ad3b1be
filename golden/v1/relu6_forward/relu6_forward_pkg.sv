// Constants of the vector case relu6_forward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package relu6_forward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "relu6_forward";
  localparam OPERATION = "relu.forward";
  localparam int CONFIG_SIX = 1;
  localparam int X_BITS = 16;
  localparam int X_DEPTH = 96;
  localparam int X_DIM_N = 1;
  localparam int X_DIM_H = 3;
  localparam int X_DIM_W = 8;
  localparam int X_DIM_C = 4;
  localparam X_HEX = "x.hex";
  localparam int Y_BITS = 16;
  localparam int Y_DEPTH = 96;
  localparam int Y_DIM_N = 1;
  localparam int Y_DIM_H = 3;
  localparam int Y_DIM_W = 8;
  localparam int Y_DIM_C = 4;
  localparam Y_HEX = "y.hex";
endpackage : relu6_forward_pkg
/* verilator lint_on UNUSEDPARAM */
