// Constants of the vector case conv_3x2_transposed_sides_forward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package conv_3x2_transposed_sides_forward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "conv_3x2_transposed_sides_forward";
  localparam OPERATION = "conv.forward";
  localparam int CONFIG_STRIDE_H = 2;
  localparam int CONFIG_STRIDE_W = 1;
  localparam int CONFIG_PADDING_TOP = 1;
  localparam int CONFIG_PADDING_BOTTOM = 0;
  localparam int CONFIG_PADDING_LEFT = 2;
  localparam int CONFIG_PADDING_RIGHT = 1;
  localparam int CONFIG_GROUPS = 2;
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
  localparam int CONFIG_DILATION_H = 1;
  localparam int CONFIG_DILATION_W = 2;
  localparam int CONFIG_TRANSPOSED = 1;
  localparam int X_BITS = 16;
  localparam int X_DEPTH = 120;
  localparam int X_DIM_N = 1;
  localparam int X_DIM_H = 4;
  localparam int X_DIM_W = 5;
  localparam int X_DIM_C_IN = 6;
  localparam X_HEX = "x.hex";
  localparam int WEIGHT_CODE_BITS = 4;
  localparam int WEIGHT_CODE_DEPTH = 108;
  localparam int WEIGHT_CODE_DIM_KH = 3;
  localparam int WEIGHT_CODE_DIM_KW = 2;
  localparam int WEIGHT_CODE_DIM_C_IN = 3;
  localparam int WEIGHT_CODE_DIM_C_OUT = 6;
  localparam WEIGHT_CODE_HEX = "weight_code.hex";
  localparam int X_INV_SCALE_BITS = 16;
  localparam int X_INV_SCALE_DEPTH = 1;
  localparam X_INV_SCALE_HEX = "x_inv_scale.hex";
  localparam logic [15:0] X_INV_SCALE_WORD = 16'h449f;
  localparam int SCALE_BITS = 16;
  localparam int SCALE_DEPTH = 1;
  localparam SCALE_HEX = "scale.hex";
  localparam logic [15:0] SCALE_WORD = 16'h23f1;
  localparam int T_BITS = 16;
  localparam int T_DEPTH = 120;
  localparam int T_DIM_N = 1;
  localparam int T_DIM_H = 4;
  localparam int T_DIM_W = 5;
  localparam int T_DIM_C_IN = 6;
  localparam T_HEX = "t.hex";
  localparam int X_CODE_BITS = 4;
  localparam int X_CODE_DEPTH = 120;
  localparam int X_CODE_DIM_N = 1;
  localparam int X_CODE_DIM_H = 4;
  localparam int X_CODE_DIM_W = 5;
  localparam int X_CODE_DIM_C_IN = 6;
  localparam X_CODE_HEX = "x_code.hex";
  localparam int ACC_BITS = 24;
  localparam int ACC_DEPTH = 192;
  localparam int ACC_DIM_N = 1;
  localparam int ACC_DIM_OH = 8;
  localparam int ACC_DIM_OW = 4;
  localparam int ACC_DIM_C_OUT = 6;
  localparam ACC_HEX = "acc.hex";
  localparam int DEQ_BITS = 16;
  localparam int DEQ_DEPTH = 192;
  localparam int DEQ_DIM_N = 1;
  localparam int DEQ_DIM_OH = 8;
  localparam int DEQ_DIM_OW = 4;
  localparam int DEQ_DIM_C_OUT = 6;
  localparam DEQ_HEX = "deq.hex";
  localparam int MASK_BITS = 1;
  localparam int MASK_DEPTH = 120;
  localparam int MASK_DIM_N = 1;
  localparam int MASK_DIM_H = 4;
  localparam int MASK_DIM_W = 5;
  localparam int MASK_DIM_C_IN = 6;
  localparam MASK_HEX = "mask.hex";
  localparam int Y_BITS = 16;
  localparam int Y_DEPTH = 192;
  localparam int Y_DIM_N = 1;
  localparam int Y_DIM_OH = 8;
  localparam int Y_DIM_OW = 4;
  localparam int Y_DIM_C_OUT = 6;
  localparam Y_HEX = "y.hex";
endpackage : conv_3x2_transposed_sides_forward_pkg
/* verilator lint_on UNUSEDPARAM */
