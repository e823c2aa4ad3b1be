"""The JSON of a vector set: `case.json` and `manifest.json`, written and strictly read (SPEC.md V3, V4).

Standard library and numpy only.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from pathlib import Path
from typing import Any

from bitrow import config as configs
from bitrow import typed
from bitrow.contract.encoding import Encoding, Kind, Role
from bitrow.errors import BitrowError
from bitrow.formats import FlagMode, FloatMode, Fxp
from bitrow.reading import records, values
from bitrow.vectors.case import Case, Tensor
from bitrow.vectors.files.policy import describe
from bitrow.vectors.operations import find

SCHEMA = 1
SPEC_VERSION = 1
MANIFEST = "manifest.json"
CASE_JSON = "case.json"
ARRAYS = "case.npz"
IGNORED = frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))  # what desktops leave in a folder that they show

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
NAME_LIMIT = 64
TRACE_FILE = re.compile(
    r"case\.json|model\.safetensors|(tasks|accesses|rows)\.csv|rows/[a-z0-9_.]+\.hex|"
    r"banks/[0-9]+/bank_[0-9]+\.(hex|ihex|mif|coe)"
)
_AXIS = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_CLAUSE = re.compile(r"[A-Z][0-9]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_ELEMENTS = 1 << 31

OperationConfig = configs.LayerConfig | FloatMode | FlagMode | Fxp  # what may configure an operation


def check_name(name: object, what: str) -> str:
    """`name` if it is lower-case words joined by single underscores: a safe folder, C and SystemVerilog name.

    Raises:
        BitrowError: naming `what`.
    """
    if not isinstance(name, str) or len(name) > NAME_LIMIT or not NAME.fullmatch(name):
        raise BitrowError(
            f"{what} name: found {str(name)[:80]!r}, expected up to {NAME_LIMIT} lower-case letters, digits "
            "and single underscores, a letter first"
        )
    return name


def tensor_file(name: str) -> str:
    """File name of a tensor's hex file inside its case's folder (SPEC.md V1)."""
    return f"{name}.hex"


def case_files(name: str, tensors: typing.Iterable[str]) -> list[str]:
    """Every file of a case, relative to the set (SPEC.md V1)."""
    own = [CASE_JSON, ARRAYS, f"{name}_pkg.sv", f"{name}.h", *map(tensor_file, tensors)]
    return [f"{name}/{file}" for file in own]


def _expanded(value: Any, depth: int) -> str:
    """JSON with the outer two levels on lines of their own, what lies deeper and lists of scalars on one."""
    deep = isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(v, dict | list) for v in value)
    )
    if depth == 2 or not value or not deep:
        return json.dumps(value, allow_nan=False)
    pad = " " * (depth + 1)
    if isinstance(value, dict):
        parts = [f"{pad}{json.dumps(key)}: {_expanded(part, depth + 1)}" for key, part in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{' ' * depth}}}"
    return "[\n" + ",\n".join(pad + _expanded(part, depth + 1) for part in value) + f"\n{' ' * depth}]"


def to_json(value: Any) -> bytes:
    """JSON as the sets store it: ASCII, a line for each entry of the two outer levels, one final line feed."""
    return (_expanded(value, 0) + "\n").encode("ascii")


def read_json(path: Path, where: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        BitrowError: naming `where`: no such file, not readable, not strict JSON, or not an object.
    """
    value = values.read_json(path, where)
    if not isinstance(value, dict):
        raise BitrowError(f"{where}: found a {type(value).__name__}, expected a JSON object")
    return value


