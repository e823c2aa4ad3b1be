// Constants of the vector case hard_sigmoid_down_saturate_flush_forward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package hard_sigmoid_down_saturate_flush_forward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "hard_sigmoid_down_saturate_flush_forward";
  localparam OPERATION = "hard_sigmoid.forward";
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
  localparam int X_BITS = 16;
  localparam int X_DEPTH = 90;
  localparam int X_DIM_N = 1;
  localparam int X_DIM_H = 2;
  localparam int X_DIM_W = 9;
  localparam int X_DIM_C = 5;
  localparam X_HEX = "x.hex";
  localparam int SCALED_BITS = 16;
  localparam int SCALED_DEPTH = 90;
  localparam int SCALED_DIM_N = 1;
  localparam int SCALED_DIM_H = 2;
  localparam int SCALED_DIM_W = 9;
  localparam int SCALED_DIM_C = 5;
  localparam SCALED_HEX = "scaled.hex";
  localparam int SHIFTED_BITS = 16;
  localparam int SHIFTED_DEPTH = 90;
  localparam int SHIFTED_DIM_N = 1;
  localparam int SHIFTED_DIM_H = 2;
  localparam int SHIFTED_DIM_W = 9;
  localparam int SHIFTED_DIM_C = 5;
  localparam SHIFTED_HEX = "shifted.hex";
  localparam int Y_BITS = 16;
  localparam int Y_DEPTH = 90;
  localparam int Y_DIM_N = 1;
  localparam int Y_DIM_H = 2;
  localparam int Y_DIM_W = 9;
  localparam int Y_DIM_C = 5;
  localparam Y_HEX = "y.hex";
endpackage : hard_sigmoid_down_saturate_flush_forward_pkg
/* verilator lint_on UNUSEDPARAM */
