"""The contract in other languages: a C99 model, its compiled library, and what is printed beside them."""
