"""A design's dumps against a set: where they differ, and what single mistake gives its words."""
