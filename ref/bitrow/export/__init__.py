"""The contract in other languages: a C99 model, the same compiled, and what is printed beside them."""
