"""The smallest case on which a design still fails: tensors are cut along their axes while the user's command fails."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bitrow import tools
from bitrow.config import ConvConfig
from bitrow.contract import conv
from bitrow.errors import BitrowError
from bitrow.vectors import operations
from bitrow.vectors.bench.runs import Bench, Ending, one_set
from bitrow.vectors.case import Case
from bitrow.vectors.coverage import measure
from bitrow.vectors.files import schema, store
from bitrow.vectors.network_pass import WholePass
from bitrow.vectors.operations import split

_WHOLE = ("kh", "kw", "axis", "level", "run")  # axes that make another operation, or hold no elements
_PAIRS = {"h": "oh", "w": "ow"}  # of a gradient's maps: one follows from the other


class Cut(NamedTuple):
    """The places of one axis that stay, from `low` to before `high`."""

    axis: str
    low: int
    high: int


@dataclass(frozen=True)
class Shrunk:
    """The smallest case that fails, the one that it was cut from, and how often the command ran."""

    case: Case
    before: Case
    runs: int

    def lines(self) -> Iterator[str]:
        """What became of each given tensor."""
        for tensor in self.case.tensors:
            if self.case.operation.takes(tensor.name) and tensor.data.ndim:
                old = self.before.tensor(tensor.name).data.shape
                yield f"{self.case.name} {tensor.name}: {_text(old)} became {_text(tensor.data.shape)}"


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def shrink(
    folder: Path,
    out: Path,
    bench: Bench,
    cases: Collection[str] = (),
    progress: Callable[[str], None] = lambda name: None,
) -> Shrunk:
    """Find the first of `cases`, or of all, on which the command fails, cut it down while it still fails, and write
    what is left as a set of one case to `out`.

    The expected words of each smaller case are the oracle's. The command is given sets of one case.

    Raises:
        BitrowError: no set, a case that there is none of, a command that fails on none of them or cannot be started,
            something at `out`.
    """
    store.check_target(out, force=False)
    listed = store.case_names(folder)
    for name in cases:
        if name not in listed:
            raise BitrowError(f"case: found {name!r}, expected a case of {folder}")
    with tools.scratch("bitrow-bench-") as room:
        shrinker = _Shrinker(folder, room, bench, progress)
        before = shrinker.first([name for name in listed if not cases or name in cases])
        after = shrinker.smallest(before)
        one_set(out, [after], shrinker.manifest)
    return Shrunk(after, before, shrinker.runs)


class _Shrinker:
    def __init__(self, folder: Path, room: Path, bench: Bench, progress: Callable[[str], None]) -> None:
        self.folder, self.room, self.bench, self.progress = folder, room, bench, progress
        self.manifest = schema.read_manifest(folder)
        self.runs = 0

    def fails(self, case: Case) -> bool:
        """Whether the command fails on this case alone; one that takes too long does not count."""
        self.runs += 1
        target = one_set(self.room / f"set{self.runs}", [case], self.manifest)
        self.progress(case.name)
        return self.bench.run(target) is Ending.FAILS

    def first(self, names: list[str]) -> Case:
        for case in (store.read_case(self.folder, name) for name in names):
            if not isinstance(case.operation, WholePass) and self.fails(case):
                return case
        raise BitrowError(f"command {self.bench.command[0]}: found no case of {self.folder} on which it fails alone, "
                          "expected one to shrink")  # fmt: skip

    def smallest(self, case: Case) -> Case:
        """Cut after cut, the largest first, until none is left under which the command fails."""
        found = True
        while found:
            found = False
            for cut in _cuts(case):
                smaller = _apply(case, cut)
                if smaller is not None and self.fails(smaller):
                    case, found = smaller, True
                    break
        return case


def _sizes(case: Case) -> dict[str, int]:
    """The axes along which every given tensor that has them is equally long."""
    given, _ = split(case)
    sizes: dict[str, set[int]] = {}
    for name, words in given.items():
        for axis, size in zip(case.operation.line(name).axes if words.ndim else (), words.shape, strict=True):
            sizes.setdefault(axis, set()).add(size)
    fixed = {"h", "w", "oh", "ow"} if "input_hw" in given else set()
    return {axis: min(found) for axis, found in sizes.items()
            if len(found) == 1 and axis not in _WHOLE and axis not in fixed}  # fmt: skip


def _cuts(case: Case) -> Iterator[Cut]:
    """Half of an axis, then a quarter less, then one place less, at either end."""
    sizes = {axis: size for axis, size in _sizes(case).items() if size > 1}
    paired = {other for axis, other in _PAIRS.items() if axis in sizes}
    for part in (2, 4, 0):
        for axis, size in sorted(sizes.items(), key=lambda item: -item[1]):
            less = max(size // part, 1) if part else 1
            if axis not in paired and (less > 1 or not part or size == 2):
                yield Cut(axis, 0, size - less)
                yield Cut(axis, less, size)


def _apply(case: Case, cut: Cut) -> Case | None:
    """The case cut along one axis, its words by the oracle; None where the operation does not take that."""
    given, _ = split(case)
    cuts = {cut.axis: slice(cut.low, cut.high)}
    if case.operation is conv.BACKWARD and cut.axis in _PAIRS:
        assert isinstance(case.config, ConvConfig)
        window = case.config.windows(given["weight_code"].shape)["hw".index(cut.axis)]
        cuts[_PAIRS[cut.axis]] = slice(0, max(window.results(cut.high - cut.low), 0))
    words = {name: _part(case, name, data, cuts) for name, data in given.items()}
    try:
        computed = case.operation.oracle(case.config, words)
        tensors = operations.tensors(case.operation, case.config, words | computed)
        bins = measure.measure(case.operation, case.config, words | computed)
    except (BitrowError, ValueError, IndexError):
        return None
    if any(not tensor.data.size for tensor in tensors):
        return None
    return replace(case, tensors=tensors, bins=bins, rows_checked="all")


def _part(case: Case, name: str, data: np.ndarray, cuts: dict[str, slice]) -> np.ndarray:
    axes = case.operation.line(name).axes if data.ndim else ()
    return np.ascontiguousarray(data[tuple(cuts.get(axis, slice(None)) for axis in axes)]).reshape(
        [len(range(size)[cuts.get(axis, slice(None))]) for axis, size in zip(axes, data.shape, strict=True)]
    )

