// Constants of the vector case fxp_pack_fxp3; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package fxp_pack_fxp3_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "fxp_pack_fxp3";
  localparam OPERATION = "fxp.pack";
  localparam int CONFIG_BITS = 3;
  localparam int CONFIG_SIGNED = 1;
  localparam int CONFIG_NARROW = 0;
  localparam int CODE_BITS = 3;
  localparam int CODE_DEPTH = 18;
  localparam int CODE_DIM_N = 1;
  localparam int CODE_DIM_H = 2;
  localparam int CODE_DIM_W = 3;
  localparam int CODE_DIM_C = 3;
  localparam CODE_HEX = "code.hex";
  localparam int PACKED_BITS = 8;
  localparam int PACKED_DEPTH = 10;
  localparam int PACKED_DIM_N = 1;
  localparam int PACKED_DIM_H = 2;
  localparam int PACKED_DIM_BYTE = 5;
  localparam PACKED_HEX = "packed.hex";
endpackage : fxp_pack_fxp3_pkg
/* verilator lint_on UNUSEDPARAM */