def check_versions(value: dict[str, Any], where: str) -> None:
    """Refuse a schema or spec version that this program does not know.

    Raises:
        BitrowError: naming the version found and the one expected.
    """
    for name, known in (("schema", SCHEMA), ("spec_version", SPEC_VERSION)):
        found = value.get(name)
        if type(found) is not int or found != known:
            raise BitrowError(f"{where} {name}: found version {str(found)[:40]}, expected version {known}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Versions(records.Plain):
    """The libraries that made a set."""

    jax: str
    jaxlib: str
    numpy: str

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "version of")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest(records.Plain):
    """`manifest.json` (SPEC.md V4): what `read_manifest` reads and `SetFiles.finish` writes; `trace`: of a row trace.

    Raises:
        BitrowError: a field of another type, a case's name that is none or comes twice, a checksum that is none.
    """

    schema: int
    spec_version: int
    suite: str | None = None
    seed: int
    versions: Versions
    coverage: dict[str, Any]
    certificates: dict[str, Any]
    cases: tuple[str, ...]
    files: dict[str, str]
    trace: bool = records.later(False)

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "manifest")
        for name in self.cases:
            check_name(name, "case")
        if len(set(self.cases)) != len(self.cases):
            raise BitrowError("cases: found a name twice, expected each once")
        for name, digest in self.files.items():
            if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
                raise BitrowError(f"files {name[:80]!r}: found {str(digest)[:80]!r}, expected a SHA-256")

    def refuse_trace(self, folder: Path) -> None:
        """Raises: BitrowError: the set at `folder` is a row trace, and has no cases."""
        if self.trace:
            raise BitrowError(f"{folder}: found a trace of rows, expected a vector set of cases")

    def owns(self, name: str) -> bool:
        """Whether a file, relative to the set, is one that bitrow writes into such a set (SPEC.md V1, V6)."""
        if self.trace:
            return TRACE_FILE.fullmatch(name) is not None
        case, _, file = name.partition("/")
        own = (CASE_JSON, ARRAYS, f"{case}_pkg.sv", f"{case}.h")
        tensor = file.endswith(".hex") and NAME.fullmatch(file.removesuffix(".hex"))
        return case in self.cases and bool(file in own or tensor)


def read_manifest(folder: Path) -> Manifest:
    """`manifest.json` of a set, its fields checked (SPEC.md V4).

    Raises:
        BitrowError: no set there, an unknown version, a field that is missing, unknown or malformed.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise BitrowError(f"{folder}: found {found}, expected the folder of a vector set")
    where = f"{folder}/{MANIFEST}"
    manifest = read_json(folder / MANIFEST, where)
    check_versions(manifest, where)
    return records.read(Manifest, manifest, where)


def check_encoding(encoding: Encoding, where: str) -> None:
    """Refuse an encoding that SPEC.md V2 does not have.

    Raises:
        BitrowError: naming `where`, the width found and the widths expected.
    """
    low, high, signs = {
        Kind.FP16: (16, 16, {False}),
        Kind.FP32: (32, 32, {False}),
        Kind.CODE: (2, 8, {False, True}),
        Kind.INTEGER: (8, 32, {True}),
        Kind.MASK: (1, 1, {False}),
        Kind.INDEX: (8, 8, {False}),
        Kind.WORD: (16, 16, {False}),
        Kind.PACKED: (8, 8, {False}),
        Kind.FLAGS: (5, 5, {False}),
    }[encoding.kind]
    if not low <= encoding.bits <= high:
        raise BitrowError(
            f"{where} bits: found {encoding.bits}, expected {low} to {high} for {encoding.kind.value}"
        )
    if encoding.signed not in signs:
        raise BitrowError(f"{where} signed: found {encoding.signed}, expected {not encoding.signed}")


@dataclasses.dataclass(frozen=True)
class TensorEntry:
    """A tensor as `case.json` describes it: everything but its words."""

    name: str
    role: Role
    encoding: Encoding
    layout: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        total = 1
        for size in self.shape:
            total *= size
        return total


def check_layout(layout: str, shape: tuple[int, ...], where: str) -> None:
    """Refuse axes that are not as many and as distinct as the sizes, and sizes below 1.

    Raises:
        BitrowError: naming `where`.
    """
    axes = layout.split()
    if len(axes) != len(shape) or len({axis.lower() for axis in axes}) != len(axes):
        raise BitrowError(
            f"{where} layout: found {layout!r} for the shape {list(shape)}, expected a name for each axis"
        )
    if not all(_AXIS.fullmatch(axis) for axis in axes):
        raise BitrowError(f"{where} layout: found {layout!r}, expected axis names separated by spaces")
    total = 1
    for size in shape:
        total *= size
        if size < 1 or total >= _MAX_ELEMENTS:
            raise BitrowError(
                f"{where} shape: found {list(shape)}, expected sizes of 1 or more, under 2^31 in all"
            )


@dataclasses.dataclass(frozen=True)
class TensorRecord(records.Plain):
    """A tensor in `case.json` (SPEC.md V3).

    Raises:
        BitrowError: a field of another type, or that does not fit the others.
    """

    name: str
    role: Role
    file: str
    shape: tuple[int, ...]
    layout: str
    encoding: Kind
    bits: int
    word_bits: int
    signed: bool
    packing: str

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "tensor")
        where = f"tensor {check_name(self.name, 'tensor')}"
        check_layout(self.layout, self.shape, where)
        check_encoding(self.entry.encoding, where)
        _check_derived(self, _derived(self.entry), where)

    @property
    def entry(self) -> TensorEntry:
        return TensorEntry(
            self.name, self.role, Encoding(self.encoding, self.bits, self.signed), self.layout, self.shape
        )


def _derived(tensor: TensorEntry) -> dict[str, Any]:
    """The fields of a tensor's record that follow from the others."""
    packed = tensor.encoding.kind is Kind.PACKED
    return {
        "file": tensor_file(tensor.name),
        "word_bits": tensor.encoding.word_bits,
        "packing": "two nibbles a byte, low first, rows start on a byte" if packed else "none",
    }


