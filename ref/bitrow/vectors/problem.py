"""A case before it is computed."""

from __future__ import annotations

from typing import Any, NamedTuple

from bitrow.contract.operation import Operation
from bitrow.oracle.arrays import Words


class Problem(NamedTuple):
    """A case before it is computed: its name, operation, configuration, inputs and parameters as words.

    `whole` makes the oracle compute every row, however many there are.
    """

    name: str
    operation: Operation
    config: Any
    given: Words
    whole: bool = True
