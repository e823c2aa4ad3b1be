"""What a result depends on: bitrow, its source, the libraries it computes with."""

from __future__ import annotations

import functools
import hashlib
from importlib import metadata
from pathlib import Path

import bitrow
from bitrow.reading import SOURCE, read_bytes

LIBRARIES = ("jax", "jaxlib", "numpy", "z3-solver", "hypothesis")


@functools.cache
def source_digest() -> str:
    """SHA-256 over the package's Python files, which decide every verdict."""
    root = Path(bitrow.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode() + read_bytes(path, SOURCE))
    return digest.hexdigest()


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "absent"


def versions() -> dict[str, str]:
    """What a verdict depends on: bitrow, its source, the libraries."""
    return {
        "bitrow": bitrow.__version__, "source": source_digest(), **{name: _version(name) for name in LIBRARIES}
    }  # fmt: skip
