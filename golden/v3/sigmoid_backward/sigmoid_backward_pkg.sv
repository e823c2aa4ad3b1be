// Constants of the vector case sigmoid_backward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package sigmoid_backward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "sigmoid_backward";
  localparam OPERATION = "sigmoid.backward";
  localparam int CONFIG_TABLE_BITS = 6;
  typedef enum int {
    CONFIG_MODE_ROUNDING_NEAREST_EVEN = 0,
    CONFIG_MODE_ROUNDING_TOWARD_ZERO = 1,
    CONFIG_MODE_ROUNDING_UP = 2,
    CONFIG_MODE_ROUNDING_DOWN = 3,
    CONFIG_MODE_ROUNDING_NEAREST_AWAY = 4
  } config_mode_rounding_e;
  localparam int CONFIG_MODE_ROUNDING = CONFIG_MODE_ROUNDING_NEAREST_EVEN;
  typedef enum int {
    CONFIG_MODE_OVERFLOW_INFINITY = 0,
    CONFIG_MODE_OVERFLOW_SATURATE = 1
  } config_mode_overflow_e;
  localparam int CONFIG_MODE_OVERFLOW = CONFIG_MODE_OVERFLOW_INFINITY;
  localparam int CONFIG_MODE_FLUSH = 0;
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
  localparam int REST_BITS = 16;
  localparam int REST_DEPTH = 90;
  localparam int REST_DIM_N = 1;
  localparam int REST_DIM_H = 2;
  localparam int REST_DIM_W = 9;
  localparam int REST_DIM_C = 5;
  localparam REST_HEX = "rest.hex";
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
endpackage : sigmoid_backward_pkg
/* verilator lint_on UNUSEDPARAM */
