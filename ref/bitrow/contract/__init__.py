"""SPEC.md's operations as data: each a short program whose lines are the contract's named intermediates.

`program` says what a line is, `interpreter` runs a program one scalar at a time: it is the oracle. One file a layer
holds its programs; `operations` lists them all. Numpy and the scalar arithmetic of `bitrow.oracle` only: no JAX, no
kernels.
"""
