"""Traces of one kernel under several of its parameters as one function, which is given the parameters.

Statements that the traces share are printed once. Where an operand differs, it is chosen by the parameters; what only
some traces compute is computed always, and read by those alone. So each choice of parameters does what its trace does,
however well the traces are matched.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any, ClassVar, NamedTuple

import numpy as np

from bitrow.errors import BitrowError
from bitrow.lower.trace import Argument, Literal, Made, Statement, Trace, TraceTerm

Selection = tuple[int, ...]  # the value of each parameter


class Syntax(NamedTuple):
    """How a language says a number of a dtype, an operation on operands, and that a parameter has a value.

    `names_choices`: an operand that the parameters choose is an assignment of its own.
    """

    constant: Callable[[int, np.dtype[Any]], str]
    expression: Callable[[str, np.dtype[Any], Sequence[tuple[str, np.dtype[Any]]]], str]
    equals: Callable[[str, int], str]
    names_choices: bool = False


def printed(
    language: str, expressions: Mapping[str, Callable[..., str]], operation: str, dtype: np.dtype[Any],
    operands: Sequence[Any],
) -> str:  # fmt: skip
    """The text of an operation on operands, which have dtypes, by a language's expressions.

    Raises:
        BitrowError: an operation, or words wider than 32 bits, that no statement is printed for.
    """
    if operation not in expressions or any(each.itemsize > 4 for each in (dtype, *(each.dtype for each in operands))):
        known = ", ".join(expressions)
        raise BitrowError(f"{language}: found {operation} of {dtype}, expected {known} of up to 32 bits")
    return expressions[operation](dtype, *operands)


class Assignment(NamedTuple):
    """A name, the dtype of its words, and the expression that it stands for."""

    name: str
    dtype: np.dtype[Any]
    text: str


class MergedBody(NamedTuple):
    """Assignments in order, and the expression and dtype of each result."""

    assignments: list[Assignment]
    results: list[tuple[str, np.dtype[Any]]]


@dataclass(eq=False)
class _Entry:
    """A statement of the merged function: what it reads under each choice that has it."""

    statement: Statement
    reads: dict[Selection, tuple[Any, ...]] = field(default_factory=dict)


def _key(statement: Statement) -> Hashable:
    kinds = tuple(type(operand) for operand in statement.operands)
    return statement.operation, statement.dtype, statement.of, kinds


def _resolved(term: TraceTerm, entries: Mapping[int, _Entry]) -> Any:
    return entries[term.number] if isinstance(term, Made) else term


def _join(merged: list[_Entry], choice: Selection, trace: Trace) -> tuple[list[_Entry], tuple[Any, ...]]:
    """The merged statements with those of one more trace, and what its results are."""
    own: dict[int, _Entry] = {}
    joined: list[_Entry] = []
    keys = [_key(entry.statement) for entry in merged], [_key(statement) for statement in trace.statements]
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, *keys, autojunk=False).get_opcodes():
        if tag == "equal":
            own.update(zip(range(j1, j2), merged[i1:i2], strict=True))
            joined += merged[i1:i2]
            continue
        added = [_Entry(trace.statements[number]) for number in range(j1, j2)]
        own.update(zip(range(j1, j2), added, strict=True))
        joined += [*merged[i1:i2], *added]
    for number, statement in enumerate(trace.statements):
        own[number].reads[choice] = tuple(_resolved(operand, own) for operand in statement.operands)
    return joined, tuple(_resolved(word.term, own) for word in trace.results)


@dataclass
class MergedFunction:
    """A function of a kernel, made of the traces by choice; `parameters` name the expressions whose values a choice
    lists."""

    name: str
    arguments: tuple[str, ...]
    traces: Mapping[Selection, Trace]
    parameters: tuple[str, ...] = ()
    syntax: ClassVar[Syntax]

    def body(self) -> MergedBody:
        """The statements that some result comes from, each once."""
        merged: list[_Entry] = []
        results: dict[Selection, tuple[Any, ...]] = {}
        for choice, trace in self.traces.items():
            merged, results[choice] = _join(merged, choice, trace)
        used = _reached(results)
        printer = _Printer(self.syntax, self.arguments, self.parameters)
        for entry in (entry for entry in merged if entry in used):
            printer.add(entry)
        first = next(iter(self.traces.values()))
        last = [
            (printer.chosen({choice: each[place] for choice, each in results.items()}, word.dtype), word.dtype)
            for place, word in enumerate(first.results)
        ]
        return MergedBody(printer.assignments, last)


@dataclass
class _Printer:
    """What the statements so far are in a language."""

    syntax: Syntax
    arguments: tuple[str, ...]
    parameters: tuple[str, ...]
    assignments: list[Assignment] = field(default_factory=list)
    _names: dict[_Entry, str] = field(default_factory=dict)
    _choices: dict[tuple[str, np.dtype[Any]], str] = field(default_factory=dict)

    def add(self, entry: _Entry) -> None:
        operation, dtype, _, of = entry.statement
        operands = [
            (self.chosen({choice: reads[place] for choice, reads in entry.reads.items()}, each), each)
            for place, each in enumerate(of)
        ]
        text = self.syntax.expression(operation, dtype, operands)
        if text == operands[0][0]:  # nothing happens to its words
            self._names[entry] = text
            return
        name = self._names[entry] = f"t{sum(each.name[0] == 't' for each in self.assignments)}"
        self.assignments.append(Assignment(name, dtype, text))

    def chosen(self, terms: Mapping[Selection, Any], dtype: np.dtype[Any]) -> str:
        """A term, where each choice may have its own."""
        texts = {choice: self._text(term, dtype) for choice, term in terms.items()}
        tree = _tree(texts, self.parameters, self.syntax.equals)
        if not self.syntax.names_choices or len(set(texts.values())) == 1:
            return tree
        if (tree, dtype) not in self._choices:
            self._choices[tree, dtype] = f"m{len(self._choices)}"
            self.assignments.append(Assignment(self._choices[tree, dtype], dtype, tree))
        return self._choices[tree, dtype]

    def _text(self, term: Any, dtype: np.dtype[Any]) -> str:
        if isinstance(term, Literal):
            return self.syntax.constant(term.value, dtype)
        return self.arguments[term.place] if isinstance(term, Argument) else self._names[term]


def _reached(results: Mapping[Selection, Iterable[Any]]) -> set[_Entry]:
    """The statements that some result comes from."""
    found: set[_Entry] = set()
    for choice, roots in results.items():
        left, seen = [root for root in roots if isinstance(root, _Entry)], set[_Entry]()
        while left:
            entry = left.pop()
            if entry not in seen:
                seen.add(entry)
                left += [each for each in entry.reads[choice] if isinstance(each, _Entry)]
        found |= seen
    return found


def _tree(texts: Mapping[Selection, str], parameters: Sequence[str], equals: Callable[[str, int], str]) -> str:
    """The shortest choice by parameters, one after another, among texts of which those alike are one."""
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    trees = []
    for place, name in enumerate(parameters):
        parts: dict[int, dict[Selection, str]] = {}
        for choice, text in texts.items():
            parts.setdefault(choice[place], {})[choice] = text
        if len(parts) > 1:
            below = {value: _tree(part, parameters, equals) for value, part in parts.items()}
            trees.append(_chain(name, below, equals))
    return min(trees, key=len)


def _chain(name: str, values: Mapping[int, str], equals: Callable[[str, int], str]) -> str:
    """`name == 1 ? a : b`, what most values ask for last."""
    listed = list(values.values())
    common = max(listed, key=listed.count)
    others: dict[str, list[int]] = {}
    for value, text in values.items():
        if text != common:
            others.setdefault(text, []).append(value)
    asked = "".join(
        f"{' || '.join(equals(name, value) for value in each)} ? {text} : " for text, each in others.items()
    )
    return f"({asked}{common})"
