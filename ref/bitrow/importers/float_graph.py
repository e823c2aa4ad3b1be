"""A network of float operators as a reader gives it: steps in order, what became of the nodes, what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bitrow.config import Shape
from bitrow.importers.operators import FloatOperator, NotImported

UNFORESEEN = (ValueError, IndexError, TypeError, OverflowError)  # of numpy or Python, on inputs that no rule foresaw


def refusal_reason(error: Exception) -> str:
    """Why a node is refused, in our words, or in those of numpy or Python."""
    text = " ".join(str(error).split())
    return text if isinstance(error, NotImported) else f"found inputs that it cannot take ({text[:80]})"


class Refusal(NamedTuple):
    """A node that cannot be imported: its name in the file, its operator, the reason."""

    node: str
    operator: str
    reason: str

    def __str__(self) -> str:
        return f"{self.node} ({self.operator}): {self.reason}"


class FloatStep(NamedTuple):
    """An operator in its place: its node's name and operator in the file, what it reads and makes, and the names of
    all nodes of the file that it stands for."""

    name: str
    kind: str
    op: FloatOperator
    inputs: tuple[str, ...]
    output: str
    sources: tuple[str, ...]


class FloatGraph(NamedTuple):
    """A network's operators in order; by value its shape (h, w, c) and its axes in the file ("n", "c", "h", "w").

    `outputs` are none where they are unknown, since a node before them was refused.
    """

    name: str
    input: str
    outputs: tuple[str, ...]
    steps: tuple[FloatStep, ...]
    shapes: dict[str, Shape]
    layouts: dict[str, tuple[str, ...]]


class FileNode(NamedTuple):
    """A node of the file, for the report: name and operator, and what a reader made of it by itself, "" where it
    became a step."""

    name: str
    operator: str
    note: str = ""


class Reading(NamedTuple):
    """What a reader found: the graph (of the nodes that could be read), all nodes, all refusals."""

    graph: FloatGraph
    nodes: tuple[FileNode, ...]
    refusals: tuple[Refusal, ...]


def readers(steps: Sequence[FloatStep]) -> dict[str, list[FloatStep]]:
    """The steps that read each value; one that reads it twice stands twice."""
    found: dict[str, list[FloatStep]] = {}
    for step in steps:
        for name in step.inputs:
            found.setdefault(name, []).append(step)
    return found
