// Constants of the vector case hard_swish_up_flush_forward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package hard_swish_up_flush_forward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "hard_swish_up_flush_forward";
  localparam OPERATION = "hard_swish.forward";
  typedef enum int {
    CONFIG_MODE_ROUNDING_NEAREST_EVEN = 0,
    CONFIG_MODE_ROUNDING_TOWARD_ZERO = 1,
    CONFIG_MODE_ROUNDING_UP = 2,
    CONFIG_MODE_ROUNDING_DOWN = 3,
    CONFIG_MODE_ROUNDING_NEAREST_AWAY = 4
  } config_mode_rounding_e;
  localparam int CONFIG_MODE_ROUNDING = CONFIG_MODE_ROUNDING_UP;
  typedef enum int {
    CONFIG_MODE_OVERFLOW_INFINITY = 0,
    CONFIG_MODE_OVERFLOW_SATURATE = 1
  } config_mode_overflow_e;
  localparam int CONFIG_MODE_OVERFLOW = CONFIG_MODE_OVERFLOW_INFINITY;
  localparam int CONFIG_MODE_FLUSH = 1;
  localparam int X_BITS = 16;
  localparam int X_DEPTH = 160;
  localparam int X_DIM_N = 1;
  localparam int X_DIM_H = 4;
  localparam int X_DIM_W = 8;
  localparam int X_DIM_C = 5;
  localparam X_HEX = "x.hex";
  localparam int SHIFTED_BITS = 16;
  localparam int SHIFTED_DEPTH = 160;
  localparam int SHIFTED_DIM_N = 1;
  localparam int SHIFTED_DIM_H = 4;
  localparam int SHIFTED_DIM_W = 8;
  localparam int SHIFTED_DIM_C = 5;
  localparam SHIFTED_HEX = "shifted.hex";
  localparam int GATE_BITS = 16;
  localparam int GATE_DEPTH = 160;
  localparam int GATE_DIM_N = 1;
  localparam int GATE_DIM_H = 4;
  localparam int GATE_DIM_W = 8;
  localparam int GATE_DIM_C = 5;
  localparam GATE_HEX = "gate.hex";
  localparam int GATED_BITS = 16;
  localparam int GATED_DEPTH = 160;
  localparam int GATED_DIM_N = 1;
  localparam int GATED_DIM_H = 4;
  localparam int GATED_DIM_W = 8;
  localparam int GATED_DIM_C = 5;
  localparam GATED_HEX = "gated.hex";
  localparam int Y_BITS = 16;
  localparam int Y_DEPTH = 160;
  localparam int Y_DIM_N = 1;
  localparam int Y_DIM_H = 4;
  localparam int Y_DIM_W = 8;
  localparam int Y_DIM_C = 5;
  localparam Y_HEX = "y.hex";
endpackage : hard_swish_up_flush_forward_pkg
/* verilator lint_on UNUSEDPARAM */
