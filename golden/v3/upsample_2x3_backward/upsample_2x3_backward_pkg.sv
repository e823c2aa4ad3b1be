// Constants of the vector case upsample_2x3_backward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package upsample_2x3_backward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "upsample_2x3_backward";
  localparam OPERATION = "upsample.backward";
  localparam int CONFIG_ROWS = 2;
  localparam int CONFIG_COLUMNS = 3;
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
  localparam int DY_BITS = 16;
  localparam int DY_DEPTH = 144;
  localparam int DY_DIM_N = 1;
  localparam int DY_DIM_OH = 4;
  localparam int DY_DIM_OW = 9;
  localparam int DY_DIM_C = 4;
  localparam DY_HEX = "dy.hex";
  localparam int SUM_1_BITS = 16;
  localparam int SUM_1_DEPTH = 24;
  localparam int SUM_1_DIM_N = 1;
  localparam int SUM_1_DIM_H = 2;
  localparam int SUM_1_DIM_W = 3;
  localparam int SUM_1_DIM_C = 4;
  localparam SUM_1_HEX = "sum_1.hex";
  localparam int SUM_2_BITS = 16;
  localparam int SUM_2_DEPTH = 24;
  localparam int SUM_2_DIM_N = 1;
  localparam int SUM_2_DIM_H = 2;
  localparam int SUM_2_DIM_W = 3;
  localparam int SUM_2_DIM_C = 4;
  localparam SUM_2_HEX = "sum_2.hex";
  localparam int SUM_3_BITS = 16;
  localparam int SUM_3_DEPTH = 24;
  localparam int SUM_3_DIM_N = 1;
  localparam int SUM_3_DIM_H = 2;
  localparam int SUM_3_DIM_W = 3;
  localparam int SUM_3_DIM_C = 4;
  localparam SUM_3_HEX = "sum_3.hex";
  localparam int SUM_4_BITS = 16;
  localparam int SUM_4_DEPTH = 24;
  localparam int SUM_4_DIM_N = 1;
  localparam int SUM_4_DIM_H = 2;
  localparam int SUM_4_DIM_W = 3;
  localparam int SUM_4_DIM_C = 4;
  localparam SUM_4_HEX = "sum_4.hex";
  localparam int SUM_5_BITS = 16;
  localparam int SUM_5_DEPTH = 24;
  localparam int SUM_5_DIM_N = 1;
  localparam int SUM_5_DIM_H = 2;
  localparam int SUM_5_DIM_W = 3;
  localparam int SUM_5_DIM_C = 4;
  localparam SUM_5_HEX = "sum_5.hex";
  localparam int DX_BITS = 16;
  localparam int DX_DEPTH = 24;
  localparam int DX_DIM_N = 1;
  localparam int DX_DIM_H = 2;
  localparam int DX_DIM_W = 3;
  localparam int DX_DIM_C = 4;
  localparam DX_HEX = "dx.hex";
endpackage : upsample_2x3_backward_pkg
/* verilator lint_on UNUSEDPARAM */
