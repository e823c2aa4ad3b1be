// Constants of the vector case avg_pool_cancelling_forward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package avg_pool_cancelling_forward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "avg_pool_cancelling_forward";
  localparam OPERATION = "avg_pool.forward";
  localparam int CONFIG_KERNEL_H = 1;
  localparam int CONFIG_KERNEL_W = 6;
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
  localparam int X_BITS = 16;
  localparam int X_DEPTH = 24;
  localparam int X_DIM_N = 1;
  localparam int X_DIM_H = 4;
  localparam int X_DIM_W = 6;
  localparam int X_DIM_C = 1;
  localparam X_HEX = "x.hex";
  localparam int SUM_LEVEL1_BITS = 32;
  localparam int SUM_LEVEL1_DEPTH = 16;
  localparam int SUM_LEVEL1_DIM_N = 1;
  localparam int SUM_LEVEL1_DIM_OH = 4;
  localparam int SUM_LEVEL1_DIM_KH = 1;
  localparam int SUM_LEVEL1_DIM_OW = 1;
  localparam int SUM_LEVEL1_DIM_W_LEVEL = 4;
  localparam int SUM_LEVEL1_DIM_C = 1;
  localparam SUM_LEVEL1_HEX = "sum_level1.hex";
  localparam int SUM_LEVEL2_BITS = 32;
  localparam int SUM_LEVEL2_DEPTH = 8;
  localparam int SUM_LEVEL2_DIM_N = 1;
  localparam int SUM_LEVEL2_DIM_OH = 4;
  localparam int SUM_LEVEL2_DIM_KH = 1;
  localparam int SUM_LEVEL2_DIM_OW = 1;
  localparam int SUM_LEVEL2_DIM_W_LEVEL = 2;
  localparam int SUM_LEVEL2_DIM_C = 1;
  localparam SUM_LEVEL2_HEX = "sum_level2.hex";
  localparam int SUM_LEVEL3_BITS = 32;
  localparam int SUM_LEVEL3_DEPTH = 4;
  localparam int SUM_LEVEL3_DIM_N = 1;
  localparam int SUM_LEVEL3_DIM_OH = 4;
  localparam int SUM_LEVEL3_DIM_KH = 1;
  localparam int SUM_LEVEL3_DIM_OW = 1;
  localparam int SUM_LEVEL3_DIM_W_LEVEL = 1;
  localparam int SUM_LEVEL3_DIM_C = 1;
  localparam SUM_LEVEL3_HEX = "sum_level3.hex";
  localparam int SUM_RUNNING_BITS = 32;
  localparam int SUM_RUNNING_DEPTH = 4;
  localparam int SUM_RUNNING_DIM_KH = 1;
  localparam int SUM_RUNNING_DIM_N = 1;
  localparam int SUM_RUNNING_DIM_OH = 4;
  localparam int SUM_RUNNING_DIM_OW = 1;
  localparam int SUM_RUNNING_DIM_C = 1;
  localparam SUM_RUNNING_HEX = "sum_running.hex";
  localparam int SUM_BITS = 32;
  localparam int SUM_DEPTH = 4;
  localparam int SUM_DIM_N = 1;
  localparam int SUM_DIM_OH = 4;
  localparam int SUM_DIM_OW = 1;
  localparam int SUM_DIM_C = 1;
  localparam SUM_HEX = "sum.hex";
  localparam int Y_BITS = 16;
  localparam int Y_DEPTH = 4;
  localparam int Y_DIM_N = 1;
  localparam int Y_DIM_OH = 4;
  localparam int Y_DIM_OW = 1;
  localparam int Y_DIM_C = 1;
  localparam Y_HEX = "y.hex";
endpackage : avg_pool_cancelling_forward_pkg
/* verilator lint_on UNUSEDPARAM */
