"""Stimulus: streams of words, and problems built of them, directed and random (SPEC.md V4)."""
