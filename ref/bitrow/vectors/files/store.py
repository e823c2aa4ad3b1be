"""Writing and reading vector sets (SPEC.md V1 to V5).

Standard library and numpy only. One tensor is in memory at a time while writing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from bitrow.contract.encoding import Encoding, Kind
from bitrow.errors import BitrowError
from bitrow.reading import records
from bitrow.vectors.case import Case, Tensor
from bitrow.vectors.files import arrays, atomic, certificates, emit, owned, schema
from bitrow.vectors.files.hexfile import file_words, hex_chunks
from bitrow.vectors.files.schema import ARRAYS, CASE_JSON, MANIFEST, CaseEntry, TensorEntry


@dataclass(frozen=True)
class SetSummary:
    """What `write_set` wrote: cases, tensors, words and bytes."""

    path: Path
    cases: int
    tensors: int
    words: int
    bytes: int


class _HashedFile:
    """A new file that takes its SHA-256 while it is written."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("xb")
        self._hash = hashlib.sha256()
        self.bytes = 0

    def write(self, content: bytes) -> None:
        self._stream.write(content)
        self._hash.update(content)
        self.bytes += len(content)

    def close(self) -> str:
        self._stream.close()
        return self._hash.hexdigest()


class SetFiles:
    """The files of a set being written, with their checksums."""

    def __init__(self, folder: Path, target: Path) -> None:
        self.folder, self.target = folder, target
        self.files: dict[str, str] = {}
        self.bytes = 0
        with self.writing():
            self.journal = owned.Journal(folder)

    def close(self) -> None:
        self.journal.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn a full disk and the like into one line that names the set's final place."""
        try:
            yield
        except OSError as error:
            raise BitrowError(f"{self.target}: cannot be written: {error.strerror or error}") from error

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        """One file of the set, named relative to it."""
        with self.writing():
            self.journal.begun(name)
            for inside in list(PurePosixPath(name).parents)[-2::-1]:  # below the folder: one that a signal removed
                (self.folder / inside).mkdir(exist_ok=True)  # does not come back
            file = _HashedFile(self.folder / name)
            for chunk in chunks:
                file.write(chunk)
            self._note(name, file.close())
            self.bytes += file.bytes

    def _note(self, name: str, digest: str) -> None:
        self.files[name] = digest
        self.journal.done(name, digest)

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """All files are written, and the manifest comes last; nothing else may lie among them.

        Raises:
            BitrowError: fields that `schema.Manifest` refuses, a foreign file.
        """
        listed = {**manifest, "files": dict(sorted(self.files.items()))}
        versions = {"schema": schema.SCHEMA, "spec_version": schema.SPEC_VERSION}
        record = records.read(schema.Manifest, versions | listed, "manifest")
        self.write(MANIFEST, [schema.to_json(records.write(record))])
        schema.read_manifest(self.folder)
        with self.writing():
            self.journal.complete()
        foreign = sorted(set(files_below(self.folder)) - set(self.files))
        if foreign:
            raise BitrowError(f"{self.target}: found {foreign[0]} put into the unfinished set, expected it untouched")

    def adopt(self, name: str) -> None:
        """Checksum a file of the set that was written by other means."""
        digest = hashlib.sha256()
        with self.writing(), (self.folder / name).open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
                self.bytes += len(block)
            self._note(name, digest.hexdigest())


def check_values(data: np.ndarray, encoding: Encoding, where: str) -> None:
    """Refuse integer bit views that their encoding cannot hold (SPEC.md V2).

    Raises:
        BitrowError: naming `where`, the element and its value.
    """
    if encoding.kind in (Kind.FP16, Kind.FP32, Kind.WORD, Kind.INDEX, Kind.PACKED):
        return
    low = -(1 << (encoding.bits - 1)) if encoding.signed else 0
    high = (1 << (encoding.bits - int(encoding.signed))) - 1
    flat = data.reshape(-1)
    bad = np.flatnonzero((flat < low) | (flat > high))
    if bad.size:
        raise BitrowError(f"{where} element {bad[0]}: found {int(flat[bad[0]])}, expected {low} to {high}")


def _describe(case: Case, tensor: Tensor) -> tuple[np.ndarray, TensorEntry]:
    where = f"case {case.name} tensor {tensor.name}"
    schema.check_name(tensor.name, where)
    schema.check_encoding(tensor.encoding, where)
    data = np.ascontiguousarray(tensor.data).reshape(np.shape(tensor.data))
    if data.dtype != tensor.encoding.dtype:
        raise BitrowError(f"{where}: found {data.dtype}, expected {tensor.encoding.dtype}")
    schema.check_layout(tensor.layout, data.shape, where)
    check_values(data, tensor.encoding, where)
    return data, TensorEntry(tensor.name, tensor.role, tensor.encoding, tensor.layout, data.shape)


class _Written(NamedTuple):
    """The tensors of a case as written; the word of each that has only one; the arrays of a certificate."""

    entries: list[TensorEntry]
    words: dict[str, int]
    parameters: dict[str, np.ndarray]


