"""A unit in SystemVerilog is the contract's, for every input: read by yosys, decided by solvers or by running it."""
