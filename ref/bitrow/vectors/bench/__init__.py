"""A user's own bench, tried: is it awake, and what is the smallest case that fails under it?"""
