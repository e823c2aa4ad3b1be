// Constants of the vector case max_pool_2x3_sides_forward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package max_pool_2x3_sides_forward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "max_pool_2x3_sides_forward";
  localparam OPERATION = "max_pool.forward";
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
  localparam int X_BITS = 16;
  localparam int X_DEPTH = 60;
  localparam int X_DIM_N = 1;
  localparam int X_DIM_H = 4;
  localparam int X_DIM_W = 5;
  localparam int X_DIM_C = 3;
  localparam X_HEX = "x.hex";
  localparam int Y_BITS = 16;
  localparam int Y_DEPTH = 36;
  localparam int Y_DIM_N = 1;
  localparam int Y_DIM_OH = 4;
  localparam int Y_DIM_OW = 3;
  localparam int Y_DIM_C = 3;
  localparam Y_HEX = "y.hex";
  localparam int INDEX_BITS = 8;
  localparam int INDEX_DEPTH = 36;
  localparam int INDEX_DIM_N = 1;
  localparam int INDEX_DIM_OH = 4;
  localparam int INDEX_DIM_OW = 3;
  localparam int INDEX_DIM_C = 3;
  localparam INDEX_HEX = "index.hex";
endpackage : max_pool_2x3_sides_forward_pkg
/* verilator lint_on UNUSEDPARAM */
