"""Every operation of the contract, by the name that case.json gives it."""

from __future__ import annotations

from bitrow.contract.batch_norm import BATCH_NORM
from bitrow.contract.conv import CONV
from bitrow.contract.elementwise import ELEMENTWISE
from bitrow.contract.fixed_point import FIXED_POINT
from bitrow.contract.linear import LINEAR
from bitrow.contract.operation import Config, Operation
from bitrow.contract.pool import POOLS
from bitrow.contract.units import UNITS
from bitrow.errors import BitrowError

OPERATIONS: tuple[Operation, ...] = (*UNITS, *FIXED_POINT, *CONV, *BATCH_NORM, *ELEMENTWISE, *POOLS, *LINEAR)


def find(name: str, config: Config) -> Operation:
    """The operation called `name`, in the variant that `config` asks for.

    Raises:
        BitrowError: there is none.
    """
    named = [operation for operation in OPERATIONS if operation.name == name]
    if not named:
        known = ", ".join(dict.fromkeys(operation.name for operation in OPERATIONS))
        raise BitrowError(f"operation: found {name!r}, expected one of {known}")
    return next(operation for operation in named if operation.when(config))
