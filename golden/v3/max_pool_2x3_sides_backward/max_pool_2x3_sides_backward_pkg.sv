// Constants of the vector case max_pool_2x3_sides_backward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package max_pool_2x3_sides_backward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "max_pool_2x3_sides_backward";
  localparam OPERATION = "max_pool.backward";
  localparam int CONFIG_KERNEL_H = 2;
  localparam int CONFIG_KERNEL_W = 3;
  localparam int CONFIG_STRIDE_H = 1;
  localparam int CONFIG_STRIDE_W = 2;
  localparam int CONFIG_PADDING_TOP = 0;
  localparam int CONFIG_PADDING_BOTTOM = 1;
  localparam int CONFIG_PADDING_LEFT = 1;
  localparam int CONFIG_PADDING_RIGHT = 2;
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
  localparam int DY_DEPTH = 36;
  localparam int DY_DIM_N = 1;
  localparam int DY_DIM_OH = 4;
  localparam int DY_DIM_OW = 3;
  localparam int DY_DIM_C = 3;
  localparam DY_HEX = "dy.hex";
  localparam int INDEX_BITS = 8;
  localparam int INDEX_DEPTH = 36;
  localparam int INDEX_DIM_N = 1;
  localparam int INDEX_DIM_OH = 4;
  localparam int INDEX_DIM_OW = 3;
  localparam int INDEX_DIM_C = 3;
  localparam INDEX_HEX = "index.hex";
  localparam int INPUT_HW_BITS = 32;
  localparam int INPUT_HW_DEPTH = 2;
  localparam int INPUT_HW_DIM_AXIS = 2;
  localparam INPUT_HW_HEX = "input_hw.hex";
  localparam int DX_BITS = 16;
  localparam int DX_DEPTH = 60;
  localparam int DX_DIM_N = 1;
  localparam int DX_DIM_H = 4;
  localparam int DX_DIM_W = 5;
  localparam int DX_DIM_C = 3;
  localparam DX_HEX = "dx.hex";
endpackage : max_pool_2x3_sides_backward_pkg
/* verilator lint_on UNUSEDPARAM */
