// Constants of the vector case digit0_s3b1_add_forward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package digit0_s3b1_add_forward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "digit0_s3b1_add_forward";
  localparam OPERATION = "add.forward";
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
  localparam int X_DEPTH = 128;
  localparam int X_DIM_N = 1;
  localparam int X_DIM_H = 2;
  localparam int X_DIM_W = 2;
  localparam int X_DIM_C = 32;
  localparam X_HEX = "x.hex";
  localparam int SHORTCUT_BITS = 16;
  localparam int SHORTCUT_DEPTH = 128;
  localparam int SHORTCUT_DIM_N = 1;
  localparam int SHORTCUT_DIM_H = 2;
  localparam int SHORTCUT_DIM_W = 2;
  localparam int SHORTCUT_DIM_C = 32;
  localparam SHORTCUT_HEX = "shortcut.hex";
  localparam int Y_BITS = 16;
  localparam int Y_DEPTH = 128;
  localparam int Y_DIM_N = 1;
  localparam int Y_DIM_H = 2;
  localparam int Y_DIM_W = 2;
  localparam int Y_DIM_C = 32;
  localparam Y_HEX = "y.hex";
endpackage : digit0_s3b1_add_forward_pkg
/* verilator lint_on UNUSEDPARAM */
