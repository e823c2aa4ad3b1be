"""ReLU, residual add and the sum of a value's gradients (SPEC.md A1, A2, A5)."""

from __future__ import annotations

from bitrow.config import AddConfig, ReluConfig
from bitrow.contract.operation import Config, Given, Operation
from bitrow.contract.program import Program
from bitrow.contract.units import FP16_CLAUSES
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode


def _check_gradients(config: Config, given: Given) -> None:
    if not len(given["dys"]):
        raise BitrowError("accumulate: found no gradient, expected one or more")


def _conditions(config: Config, given: Given) -> dict[str, bool]:
    return {"six": config.six}


RELU_FORWARD = Operation(
    "relu.forward",
    Program("A1 forward", """
        in  x : 16, n h w c
        out y : 16, n h w c = relu x  if not six
        out y : 16, n h w c = relu6 x if six
    """),
    ReluConfig,
    lambda config: ("A1", "F4", "F5"), conditions=_conditions, by_rows=True,
)  # fmt: skip

RELU_BACKWARD = Operation(
    "relu.backward",
    Program("A1 backward", """
        kept x   : 16, n h w c
        in  dy   : 16, n h w c
        let mask : mask, n h w c = passes x  if not six
        let mask : mask, n h w c = passes6 x if six
        out dx   : 16, n h w c   = select dy mask
    """),
    ReluConfig,
    lambda config: ("A1", "F4", "F5"), conditions=_conditions, by_rows=True,
)  # fmt: skip

ADD_FORWARD = Operation(
    "add.forward",
    Program("A2 add", """
        in  x        : 16, n h w c
        in  shortcut : 16, n h w c
        out y        : 16, n h w c = add x shortcut
    """),
    AddConfig,
    lambda config: (*FP16_CLAUSES, "A2", "T1"), by_rows=True,
)  # fmt: skip

ACCUMULATE = Operation(
    "gradient.accumulate",
    Program("A5", """
        in  dys  : 16, consumer n h w c
            sum_ : 16, n h w c = partial_sums dys
        out dx   : 16, n h w c = last sum_
    """),
    FloatMode,
    lambda mode: (*FP16_CLAUSES, "A5", "T1"), lambda config: "consumers in the order given", check=_check_gradients,
)  # fmt: skip

RELU = (RELU_FORWARD, RELU_BACKWARD)
ADD = (ADD_FORWARD,)
