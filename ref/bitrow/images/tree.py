"""Folders of class-named image folders, on disk or in a zip (which is read in place, never unpacked).

Layouts: CLASS/IMAGE, or train/CLASS/IMAGE with test/CLASS/IMAGE (or val, validation), either inside any number
of folders that hold nothing else. Hidden files are not looked at, nor files outside class folders that are no
images by their name.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bitrow.errors import BitrowError
from bitrow.images.decode import Decoder
from bitrow.images.raw import Raw, Size, check_classes, name_key
from bitrow.images.split import Choice
from bitrow.reading import ARCHIVE, IMAGE, check_size, read_bytes
from bitrow.reading.archives import Zip, opened_zip

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".tif", ".tiff", ".webp"}
_TRAIN, _TEST = ("train", "training"), ("test", "testing", "val", "valid", "validation")
_MAX_DEPTH = 6
_MAX_FILES = 1_000_000

PathParts = tuple[str, ...]


class _Stored(NamedTuple):
    """A file: its bytes, and what reads them."""

    size: int
    read: Callable[[], bytes | bytearray]


class _Tree(NamedTuple):
    """Files by their path below the root, and folders."""

    root: str
    files: dict[PathParts, _Stored]
    folders: set[PathParts]


class _Layout(NamedTuple):
    """Class names, and of each image its path, class and whether it is held out (None: the data does not say)."""

    classes: tuple[str, ...]
    images: list[tuple[PathParts, int, bool]]
    has_test: bool


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture."""
    return os.path.splitext(name)[1].lower() in _SUFFIXES


def read_pictures(path: Path, size: Size, limit: int) -> np.ndarray:
    """The first `limit` pictures of a folder or zip in the order of their paths, or a picture, u8[n,h,w,c] of `size`.

    Raises:
        BitrowError: as `read_folder` and `read_zip`.
    """
    if path.suffix == ".zip":
        with opened_zip(path, ARCHIVE, f"data {path}", "a zip") as archive:
            return _pictures(_zip_tree(path, archive), size, limit)
    if path.is_dir():
        return _pictures(_folder_tree(path), size, limit)
    decoder = Decoder(str(path.parent), size, 1, 0)
    decoder.put(0, (path.name,), read_bytes(path, IMAGE, f"data {path}"))
    return decoder.images()


def _pictures(tree: _Tree, size: Size, limit: int) -> np.ndarray:
    found = sorted(parts for parts in tree.files if is_picture(parts[-1]))[:limit]
    if not found:
        raise BitrowError(f"data {tree.root}: found no images, expected some")
    return _decoded(tree, found, size)


def _decoded(tree: _Tree, chosen: list[PathParts], size: Size | None) -> np.ndarray:
    decoder = Decoder(tree.root, size, len(chosen), sum(tree.files[parts].size for parts in chosen))
    for place, parts in enumerate(chosen):
        decoder.put(place, parts, tree.files[parts].read())
    return decoder.images()


def read_folder(path: Path, input_shape: Size | None, choice: Choice) -> Raw:
    """Images below a folder; only those chosen are read and decoded.

    Raises:
        BitrowError: naming the file: as `data.load`.
    """
    return _read(_folder_tree(path), input_shape, choice)


def _folder_tree(path: Path) -> _Tree:
    files: dict[PathParts, _Stored] = {}
    folders: set[PathParts] = set()
    for parts, entry in _walk(path, ()):
        if entry.is_dir():
            folders.add(parts)
        else:
            files[parts] = _file(entry)
        _check_count(str(path), len(files))
    return _Tree(str(path), files, folders)


def read_zip(path: Path, input_shape: Size | None, choice: Choice) -> Raw:
    """As `read_folder`, in a zip.

    Raises:
        BitrowError: as `read_folder`; not a zip, encrypted, names that lead out of it, two files of one name,
            files that unpack to more than 64 MiB each.
    """
    with opened_zip(path, ARCHIVE, f"data {path}", "a zip") as archive:
        return _read(_zip_tree(path, archive), input_shape, choice)


