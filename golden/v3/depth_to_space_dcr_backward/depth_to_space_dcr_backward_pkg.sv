// Constants of the vector case depth_to_space_dcr_backward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package depth_to_space_dcr_backward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "depth_to_space_dcr_backward";
  localparam OPERATION = "depth_to_space.backward";
  localparam int CONFIG_BLOCK = 2;
  typedef enum int {
    CONFIG_ORDER_DCR = 0,
    CONFIG_ORDER_CRD = 1
  } config_order_e;
  localparam int CONFIG_ORDER = CONFIG_ORDER_DCR;
  localparam int DY_BITS = 16;
  localparam int DY_DEPTH = 48;
  localparam int DY_DIM_N = 1;
  localparam int DY_DIM_OH = 4;
  localparam int DY_DIM_OW = 6;
  localparam int DY_DIM_C_Y = 2;
  localparam DY_HEX = "dy.hex";
  localparam int DX_BITS = 16;
  localparam int DX_DEPTH = 48;
  localparam int DX_DIM_N = 1;
  localparam int DX_DIM_H = 2;
  localparam int DX_DIM_W = 3;
  localparam int DX_DIM_C_X = 8;
  localparam DX_HEX = "dx.hex";
endpackage : depth_to_space_dcr_backward_pkg
/* verilator lint_on UNUSEDPARAM */
