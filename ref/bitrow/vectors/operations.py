"""Operations at the edge of files: by name, and their tensors as a case holds them (SPEC.md V3).

JAX is imported when the pass of a whole network is computed, never before.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bitrow.contract import operations
from bitrow.contract.encoding import Role
from bitrow.contract.operation import Config, Operation
from bitrow.contract.operations import NAMES, OPERATIONS
from bitrow.oracle.arrays import Words
from bitrow.vectors import network_pass
from bitrow.vectors.bit_views import to_array, to_words
from bitrow.vectors.case import Case, Tensor
from bitrow.vectors.network_pass import NETWORK

__all__ = ["NAMES", "NETWORK", "OPERATIONS", "Operation", "Static", "Words", "find", "split", "split_static", "tensors",
           "to_array", "to_arrays", "to_words"]  # fmt: skip

Static = tuple[tuple[str, tuple[int, ...]], ...]


def find(name: str, config: Config) -> Operation:
    """The operation called `name`, in the variant that `config` asks for; "network.MODEL" is a shipped
    model's pass.

    Raises:
        BitrowError: there is none.
    """
    return network_pass.operation(name) if name.startswith(NETWORK) else operations.find(name, config)


def tensors(operation: Operation, config: Config, words: Mapping[str, np.ndarray]) -> tuple[Tensor, ...]:
    """Words of every tensor of a case, as its tensors, in order."""
    found = []
    for name in operation.ordered(words):
        data = np.asarray(words[name])
        layout = operation.line(name).layout if data.ndim else ""
        found.append(Tensor(name, operation.role(name), operation.encoding(name, config), layout, data))
    return tuple(found)


def split(case: Case) -> tuple[Words, Words]:
    """The words of a case: those given (inputs and parameters), and those to compute (taps and outputs)."""
    given: Words = {}
    computed: Words = {}
    for tensor in case.tensors:
        side = given if tensor.role in (Role.INPUT, Role.PARAMETER) else computed
        side[tensor.name] = np.asarray(tensor.data)
    return given, computed


def split_static(operation: Operation, given: Mapping[str, np.ndarray]) -> tuple[Static, Words]:
    """Of what is given, the values of names in `static`, hashable, and the words of the others."""
    static = tuple((name, tuple(given[name].reshape(-1).tolist())) for name in operation.static if name in given)
    return static, {name: words for name, words in given.items() if name not in operation.static}


def to_arrays(operation: Operation, config: Config, words: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`to_array` of every input and parameter."""
    return {name: to_array(np.asarray(w), operation.encoding(name, config)) for name, w in words.items()}
