"""A fault put into the oracle for a while.

The text of each edited function is changed, compiled, and its code put into the function that is there, so that
every reference to the function, however it was imported, runs the fault. Leaving puts the old code back. Caches of
the oracle and the pipeline are emptied on both ways. One fault at a time, in one thread.
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
from collections.abc import Iterator
from types import CodeType, FunctionType

from bitrow.errors import BitrowError
from bitrow.proofs.mutants.mutant import Edit, Mutant

_ONE_AT_A_TIME = threading.Lock()
_CACHED = ("bitrow.oracle", "bitrow.pipeline")


@functools.cache
def function(target: str) -> FunctionType:
    """The function that "module:name" means, without its cache.

    Raises:
        BitrowError: there is none.
    """
    try:
        found = inspect.unwrap(pkgutil.resolve_name(f"bitrow.{target}"))
    except (ImportError, AttributeError, ValueError):
        found = None
    if not isinstance(found, FunctionType):
        raise BitrowError(f"mutant target: found {target!r}, expected MODULE:FUNCTION below bitrow")
    return found


@functools.cache
def _text(target: str) -> str:
    """The shipped text of a function; kept, as the edited code has none."""
    return textwrap.dedent(inspect.getsource(function(target)))


def _edited(name: str, edits: tuple[Edit, ...]) -> str:
    """The text of one function with all its edits.

    Raises:
        BitrowError: a text that does not occur exactly once.
    """
    text = _text(edits[0].target)
    for edit in edits:
        found = text.count(edit.old)
        if found != 1:
            raise BitrowError(f"mutant {name}: found {edit.old!r} {found} times in {edit.target}, expected it once")
        text = text.replace(edit.old, edit.new)
    return text


def _compiled(name: str, target: str, text: str) -> CodeType:
    tree = ast.parse(text)
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.decorator_list = []
    flags = __future__.annotations.compiler_flag
    module = compile(tree, f"<mutant {name}: {target}>", "exec", flags, dont_inherit=True)
    shipped = function(target)
    code = next(c for c in module.co_consts if isinstance(c, CodeType) and c.co_name == shipped.__name__)
    if code.co_varnames[: code.co_argcount] != shipped.__code__.co_varnames[: shipped.__code__.co_argcount]:
        raise BitrowError(f"mutant {name}: found other arguments in {target}, expected the same ones")
    return code


def codes(mutant: Mutant) -> dict[str, CodeType]:
    """The faulty code of each function that the mutant changes, by target.

    Raises:
        BitrowError: an edit whose text the function does not hold exactly once.
    """
    by_target: dict[str, tuple[Edit, ...]] = {}
    for edit in mutant.edits:
        by_target[edit.target] = (*by_target.get(edit.target, ()), edit)
    return {
        target: _compiled(mutant.name, target, _edited(mutant.name, edits)) for target, edits in by_target.items()
    }


def clear_caches() -> None:
    """Forget every result that the oracle and the pipeline keep."""
    for name, module in list(sys.modules.items()):
        if name.startswith(_CACHED):
            for value in list(vars(module).values()):
                clear = getattr(value, "cache_clear", None)
                if clear is not None:
                    clear()


@contextlib.contextmanager
def applied(mutant: Mutant) -> Iterator[frozenset[CodeType]]:
    """The mutant's fault inside the block, the shipped functions again after it; yields the faulty code.

    Raises:
        BitrowError: an edit that does not fit, or a mutant inside another.
    """
    faulty = codes(mutant)
    if not _ONE_AT_A_TIME.acquire(blocking=False):
        raise BitrowError(f"mutant {mutant.name}: found another mutant applied, expected one at a time")
    shipped = {target: function(target).__code__ for target in faulty}
    try:
        for target, code in faulty.items():
            function(target).__code__ = code
        clear_caches()
        yield frozenset(faulty.values())
    finally:
        for target, code in shipped.items():
            function(target).__code__ = code
        clear_caches()
        _ONE_AT_A_TIME.release()
