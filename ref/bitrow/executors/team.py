"""Who does the pieces: a `concurrent.futures.Executor` and how many pieces it works on at once."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from bitrow import processor, versions
from bitrow.errors import BitrowError
from bitrow.executors import pieces, pool
from bitrow.executors.kept import Kept
from bitrow.executors.pieces import Errand, Placed, Returned

Piece = TypeVar("Piece")
AHEAD = 4  # results that wait for an earlier one, for each piece that is worked on
WORTH = 50  # small pieces for which a process is started


@dataclass(frozen=True)
class Where:
    """Where work that splits is done, and where its results are kept.

    `jobs`: processes of this machine, by default one for each processor; 1 means this one. `scheduler`: a dask
    cluster instead, by the scheduler's address, the file that it wrote, or `local` for one of `jobs` workers that
    ends with the command. `trial`: asked once in each worker of a cluster, found there by its name; it may refuse the
    machine. `kept`: results that are there before, and those that come; None: nothing is kept.
    """

    jobs: int | None = None
    scheduler: str | None = None
    trial: Callable[[], object] | None = None
    kept: Kept | None = None

    def small(self, count: int) -> Where:
        """Where so many small pieces are done: without a word of it in as many processes as their start is worth."""
        if self.jobs is not None or self.scheduler is not None:
            return self
        return replace(self, jobs=min(processor.available_cpus(), max(1, count // WORTH)))


class _Here(Executor):
    """This process, at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Team:
    """An executor at work. `here`: it is this very process, so that functions need not be found by name."""

    def __init__(self, executor: Executor, size: Callable[[], int], asked: Mapping[str, str] | None = None,
                 trial: Callable[[], object] | None = None) -> None:  # fmt: skip
        self._executor, self._size, self._asked, self._trial = executor, size, asked, trial
        self.here = isinstance(executor, _Here)

    @property
    def slots(self) -> int:
        """How many pieces are worked on at once."""
        return self._size()

    def errand(self, function: Callable[[Piece], Any], label: Callable[[Piece], str]) -> Errand:
        """What is to be done with each piece; `label` names one in an error."""
        return Errand(function, label, self._asked, self._trial)

    def as_done(
        self, errand: Errand, take: Callable[[Any], Any], known: Callable[[Any], Returned | None] = lambda piece: None
    ) -> Iterator[tuple[Any, Returned]]:
        """Pieces with their results as they come.

        `take(last)` gives the piece after `last` to whoever has just done that one, `take(None)` one to whoever is
        free; None where there is none now. A piece of which `known` has the result is given to nobody.

        Raises:
            BitrowError: what a piece raised; a process or a cluster that ended.
        """
        under_way: dict[Future[Any], Any] = {}

        def give(last: Any) -> bool:
            piece = take(last)
            if piece is not None:
                before = known(piece)
                asked = self._executor.submit(pieces.do, errand, piece) if before is None else _ended(before)
                under_way[asked] = piece
            return piece is not None

        try:
            while True:
                while len(under_way) < self.slots and give(None):
                    pass
                if not under_way:
                    return
                for future in concurrent.futures.wait(under_way, return_when=FIRST_COMPLETED).done:
                    piece = under_way.pop(future)
                    yield piece, _result(future, errand, piece)
                    give(piece)
        finally:
            for future in under_way:
                future.cancel()

    def in_order(self, errand: Errand, pieces_in_order: Iterable[Any], kept: Kept | None = None) -> Iterator[Any]:
        """The results of pieces, taken one at a time as there is somebody free, in the order of the pieces.

        With `kept` each is noted there as it comes, and a piece whose result is there is given to nobody.

        Raises:
            BitrowError: as `as_done`; what `pieces_in_order` raises.
        """
        placed = itertools.starmap(Placed, enumerate(pieces_in_order))
        held: dict[int, Any] = {}
        begun = ended = 0

        def take(last: Placed | None) -> Placed | None:
            nonlocal begun
            found = next(placed, None) if begun - ended < AHEAD * self.slots else None
            begun += found is not None
            return found

        def known(placed: Placed) -> Returned | None:
            found = None if kept is None else kept.get(placed.piece)
            return None if found is None else Returned(found, "")

        function, label = (functools.partial(pieces.of_placed, each) for each in (errand.function, errand.label))
        for placed_one, returned in self.as_done(errand._replace(function=function, label=label), take, known):
            if kept is not None:
                kept.add(placed_one.piece, returned.result)
            held[placed_one.place] = returned.result
            while ended in held:
                yield held.pop(ended)
                ended += 1


def _ended(result: Returned) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(result)
    return future


def _result(future: Future[Any], errand: Errand, piece: Any) -> Returned:
    try:
        found = future.result()
    except BrokenProcessPool:
        raise BitrowError(f"{errand.label(piece)}: found a process that ended, expected an outcome") from None
    assert isinstance(found, Returned)
    return found


@contextlib.contextmanager
def opened(where: Where, most: int | None = None) -> Iterator[Team]:
    """Those who do the work, of at most so many pieces where that is known; they leave at the end.

    Raises:
        BitrowError: `scheduler`: nobody answers there, none of its workers is fit.
    """
    jobs = where.jobs or processor.available_cpus()
    jobs = jobs if most is None else min(jobs, max(most, 1))
    if where.scheduler is not None:
        from bitrow.executors import cluster

        with cluster.connected(where.scheduler, where.jobs or processor.available_cpus()) as there:
            yield Team(there, there.workers, versions.versions(), where.trial)
    elif jobs == 1:
        yield Team(_Here(), lambda: 1)
    else:
        with pool.processes(jobs) as executor:
            yield Team(executor, lambda: jobs)
