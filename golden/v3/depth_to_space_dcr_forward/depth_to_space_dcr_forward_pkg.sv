// Constants of the vector case depth_to_space_dcr_forward; hex file names are relative to its folder.
/* verilator lint_off UNUSEDPARAM */
package depth_to_space_dcr_forward_pkg;
  localparam int SCHEMA = 1;
  localparam int SPEC_VERSION = 1;
  localparam CASE_NAME = "depth_to_space_dcr_forward";
  localparam OPERATION = "depth_to_space.forward";
  localparam int CONFIG_BLOCK = 2;
  typedef enum int {
    CONFIG_ORDER_DCR = 0,
    CONFIG_ORDER_CRD = 1
  } config_order_e;
  localparam int CONFIG_ORDER = CONFIG_ORDER_DCR;
  localparam int X_BITS = 16;
  localparam int X_DEPTH = 48;
  localparam int X_DIM_N = 1;
  localparam int X_DIM_H = 2;
  localparam int X_DIM_W = 3;
  localparam int X_DIM_C_X = 8;
  localparam X_HEX = "x.hex";
  localparam int Y_BITS = 16;
  localparam int Y_DEPTH = 48;
  localparam int Y_DIM_N = 1;
  localparam int Y_DIM_OH = 4;
  localparam int Y_DIM_OW = 6;
  localparam int Y_DIM_C_Y = 2;
  localparam Y_HEX = "y.hex";
endpackage : depth_to_space_dcr_forward_pkg
/* verilator lint_on UNUSEDPARAM */
