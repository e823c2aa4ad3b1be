// Constants of the vector case fxp_dequantize_two_step_nearest_even; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package fxp_dequantize_two_step_nearest_even_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "fxp_dequantize_two_step_nearest_even";
  localparam OPERATION = "fxp.dequantize";
  localparam int CONFIG_STRIDE = 1;
  localparam int CONFIG_PADDING = 0;
  localparam int CONFIG_GROUPS = 1;
  localparam int CONFIG_X_FORMAT_BITS = 4;
  localparam int CONFIG_X_FORMAT_SIGNED = 1;
  localparam int CONFIG_X_FORMAT_NARROW = 0;
  localparam int CONFIG_WEIGHT_FORMAT_BITS = 4;
  localparam int CONFIG_WEIGHT_FORMAT_SIGNED = 1;
  localparam int CONFIG_WEIGHT_FORMAT_NARROW = 0;
  localparam int CONFIG_DY_FORMAT_BITS = 4;
  localparam int CONFIG_DY_FORMAT_SIGNED = 1;
  localparam int CONFIG_DY_FORMAT_NARROW = 0;
  localparam int CONFIG_ACCUMULATOR_BITS = 24;
  typedef enum int {
    CONFIG_ACCUMULATOR_OVERFLOW_ERROR = 0,
    CONFIG_ACCUMULATOR_OVERFLOW_WRAP = 1,
    CONFIG_ACCUMULATOR_OVERFLOW_SATURATE = 2
  } config_accumulator_overflow_e;
  localparam int CONFIG_ACCUMULATOR_OVERFLOW = CONFIG_ACCUMULATOR_OVERFLOW_ERROR;
  typedef enum int {
    CONFIG_DEQUANTIZE_FUSED = 0,
    CONFIG_DEQUANTIZE_TWO_STEP = 1
  } config_dequantize_e;
  localparam int CONFIG_DEQUANTIZE = CONFIG_DEQUANTIZE_TWO_STEP;
  typedef enum int {
    CONFIG_GRADIENT_FXP = 0,
    CONFIG_GRADIENT_FP16 = 1
  } config_gradient_e;
  localparam int CONFIG_GRADIENT = CONFIG_GRADIENT_FXP;
  typedef enum int {
    CONFIG_DY_ROUNDING_NEAREST_EVEN = 0,
    CONFIG_DY_ROUNDING_STOCHASTIC = 1
  } config_dy_rounding_e;
  localparam int CONFIG_DY_ROUNDING = CONFIG_DY_ROUNDING_NEAREST_EVEN;
  localparam int CONFIG_FOLD = 0;
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
  localparam int ACC_BITS = 24;
  localparam int ACC_DEPTH = 128;
  localparam int ACC_DIM_N = 1;
  localparam int ACC_DIM_H = 2;
  localparam int ACC_DIM_W = 16;
  localparam int ACC_DIM_C = 4;
  localparam ACC_HEX = "acc.hex";
  localparam int SCALE_BITS = 16;
  localparam int SCALE_DEPTH = 4;
  localparam int SCALE_DIM_C = 4;
  localparam SCALE_HEX = "scale.hex";
  localparam int ACC_FP16_BITS = 16;
  localparam int ACC_FP16_DEPTH = 128;
  localparam int ACC_FP16_DIM_N = 1;
  localparam int ACC_FP16_DIM_H = 2;
  localparam int ACC_FP16_DIM_W = 16;
  localparam int ACC_FP16_DIM_C = 4;
  localparam ACC_FP16_HEX = "acc_fp16.hex";
  localparam int DEQ_BITS = 16;
  localparam int DEQ_DEPTH = 128;
  localparam int DEQ_DIM_N = 1;
  localparam int DEQ_DIM_H = 2;
  localparam int DEQ_DIM_W = 16;
  localparam int DEQ_DIM_C = 4;
  localparam DEQ_HEX = "deq.hex";
endpackage : fxp_dequantize_two_step_nearest_even_pkg
/* verilator lint_on UNUSEDPARAM */
