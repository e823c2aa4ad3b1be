// Constants of the vector case upsample_2x2_down_saturate_flush_backward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package upsample_2x2_down_saturate_flush_backward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "upsample_2x2_down_saturate_flush_backward";
  localparam OPERATION = "upsample.backward";
  localparam int CONFIG_ROWS = 2;
  localparam int CONFIG_COLUMNS = 2;
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
  localparam int DY_BITS = 16;
  localparam int DY_DEPTH = 360;
  localparam int DY_DIM_N = 1;
  localparam int DY_DIM_OH = 6;
  localparam int DY_DIM_OW = 12;
  localparam int DY_DIM_C = 5;
  localparam DY_HEX = "dy.hex";
  localparam int SUM_1_BITS = 16;
  localparam int SUM_1_DEPTH = 90;
  localparam int SUM_1_DIM_N = 1;
  localparam int SUM_1_DIM_H = 3;
  localparam int SUM_1_DIM_W = 6;
  localparam int SUM_1_DIM_C = 5;
  localparam SUM_1_HEX = "sum_1.hex";
  localparam int SUM_2_BITS = 16;
  localparam int SUM_2_DEPTH = 90;
  localparam int SUM_2_DIM_N = 1;
  localparam int SUM_2_DIM_H = 3;
  localparam int SUM_2_DIM_W = 6;
  localparam int SUM_2_DIM_C = 5;
  localparam SUM_2_HEX = "sum_2.hex";
  localparam int SUM_3_BITS = 16;
  localparam int SUM_3_DEPTH = 90;
  localparam int SUM_3_DIM_N = 1;
  localparam int SUM_3_DIM_H = 3;
  localparam int SUM_3_DIM_W = 6;
  localparam int SUM_3_DIM_C = 5;
  localparam SUM_3_HEX = "sum_3.hex";
  localparam int DX_BITS = 16;
  localparam int DX_DEPTH = 90;
  localparam int DX_DIM_N = 1;
  localparam int DX_DIM_H = 3;
  localparam int DX_DIM_W = 6;
  localparam int DX_DIM_C = 5;
  localparam DX_HEX = "dx.hex";
endpackage : upsample_2x2_down_saturate_flush_backward_pkg
/* verilator lint_on UNUSEDPARAM */
