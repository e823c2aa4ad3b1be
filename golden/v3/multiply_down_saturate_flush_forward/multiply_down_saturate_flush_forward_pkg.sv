// Constants of the vector case multiply_down_saturate_flush_forward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package multiply_down_saturate_flush_forward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "multiply_down_saturate_flush_forward";
  localparam OPERATION = "multiply.forward";
  localparam int CONFIG_GATE = 0;
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
  localparam int X_DEPTH = 96;
  localparam int X_DIM_N = 1;
  localparam int X_DIM_H = 3;
  localparam int X_DIM_W = 8;
  localparam int X_DIM_C = 4;
  localparam X_HEX = "x.hex";
  localparam int OTHER_BITS = 16;
  localparam int OTHER_DEPTH = 96;
  localparam int OTHER_DIM_N = 1;
  localparam int OTHER_DIM_H = 3;
  localparam int OTHER_DIM_W = 8;
  localparam int OTHER_DIM_C = 4;
  localparam OTHER_HEX = "other.hex";
  localparam int Y_BITS = 16;
  localparam int Y_DEPTH = 96;
  localparam int Y_DIM_N = 1;
  localparam int Y_DIM_H = 3;
  localparam int Y_DIM_W = 8;
  localparam int Y_DIM_C = 4;
  localparam Y_HEX = "y.hex";
endpackage : multiply_down_saturate_flush_forward_pkg
/* verilator lint_on UNUSEDPARAM */