def _check_derived(record: object, expected: dict[str, Any], where: str) -> None:
    for name, value in expected.items():
        found = getattr(record, name)
        if found != value:
            raise BitrowError(f"{where} {name}: found {typed.shown(found)}, expected {value!r}")


@dataclasses.dataclass(frozen=True)
class CaseEntry:
    """A case as `case.json` describes it: everything but its tensors' words."""

    name: str
    operation: str
    config: Any
    tensors: tuple[TensorEntry, ...]
    clauses: tuple[str, ...]
    bins: dict[str, int]
    rows_checked: str

    @property
    def words(self) -> int:
        return sum(tensor.count for tensor in self.tensors)

    def with_words(self, tensors: tuple[Tensor, ...]) -> Case:
        """The case with its tensors."""
        operation = find(self.operation, self.config)
        return Case(self.name, operation, self.config, tensors, self.clauses, self.bins, self.rows_checked)


@dataclasses.dataclass(frozen=True)
class CaseRecord(records.Plain):
    """`case.json` (SPEC.md V3).

    Raises:
        BitrowError: a field of another type, or that does not fit the others.
    """

    schema: int
    spec_version: int
    name: str
    operation: str
    config: OperationConfig
    overflow: dict[str, str]
    nan: str
    order: str
    clauses: tuple[str, ...]
    bins: dict[str, int]
    rows_checked: str
    tensors: tuple[TensorRecord, ...]

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "case")
        _check_derived(self, describe(find(self.operation, self.config), self.config), "case")
        if not self.tensors or len({tensor.name for tensor in self.tensors}) != len(self.tensors):
            raise BitrowError(
                f"tensors: found {len(self.tensors)} with repeated names or none, expected each once"
            )
        if not all(_CLAUSE.fullmatch(clause) for clause in self.clauses):
            raise BitrowError(f"clauses: found {str(self.clauses)[:80]}, expected SPEC.md clause numbers")
        if not all(type(count) is int and count >= 0 for count in self.bins.values()):
            raise BitrowError(f"bins: found {str(self.bins)[:80]}, expected counts")


def case_json(case: CaseEntry) -> dict[str, Any]:
    """The whole `case.json` (SPEC.md V3)."""
    tensors = (
        TensorRecord(
            name=tensor.name,
            role=tensor.role,
            shape=tensor.shape,
            layout=tensor.layout,
            encoding=tensor.encoding.kind,
            bits=tensor.encoding.bits,
            signed=tensor.encoding.signed,
            **_derived(tensor),
        )
        for tensor in case.tensors
    )
    record = CaseRecord(
        schema=SCHEMA,
        spec_version=SPEC_VERSION,
        name=case.name,
        operation=case.operation,
        config=case.config,
        **describe(find(case.operation, case.config), case.config),
        clauses=case.clauses,
        bins=dict(sorted(case.bins.items())),
        rows_checked=case.rows_checked,
        tensors=tuple(tensors),
    )
    return records.write(record)


def read_case_json(folder: Path, name: str) -> CaseEntry:
    """`NAME/case.json` of the set at `folder`, every field checked (SPEC.md V3).

    Raises:
        BitrowError: naming the file and the field.
    """
    where = f"{name}/{CASE_JSON}"
    value = read_json(folder / name / CASE_JSON, where)
    check_versions(value, where)
    found: CaseRecord = records.read(CaseRecord, value, where)
    if found.name != name:
        raise BitrowError(f"{where} name: found {found.name[:80]!r}, expected {name!r}")
    tensors = tuple(tensor.entry for tensor in found.tensors)
    return CaseEntry(name, found.operation, found.config, tensors, found.clauses, found.bins, found.rows_checked)
