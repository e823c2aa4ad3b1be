"""Dtypes of the arrays that the kernels take, beyond those that jaxtyping names."""

from __future__ import annotations

import typing

import jaxtyping

if typing.TYPE_CHECKING:  # as jaxtyping does: to a type checker, the array that is annotated
    from typing import Annotated as Code
    from typing import Annotated as Sum
else:

    class Code(jaxtyping.AbstractDtype):
        """int8, or uint8 for unsigned codes (SPEC.md F7)."""

        dtypes = ("int8", "uint8")

    class Sum(jaxtyping.AbstractDtype):
        """Words of an accumulator format: float16 or float32 (SPEC.md B2)."""

        dtypes = ("float16", "float32")


__all__ = ["Code", "Sum"]
