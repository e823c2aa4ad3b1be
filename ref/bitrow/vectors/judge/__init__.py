"""The kernels' side: every operation by JAX, compiled or primitive by primitive, and whole passes (SPEC.md V5)."""