def _walk(folder: Path, parts: PathParts) -> Iterator[tuple[PathParts, os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise BitrowError(f"data {folder}: cannot be read: {error.strerror}") from None
    for entry in found:
        if entry.name.startswith("."):
            continue
        inside = (*parts, entry.name)
        yield inside, entry
        if entry.is_dir():
            if len(inside) == _MAX_DEPTH:
                raise BitrowError(f"data {entry.path}: found folders {_MAX_DEPTH} deep, expected CLASS/IMAGE")
            yield from _walk(Path(entry.path), inside)


def _file(entry: os.DirEntry[str]) -> _Stored:
    with contextlib.suppress(OSError):  # such as a link to nothing: only an image that is read needs to be there
        return _Stored(entry.stat().st_size, lambda: read_bytes(entry.path, IMAGE, f"data {entry.path}"))
    return _Stored(0, lambda: read_bytes(entry.path, IMAGE, f"data {entry.path}"))


def _check_count(root: str, count: int) -> None:
    if count > _MAX_FILES:
        raise BitrowError(
            f"data {root}: found more than {_MAX_FILES:,} files, expected class folders of images"
        )


def _zip_tree(path: Path, archive: Zip) -> _Tree:
    files: dict[PathParts, _Stored] = {}
    folders: set[PathParts] = set()
    _check_count(str(path), len(archive.entries))
    archive.check_unfolded(archive.entries)
    for info in archive.entries:
        name = info.filename.replace("\\", "/")
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if name.startswith("/") or ".." in parts or (parts and ":" in parts[0]):
            raise BitrowError(f"data {path}: found an entry {info.filename!r}, expected names inside the zip")
        if not parts or any(part.startswith((".", "__MACOSX")) for part in parts):
            continue
        folders.update(parts[:end] for end in range(1, len(parts)))
        if info.is_dir():
            folders.add(parts)
        elif parts in files:
            raise BitrowError(f"data {path}: found two entries {info.filename!r}, expected one")
        else:
            files[parts] = _member(path, archive, info)
    return _Tree(str(path), files, folders)


def _member(path: Path, archive: Zip, info: zipfile.ZipInfo) -> _Stored:
    def read() -> bytearray:
        where = f"data {path}/{info.filename}"
        check_size(info.file_size, IMAGE.most, where)
        return archive.read(info, where, "an image")

    return _Stored(info.file_size, read)


def _read(tree: _Tree, input_shape: Size | None, choice: Choice) -> Raw:
    layout = _layout(tree)
    y = np.array([label for _, label, _ in layout.images], np.int32)
    held = np.array([held for _, _, held in layout.images], bool)
    check_classes(tree.root, layout.classes, choice.tasks)
    places, test = choice(tree.root, layout.classes, y, held if layout.has_test else None)
    chosen = [layout.images[place][0] for place in places.tolist()]
    return Raw(layout.classes, _decoded(tree, chosen, input_shape), y[places], test)


def _layout(tree: _Tree) -> _Layout:
    images = sorted(parts for parts in tree.files if is_picture(parts[-1]))
    if not images:
        raise BitrowError(f"data {tree.root}: found no images, expected folders CLASS/IMAGE")
    prefix: PathParts = ()
    splits = _TRAIN + _TEST
    while (depth := len(prefix)) + 3 <= min(map(len, images)):
        first = {parts[depth] for parts in images}
        if len(first) > 1 or first & set(splits):
            break
        prefix = (*prefix, first.pop())
    above = len(prefix)
    has_split = any(parts[above] in splits and len(parts) == above + 3 for parts in images)
    depth = above + 1 + has_split
    for parts in images:
        if len(parts) != depth + 1 or (has_split and parts[above] not in splits):
            wanted = "train/CLASS/IMAGE or test/CLASS/IMAGE" if has_split else "CLASS/IMAGE"
            raise BitrowError(f"data {tree.root}: found image {'/'.join(parts[above:])}, expected {wanted}")
    _check_class_folders(tree, prefix, depth, images)
    return _labelled(tree, images, above, has_split)


def _check_class_folders(tree: _Tree, prefix: PathParts, depth: int, images: list[PathParts]) -> None:
    full = {parts[:-1] for parts in images}
    splits = {parts[:-1] for parts in full}
    for folder in sorted(tree.folders):
        if (
            len(folder) == depth
            and folder[: len(prefix)] == prefix
            and folder[:-1] in splits
            and folder not in full
        ):
            raise BitrowError(
                f"data {tree.root}: found no images in class folder {'/'.join(folder)}, expected some"
            )
    known = set(images)
    for parts in sorted(tree.files):
        if parts[:-1] in full and parts not in known:
            raise BitrowError(
                f"data {tree.root}: found {'/'.join(parts)}, not an image, expected images in class folders"
            )


def _labelled(tree: _Tree, images: list[PathParts], above: int, has_split: bool) -> _Layout:
    held_out = {parts[above] for parts in images} & set(_TEST) if has_split else set()
    # with several held-out parts the test part is the one to report on; the others are left alone
    test = next((name for name in _TEST if name in held_out), None)
    used = [p for p in images if not has_split or p[above] in _TRAIN or p[above] == test]
    learning = {p[-2] for p in used if not has_split or p[above] in _TRAIN}
    if not learning:
        raise BitrowError(f"data {tree.root}: found no folder train beside {test}, expected one")
    classes = tuple(sorted(learning, key=name_key))
    if test is not None:
        tested = {p[-2] for p in used if p[above] == test}
        for name in sorted(learning ^ tested):
            missing = test if name in learning else "train"
            raise BitrowError(
                f"data {tree.root}: found no class {name!r} in {missing}, expected the same classes in both"
            )
    label = {name: place for place, name in enumerate(classes)}
    rows = [(p, label[p[-2]], has_split and p[above] == test) for p in used]
    return _Layout(classes, sorted(rows, key=lambda row: (row[2], row[1], row[0])), test is not None)
