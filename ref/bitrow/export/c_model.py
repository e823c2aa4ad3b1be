"""The C model compiled by the machine's own compiler, and its operations on arrays (SPEC.md V5)."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bitrow.contract.operation import Config, Operation
from bitrow.errors import BitrowError
from bitrow.export import body, configs, model
from bitrow.export.operations import arguments, function_name
from bitrow.export.sizes import sizes
from bitrow.files import write_text
from bitrow.formats import FloatMode, Fxp
from bitrow.oracle.arrays import Words

_TYPES: dict[str, Any] = {
    "int32_t": ctypes.c_int32, "int64_t": ctypes.c_int64, "bool": ctypes.c_bool, "bw_mode": ctypes.c_uint32,
    "uint8_t": ctypes.c_uint8, "uint16_t": ctypes.c_uint16, "uint32_t": ctypes.c_uint32, "size_t": ctypes.c_size_t,
}  # fmt: skip
_STATUSES = {
    1: "not enough memory",
    2: "sizes that do not fit, or an input that is missing",
    3: "a configuration that cannot be",
}
COMPILERS = ("cc", "gcc", "clang")


class _Fxp(ctypes.Structure):
    _fields_ = (("low", ctypes.c_int32), ("high", ctypes.c_int32))


class _Accumulator(ctypes.Structure):
    _fields_ = (("bits", ctypes.c_int32), ("overflow", ctypes.c_int32))


class _TapStruct(ctypes.Structure):
    _fields_ = (
        ("layer", ctypes.c_char_p), ("name", ctypes.c_char_p), ("words", ctypes.c_void_p), ("bits", ctypes.c_int32),
        ("rank", ctypes.c_int32), ("shape", ctypes.c_int64 * model.MOST_AXES), ("first_row", ctypes.c_int64),
        ("end_row", ctypes.c_int64),
    )  # fmt: skip


_TAPPED = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(_TapStruct))


class _Taps(ctypes.Structure):
    _fields_ = (("call", _TAPPED), ("user", ctypes.c_void_p), ("layer", ctypes.c_char_p))


_TYPES |= {"bw_fxp": _Fxp, "bw_accumulator": _Accumulator}


@functools.cache
def _config_struct(kind: Any) -> Any:
    listed = [(each.name, _TYPES[each.type] * each.many if each.many > 1 else _TYPES[each.type])
              for each in configs.fields(kind)]  # fmt: skip
    return type(f"C{kind.__name__}", (ctypes.Structure,), {"_fields_": listed})


def _config(config: Config) -> Any:
    """A configuration as its C struct."""
    if isinstance(config, FloatMode):
        return ctypes.c_uint32(configs.mode_bits(config))
    if isinstance(config, Fxp):
        return _Fxp(config.min, config.max)
    kind: Any = type(config)
    struct = _config_struct(kind)()
    for name, value in configs.values(config).items():
        nested = getattr(struct, name)
        if isinstance(value, dict):
            for part, number in value.items():
                setattr(nested, part, number)
        elif isinstance(value, tuple):
            nested[:] = value
        else:
            setattr(struct, name, value)
    return struct


@functools.cache
def _arguments_struct(operation: Operation) -> Any:
    listed = [(name, ctypes.c_void_p if "*" in kind else _TYPES[kind]) for kind, name in arguments(operation)]
    return type("Arguments", (ctypes.Structure,), {"_fields_": listed})


def find_compiler() -> str:
    """The path of a C compiler.

    Raises:
        BitrowError: none is installed.
    """
    for name in (os.environ.get("CC", ""), *COMPILERS):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise BitrowError(f"C compiler: found none of {', '.join(COMPILERS)} on the path, expected one, or CC=PATH")


def compile_library(folder: Path, flags: Sequence[str] = ("-O2",), compiler: str | None = None) -> Path:
    """Write the model's sources into `folder` and compile them there; the shared library's path.

    Raises:
        BitrowError: no compiler, or what it says.
    """
    compiler, out = compiler or find_compiler(), folder / "libbitrow.so"
    write_text(folder / "bitrow.h", model.header())
    write_text(folder / "bitrow.c", model.source())
    command = [compiler, "-std=c99", *flags, "-shared", "-fPIC", "-o", str(out), str(folder / "bitrow.c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        first = next(iter(done.stderr.strip().splitlines()), "nothing said")
        raise BitrowError(f"{command[0]}: status {done.returncode}, expected the C model compiled: {first[:200]}")
    return out


class CModel:
    """The compiled C model.

    Raises:
        BitrowError: as `compile_library`.
    """

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))

    @classmethod
    def build(cls, flags: Sequence[str] = ("-O2",), compiler: str | None = None) -> CModel:
        """The model compiled in a folder that is gone again once it is loaded."""
        with tempfile.TemporaryDirectory(prefix="bitrow-c-") as folder:
            return cls(compile_library(Path(folder), flags, compiler))

    def function(self, name: str) -> Callable[..., Any]:
        """A public function of single words, or with `_array` behind its name of arrays, by its name in bitrow.h."""
        prototype = next(each for each in model.prototypes() if each.name == name.removesuffix("_array"))
        found = getattr(self._library, f"bw_{name}")
        if name.endswith("_array"):
            moded = [ctypes.c_uint32] if prototype.moded else []
            found.argtypes = [*moded, ctypes.c_size_t, *[ctypes.c_void_p] * (len(prototype.words) + 1)]
            found.restype = None
        else:
            found.argtypes = [_TYPES[kind] for kind, _ in prototype.arguments]
            found.restype = _TYPES[prototype.type]
        return found

    def array(self, name: str, mode: FloatMode, *operands: np.ndarray) -> np.ndarray:
        """A function of single words on arrays of equal shape: words in, words out."""
        prototype = next(each for each in model.prototypes() if each.name == name)
        given = [np.ascontiguousarray(each, kind.removesuffix("_t")) for each, (kind, _) in
                 zip(operands, prototype.words, strict=True)]  # fmt: skip
        out = np.empty(given[0].shape, prototype.type.removesuffix("_t"))
        moded = [configs.mode_bits(mode)] if prototype.moded else []
        self.function(f"{name}_array")(*moded, out.size, *(each.ctypes.data for each in given), out.ctypes.data)
        return out

    def raw(self, name: str) -> Any:
        """Any other function of the library, untyped."""
        return getattr(self._library, name)

    def run(
        self, operation: Operation, config: Config, given: Mapping[str, np.ndarray], rows: tuple[int, int] | None = None
    ) -> Words:
        """Every tap and output of an operation as words, as `Operation.oracle` gives them.

        `rows`, the first and how many, counted over images and rows: only those are computed, in whole tensors.

        Raises:
            BitrowError: what the C function refuses.
        """
        struct = _arguments_struct(operation)()
        kept = _fill(struct, operation, config, given)
        if rows is not None:
            if not operation.by_rows:
                raise BitrowError(
                    f"C {operation.name}: found rows, expected none for an operation that does not work by rows"
                )
            struct.first_row, struct.rows = rows
        found: Words = {}
        dtypes = {name: operation.encoding(name, config).dtype for name in (*operation.taps, *operation.outputs)}

        @_TAPPED
        def tapped(user: Any, tap: Any) -> None:
            one = tap.contents
            name, shape = one.name.decode(), tuple(one.shape[: one.rank])
            count = int(np.prod(shape, dtype=np.int64))
            words = ctypes.string_at(one.words, count * one.bits // 8) if count else b""
            dtype = dtypes[operation.line(name).name]
            found[name] = np.frombuffer(words, dtype).reshape(shape if operation.line(name).axes else ())

        taps = _Taps(tapped, None, None)
        settings = _config(config)
        run = getattr(self._library, function_name(operation))
        status = run(ctypes.byref(settings), ctypes.byref(struct), ctypes.byref(taps))
        del kept
        if status:
            raise BitrowError(f"C {operation.name}: found {_STATUSES.get(status, status)}")
        return found


def _fill(struct: Any, operation: Operation, config: Config, given: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Sizes and pointers of what is given; the arrays that must live as long."""
    kept = []
    for name in body.given(operation):
        if name in given:
            words = np.ascontiguousarray(given[name], operation.encoding(name, config).dtype)
            kept.append(words)
            setattr(struct, name, words.ctypes.data)
            if name in body.shared(operation):
                setattr(struct, f"{name}_count", words.size)
    for axis, size in sizes(operation, config, given).items():
        setattr(struct, axis, size)
    return kept
