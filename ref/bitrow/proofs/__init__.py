"""Exhaustive checks of the kernels against judges that share no code with them."""