def _write_tensors(out: SetFiles, case: Case) -> _Written:
    """Write the hex files and `case.npz`."""
    entries: list[TensorEntry] = []
    words: dict[str, int] = {}
    parameters: dict[str, np.ndarray] = {}
    with out.writing():
        (out.folder / case.name).mkdir()
        out.journal.begun(f"{case.name}/{ARRAYS}")
        packed = (out.folder / case.name / ARRAYS).open("xb")
    with packed, arrays.Writer(packed) as members:
        for tensor in case.tensors:
            data, entry = _describe(case, tensor)
            if any(entry.name == other.name for other in entries):
                raise BitrowError(
                    f"case {case.name}: found two tensors {entry.name}, expected each name once"
                )
            out.write(f"{case.name}/{schema.tensor_file(entry.name)}", hex_chunks(data, entry.encoding))
            with out.writing():
                members.add(entry.name, data)
            entries.append(entry)
            if entry.count == 1:
                words[entry.name] = int(file_words(data, entry.encoding).reshape(-1)[0])
            if entry.name in certificates.PARAMETERS:
                parameters[entry.name] = data
    out.adopt(f"{case.name}/{ARRAYS}")
    return _Written(entries, words, parameters)


def _write_case(out: SetFiles, case: Case) -> _Written:
    """Write one case."""
    name = case.name
    with out.writing():
        written = _write_tensors(out, case)
    listed = CaseEntry(
        name, case.operation.name, case.config, tuple(written.entries), case.clauses, case.bins, case.rows_checked
    )
    words = written.words
    out.write(f"{name}/{CASE_JSON}", [schema.to_json(schema.case_json(listed))])
    out.write(f"{name}/{name}_pkg.sv", [emit.system_verilog(listed, words).encode("ascii")])
    out.write(f"{name}/{name}.h", [emit.c_header(listed, words).encode("ascii")])
    return written


def files_below(folder: Path) -> list[str]:
    """Every file below `folder`, relative to it; a link counts as a file, an empty folder is `NAME/`."""
    found = []
    for root, folders, files in os.walk(folder):
        inside = Path(root).relative_to(folder)
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        found += [(inside / name).as_posix() for name in (*files, *links)]
        if not files and not folders and inside != Path():
            found.append(f"{inside.as_posix()}/")
    return sorted(found)


def check_target(out: Path, force: bool) -> Path:
    """Where a set for `out` goes, if it may be written there.

    Raises:
        BitrowError: something exists at `out` and `force` is not set, or, with `force`, holds files that no
            vector set of ours wrote, or that have changed since; `out` has no name or no parent folder.
    """
    target = Path(os.path.realpath(out))
    if not target.name:
        raise BitrowError(f"{out}: found the root folder, expected a folder to create")
    if not target.parent.is_dir():
        raise BitrowError(f"{out}: found no folder {target.parent}, expected an existing one to write in")
    if target.is_symlink():
        raise BitrowError(f"{out}: found a loop of links, expected a folder to create")
    if not target.exists():
        return target
    if not target.is_dir():
        raise BitrowError(f"{out}: found a file, expected a folder to create")
    if not force:
        raise BitrowError(
            f"{out}: found an existing folder, expected none; use --force to replace a vector set"
        )
    try:
        owned.finished(target)
    except BitrowError as error:
        raise BitrowError(f"{out}: {error}") from None
    return target


def write_set(
    out: Path, cases: Iterable[Case], manifest_extra: Mapping[str, Any], force: bool = False
) -> SetSummary:
    """Write a vector set to the folder `out`, whole or not at all (SPEC.md V1 to V5).

    `cases` is consumed one at a time, and may be a generator; so may a case's `tensors` be any iterable.
    `manifest_extra` is what else `schema.Manifest` has: `seed`, `versions` (jax, jaxlib, numpy), `coverage`, perhaps
    `suite`; it is read after the last case, so that a generator can fill it meanwhile. With `force`, an
    existing vector set at `out` is replaced in one step at the end.

    Raises:
        BitrowError: `out` exists (or holds foreign files), cannot be written, or a case is malformed.
            Whatever is raised, by `cases` too, nothing of the new set remains, and an old set is untouched.
    """
    target = check_target(Path(out), force)
    names: list[str] = []
    certified: dict[str, Any] = {}
    tensors = words = 0
    with atomic.new_folder(target, target.exists()) as folder, contextlib.closing(SetFiles(folder, target)) as files:
        for case in cases:
            schema.check_name(case.name, "case")
            if case.name in names:
                raise BitrowError(f"case {case.name}: found two cases of this name, expected one")
            written = _write_case(files, case)
            tensors += len(written.entries)
            words += sum(entry.count for entry in written.entries)
            names.append(case.name)
            found = certificates.certificate(case.name, case.operation.name, case.config, written.parameters)
            if found is not None:
                certified[case.name] = found
        files.finish({**manifest_extra, "certificates": certified, "cases": names})
    return SetSummary(target, len(names), tensors, words, files.bytes)


def case_names(path: Path) -> list[str]:
    """The cases of the set at `path`, in order.

    Raises:
        BitrowError: no readable set is there, or one of a row trace.
    """
    manifest = schema.read_manifest(path)
    manifest.refuse_trace(path)
    return list(manifest.cases)


def read_case(path: Path, name: str) -> Case:
    """One case of the set at `path`, with its tensors from `case.npz`.

    Raises:
        BitrowError: `case.json` or `case.npz` is missing or malformed.
    """
    entry = schema.read_case_json(path, name)
    where = f"{name}/{ARRAYS}"
    with arrays.ArrayReader(path / name / ARRAYS, where, entry.words) as reader:
        tensors = tuple(
            Tensor(t.name, t.role, t.encoding, t.layout, reader.read(t.name, t.encoding.dtype, t.shape))
            for t in entry.tensors
        )
    return entry.with_words(tensors)


def read_set(path: Path) -> Iterator[Case]:
    """The cases of the set at `path`, one after another.

    Raises:
        BitrowError: as `case_names` and `read_case`.
    """
    for name in case_names(path):
        yield read_case(path, name)
