"""A vector set on disk: names, encodings, hex files, archives, sources, checks (SPEC.md V1 to V4)."""
