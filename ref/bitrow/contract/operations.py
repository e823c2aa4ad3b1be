"""Every operation of the contract, by the name that case.json gives it."""

from __future__ import annotations

import copyreg
from collections.abc import Callable

from bitrow.config import LayerConfig
from bitrow.contract import (
    batch_norm,
    concat,
    conv,
    depth_to_space,
    elementwise,
    exceptions,
    fixed_point,
    hard_sigmoid,
    hard_swish,
    linear,
    multiply,
    pool,
    sigmoid,
    upsample,
)
from bitrow.contract.operation import Config, Operation
from bitrow.contract.units import UNITS
from bitrow.errors import BitrowError

OPERATIONS: list[Operation] = []
NAMES: list[str] = []
LAYERS: dict[type, list[Operation]] = {}  # the operations of each layer, by its configuration's type


def register(*operations: Operation) -> None:
    """Make operations part of the contract; those that a layer's configuration configures are the layer's own."""
    for operation in operations:
        OPERATIONS.append(operation)
        if operation.name not in NAMES:
            NAMES.append(operation.name)
        if issubclass(operation.configured_by, LayerConfig) and operation not in fixed_point.FIXED_POINT:
            LAYERS.setdefault(operation.configured_by, []).append(operation)


register(
    *UNITS.values(), *fixed_point.FIXED_POINT, *conv.CONV, *batch_norm.BATCH_NORM, *elementwise.RELU,
    *elementwise.ADD, elementwise.ACCUMULATE, *pool.MAX_POOL, *pool.AVG_POOL, *linear.LINEAR, *hard_swish.HARD_SWISH,
    *concat.CONCAT, *multiply.MULTIPLY, *hard_sigmoid.HARD_SIGMOID, *sigmoid.SIGMOID, *sigmoid.SILU, *upsample.UPSAMPLE,
    *depth_to_space.DEPTH_TO_SPACE, *exceptions.FLAGGED.values(),
)  # fmt: skip


def _registered(name: str, program: str) -> Operation:
    """One of `OPERATIONS`, in whichever process."""
    found = (each for each in OPERATIONS if (each.name, each.program.name) == (name, program))
    operation = next(found, None)
    if operation is None:
        raise BitrowError(f"operation {name}: found none of this name, expected it registered in every process")
    return operation


def _by_name(operation: Operation) -> tuple[Callable[..., Operation], tuple[str, str]]:
    return _registered, (operation.name, operation.program.name)


copyreg.pickle(Operation, _by_name)  # what an operation holds are functions, which do not travel


def _direction(config: Config, direction: str) -> Operation | None:
    named = (operation for operation in LAYERS[type(config)] if operation.name.endswith(direction))
    return next((operation for operation in named if operation.when(config)), None)


def forward_of(config: Config) -> Operation:
    """The forward operation of a layer's configuration."""
    found = _direction(config, ".forward")
    assert found is not None, config
    return found


def backward_of(config: Config) -> Operation | None:
    """The input gradient's operation; None where it is handed back as it is (A2's residual add, A7)."""
    return _direction(config, ".backward")


def find(name: str, config: Config) -> Operation:
    """The operation called `name`, in the variant that `config` asks for.

    Raises:
        BitrowError: there is none, or another one's configuration.
    """
    named = [operation for operation in OPERATIONS if operation.name == name]
    if not named:
        raise BitrowError(f"operation: found {name!r}, expected one of {', '.join(NAMES)}")
    wanted = named[0].configured_by
    if not isinstance(config, wanted):
        raise BitrowError(f"operation {name}: found a {type(config).__name__}, expected a {wanted.__name__}")
    return next(operation for operation in named if operation.when(config))
