// Constants of the vector case flags_to_code_fxp4; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package flags_to_code_fxp4_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "flags_to_code_fxp4";
  localparam OPERATION = "flags.to_code";
  localparam int CONFIG_BITS = 4;
  localparam int CONFIG_SIGNED = 1;
  localparam int CONFIG_NARROW = 0;
  localparam int T_BITS = 16;
  localparam int T_DEPTH = 48;
  localparam int T_DIM_ELEMENT = 48;
  localparam T_HEX = "t.hex";
  localparam int Y_BITS = 4;
  localparam int Y_DEPTH = 48;
  localparam int Y_DIM_ELEMENT = 48;
  localparam Y_HEX = "y.hex";
  localparam int FLAGS_BITS = 5;
  localparam int FLAGS_DEPTH = 48;
  localparam int FLAGS_DIM_ELEMENT = 48;
  localparam FLAGS_HEX = "flags.hex";
endpackage : flags_to_code_fxp4_pkg
/* verilator lint_on UNUSEDPARAM */
