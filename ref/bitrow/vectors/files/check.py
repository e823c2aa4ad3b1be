"""Is a folder a sound vector set? Everything that can be told without recomputing (SPEC.md V1 to V4).

Standard library and numpy only: this is what a machine without JAX can run.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitrow.errors import BitrowError
from bitrow.reading import ARCHIVE, SOURCE, opened, read_bytes
from bitrow.terminal import ERROR_LENGTH, plain
from bitrow.vectors.files import arrays, certificates, emit, schema, shapes
from bitrow.vectors.files.hexfile import file_words, from_file_words, read_hex
from bitrow.vectors.files.schema import ARRAYS, CASE_JSON, MANIFEST, CaseEntry, TensorEntry
from bitrow.vectors.files.store import check_values, files_below

_NAME_LENGTH = 300  # of a file's name in a finding


@dataclass(frozen=True)
class Finding:
    """Something wrong with one file of a set, in one line."""

    file: str
    message: str

    def __str__(self) -> str:
        return self.message if self.message.startswith(self.file) else f"{self.file}: {self.message}"


def _sha256(path: Path, where: str) -> str:
    with opened(path, ARCHIVE, where) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class SetChecker:
    """The findings of one set, at most one for each file: the most telling."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = schema.read_manifest(folder)
        self.findings: dict[str, Finding] = {}
        self.expected: set[str] = set()
        self.certificates: dict[str, dict[str, Any] | None] = {}

    def note(self, file: str, message: str) -> None:
        self.findings.setdefault(file, Finding(plain(file, _NAME_LENGTH), plain(message, ERROR_LENGTH)))

    def trial(self, file: str, action: Callable[[], None]) -> bool:
        """Run a check of `file`; note what it raises."""
        try:
            action()
        except BitrowError as error:
            self.note(file, str(error))
        else:
            return True
        return False

    def check_presence(self) -> None:
        present = {file for file in files_below(self.folder) if file.rpartition("/")[2] not in schema.IGNORED}
        listed = set(self.manifest.files)
        for file in sorted(listed - present):
            self.note(file, f"found no such file, expected the one that {MANIFEST} lists")
        for file in sorted(present - listed - {MANIFEST}):
            self.note(file, f"found a file that {MANIFEST} does not list, expected none")

    def check_listed(self) -> None:
        """The manifest lists no file that no case has; those of an unreadable case are unknown."""
        known = {file.partition("/")[0] for file in self.expected}
        for file in self.manifest.files:
            case = file.partition("/")[0]
            unread = case in self.manifest.cases and case not in known
            if file not in self.expected and not unread:
                self.note(file, f"found an entry of no case in {MANIFEST}, expected only files of its cases")

    def check_certificates(self) -> None:
        """Each certificate is the one that its case implies; those of unreadable cases are unknown."""
        listed = self.manifest.certificates
        for name in {**listed, **self.certificates}:
            if name in self.certificates and listed.get(name) != self.certificates[name]:
                found, expected = (
                    "none" if value is None else str(value) for value in (listed.get(name), self.certificates[name])
                )
                self.note(MANIFEST, f"certificate of {str(name)[:80]}: found {found[:300]}, expected {expected}")
            if name not in self.manifest.cases:
                self.note(MANIFEST, f"certificate of {str(name)[:80]}: found one, expected one of a case only")

    def check_checksums(self) -> None:
        for file, expected in self.manifest.files.items():
            if file not in self.findings:
                self.trial(file, functools.partial(self._compare_digest, file, expected))

    def _compare_digest(self, file: str, expected: str) -> None:
        found = _sha256(self.folder / file, file)
        if found != expected:
            raise BitrowError(
                f"{file}: found SHA-256 {found[:16]}..., expected {expected[:16]}... of {MANIFEST}"
            )

    def check_case(self, name: str) -> None:
        entries: list[CaseEntry] = []
        if not self.trial(
            f"{name}/{CASE_JSON}", lambda: entries.append(schema.read_case_json(self.folder, name))
        ):
            return
        case = entries[0]
        files = schema.case_files(name, (tensor.name for tensor in case.tensors))
        self.expected.update(files)
        for file in files:
            if file not in self.manifest.files:
                self.note(file, f"found no entry in {MANIFEST}, expected one for every file")
        ports = self.trial(f"{name}/{CASE_JSON}", lambda: shapes.check_ports(case))
        fitting = ports and self.trial(f"{name}/{CASE_JSON}", lambda: shapes.check_shapes(case))
        words: dict[str, int] = {}
        readers: list[arrays.ArrayReader] = []
        self.trial(f"{name}/{ARRAYS}", lambda: readers.append(self._open_arrays(case)))
        parameters: dict[str, np.ndarray] = {}
        for tensor in case.tensors:
            found = self._check_tensor(case, tensor, readers, words)
            if found is not None and tensor.name in certificates.PARAMETERS:
                parameters[tensor.name] = found.reshape(tensor.shape)
        for reader in readers:
            reader.close()
        self._check_sources(case, words)
        if fitting and all(t.name in parameters for t in case.tensors if t.name in certificates.PARAMETERS):
            self.certificates[name] = certificates.certificate(name, case.operation, case.config, parameters)

    def _open_arrays(self, case: CaseEntry) -> arrays.ArrayReader:
        where = f"{case.name}/{ARRAYS}"
        reader = arrays.ArrayReader(self.folder / case.name / ARRAYS, where, case.words)
        names = [tensor.name for tensor in case.tensors]
        if reader.names() != names:
            odd = next((name for name in reader.names() if name not in names), "another order or number")
            self.note(where, f"found {odd[:80]!r}, expected the tensors of {CASE_JSON} in order")
        return reader

    def _check_tensor(
        self, case: CaseEntry, tensor: TensorEntry, readers: list[arrays.ArrayReader], words: dict[str, int]
    ) -> np.ndarray | None:
        """Check both files of a tensor; its values, flat, where its hex file can be read."""
        file, where = f"{case.name}/{schema.tensor_file(tensor.name)}", f"{case.name}/{ARRAYS}"
        found: list[np.ndarray] = []
        self.trial(file, lambda: found.append(self._read_hex(case, tensor, file)))
        if found and tensor.count == 1:
            words[tensor.name] = int(found[0][0])
        self.trial(where, lambda: self._same(readers, tensor, where, file, found))
        return from_file_words(found[0], tensor.encoding) if found else None

    def _read_hex(self, case: CaseEntry, tensor: TensorEntry, file: str) -> np.ndarray:
        found = read_hex(self.folder / file, tensor.encoding, tensor.count, file)
        values = from_file_words(found, tensor.encoding)
        check_values(values, tensor.encoding, file)
        low, high = shapes.code_range(case.config, tensor.name) or (None, None)
        if low is not None and high is not None:
            bad = np.flatnonzero((values < low) | (values > high))
            if bad.size:
                line, code = bad[0] + 1, values[bad[0]]
                raise BitrowError(f"{file} line {line}: found the code {code}, expected {low} to {high}")
        for line, word in enumerate(found.tolist() if shapes.holds_scales(tensor) else (), 1):
            problem = shapes.scale_problem(tensor, word)
            if problem:
                raise BitrowError(f"{file} line {line}: {problem}")
        return found

    def _same(
        self,
        readers: list[arrays.ArrayReader],
        tensor: TensorEntry,
        where: str,
        file: str,
        found: list[np.ndarray],
    ) -> None:
        """`case.npz` says what the hex file says; a file that cannot be read has its own finding."""
        if not readers or not found:
            return
        data = readers[0].read(tensor.name, tensor.encoding.dtype, tensor.shape)
        stored = file_words(data, tensor.encoding).reshape(-1)
        wrong = np.flatnonzero(found[0] != stored)
        if wrong.size:
            digits, at = tensor.encoding.hex_digits, wrong[0]
            raise BitrowError(
                f"{where} {tensor.name}: found {stored[at]:0{digits}x} at element {at}, "
                f"expected {found[0][at]:0{digits}x} as in {file}"
            )

    def _check_sources(self, case: CaseEntry, words: dict[str, int]) -> None:
        """The package and the header are the ones that `case.json` and the one-word tensors imply."""
        if any(t.count == 1 and t.name not in words for t in case.tensors):
            return
        name = case.name
        for file, build in (
            (f"{name}/{name}_pkg.sv", emit.system_verilog),
            (f"{name}/{name}.h", emit.c_header),
        ):
            if file in self.findings or file not in self.manifest.files:
                continue
            self.trial(file, functools.partial(self._same_text, file, build(case, words)))

    def _same_text(self, file: str, expected: str) -> None:
        content = read_bytes(self.folder / file, SOURCE, file)
        found = content.decode("utf-8", "replace").split("\n")
        for number, (line, wanted) in enumerate(zip(found, expected.split("\n"), strict=False), 1):
            if line != wanted:
                raise BitrowError(f"{file} line {number}: found {line[:60]!r}, expected {wanted[:60]!r}")
        if len(found) != expected.count("\n") + 1:
            raise BitrowError(f"{file}: found {len(found) - 1} lines, expected {expected.count(chr(10))}")


def check(folder: Path) -> list[Finding]:
    """Check schema, files, checksums, words, scales, widths and shapes of the set at `folder`.

    Returns:
        What is wrong, at most one finding for each file, in the order of the cases; empty for a sound set.

    Raises:
        BitrowError: there is no set, or none of a schema that this program knows; a row trace.
    """
    checker = SetChecker(Path(folder))
    checker.manifest.refuse_trace(folder)
    checker.check_presence()
    for name in checker.manifest.cases:
        checker.check_case(name)
    checker.check_listed()
    checker.check_certificates()
    checker.check_checksums()
    return list(checker.findings.values())


def told(folder: Path, findings: list[Finding]) -> str:
    """The first of the findings in one line, with the number of the others."""
    more = f" (and {len(findings) - 1} more findings)" if len(findings) > 1 else ""
    return f"{folder}/{findings[0]}{more}"
