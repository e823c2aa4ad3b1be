"""What an operation is to vectors: its tensors by role, and its two judges under one name (SPEC.md V3, V5).

JAX is imported when a kernel is first called, never before: reading this module, and the oracle side, takes
numpy alone.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitrow.errors import BitrowError
from bitrow.vectors import judge
from bitrow.vectors.case import Case, Encoding, Kind, Role, Tensor

Config = Any
Words = dict[str, np.ndarray]
Pick = Encoding | Callable[[Config], Encoding]
Static = tuple[tuple[str, tuple[int, ...]], ...]

_LEVEL = re.compile(r"(.+)_level([0-9]+)")
_STEP = re.compile(r"(sum)_([0-9]+)")
_KERNELS = "bitrow.vectors.kernels"


@dataclass(frozen=True)
class Port:
    """A tensor of an operation: its axes and its words' encoding, which may depend on the configuration.

    A scalar in place of a vector, as one scale for a tensor, has the layout "".
    """

    layout: str
    encoding: Pick

    def encode(self, config: Config) -> Encoding:
        return self.encoding if isinstance(self.encoding, Encoding) else self.encoding(config)


@dataclass(frozen=True)
class Operation:
    """One row of the registry.

    `inputs` and `parameters` come first in a case, then `taps`, then `outputs`, each in this order; a
    parameter that the configuration does not need is absent. Names in `static` are shapes: the kernel reads
    their values while it is traced. Rows of one name differ in `when`, as batch norm with frozen and with
    batch statistics. `NAME_level` and `sum_` stand for all levels of a tree and all sums of A5. `clauses`
    gives the clauses that a case of this configuration exercises.
    """

    name: str
    inputs: Mapping[str, Port]
    parameters: Mapping[str, Port]
    taps: Mapping[str, Port]
    outputs: Mapping[str, Port]
    clauses: Callable[[Config], tuple[str, ...]]
    static: tuple[str, ...] = ()
    when: Callable[[Config], bool] = lambda config: True

    def oracle(self, config: Config, words: Mapping[str, np.ndarray], rows: list | None = None) -> Words:
        """Every tap and output by the scalar oracle, as words; of `rows` only, if given (SPEC.md V5).

        Raises:
            BitrowError: what the oracle refuses; `rows` of an operation that has none.
        """
        return judge.compute(self.name, config, dict(words), rows)

    def kernel(self, config: Config, arrays: Mapping[str, Any], tapped: bool = True) -> dict[str, Any]:
        """Every tap and output by the JAX kernel, or the outputs alone, as users run it; typed arrays (see
        `to_arrays`); jittable but for `static`.

        Raises:
            BitrowError: what the kernel refuses.
        """
        return importlib.import_module(_KERNELS).compute(self.name, config, dict(arrays), tapped)

    def port(self, name: str) -> Port:
        """The port of a tensor by name.

        Raises:
            BitrowError: the operation has no such tensor.
        """
        for ports in (self.inputs, self.parameters, self.taps, self.outputs):
            for pattern in (_LEVEL, _STEP):
                if name not in ports and (match := pattern.fullmatch(name)):
                    generic = name[: match.start(2)]
                    if generic in ports:
                        return ports[generic]
            if name in ports:
                return ports[name]
        raise BitrowError(f"{self.name}: found the tensor {name!r}, expected one of the operation's")

    def role(self, name: str) -> Role:
        """The role of a tensor by name; anything that is no input, parameter or output is a tap."""
        for role, ports in ((Role.INPUT, self.inputs), (Role.PARAMETER, self.parameters)):
            if name in ports:
                return role
        return Role.OUTPUT if name in self.outputs else Role.TAP

    def order(self, names: Iterable[str]) -> list[str]:
        """Names of tensors in the order of a case, levels of a tree by number."""
        listed = [*self.inputs, *self.parameters, *self.taps, *self.outputs]

        def key(name: str) -> tuple[int, int]:
            if name in listed:
                return listed.index(name), 0
            match = _LEVEL.fullmatch(name) or _STEP.fullmatch(name)
            generic = name[: match.start(2)] if match else name
            if generic not in listed:
                raise BitrowError(f"{self.name}: found the tensor {name!r}, expected one of the operation's")
            return listed.index(generic), int(match.group(2)) if match else 0

        return sorted(names, key=key)

    def tensors(self, config: Config, words: Mapping[str, np.ndarray]) -> tuple[Tensor, ...]:
        """Words of every tensor of a case, as its tensors, in order."""
        found = []
        for name in self.order(words):
            port, data = self.port(name), np.asarray(words[name])
            layout = port.layout if data.ndim else ""
            found.append(Tensor(name, self.role(name), port.encode(config), layout, data))
        return tuple(found)

    def split(self, case: Case) -> tuple[Words, Words]:
        """The words of a case: those given (inputs and parameters), and those to compute (taps and
        outputs)."""
        given: Words = {}
        computed: Words = {}
        for tensor in case.tensors:
            side = given if tensor.role in (Role.INPUT, Role.PARAMETER) else computed
            side[tensor.name] = np.asarray(tensor.data)
        return given, computed

    def split_static(self, given: Mapping[str, np.ndarray]) -> tuple[Static, Words]:
        """Of what is given, the values of names in `static`, hashable, and the words of the others."""
        static = tuple((name, tuple(given[name].reshape(-1).tolist())) for name in self.static if name in given)
        return static, {name: words for name, words in given.items() if name not in self.static}


def to_array(words: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Words as the typed array that a kernel takes: float16, float32, bool, codes, int32 or uint16."""
    if encoding.kind is Kind.FP16:
        return words.view(np.float16)
    if encoding.kind is Kind.FP32:
        return words.view(np.float32)
    return words.astype(bool) if encoding.kind is Kind.MASK else words


def to_words(array: Any) -> np.ndarray:
    """Inverse of `to_array`, for any array: its integer bit view, a mask as uint8."""
    array = np.asarray(array)
    if array.dtype.kind == "f":
        return array.view(f"u{array.dtype.itemsize}")
    return array.astype(np.uint8) if array.dtype == bool else array


def to_arrays(operation: Operation, config: Config, words: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`to_array` of every input and parameter."""
    return {name: to_array(np.asarray(w), operation.port(name).encode(config)) for name, w in words.items()}


def ports(layout: str, encoding: Pick, names: str) -> dict[str, Port]:
    return {name: Port(layout, encoding) for name in names.split()}
