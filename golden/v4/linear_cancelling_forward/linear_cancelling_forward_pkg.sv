// Constants of the vector case linear_cancelling_forward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package linear_cancelling_forward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "linear_cancelling_forward";
  localparam OPERATION = "linear.forward";
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
  localparam int X_DEPTH = 18;
  localparam int X_DIM_N = 3;
  localparam int X_DIM_I = 6;
  localparam X_HEX = "x.hex";
  localparam int WEIGHT_BITS = 16;
  localparam int WEIGHT_DEPTH = 12;
  localparam int WEIGHT_DIM_I = 6;
  localparam int WEIGHT_DIM_O = 2;
  localparam WEIGHT_HEX = "weight.hex";
  localparam int BIAS_BITS = 32;
  localparam int BIAS_DEPTH = 2;
  localparam int BIAS_DIM_O = 2;
  localparam BIAS_HEX = "bias.hex";
  localparam int SUM_LEVEL1_BITS = 32;
  localparam int SUM_LEVEL1_DEPTH = 24;
  localparam int SUM_LEVEL1_DIM_N = 3;
  localparam int SUM_LEVEL1_DIM_I_LEVEL = 4;
  localparam int SUM_LEVEL1_DIM_O = 2;
  localparam SUM_LEVEL1_HEX = "sum_level1.hex";
  localparam int SUM_LEVEL2_BITS = 32;
  localparam int SUM_LEVEL2_DEPTH = 12;
  localparam int SUM_LEVEL2_DIM_N = 3;
  localparam int SUM_LEVEL2_DIM_I_LEVEL = 2;
  localparam int SUM_LEVEL2_DIM_O = 2;
  localparam SUM_LEVEL2_HEX = "sum_level2.hex";
  localparam int SUM_LEVEL3_BITS = 32;
  localparam int SUM_LEVEL3_DEPTH = 6;
  localparam int SUM_LEVEL3_DIM_N = 3;
  localparam int SUM_LEVEL3_DIM_I_LEVEL = 1;
  localparam int SUM_LEVEL3_DIM_O = 2;
  localparam SUM_LEVEL3_HEX = "sum_level3.hex";
  localparam int SUM_BITS = 32;
  localparam int SUM_DEPTH = 6;
  localparam int SUM_DIM_N = 3;
  localparam int SUM_DIM_O = 2;
  localparam SUM_HEX = "sum.hex";
  localparam int Y_BITS = 16;
  localparam int Y_DEPTH = 6;
  localparam int Y_DIM_N = 3;
  localparam int Y_DIM_O = 2;
  localparam Y_HEX = "y.hex";
endpackage : linear_cancelling_forward_pkg
/* verilator lint_on UNUSEDPARAM */
