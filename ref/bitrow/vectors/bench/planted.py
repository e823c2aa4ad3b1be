"""Faults put into a set one at a time: into what it expects, by faulty oracles and in words, or into what it gives.

Every case stays a case: only words change, and the set that holds it is sound.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bitrow.contract.encoding import Encoding, Kind, Role
from bitrow.errors import BitrowError
from bitrow.faults import apply, catalogue, designs, reach
from bitrow.faults.apply import Part
from bitrow.faults.mutant import Mutant
from bitrow.oracle.arrays import Words
from bitrow.vectors.case import Case, Tensor
from bitrow.vectors.files import shapes, store
from bitrow.vectors.files.hexfile import file_words, from_file_words
from bitrow.vectors.files.schema import TensorEntry
from bitrow.vectors.network_pass import WholePass
from bitrow.vectors.operations import split

OUTPUTS, TAPS, INPUTS, PARAMETERS = "words of outputs", "words of taps", "words of inputs", "words of parameters"


@dataclass(frozen=True)
class Planted:
    """A fault: its name, what the words are that it leaves, its family and clause, and the cases that it changes."""

    name: str
    does: str
    family: str
    clause: str
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Subject:
    """A case that faults can be put into, and what its computation runs."""

    case: Case
    given: Words
    parts: frozenset[Part]

    def with_words(self, words: Words) -> Case:
        """The case with other words for some tensors."""
        tensors = (replace(t, data=words[t.name]) if t.name in words else t for t in self.case.tensors)
        return replace(self.case, tensors=tuple(tensors))


def subjects(folder: Path, names: Collection[str] = ()) -> list[Subject]:
    """The cases of a set, or those named, whole networks left out.

    Raises:
        BitrowError: a name of no case, or none that faults can be put into.
    """
    listed = store.case_names(folder)
    for name in names:
        if name not in listed:
            raise BitrowError(f"case: found {name!r}, expected a case of {folder}")
    found = []
    for case in (store.read_case(folder, name) for name in listed if not names or name in names):
        if not isinstance(case.operation, WholePass):
            given, _ = split(case)
            parts = reach.parts_run_by(lambda: case.operation.oracle(case.config, given))  # noqa: B023 run at once
            found.append(Subject(case, given, parts))
    if not found:
        raise BitrowError(f"{folder}: found no case but whole networks, expected one that faults can be put into")
    return found


def mutants() -> tuple[Mutant, ...]:
    """The faults of the datapath."""
    return tuple(mutant for mutant in (*catalogue.MUTANTS, *designs.DESIGNS) if mutant.datapath)


def expected(chosen: list[Subject], taps: bool, families: Collection[str] = ()) -> Iterator[Planted]:
    """Faults of what is expected: of the datapath, where they change a word that a bench must compare, and of single
    words. With `taps`, words of taps count, too.
    """
    for mutant in mutants():
        if not families or mutant.family.value in families:
            changed = apply.changed(mutant)
            met = [subject for subject in chosen if subject.parts & changed]
            cases = tuple(_faulty(mutant, met, taps))
            if cases:
                yield Planted(mutant.name, mutant.does, mutant.family.value, mutant.clause, cases)
    for family, role in ((OUTPUTS, Role.OUTPUT), (TAPS, Role.TAP)):
        if family in families or (not families and (taps or role is Role.OUTPUT)):
            yield from _single_words(chosen, family, role)


def _faulty(mutant: Mutant, chosen: list[Subject], taps: bool) -> Iterator[Case]:
    with apply.applied(mutant):
        results = []
        for subject in chosen:
            try:
                results.append(subject.case.operation.oracle(subject.case.config, subject.given))
            except Exception:
                results.append({})  # a faulty program may fail on words it was not made for
    for subject, words in zip(chosen, results, strict=True):
        compared = [t for t in subject.case.tensors if t.role is Role.OUTPUT or (taps and t.role is Role.TAP)]
        fits = {t.name: words[t.name] for t in subject.case.tensors if _fits(t, words)}
        if any(t.name in fits and (fits[t.name] != t.data).any() for t in compared):
            yield subject.with_words(fits if taps else {t.name: fits[t.name] for t in compared if t.name in fits})


def _fits(tensor: Tensor, words: Words) -> bool:
    found = words.get(tensor.name)
    if found is None or found.shape != tensor.data.shape or found.dtype != tensor.data.dtype:
        return False
    return _held(found, tensor.encoding)


def _held(data: np.ndarray, encoding: Encoding) -> bool:
    """Whether a file can hold these values."""
    try:
        store.check_values(data, encoding, "")
    except BitrowError:
        return False
    return True


def _single_words(chosen: list[Subject], family: str, role: Role) -> Iterator[Planted]:
    for subject in chosen:
        for tensor in subject.case.tensors:
            if tensor.role is role and tensor.data.size:
                data = turned(tensor, tensor.data.size - 1, 0)
                name = f"{subject.case.name} {tensor.name}"
                does = f"the last word of {tensor.name} has its lowest bit turned"
                yield Planted(name, does, family, "V2", (subject.with_words({tensor.name: data}),))


def turned(tensor: Tensor, element: int, bit: int) -> np.ndarray:
    """The words of a tensor with one bit of one element turned."""
    words = file_words(np.asarray(tensor.data).reshape(-1), tensor.encoding).copy()
    words[element] ^= np.uint32(1 << bit)
    return from_file_words(words, tensor.encoding).reshape(np.shape(tensor.data))


def given(chosen: list[Subject], families: Collection[str] = ()) -> Iterator[Planted]:
    """A word of each input and parameter changed, so that the outputs must differ from what stays expected."""
    for subject in chosen:
        for tensor in subject.case.tensors:
            if tensor.role not in (Role.INPUT, Role.PARAMETER) or tensor.name in subject.case.operation.static:
                continue
            family = INPUTS if tensor.role is Role.INPUT else PARAMETERS
            if families and family not in families:
                continue
            changed = _seen(subject, tensor)
            if changed is not None:
                name = f"{subject.case.name} {tensor.name}"
                does = f"a word of {tensor.name} is another, and its effect is expected nowhere"
                yield Planted(name, does, family, "V3", (subject.with_words({tensor.name: changed}),))


def _seen(subject: Subject, tensor: Tensor) -> np.ndarray | None:
    """The words of an input with one changed so that an output changes; None where no try does."""
    size = int(np.size(tensor.data))
    for element in dict.fromkeys((size - 1, size // 2, size // 3, 0)):
        for bit in dict.fromkeys((0, tensor.encoding.bits - 1, tensor.encoding.bits // 2)):
            data = turned(tensor, element, bit)
            if not _allowed(subject.case.config, tensor, data):
                continue
            try:
                words = subject.case.operation.oracle(subject.case.config, subject.given | {tensor.name: data})
            except BitrowError:
                continue  # no word that the contract accepts
            outputs = (t for t in subject.case.tensors if t.role is Role.OUTPUT)
            if any(_fits(t, words) and (words[t.name] != t.data).any() for t in outputs):
                return data
    return None


def _allowed(config: Any, tensor: Tensor, data: np.ndarray) -> bool:
    """Whether a set may hold these words: values in range, scales that are scales."""
    low, high = shapes.code_range(config, tensor.name) or (None, None)
    if low is not None and high is not None and not (low <= int(data.min()) <= int(data.max()) <= high):
        return False
    if tensor.encoding.kind is Kind.INDEX or not _held(data, tensor.encoding):
        return False
    entry = TensorEntry(tensor.name, tensor.role, tensor.encoding, tensor.layout, data.shape)
    words = file_words(data, tensor.encoding).reshape(-1).tolist()
    return not shapes.holds_scales(entry) or not any(shapes.scale_problem(entry, word) for word in words)
