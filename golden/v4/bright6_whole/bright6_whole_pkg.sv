// Constants of the vector case bright6_whole; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package bright6_whole_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "bright6_whole";
  localparam OPERATION = "network.resnet8_digits";
  typedef enum int {
    CONFIG_ROUNDING_NEAREST_EVEN = 0,
    CONFIG_ROUNDING_TOWARD_ZERO = 1,
    CONFIG_ROUNDING_UP = 2,
    CONFIG_ROUNDING_DOWN = 3,
    CONFIG_ROUNDING_NEAREST_AWAY = 4
  } config_rounding_e;
  localparam int CONFIG_ROUNDING = CONFIG_ROUNDING_NEAREST_EVEN;
  typedef enum int {
    CONFIG_OVERFLOW_INFINITY = 0,
    CONFIG_OVERFLOW_SATURATE = 1
  } config_overflow_e;
  localparam int CONFIG_OVERFLOW = CONFIG_OVERFLOW_INFINITY;
  localparam int CONFIG_FLUSH = 0;
  localparam int X_BITS = 16;
  localparam int X_DEPTH = 64;
  localparam int X_DIM_N = 1;
  localparam int X_DIM_H = 8;
  localparam int X_DIM_W = 8;
  localparam int X_DIM_C = 1;
  localparam X_HEX = "x.hex";
  localparam int DLOGITS_BITS = 16;
  localparam int DLOGITS_DEPTH = 10;
  localparam int DLOGITS_DIM_N = 1;
  localparam int DLOGITS_DIM_CLASS = 10;
  localparam DLOGITS_HEX = "dlogits.hex";
  localparam int LOGITS_BITS = 16;
  localparam int LOGITS_DEPTH = 10;
  localparam int LOGITS_DIM_N = 1;
  localparam int LOGITS_DIM_CLASS = 10;
  localparam LOGITS_HEX = "logits.hex";
  localparam int DX_BITS = 16;
  localparam int DX_DEPTH = 64;
  localparam int DX_DIM_N = 1;
  localparam int DX_DIM_H = 8;
  localparam int DX_DIM_W = 8;
  localparam int DX_DIM_C = 1;
  localparam DX_HEX = "dx.hex";
endpackage : bright6_whole_pkg
/* verilator lint_on UNUSEDPARAM */
