"""A .keras file within bounds: a zip of a model's configuration, in JSON, and its arrays, in HDF5.

Only h5py opens the arrays, by path; what stands outside the file (links, external or virtual datasets) is refused.
No class that the configuration names is ever looked up or made.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from bitrow.errors import BitrowError
from bitrow.extras import extra
from bitrow.importers.operators import NotImported
from bitrow.reading import JSON, MIB, FileKind, check_size, check_unfolded
from bitrow.reading.archives import Zip, opened_zip
from bitrow.reading.values import parse_json

KERAS = FileKind("a .keras file", 1024 * MIB)
_CONFIG, _WEIGHTS, _METADATA = "config.json", "model.weights.h5", "metadata.json"
_ROOTS = ("layers", "_layer_checkpoint_dependencies")  # the second in files of Keras 2.13
_MOST_ENTRIES = 1 << 16


class KerasFile:
    """A file's configuration, the version of Keras that wrote it, and arrays within a budget.

    Raises:
        BitrowError: no .keras file, entries that are not JSON or HDF5, or more bytes than they may unfold to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with opened_zip(path, KERAS, str(path), KERAS.expected) as archive:
            entries = _entries(archive)
            self.config = _json(archive, entries, _CONFIG)
            version = _json(archive, entries, _METADATA).get("keras_version")
            weights = archive.read(entries[_WEIGHTS], f"{path} {_WEIGHTS}", "an HDF5 file")
        self.version = version[:20] if isinstance(version, str) else ""
        self._stored, self._made = len(weights), 0
        library = extra("import", "h5py", "h5py")
        try:
            self._arrays = library.File(io.BytesIO(bytes(weights)), "r")
        except Exception as error:  # the library's own, of whatever it meets
            raise BitrowError(f"{path} {_WEIGHTS}: found {_words(error)}, expected an HDF5 file") from None

    def spend(self, count: int, itemsize: int) -> None:
        """Count an array that is about to be made. Raises: BitrowError: more bytes than a sound file unfolds to."""
        self._made += count * itemsize
        check_unfolded(self._made, self._stored, str(self.path))

    def arrays(self, layer: str, most: int) -> list[np.ndarray]:
        """The arrays of a layer, up to `most` of them, by number; `layer` is its name in the file of arrays.

        Raises:
            NotImported: arrays of another kind than float32 and float16, or that stand outside the file.
            BitrowError: too much of them.
        """
        found: list[np.ndarray] = []
        for root in _ROOTS:
            for number in range(most + 1):
                one = self._array(f"{root}/{layer}/vars/{number}", f"array {number}")
                if one is None:
                    break
                found.append(one)
            if found:
                break
        return found

    def _array(self, path: str, what: str) -> np.ndarray | None:
        library = extra("import", "h5py", "h5py")
        try:
            dataset = self._inside(library, path)
            if dataset is None:
                return None
            shape, dtype = dataset.shape, dataset.dtype
            outside = bool(dataset.external) or bool(dataset.is_virtual)
        except NotImported:
            raise
        except Exception as error:
            raise NotImported(f"found {what} that cannot be read ({_words(error)})") from None
        if outside or shape is None or dtype not in (np.dtype(np.float32), np.dtype(np.float16)):
            kind = "data outside the file" if outside else str(dtype)[:40]
            raise NotImported(f"found {what} of {kind}, expected float32 or float16")
        self.spend(math.prod(shape), dtype.itemsize)
        try:
            return np.asarray(dataset[()])
        except Exception as error:
            raise NotImported(f"found {what} that cannot be read ({_words(error)})") from None

    def _inside(self, library: Any, path: str) -> Any:
        """The dataset of a path of hard links."""
        here = self._arrays
        for part in path.split("/"):
            if not isinstance(here, library.Group) or part not in here:
                return None
            if not isinstance(here.get(part, getlink=True), library.HardLink):
                raise NotImported("found a link in the file of arrays, expected arrays in it")
            here = here[part]
        if not isinstance(here, library.Dataset):
            raise NotImported("found no array in its place, expected one")
        return here


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:80] or type(error).__name__


def _entries(archive: Zip) -> dict[str, Any]:
    if len(archive.entries) > _MOST_ENTRIES:
        raise BitrowError(f"{archive.where}: found {len(archive.entries):,} entries, expected {KERAS.expected}")
    wanted = (_CONFIG, _WEIGHTS, _METADATA)
    found = [info for info in archive.entries if info.filename in wanted]
    for name in wanted:
        count = sum(info.filename == name for info in found)
        if count != 1:
            raise BitrowError(f"{archive.where}: found {count} entries {name}, expected one: {KERAS.expected}")
    archive.check_unfolded(found)
    return {info.filename: info for info in found}


def _json(archive: Zip, entries: dict[str, Any], name: str) -> dict[str, Any]:
    where = f"{archive.where} {name}"
    check_size(entries[name].file_size, JSON.most, where)
    value = parse_json(bytes(archive.read(entries[name], where, "JSON")), where)
    if not isinstance(value, dict):
        raise BitrowError(f"{where}: found no JSON object, expected {KERAS.expected}")
    return value
