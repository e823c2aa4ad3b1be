// Constants of the vector case hard_sigmoid_down_saturate_flush_backward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package hard_sigmoid_down_saturate_flush_backward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "hard_sigmoid_down_saturate_flush_backward";
  localparam OPERATION = "hard_sigmoid.backward";
  localparam int CONFIG_ALPHA = 12629;
  localparam int CONFIG_BETA = 14336;
  typedef enum int {
    CONFIG_MODE_ROUNDING_NEAREST_EVEN = 0,
    CONFIG_MODE_ROUNDING_TOWARD_ZERO = 1,
    CONFIG_MODE_ROUNDING_UP = 2,
    CONFIG_MODE_ROUNDING_DOWN = 3,
    CONFIG_MODE_ROUNDING_NEAREST_AWAY = 4
  } config_mode_rounding_e;
  localparam int CONFIG_MODE_ROUNDING = CONFIG_MODE_ROUNDING_DOWN;
  typedef enum int {
    CONFIG_MODE_OVERFLOW_INFINITY = 0,
    CONFIG_MODE_OVERFLOW_SATURATE = 1
  } config_mode_overflow_e;
  localparam int CONFIG_MODE_OVERFLOW = CONFIG_MODE_OVERFLOW_SATURATE;
  localparam int CONFIG_MODE_FLUSH = 1;
  localparam int Y_BITS = 16;
  localparam int Y_DEPTH = 90;
  localparam int Y_DIM_N = 1;
  localparam int Y_DIM_H = 2;
  localparam int Y_DIM_W = 9;
  localparam int Y_DIM_C = 5;
  localparam Y_HEX = "y.hex";
  localparam int DY_BITS = 16;
  localparam int DY_DEPTH = 90;
  localparam int DY_DIM_N = 1;
  localparam int DY_DIM_H = 2;
  localparam int DY_DIM_W = 9;
  localparam int DY_DIM_C = 5;
  localparam DY_HEX = "dy.hex";
  localparam int SLOPE_BITS = 16;
  localparam int SLOPE_DEPTH = 90;
  localparam int SLOPE_DIM_N = 1;
  localparam int SLOPE_DIM_H = 2;
  localparam int SLOPE_DIM_W = 9;
  localparam int SLOPE_DIM_C = 5;
  localparam SLOPE_HEX = "slope.hex";
  localparam int DX_BITS = 16;
  localparam int DX_DEPTH = 90;
  localparam int DX_DIM_N = 1;
  localparam int DX_DIM_H = 2;
  localparam int DX_DIM_W = 9;
  localparam int DX_DIM_C = 5;
  localparam DX_HEX = "dx.hex";
endpackage : hard_sigmoid_down_saturate_flush_backward_pkg
/* verilator lint_on UNUSEDPARAM */
