"""Whether this machine's JAX gives the contract's bits: the programs that users run, run and read."""
