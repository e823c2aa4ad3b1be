// Constants of the vector case fxp_quantize_stochastic_low_bits; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package fxp_quantize_stochastic_low_bits_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "fxp_quantize_stochastic_low_bits";
  localparam OPERATION = "fxp.quantize_stochastic";
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
  localparam int CONFIG_DEQUANTIZE = CONFIG_DEQUANTIZE_FUSED;
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
  localparam int X_BITS = 16;
  localparam int X_DEPTH = 24;
  localparam int X_DIM_N = 1;
  localparam int X_DIM_H = 1;
  localparam int X_DIM_W = 12;
  localparam int X_DIM_C = 2;
  localparam X_HEX = "x.hex";
  localparam int WORDS_BITS = 16;
  localparam int WORDS_DEPTH = 24;
  localparam int WORDS_DIM_N = 1;
  localparam int WORDS_DIM_H = 1;
  localparam int WORDS_DIM_W = 12;
  localparam int WORDS_DIM_C = 2;
  localparam WORDS_HEX = "words.hex";
  localparam int X_INV_SCALE_BITS = 16;
  localparam int X_INV_SCALE_DEPTH = 1;
  localparam X_INV_SCALE_HEX = "x_inv_scale.hex";
  localparam logic [15:0] X_INV_SCALE_WORD = 16'h3c00;
  localparam int T_BITS = 16;
  localparam int T_DEPTH = 24;
  localparam int T_DIM_N = 1;
  localparam int T_DIM_H = 1;
  localparam int T_DIM_W = 12;
  localparam int T_DIM_C = 2;
  localparam T_HEX = "t.hex";
  localparam int X_CODE_BITS = 4;
  localparam int X_CODE_DEPTH = 24;
  localparam int X_CODE_DIM_N = 1;
  localparam int X_CODE_DIM_H = 1;
  localparam int X_CODE_DIM_W = 12;
  localparam int X_CODE_DIM_C = 2;
  localparam X_CODE_HEX = "x_code.hex";
  localparam int MASK_BITS = 1;
  localparam int MASK_DEPTH = 24;
  localparam int MASK_DIM_N = 1;
  localparam int MASK_DIM_H = 1;
  localparam int MASK_DIM_W = 12;
  localparam int MASK_DIM_C = 2;
  localparam MASK_HEX = "mask.hex";
endpackage : fxp_quantize_stochastic_low_bits_pkg
/* verilator lint_on UNUSEDPARAM */
