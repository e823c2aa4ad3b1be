"""What a reading of a compiled program finds."""

from __future__ import annotations

from typing import NamedTuple


class Violation(NamedTuple):
    """Something in a compiled program that may give other bits elsewhere; `sources` are "file:line function".

    `host`: it lies in a scope or function whose name begins with HOST, whose bits the contract leaves to the host.
    """

    program: str
    kernel: str
    rule: str
    instruction: str
    sources: tuple[str, ...]
    host: bool = False

    def __str__(self) -> str:
        where = ", ".join(self.sources[:3]) or "no source line"
        return f"{self.program}: {self.rule} in {self.kernel} ({where}): found {self.instruction[:160]}"
