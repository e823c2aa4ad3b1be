"""How a property looks at words: elements of operations run together as arrays, and calls of what lines call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from bitrow.config import ConvConfig
from bitrow.contract.operation import Operation
from bitrow.formats import FloatMode
from bitrow.oracle.arrays import Words
from bitrow.proofs.mutants.judge import first_difference
from bitrow.proofs.mutants.properties import Property
from bitrow.vectors.problem import Problem

Call = tuple[Callable[..., object], tuple, object]  # a function, its arguments, what it must return
OperationRun = tuple[Problem, Words]  # an operation and what is given to it, and the words that it must give


class Element(NamedTuple):
    """One element of an operation's inputs in their order, the words of its parameters, and the words it must give."""

    operation: Operation
    config: object
    inputs: tuple[int, ...]
    results: dict[str, int]
    parameters: tuple[tuple[str, int], ...] = ()


class Domain(NamedTuple):
    """What a property looks at."""

    runs: list[OperationRun]
    calls: list[Call]


def failing(calls: list[Call]) -> str | None:
    """The first call that does not return what it must, in words."""
    for function, arguments, expected in calls:
        found = function(*arguments)
        if found != expected:
            shown = ", ".join(_shown(argument) for argument in arguments)
            return f"{function.__name__}({shown}): found {_shown(found)}, expected {_shown(expected)}"
    return None


def differing(runs: Iterable[OperationRun]) -> str | None:
    """The first word that an operation does not give as it must, with the elements of inputs of its tensor's shape."""
    for problem, expected in runs:
        results = problem.operation.oracle(problem.config, problem.given)
        wrong = first_difference(f"{problem.operation.name} {problem.name}", results, expected)
        if wrong is not None:
            shape = expected[wrong.tap].shape
            given = {name: words for name, words in problem.given.items() if words.shape == shape}
            of = ", ".join(f"{name} {_shown(int(words.flat[wrong.element]))}" for name, words in given.items())
            where = f"{wrong.case} {wrong.tap} element {wrong.element}{' of ' if of else ''}{of}"
            return f"{where}: found {_shown(wrong.found)}, expected {_shown(wrong.expected)}"
    return None


def runs_of(elements: Iterable[Element]) -> list[OperationRun]:
    """Elements of one operation, configuration and parameters as one run."""
    groups: dict[tuple, list[Element]] = {}
    for one in elements:
        groups.setdefault((one.operation, one.config, one.parameters, *one.results), []).append(one)
    return [_run_of(group) for group in groups.values()]


def _run_of(group: list[Element]) -> OperationRun:
    operation, config, _, results, parameters = group[0]

    def array(name: str, words: list[int]) -> np.ndarray:
        shape = (*(1 for _ in operation.line(name).axes[1:]), -1)
        return np.array(words, operation.encoding(name, config).dtype).reshape(shape)

    given = {name: array(name, [one.inputs[at] for one in group]) for at, name in enumerate(operation.inputs)}
    single = {name: array(name, [word]).reshape(()) for name, word in parameters}
    of = ", ".join([_shown(config), *(f"{name} {_shown(word)}" for name, word in parameters)])
    expected = {name: array(name, [one.results[name] for one in group]) for name in results}
    return Problem(of, operation, config, given | single), expected


def _shown(value: object) -> str:
    if isinstance(value, ConvConfig):
        return f"{_shown(value.mode)} {value.x_format} {value.dequantize.value}"
    if isinstance(value, FloatMode):
        return f"{value.rounding.value} {value.overflow.value}{' flush' if value.flush else ''}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:#x}" if value >= 0 else str(value)
    return str(value)


def over(name: str, says: str, clause: str, domain: Callable[[], Domain]) -> Property:
    """The property that a domain's runs and calls give what they must."""
    return Property(name, says, clause, lambda: differing(domain().runs) or failing(domain().calls))
