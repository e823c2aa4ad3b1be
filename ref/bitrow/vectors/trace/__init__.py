"""Row traces: what every row task reads and writes, where and when, and the words (SPEC.md V6)."""
