"""Models that come with the package, each a file beside the script that made it."""

from __future__ import annotations

from pathlib import Path

from bitrow.errors import BitrowError
from bitrow.model_file import Model
from bitrow.model_file import load as load_model

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Names of the shipped models, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.safetensors"))


def path(name: str) -> Path:
    """The file of a shipped model.

    Raises:
        BitrowError: no model of that name.
    """
    if name not in names():
        raise BitrowError(f"model: found {name!r}, expected one of {', '.join(names())}")
    return _FOLDER / f"{name}.safetensors"


def load(name: str) -> Model:
    """A shipped model, checked as every model file is.

    Raises:
        BitrowError: no model of that name, or a file that `model_file.load` refuses.
    """
    return load_model(path(name))
