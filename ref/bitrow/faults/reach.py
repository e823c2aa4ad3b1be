"""What a computation runs of what a fault changes: code of functions, lines of operations' programs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType, TracebackType
from typing import Any

from bitrow.contract import interpreter
from bitrow.contract.operation import Operation
from bitrow.faults import apply
from bitrow.faults.apply import Part


def parts_run_by(run: Callable[[], object]) -> frozenset[Part]:
    """The code of every Python function that `run` calls, and the lines of operations, caches emptied before."""
    codes: set[CodeType] = set()
    runs: list[tuple[Operation, Any, Any]] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            codes.add(frame.f_code)
            if frame.f_code is interpreter.run.__code__:
                runs.append((frame.f_locals["operation"], frame.f_locals["config"], frame.f_locals["given"]))

    apply.clear_caches()
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(before)
    lines = {(operation, line) for operation, config, given in runs for line in operation.active(config, given)}
    return frozenset(codes) | lines


def raised_by(traceback: TracebackType | None, faulty: apply.Fault) -> bool:
    """Whether an error passed through faulty code, or through a run of a faulty program, on its way."""
    codes = set(faulty.codes.values())
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code in codes:
            return True
        if frame.f_code is interpreter.run.__code__ and frame.f_locals["operation"] in faulty.texts:
            return True
        traceback = traceback.tb_next
    return False
