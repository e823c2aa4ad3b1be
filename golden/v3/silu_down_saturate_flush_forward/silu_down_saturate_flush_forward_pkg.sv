// Constants of the vector case silu_down_saturate_flush_forward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package silu_down_saturate_flush_forward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "silu_down_saturate_flush_forward";
  localparam OPERATION = "silu.forward";
  localparam int CONFIG_TABLE_BITS = 6;
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
  localparam int BASE_BITS = 16;
  localparam int BASE_DEPTH = 90;
  localparam int BASE_DIM_N = 1;
  localparam int BASE_DIM_H = 2;
  localparam int BASE_DIM_W = 9;
  localparam int BASE_DIM_C = 5;
  localparam BASE_HEX = "base.hex";
  localparam int RISE_BITS = 16;
  localparam int RISE_DEPTH = 90;
  localparam int RISE_DIM_N = 1;
  localparam int RISE_DIM_H = 2;
  localparam int RISE_DIM_W = 9;
  localparam int RISE_DIM_C = 5;
  localparam RISE_HEX = "rise.hex";
  localparam int PART_BITS = 16;
  localparam int PART_DEPTH = 90;
  localparam int PART_DIM_N = 1;
  localparam int PART_DIM_H = 2;
  localparam int PART_DIM_W = 9;
  localparam int PART_DIM_C = 5;
  localparam PART_HEX = "part.hex";
  localparam int UPPER_BITS = 16;
  localparam int UPPER_DEPTH = 90;
  localparam int UPPER_DIM_N = 1;
  localparam int UPPER_DIM_H = 2;
  localparam int UPPER_DIM_W = 9;
  localparam int UPPER_DIM_C = 5;
  localparam UPPER_HEX = "upper.hex";
  localparam int SIGMOID_BITS = 16;
  localparam int SIGMOID_DEPTH = 90;
  localparam int SIGMOID_DIM_N = 1;
  localparam int SIGMOID_DIM_H = 2;
  localparam int SIGMOID_DIM_W = 9;
  localparam int SIGMOID_DIM_C = 5;
  localparam SIGMOID_HEX = "sigmoid.hex";
  localparam int Y_BITS = 16;
  localparam int Y_DEPTH = 90;
  localparam int Y_DIM_N = 1;
  localparam int Y_DIM_H = 2;
  localparam int Y_DIM_W = 9;
  localparam int Y_DIM_C = 5;
  localparam Y_HEX = "y.hex";
endpackage : silu_down_saturate_flush_forward_pkg
/* verilator lint_on UNUSEDPARAM */
