"""Names of layers from names of files: identifiers that a vector set can hold too (SPEC.md V1), each once."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bitrow.graph import INPUT

MOST = 26  # characters: a case's name has a network's, an image's, a layer's and a direction in it, 64 at most (V1)
_TAKEN = (INPUT, "samples")
_OTHER = re.compile(r"[^a-z0-9]+")


def identifier(text: str, default: str = "layer") -> str:
    """Lower-case letters, digits and single underscores, a letter first, of at most 26 characters: the last words."""
    words = [word for word in _OTHER.split(text.lower()) if word]
    while len(words) > 1 and len("_".join(words)) > MOST:
        del words[0]
    name = "_".join(words)[-MOST:].strip("_")
    if not name:
        return default
    return name if name[0].isalpha() else f"{default}_{name}"[:MOST].strip("_")


class Names:
    """Gives each name once: another of the same letters has a number behind it."""

    def __init__(self, taken: Iterable[str] = _TAKEN) -> None:
        self._taken = set(taken)

    def __call__(self, text: str, default: str = "layer") -> str:
        wanted = identifier(text, default)
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            end = f"_{number}"
            name = wanted[: MOST - len(end)].rstrip("_") + end
        self._taken.add(name)
        return name
