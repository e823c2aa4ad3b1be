"""Which corners of the arithmetic a case hits, read off the programs' lines (SPEC.md V3)."""
