"""JSON, TOML and numbers, read strictly: what two readers could take for two things is refused.

No key twice, no NaN or infinity, no number of 40 digits, nothing nested 64 deep. Standard library only.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any, NoReturn

from bitrow.errors import BitrowError
from bitrow.reading import JSON, MACHINE, FileKind, read_bytes, read_text

DEPTH = 64
DIGITS = 40  # characters of a number
LINE = 1_000  # characters of a line of TOML
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


class _Refused(ValueError):
    """What the strict reading refuses, in the words of the file."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for place, key in enumerate(keys) if key in keys[:place])
        raise _Refused(f"the key {twice[:80]!r} twice")
    return made


def _integer(text: str) -> int:
    if len(text) > DIGITS:
        raise _Refused(f"a number of {len(text):,} digits")
    return int(text)


def _real(text: str) -> float:
    value = float(text) if len(text) <= DIGITS else math.inf
    if not math.isfinite(value):
        raise _Refused(f"the number {text[:DIGITS]}")
    return value


def _constant(text: str) -> NoReturn:
    raise _Refused(f"{text}")


def _check_texts(text: str, value: Any) -> None:
    """Half a surrogate pair is no text: nothing could be written that holds it."""
    if _SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise _Refused("half a surrogate pair") from None


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH + 1):
        held = [part.values() if isinstance(part, dict) else part for part in level]
        level = [inner for part in held for inner in part if isinstance(inner, dict | list)]
        if not level:
            return
    raise _Refused(f"values nested more than {DEPTH} deep")


def parse_json(text: str | bytes, where: str, expected: str = "JSON", *, constants: bool = False) -> Any:
    """The value of a JSON text (bytes are UTF-8); `constants` lets NaN and infinities pass, as figures of a run.

    Raises:
        BitrowError: naming `where`: not JSON; a key twice, a number that is no finite one or has 40 digits, values
            nested 64 deep.
    """
    hooks: dict[str, Any] = {} if constants else {"parse_constant": _constant, "parse_float": _real}
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(decoded, object_pairs_hook=_once, parse_int=_integer, **hooks)
        if isinstance(value, dict | list):
            _check_depth(value)
        _check_texts(decoded, value)
        return value
    except _Refused as error:
        raise BitrowError(f"{where}: found {error}, expected {expected}") from None
    except RecursionError:
        raise BitrowError(f"{where}: found values nested more than {DEPTH} deep, expected {expected}") from None
    except ValueError as error:
        raise BitrowError(f"{where}: found no JSON ({str(error)[:80]}), expected {expected}") from None


def read_json(path: str | Path, where: str | None = None, kind: FileKind = JSON, *, constants: bool = False) -> Any:
    """The value in a JSON file. Raises: BitrowError as `read_bytes` and `parse_json`."""
    name = str(path) if where is None else where
    return parse_json(read_bytes(path, kind, name), name, kind.expected, constants=constants)


def read_toml(path: str | Path, where: str, kind: FileKind = MACHINE) -> dict[str, Any]:
    """The table in a TOML file. Raises: BitrowError as `read_text`; no TOML, a long line, deep values."""
    text = read_text(path, kind, where)
    longest = max(map(len, text.split("\n")))
    if longest > LINE:  # the library takes quadratic time for dotted keys
        raise BitrowError(f"{where}: found a line of {longest:,} characters, expected at most {LINE:,}")
    try:
        table = tomllib.loads(text)
        _check_depth(table)
    except _Refused as error:
        raise BitrowError(f"{where}: found {error}, expected a TOML file") from None
    except RecursionError:
        raise BitrowError(f"{where}: found values nested more than {DEPTH} deep, expected a TOML file") from None
    except ValueError as error:  # TOMLDecodeError, or an integer of thousands of digits
        raise BitrowError(f"{where}: found no valid TOML ({str(error)[:120]})") from None
    return table


def whole_number(text: str) -> int | None:
    """An integer in ASCII digits, at most 19 of them; None for anything else that `int` would take."""
    return int(text) if _WHOLE.fullmatch(text) else None


def number(text: str) -> float | None:
    """A finite number in ASCII digits; None for anything else that `float` would take."""
    value = float(text) if len(text) <= DIGITS and _NUMBER.fullmatch(text) else math.inf
    return value if math.isfinite(value) else None
