"""Kernels as terms of another language, read from the program that JAX compiles: their jaxpr."""
