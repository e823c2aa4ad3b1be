// Constants of the vector case fp16_sub_alignment; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package fp16_sub_alignment_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "fp16_sub_alignment";
  localparam OPERATION = "fp16.sub";
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
  localparam int A_BITS = 16;
  localparam int A_DEPTH = 18;
  localparam int A_DIM_ELEMENT = 18;
  localparam A_HEX = "a.hex";
  localparam int B_BITS = 16;
  localparam int B_DEPTH = 18;
  localparam int B_DIM_ELEMENT = 18;
  localparam B_HEX = "b.hex";
  localparam int Y_BITS = 16;
  localparam int Y_DEPTH = 18;
  localparam int Y_DIM_ELEMENT = 18;
  localparam Y_HEX = "y.hex";
endpackage : fp16_sub_alignment_pkg
/* verilator lint_on UNUSEDPARAM */
