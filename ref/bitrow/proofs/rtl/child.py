"""A solver in a process of its own: `child.py z3|bitwuzla SECONDS` reads SMT-LIB and says a line of JSON.

Nothing of bitrow is imported: it starts in a moment. The line has the `verdict`, sat, unsat or unknown, and of sat the
`model`: the declared words' values.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any


def _z3(text: str) -> dict[str, Any]:
    import z3

    solver = z3.SolverFor("QF_BV")
    solver.from_string(text)
    verdict = str(solver.check())
    if verdict != "sat":
        return {"verdict": verdict}
    model = solver.model()
    return {"verdict": verdict, "model": {each.name(): model[each].as_long() for each in model.decls()}}


def _bitwuzla(text: str) -> dict[str, Any]:
    import bitwuzla

    options = bitwuzla.Options()
    options.set(bitwuzla.Option.PRODUCE_MODELS, True)
    parser = bitwuzla.Parser(bitwuzla.TermManager(), options)
    parser.parse(text, True, False)
    solver = parser.bitwuzla()
    verdict = {bitwuzla.Result.SAT: "sat", bitwuzla.Result.UNSAT: "unsat"}.get(solver.check_sat(), "unknown")
    if verdict != "sat":
        return {"verdict": verdict}
    words = {each.symbol(): int(solver.get_value(each).value(10)) for each in parser.get_declared_funs()}
    return {"verdict": verdict, "model": {name.strip("|"): value for name, value in words.items()}}


def _bound(seconds: int) -> None:
    """Use no more of the processor than so many seconds, whatever becomes of the parent."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


if __name__ == "__main__":
    _bound(int(sys.argv[2]))
    answer = {"z3": _z3, "bitwuzla": _bitwuzla}[sys.argv[1]](sys.stdin.read())
    os.write(1, f"{json.dumps(answer)}\n".encode())
