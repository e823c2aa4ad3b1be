"""`make versions`: the quick checks on the lowest and the newest versions that are allowed, and without JAX."""
