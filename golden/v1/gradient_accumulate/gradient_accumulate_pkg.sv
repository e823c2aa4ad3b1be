// Constants of the vector case gradient_accumulate; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package gradient_accumulate_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "gradient_accumulate";
  localparam OPERATION = "gradient.accumulate";
  typedef enum int {
    CONFIG_ROUNDING_NEAREST_EVEN = 0,
    CONFIG_ROUNDING_TOWARD_ZERO = 1,
    CONFIG_ROUNDING_UP = 2,
    CONFIG_ROUNDING_DOWN = 3,
    CONFIG_ROUNDING_NEAREST_AWAY = 4
  } config_rounding_e;
  localparam int CONFIG_ROUNDING = CONFIG_ROUNDING_NEAREST_EVEN;
  typedef enum int {
    CONFIG_OVERFLOW_INFINITY = 0,
    CONFIG_OVERFLOW_SATURATE = 1
  } config_overflow_e;
  localparam int CONFIG_OVERFLOW = CONFIG_OVERFLOW_INFINITY;
  localparam int CONFIG_FLUSH = 0;
  localparam int DYS_BITS = 16;
  localparam int DYS_DEPTH = 288;
  localparam int DYS_DIM_CONSUMER = 3;
  localparam int DYS_DIM_N = 1;
  localparam int DYS_DIM_H = 4;
  localparam int DYS_DIM_W = 4;
  localparam int DYS_DIM_C = 6;
  localparam DYS_HEX = "dys.hex";
  localparam int SUM_1_BITS = 16;
  localparam int SUM_1_DEPTH = 96;
  localparam int SUM_1_DIM_N = 1;
  localparam int SUM_1_DIM_H = 4;
  localparam int SUM_1_DIM_W = 4;
  localparam int SUM_1_DIM_C = 6;
  localparam SUM_1_HEX = "sum_1.hex";
  localparam int SUM_2_BITS = 16;
  localparam int SUM_2_DEPTH = 96;
  localparam int SUM_2_DIM_N = 1;
  localparam int SUM_2_DIM_H = 4;
  localparam int SUM_2_DIM_W = 4;
  localparam int SUM_2_DIM_C = 6;
  localparam SUM_2_HEX = "sum_2.hex";
  localparam int DX_BITS = 16;
  localparam int DX_DEPTH = 96;
  localparam int DX_DIM_N = 1;
  localparam int DX_DIM_H = 4;
  localparam int DX_DIM_W = 4;
  localparam int DX_DIM_C = 6;
  localparam DX_HEX = "dx.hex";
endpackage : gradient_accumulate_pkg
/* verilator lint_on UNUSEDPARAM */
