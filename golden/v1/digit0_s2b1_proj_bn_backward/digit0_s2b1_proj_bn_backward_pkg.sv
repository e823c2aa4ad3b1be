// Constants of the vector case digit0_s2b1_proj_bn_backward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package digit0_s2b1_proj_bn_backward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "digit0_s2b1_proj_bn_backward";
  localparam OPERATION = "batch_norm.backward";
  typedef enum int {
    CONFIG_STATISTICS_FROZEN = 0,
    CONFIG_STATISTICS_BATCH = 1
  } config_statistics_e;
  localparam int CONFIG_STATISTICS = CONFIG_STATISTICS_FROZEN;
  localparam int CONFIG_FMA = 0;
  localparam int CONFIG_ACCUMULATOR_EXPONENT_BITS = 8;
  localparam int CONFIG_ACCUMULATOR_FRACTION_BITS = 23;
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
  localparam int DZ_BITS = 16;
  localparam int DZ_DEPTH = 256;
  localparam int DZ_DIM_N = 1;
  localparam int DZ_DIM_H = 4;
  localparam int DZ_DIM_W = 4;
  localparam int DZ_DIM_C = 16;
  localparam DZ_HEX = "dz.hex";
  localparam int A_BITS = 16;
  localparam int A_DEPTH = 16;
  localparam int A_DIM_C = 16;
  localparam A_HEX = "a.hex";
  localparam int DY_BITS = 16;
  localparam int DY_DEPTH = 256;
  localparam int DY_DIM_N = 1;
  localparam int DY_DIM_H = 4;
  localparam int DY_DIM_W = 4;
  localparam int DY_DIM_C = 16;
  localparam DY_HEX = "dy.hex";
endpackage : digit0_s2b1_proj_bn_backward_pkg
/* verilator lint_on UNUSEDPARAM */
