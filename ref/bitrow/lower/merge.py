"""Traces of one kernel under several of its parameters as one function of C, which is given the parameters.

Statements that the traces share are printed once. Where an operand differs, it is chosen by the parameters; what only
some traces compute is computed always, and read by those alone. So each choice of parameters does what its trace does,
however well the traces are matched.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from bitrow.lower.c import Argument, CTerm, Literal, Made, Statement, Trace, constant, expression, type_of

Selection = tuple[int, ...]  # the value of each parameter


@dataclass(eq=False)
class _Entry:
    """A statement of the merged function: what it reads under each choice that has it."""

    statement: Statement
    reads: dict[Selection, tuple[Any, ...]] = field(default_factory=dict)


def _key(statement: Statement) -> Hashable:
    kinds = tuple(type(operand) for operand in statement.operands)
    return statement.operation, statement.dtype, statement.of, kinds


def _resolved(term: CTerm, entries: Mapping[int, _Entry]) -> Any:
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
class Function:
    """A C function of a kernel: its text, made of the traces by choice.

    `parameters` name the C expressions whose values a choice lists.
    """

    name: str
    arguments: tuple[str, ...]
    traces: Mapping[Selection, Trace]
    parameters: tuple[str, ...] = ()
    head: str = ""

    def lines(self) -> list[str]:
        """The body: statements, and `return` of one result or one store for each of several."""
        merged: list[_Entry] = []
        results: dict[Selection, tuple[Any, ...]] = {}
        for choice, trace in self.traces.items():
            merged, results[choice] = _join(merged, choice, trace)
        used = _reached(results)
        names = {entry: f"t{number}" for number, entry in enumerate(entry for entry in merged if entry in used)}
        found = [self._statement(entry, names) for entry in merged if entry in used]
        first = next(iter(self.traces.values()))
        for place, word in enumerate(first.results):
            value = self._chosen({choice: each[place] for choice, each in results.items()}, word.dtype, names)
            found.append(f"return {value};" if len(first.results) == 1 else f"*r{place} = {value};")
        return found

    def _statement(self, entry: _Entry, names: Mapping[_Entry, str]) -> str:
        operation, dtype, _, of = entry.statement
        operands = [
            (self._chosen({choice: reads[place] for choice, reads in entry.reads.items()}, each, names), each)
            for place, each in enumerate(of)
        ]
        return f"const {type_of(dtype)} {names[entry]} = {expression(operation, dtype, operands)};"

    def _chosen(self, terms: Mapping[Selection, Any], dtype: np.dtype[Any], names: Mapping[_Entry, str]) -> str:
        return _tree({choice: self._text(term, dtype, names) for choice, term in terms.items()}, self.parameters)

    def _text(self, term: Any, dtype: np.dtype[Any], names: Mapping[_Entry, str]) -> str:
        if isinstance(term, Literal):
            return constant(term.value, dtype)
        return self.arguments[term.place] if isinstance(term, Argument) else names[term]


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


def _tree(texts: Mapping[Selection, str], parameters: Sequence[str]) -> str:
    """The shortest choice by parameters, one after another, among texts of which those alike are one."""
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    trees = []
    for place, name in enumerate(parameters):
        parts: dict[int, dict[Selection, str]] = {}
        for choice, text in texts.items():
            parts.setdefault(choice[place], {})[choice] = text
        if len(parts) > 1:
            trees.append(_chain(name, {value: _tree(part, parameters) for value, part in parts.items()}))
    return min(trees, key=len)


def _chain(name: str, values: Mapping[int, str]) -> str:
    """`name == 1 ? a : b`, what most values ask for last."""
    listed = list(values.values())
    common = max(listed, key=listed.count)
    others: dict[str, list[int]] = {}
    for value, text in values.items():
        if text != common:
            others.setdefault(text, []).append(value)
    asked = "".join(
        f"{' || '.join(f'{name} == {value}u' for value in each)} ? {text} : " for text, each in others.items()
    )
    return f"({asked}{common})"
