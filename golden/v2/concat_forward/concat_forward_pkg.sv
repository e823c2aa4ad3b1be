// Constants of the vector case concat_forward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package concat_forward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "concat_forward";
  localparam OPERATION = "concat.forward";
  localparam int X_BITS = 16;
  localparam int X_DEPTH = 160;
  localparam int X_DIM_N = 1;
  localparam int X_DIM_H = 4;
  localparam int X_DIM_W = 8;
  localparam int X_DIM_C_X = 5;
  localparam X_HEX = "x.hex";
  localparam int OTHER_BITS = 16;
  localparam int OTHER_DEPTH = 64;
  localparam int OTHER_DIM_N = 1;
  localparam int OTHER_DIM_H = 4;
  localparam int OTHER_DIM_W = 8;
  localparam int OTHER_DIM_C_OTHER = 2;
  localparam OTHER_HEX = "other.hex";
  localparam int Y_BITS = 16;
  localparam int Y_DEPTH = 224;
  localparam int Y_DIM_N = 1;
  localparam int Y_DIM_H = 4;
  localparam int Y_DIM_W = 8;
  localparam int Y_DIM_C = 7;
  localparam Y_HEX = "y.hex";
endpackage : concat_forward_pkg
/* verilator lint_on UNUSEDPARAM */
