// `BUG(NAME) is 0, unless the design is compiled with BITROW_BUGS or BITROW_BUG: then it is a switch of bugs.sv.
`ifndef BITROW_BUGS_SVH
`define BITROW_BUGS_SVH
`ifdef BITROW_BUGS
`define BITROW_WITH_BUGS
`elsif BITROW_BUG
`define BITROW_WITH_BUGS
`endif
`ifdef BITROW_WITH_BUGS
`define BUG(NAME) bugs::NAME
`else
`define BUG(NAME) 1'b0
`endif
`endif
