// Constants of the vector case flags_add_nearest_even; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package flags_add_nearest_even_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "flags_add_nearest_even";
  localparam OPERATION = "flags.add";
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
  typedef enum int {
    CONFIG_TININESS_AFTER_ROUNDING = 0,
    CONFIG_TININESS_BEFORE_ROUNDING = 1
  } config_tininess_e;
  localparam int CONFIG_TININESS = CONFIG_TININESS_AFTER_ROUNDING;
  localparam int A_BITS = 16;
  localparam int A_DEPTH = 64;
  localparam int A_DIM_ELEMENT = 64;
  localparam A_HEX = "a.hex";
  localparam int B_BITS = 16;
  localparam int B_DEPTH = 64;
  localparam int B_DIM_ELEMENT = 64;
  localparam B_HEX = "b.hex";
  localparam int Y_BITS = 16;
  localparam int Y_DEPTH = 64;
  localparam int Y_DIM_ELEMENT = 64;
  localparam Y_HEX = "y.hex";
  localparam int FLAGS_BITS = 5;
  localparam int FLAGS_DEPTH = 64;
  localparam int FLAGS_DIM_ELEMENT = 64;
  localparam FLAGS_HEX = "flags.hex";
endpackage : flags_add_nearest_even_pkg
/* verilator lint_on UNUSEDPARAM */
