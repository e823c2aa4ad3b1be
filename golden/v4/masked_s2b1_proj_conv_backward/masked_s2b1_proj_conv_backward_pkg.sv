// Constants of the vector case masked_s2b1_proj_conv_backward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package masked_s2b1_proj_conv_backward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "masked_s2b1_proj_conv_backward";
  localparam OPERATION = "conv.backward";
  localparam int CONFIG_STRIDE = 2;
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
  localparam int DY_BITS = 16;
  localparam int DY_DEPTH = 64;
  localparam int DY_DIM_N = 1;
  localparam int DY_DIM_OH = 2;
  localparam int DY_DIM_OW = 2;
  localparam int DY_DIM_C_OUT = 16;
  localparam DY_HEX = "dy.hex";
  localparam int MASK_BITS = 1;
  localparam int MASK_DEPTH = 128;
  localparam int MASK_DIM_N = 1;
  localparam int MASK_DIM_H = 4;
  localparam int MASK_DIM_W = 4;
  localparam int MASK_DIM_C_IN = 8;
  localparam MASK_HEX = "mask.hex";
  localparam int WEIGHT_CODE_BITS = 4;
  localparam int WEIGHT_CODE_DEPTH = 128;
  localparam int WEIGHT_CODE_DIM_KH = 1;
  localparam int WEIGHT_CODE_DIM_KW = 1;
  localparam int WEIGHT_CODE_DIM_C_IN = 8;
  localparam int WEIGHT_CODE_DIM_C_OUT = 16;
  localparam WEIGHT_CODE_HEX = "weight_code.hex";
  localparam int W_SCALE_BITS = 16;
  localparam int W_SCALE_DEPTH = 1;
  localparam W_SCALE_HEX = "w_scale.hex";
  localparam logic [15:0] W_SCALE_WORD = 16'h306c;
  localparam int DY_INV_SCALE_BITS = 16;
  localparam int DY_INV_SCALE_DEPTH = 1;
  localparam DY_INV_SCALE_HEX = "dy_inv_scale.hex";
  localparam logic [15:0] DY_INV_SCALE_WORD = 16'h48e4;
  localparam int DX_SCALE_BITS = 16;
  localparam int DX_SCALE_DEPTH = 1;
  localparam DX_SCALE_HEX = "dx_scale.hex";
  localparam logic [15:0] DX_SCALE_WORD = 16'h233c;
  localparam int SEED_BITS = 16;
  localparam int SEED_DEPTH = 1;
  localparam SEED_HEX = "seed.hex";
  localparam logic [15:0] SEED_WORD = 16'h0010;
  localparam int DY_T_BITS = 16;
  localparam int DY_T_DEPTH = 64;
  localparam int DY_T_DIM_N = 1;
  localparam int DY_T_DIM_OH = 2;
  localparam int DY_T_DIM_OW = 2;
  localparam int DY_T_DIM_C_OUT = 16;
  localparam DY_T_HEX = "dy_t.hex";
  localparam int DY_CODE_BITS = 4;
  localparam int DY_CODE_DEPTH = 64;
  localparam int DY_CODE_DIM_N = 1;
  localparam int DY_CODE_DIM_OH = 2;
  localparam int DY_CODE_DIM_OW = 2;
  localparam int DY_CODE_DIM_C_OUT = 16;
  localparam DY_CODE_HEX = "dy_code.hex";
  localparam int DX_ACC_BITS = 24;
  localparam int DX_ACC_DEPTH = 128;
  localparam int DX_ACC_DIM_N = 1;
  localparam int DX_ACC_DIM_H = 4;
  localparam int DX_ACC_DIM_W = 4;
  localparam int DX_ACC_DIM_C_IN = 8;
  localparam DX_ACC_HEX = "dx_acc.hex";
  localparam int DX_DEQ_BITS = 16;
  localparam int DX_DEQ_DEPTH = 128;
  localparam int DX_DEQ_DIM_N = 1;
  localparam int DX_DEQ_DIM_H = 4;
  localparam int DX_DEQ_DIM_W = 4;
  localparam int DX_DEQ_DIM_C_IN = 8;
  localparam DX_DEQ_HEX = "dx_deq.hex";
  localparam int DX_BITS = 16;
  localparam int DX_DEPTH = 128;
  localparam int DX_DIM_N = 1;
  localparam int DX_DIM_H = 4;
  localparam int DX_DIM_W = 4;
  localparam int DX_DIM_C_IN = 8;
  localparam DX_HEX = "dx.hex";
endpackage : masked_s2b1_proj_conv_backward_pkg
/* verilator lint_on UNUSEDPARAM */
