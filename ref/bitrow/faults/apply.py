"""A fault put into the oracle for a while.

The text of each edited function is changed, compiled, and its code put into the function that is there, so that
every reference to the function, however it was imported, runs the fault; an edited program is rewritten in its
operation. Leaving puts the old code and lines back. Caches of the contract, the oracle and the pipeline are emptied on
both ways. One fault at a time, in one thread.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import functools
import inspect
import pkgutil
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import CodeType, FunctionType

from bitrow.contract.operation import Operation
from bitrow.contract.program import Line, Program, parse_line
from bitrow.errors import BitrowError
from bitrow.faults.mutant import Edit, Mutant

_ONE_AT_A_TIME = threading.Lock()
_CACHED = ("bitrow.contract", "bitrow.oracle", "bitrow.pipeline")

Part = CodeType | tuple[Operation, Line]  # what a computation runs: code of a function, a line of an operation


@dataclass(frozen=True)
class Fault:
    """What stands in place of what is shipped: code of functions, texts of operations' programs."""

    codes: dict[FunctionType, CodeType] = field(default_factory=dict)
    texts: dict[Operation, str] = field(default_factory=dict)


@functools.cache
def subject(target: str) -> FunctionType | Operation:
    """The function, without its cache, or the operation that "module:name" means.

    Raises:
        BitrowError: there is none.
    """
    try:
        found = inspect.unwrap(pkgutil.resolve_name(f"bitrow.{target}"))
    except (ImportError, AttributeError, ValueError):
        found = None
    if not isinstance(found, FunctionType | Operation):
        raise BitrowError(f"mutant target: found {target!r}, expected MODULE:FUNCTION or MODULE:OPERATION below bitrow")
    return found


@functools.cache
def _text(function: FunctionType) -> str:
    """The shipped text of a function; kept, as the edited code has none."""
    return textwrap.dedent(inspect.getsource(function))


def rows(text: str) -> list[str]:
    """The lines of a program's text, their words one blank apart."""
    return [" ".join(row.split()) for row in text.splitlines() if row.strip()]


def _refuse(name: str, edit: Edit, found: int) -> None:
    if found != 1:
        raise BitrowError(f"mutant {name}: found {edit.old!r} {found} times in {edit.target}, expected it once")


def _code(name: str, function: FunctionType, edits: list[Edit]) -> CodeType:
    """The code of a function with all its edits."""
    text = _text(function)
    for edit in edits:
        _refuse(name, edit, text.count(edit.old))
        text = text.replace(edit.old, edit.new)
    tree = ast.parse(text)
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.decorator_list = []
    flags, target = __future__.annotations.compiler_flag, edits[0].target
    module = compile(tree, f"<mutant {name}: {target}>", "exec", flags, dont_inherit=True)
    code = next(c for c in module.co_consts if isinstance(c, CodeType) and c.co_name == function.__name__)
    if code.co_varnames[: code.co_argcount] != function.__code__.co_varnames[: function.__code__.co_argcount]:
        raise BitrowError(f"mutant {name}: found other arguments in {target}, expected the same ones")
    return code


def _program(name: str, operation: Operation, edits: list[Edit]) -> str:
    """The text of an operation's program with all its edits."""
    lines = rows(operation.program.text)
    for edit in edits:
        old = " ".join(edit.old.split())
        _refuse(name, edit, lines.count(old))
        at = lines.index(old)
        lines[at : at + 1] = rows(edit.new)
    text = "\n".join(lines)
    replace(operation, program=Program(operation.program.name, text))  # refuses what the contract's language lacks
    return text


def fault(mutant: Mutant) -> Fault:
    """What the mutant puts into each function and operation that it changes.

    Raises:
        BitrowError: an edit whose old text is not there exactly once, or whose new one is no code or no line.
    """
    edits: dict[FunctionType | Operation, list[Edit]] = {}
    for edit in mutant.edits:
        edits.setdefault(subject(edit.target), []).append(edit)
    found = Fault()
    for place, mine in edits.items():
        if isinstance(place, Operation):
            found.texts[place] = _program(mutant.name, place, mine)
        else:
            found.codes[place] = _code(mutant.name, place, mine)
    return found


def changed(mutant: Mutant) -> frozenset[Part]:
    """What the mutant changes of what is shipped."""
    found: list[Part] = []
    for edit in mutant.edits:
        place = subject(edit.target)
        found.append((place, parse_line(edit.old)) if isinstance(place, Operation) else place.__code__)
    return frozenset(found)


def clear_caches() -> None:
    """Forget every result that the contract, the oracle and the pipeline keep."""
    for clear in _forgetting(len(sys.modules)):
        clear()


@functools.lru_cache(maxsize=1)
def _forgetting(modules: int) -> tuple[Callable[[], None], ...]:
    """What forgets them, looked for again when there are other than so many modules: diagnoses apply many faults."""
    ours = [module for name, module in list(sys.modules.items()) if name.startswith(_CACHED)]
    values = {id(value): value for module in ours for value in vars(module).values()}  # one may have several names
    return tuple(value.cache_clear for value in values.values() if hasattr(value, "cache_clear"))


def _put(parts: Fault) -> None:
    for function, code in parts.codes.items():
        function.__code__ = code
    for operation, text in parts.texts.items():
        operation.program.rewrite(text)
        for name, kept in vars(Operation).items():
            if isinstance(kept, functools.cached_property):
                vars(operation).pop(name, None)
    clear_caches()


@contextlib.contextmanager
def applied(mutant: Mutant) -> Iterator[Fault]:
    """The mutant's fault inside the block, the shipped functions and programs again after it; yields the fault.

    Raises:
        BitrowError: an edit that does not fit, or a mutant inside another.
    """
    if not _ONE_AT_A_TIME.acquire(blocking=False):
        raise BitrowError(f"mutant {mutant.name}: found another mutant applied, expected one at a time")
    try:
        faulty = fault(mutant)
        codes = {function: function.__code__ for function in faulty.codes}
        shipped = Fault(codes, {operation: operation.program.text for operation in faulty.texts})
        try:
            _put(faulty)
            yield faulty
        finally:
            _put(shipped)
    finally:
        _ONE_AT_A_TIME.release()
