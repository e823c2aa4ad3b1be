"""Dtypes of the arrays that the kernels take, beyond those that jaxtyping names."""

from __future__ import annotations

import jaxtyping


class Code(jaxtyping.AbstractDtype):
    """int8, or uint8 for unsigned codes (SPEC.md F7)."""

    dtypes = ["int8", "uint8"]  # noqa: RUF012


class Sum(jaxtyping.AbstractDtype):
    """An accumulator format's array: float16 or float32 (SPEC.md B2)."""

    dtypes = ["float16", "float32"]  # noqa: RUF012
