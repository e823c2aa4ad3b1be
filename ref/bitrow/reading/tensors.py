"""Safetensors files. Standard library, numpy and safetensors only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, deserialize

from bitrow.errors import BitrowError
from bitrow.reading import JSON, MODEL, read_bytes
from bitrow.reading.values import parse_json

_DTYPES = {
    "F16": np.float16, "F32": np.float32, "F64": np.float64, "I8": np.int8, "U8": np.uint8, "I16": np.int16,
    "U16": np.uint16, "I32": np.int32, "U32": np.uint32, "I64": np.int64, "U64": np.uint64, "BOOL": np.bool_,
}  # fmt: skip


class Tensors(NamedTuple):
    """The texts of a header under "__metadata__", and the arrays, each read-only."""

    metadata: dict[str, str]
    arrays: dict[str, np.ndarray]


def read_tensors(path: Path, expected: str) -> Tensors:
    """Everything in a safetensors file; `expected` says what should be in it.

    Raises:
        BitrowError: as `read_bytes`; no whole safetensors file, a header that is not strict JSON or larger than 8 MiB,
            a tensor of a dtype that numpy lacks.
    """
    content = read_bytes(path, MODEL._replace(expected=expected))
    header = _header(path, content, expected)
    try:
        found = deserialize(content)
    except SafetensorError as error:
        raise _broken(path, str(error).splitlines()[0], expected) from None
    metadata = header.get("__metadata__") or {}  # the library takes null for none
    return Tensors(metadata, {name: _array(path, name, made) for name, made in found})


def _broken(path: Path, reason: str, expected: str) -> BitrowError:
    return BitrowError(f"{path}: found no whole safetensors file ({reason[:120]}), expected {expected}")


def _header(path: Path, content: bytes, expected: str) -> dict[str, Any]:
    """The header, read by the strict rules before the library reads it by its own."""
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or size > len(content) - 8:
        raise _broken(path, f"{len(content):,} bytes", expected)
    if size > JSON.most:
        raise _broken(path, f"a header of {size:,} bytes, more than {JSON.most:,}", expected)
    header = parse_json(content[8 : 8 + size], f"{path} header", expected)
    if not isinstance(header, dict):
        raise _broken(path, "a header that is no JSON object", expected)
    return header


def _array(path: Path, name: str, made: dict[str, Any]) -> np.ndarray:
    dtype = _DTYPES.get(made["dtype"])
    if dtype is None:
        raise BitrowError(f"{path} {name}: found dtype {made['dtype']}, expected one of {', '.join(_DTYPES)}")
    return np.frombuffer(made["data"], dtype).reshape(made["shape"])
