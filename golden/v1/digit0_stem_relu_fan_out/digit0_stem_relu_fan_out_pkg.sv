// Constants of the vector case digit0_stem_relu_fan_out; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package digit0_stem_relu_fan_out_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "digit0_stem_relu_fan_out";
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
  localparam int DYS_DEPTH = 1024;
  localparam int DYS_DIM_CONSUMER = 2;
  localparam int DYS_DIM_N = 1;
  localparam int DYS_DIM_H = 8;
  localparam int DYS_DIM_W = 8;
  localparam int DYS_DIM_C = 8;
  localparam DYS_HEX = "dys.hex";
  localparam int SUM_1_BITS = 16;
  localparam int SUM_1_DEPTH = 512;
  localparam int SUM_1_DIM_N = 1;
  localparam int SUM_1_DIM_H = 8;
  localparam int SUM_1_DIM_W = 8;
  localparam int SUM_1_DIM_C = 8;
  localparam SUM_1_HEX = "sum_1.hex";
  localparam int DX_BITS = 16;
  localparam int DX_DEPTH = 512;
  localparam int DX_DIM_N = 1;
  localparam int DX_DIM_H = 8;
  localparam int DX_DIM_W = 8;
  localparam int DX_DIM_C = 8;
  localparam DX_HEX = "dx.hex";
endpackage : digit0_stem_relu_fan_out_pkg
/* verilator lint_on UNUSEDPARAM */
