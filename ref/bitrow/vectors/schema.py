"""The JSON of a vector set: `case.json` and `manifest.json`, written and strictly read (SPEC.md V3, V4).

Standard library and numpy only.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import re
import types
import typing
from pathlib import Path
from typing import Any

from bitrow import config as configs
from bitrow.contract.encoding import Encoding, Kind, Role
from bitrow.errors import BitrowError
from bitrow.formats import Accumulator, Float, FloatMode, Fxp
from bitrow.reading import values
from bitrow.vectors.case import Case, Tensor
from bitrow.vectors.operations import find
from bitrow.vectors.policy import describe

SCHEMA = 1
SPEC_VERSION = 1
MANIFEST = "manifest.json"
CASE_JSON = "case.json"
ARRAYS = "case.npz"
IGNORED = frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))  # what desktops leave in a folder that they show

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
NAME_LIMIT = 64
_AXIS = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_CLAUSE = re.compile(r"[A-Z][0-9]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_ELEMENTS = 1 << 31

CONFIG_TYPES: dict[str, type] = {
    kind.__name__: kind for kind in (*typing.get_args(configs.LayerConfig), FloatMode, Fxp)
}
_PART_TYPES = (*CONFIG_TYPES.values(), Accumulator, Float)


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


def encode_config(value: Any) -> Any:
    """A configuration value as JSON: its type's name and its fields, enum members by their value."""
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        fields = {f.name: encode_config(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    return value


def _decode_field(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, types.UnionType):
        if value is None and type(None) in typing.get_args(hint):
            return None
        hint = next(kind for kind in typing.get_args(hint) if kind is not type(None))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        try:
            return hint(value)
        except ValueError:
            options = ", ".join(str(member.value) for member in hint)
            raise BitrowError(f"{where}: found {value!r}, expected one of {options}") from None
    if hint in _PART_TYPES:
        return _decode_dataclass(hint, value, where)
    if type(value) is not hint:
        raise BitrowError(f"{where}: found {value!r}, expected {hint.__name__}")
    return value


def _decode_dataclass(kind: type, value: Any, where: str) -> Any:
    names = [f.name for f in dataclasses.fields(kind)]
    found = sorted(value) if isinstance(value, dict) else value
    if not isinstance(value, dict) or set(value) != {"type", *names} or value["type"] != kind.__name__:
        raise BitrowError(
            f"{where}: found {str(found)[:120]}, expected a {kind.__name__} of {', '.join(names)}"
        )
    hints = typing.get_type_hints(kind)
    fields = {name: _decode_field(hints[name], value[name], f"{where}.{name}") for name in names}
    try:
        return kind(**fields)
    except BitrowError as error:
        raise BitrowError(f"{where}: {error}") from None
    except ValueError as error:
        raise BitrowError(f"{where}: {error}") from None


def decode_config(value: Any, where: str) -> Any:
    """Inverse of `encode_config`.

    Raises:
        BitrowError: naming `where` and the field: an unknown type, field or value.
    """
    kind = CONFIG_TYPES.get(str(value.get("type")) if isinstance(value, dict) else "")
    if kind is None:
        raise BitrowError(f"{where}: found {str(value)[:80]!r}, expected one of {', '.join(CONFIG_TYPES)}")
    return _decode_dataclass(kind, value, where)


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


def field_of(value: dict[str, Any], name: str, kind: type | tuple[type, ...], where: str) -> Any:
    """`value[name]`, of the JSON type `kind`.

    Raises:
        BitrowError: naming `where` and the field.
    """
    if name not in value:
        raise BitrowError(f"{where}: found no field {name!r}, expected one")
    found = value[name]
    if not isinstance(found, kind) or (isinstance(found, bool) and kind is int):
        names = kind.__name__ if isinstance(kind, type) else " or ".join(k.__name__ for k in kind)
        raise BitrowError(f"{where} {name}: found {str(found)[:80]!r}, expected {names}")
    return found


def check_versions(value: dict[str, Any], where: str) -> None:
    """Refuse a schema or spec version that this program does not know.

    Raises:
        BitrowError: naming the version found and the one expected.
    """
    for name, known in (("schema", SCHEMA), ("spec_version", SPEC_VERSION)):
        found = value.get(name)
        if type(found) is not int or found != known:
            raise BitrowError(f"{where} {name}: found version {str(found)[:40]}, expected version {known}")


def read_manifest(folder: Path) -> dict[str, Any]:
    """`manifest.json` of a set, its fields checked (SPEC.md V4).

    Raises:
        BitrowError: no set there, an unknown version, a field that is missing or malformed.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise BitrowError(f"{folder}: found {found}, expected the folder of a vector set")
    where = f"{folder}/{MANIFEST}"
    manifest = read_json(folder / MANIFEST, where)
    check_versions(manifest, where)
    field_of(manifest, "seed", int, where)
    versions = field_of(manifest, "versions", dict, where)
    for library in ("jax", "jaxlib", "numpy"):
        field_of(versions, library, str, f"{where} versions")
    field_of(manifest, "coverage", dict, where)
    field_of(manifest, "certificates", dict, where)
    for name in field_of(manifest, "cases", list, where):
        check_name(name, f"{where} case")
    if len(set(manifest["cases"])) != len(manifest["cases"]):
        raise BitrowError(f"{where} cases: found a name twice, expected each once")
    for name, digest in field_of(manifest, "files", dict, where).items():
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise BitrowError(f"{where} files {name[:80]!r}: found {str(digest)[:80]!r}, expected a SHA-256")
    return manifest


def _read_encoding(entry: dict[str, Any], where: str) -> Encoding:
    kind = _decode_field(Kind, entry.get("encoding"), f"{where} encoding")
    bits = field_of(entry, "bits", int, where)
    signed = field_of(entry, "signed", bool, where)
    encoding = Encoding(kind, bits, signed)
    check_encoding(encoding, where)
    if field_of(entry, "word_bits", int, where) != encoding.word_bits:
        raise BitrowError(f"{where} word_bits: found {entry['word_bits']}, expected {encoding.word_bits}")
    return encoding


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


def _read_tensor(entry: Any, where: str) -> TensorEntry:
    if not isinstance(entry, dict):
        raise BitrowError(f"{where}: found {str(entry)[:80]!r}, expected an object")
    name = check_name(entry.get("name"), where)
    where = f"{where} {name}"
    role = _decode_field(Role, entry.get("role"), f"{where} role")
    if entry.get("file") != tensor_file(name):
        raise BitrowError(
            f"{where} file: found {str(entry.get('file'))[:80]!r}, expected {tensor_file(name)!r}"
        )
    layout = field_of(entry, "layout", str, where)
    sizes = field_of(entry, "shape", list, where)
    if any(type(size) is not int for size in sizes):
        raise BitrowError(f"{where} shape: found {str(sizes)[:80]}, expected integers")
    check_layout(layout, tuple(sizes), where)
    return TensorEntry(name, role, _read_encoding(entry, where), layout, tuple(sizes))


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


def tensor_json(tensor: TensorEntry) -> dict[str, Any]:
    """The entry of a tensor in `case.json` (SPEC.md V3)."""
    encoding = tensor.encoding
    packing = (
        "two nibbles a byte, low first, rows start on a byte" if encoding.kind is Kind.PACKED else "none"
    )
    return {
        "name": tensor.name,
        "role": tensor.role.value,
        "file": tensor_file(tensor.name),
        "shape": list(tensor.shape),
        "layout": tensor.layout,
        "encoding": encoding.kind.value,
        "bits": encoding.bits,
        "word_bits": encoding.word_bits,
        "signed": encoding.signed,
        "packing": packing,
    }


def case_json(case: CaseEntry) -> dict[str, Any]:
    """The whole `case.json` (SPEC.md V3)."""
    return {
        "schema": SCHEMA,
        "spec_version": SPEC_VERSION,
        "name": case.name,
        "operation": case.operation,
        "config": encode_config(case.config),
        **describe(find(case.operation, case.config), case.config),
        "clauses": list(case.clauses),
        "bins": dict(sorted(case.bins.items())),
        "rows_checked": case.rows_checked,
        "tensors": [tensor_json(tensor) for tensor in case.tensors],
    }


def read_case_json(folder: Path, name: str) -> CaseEntry:
    """`NAME/case.json` of the set at `folder`, every field checked (SPEC.md V3).

    Raises:
        BitrowError: naming the file and the field.
    """
    where = f"{name}/{CASE_JSON}"
    value = read_json(folder / name / CASE_JSON, where)
    check_versions(value, where)
    if value.get("name") != name:
        raise BitrowError(f"{where} name: found {str(value.get('name'))[:80]!r}, expected {name!r}")
    operation = field_of(value, "operation", str, where)
    config = decode_config(value.get("config"), f"{where} config")
    for key, expected in describe(find(operation, config), config).items():
        if value.get(key) != expected:
            raise BitrowError(f"{where} {key}: found {str(value.get(key))[:80]!r}, expected {expected!r}")
    tensors = tuple(_read_tensor(e, f"{where} tensor") for e in field_of(value, "tensors", list, where))
    if not tensors or len({t.name for t in tensors}) != len(tensors):
        raise BitrowError(
            f"{where} tensors: found {len(tensors)} with repeated names or none, expected each once"
        )
    clauses = field_of(value, "clauses", list, where)
    bins = field_of(value, "bins", dict, where)
    if not all(isinstance(c, str) and _CLAUSE.fullmatch(c) for c in clauses):
        raise BitrowError(f"{where} clauses: found {str(clauses)[:80]}, expected SPEC.md clause numbers")
    if not all(type(count) is int and count >= 0 for count in bins.values()):
        raise BitrowError(f"{where} bins: found {str(bins)[:80]}, expected counts")
    rows = field_of(value, "rows_checked", str, where)
    return CaseEntry(name, operation, config, tensors, tuple(clauses), bins, rows)
