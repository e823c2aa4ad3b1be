"""One question in SMT-LIB, given to bitwuzla and z3 side by side: the first answer counts."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import selectors
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bitrow import tools
from bitrow.errors import BitrowError
from bitrow.reading.values import parse_json

SOLVERS = ("bitwuzla", "z3")  # modules of PyPI's bitwuzla and z3-solver
_CHILD = str(Path(__file__).with_name("child.py"))


class SolverAnswer(NamedTuple):
    """`verdict` is sat, unsat or unknown (no answer in time), `model` the words' values of sat."""

    verdict: str
    solver: str = ""
    model: Mapping[str, int] = {}


def installed() -> list[str]:
    """The solvers that are there.

    Raises:
        BitrowError: none is.
    """
    found = [name for name in SOLVERS if importlib.util.find_spec(name) is not None]
    if not found:
        raise BitrowError("solver: found neither bitwuzla nor z3, expected one: pip install 'bitrow[rtl]'")
    return found


def _answer(name: str, said: str, status: int | None) -> SolverAnswer:
    lines = said.strip().splitlines()
    if not lines or status:
        return SolverAnswer("unknown", name)
    found = parse_json(lines[-1], name, "an answer")
    return SolverAnswer(found["verdict"], name, found.get("model", {}))


def _bound(seconds: float) -> int:
    """Seconds of the processor that a solver may use: its time, and what it takes to start."""
    return min(int(seconds), 1 << 30) + 30


def decide(text: str, seconds: float) -> SolverAnswer:
    """Ask every solver that is installed, each in a process of its own, for `seconds` at most.

    Raises:
        BitrowError: no solver is installed; none of them can read the question.
    """
    names, limit = installed(), time.monotonic() + seconds
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        running, said = {}, dict.fromkeys(names, "")
        for name in names:
            process = stack.enter_context(tools.started([sys.executable, _CHILD, name, str(_bound(seconds))]))
            assert process.stdin is not None and process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(text)
                process.stdin.close()
            running[name] = process
            selector.register(process.stdout, selectors.EVENT_READ, name)
        failed = []
        while selector.get_map():
            for key, _ in selector.select(max(0.0, limit - time.monotonic())):
                block = os.read(key.fd, 1 << 16).decode()
                said[key.data] += block
                if block:
                    continue
                selector.unregister(key.fileobj)
                found = _answer(key.data, said[key.data], running[key.data].wait())
                if found.verdict in ("sat", "unsat"):
                    return found
                failed.append(key.data)
            if time.monotonic() >= limit:
                return SolverAnswer("unknown")
    return SolverAnswer("unknown", " and ".join(failed))
