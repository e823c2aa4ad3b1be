"""The contract again as slow scalar Python in integers, written from SPEC.md alone.

`softfloat`, `fp16`, `fp32` and `fxp` work on single words; `conv`, `batch_norm` and `layers` take and return
dicts of integer bit arrays under SPEC.md's tap names. Nothing here computes in floating point.
"""
