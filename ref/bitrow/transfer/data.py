"""Images to learn from: a source task to pretrain on and a target task to transfer to.

`load` reads scikit-learn's digits, a folder or zip of class-named image folders, IDX files or an npz file, and
splits its classes into the two tasks. Everything is decided by the data, the arguments and the seed. The
images are input to the contract and no part of it: normalised in float64 and rounded once to FP16, so that
float32 training and the accelerator see the same numbers (SPEC.md F10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bitrow.errors import BitrowError
from bitrow.extras import extra
from bitrow.images.idx import is_idx, read_idx
from bitrow.images.normalise import normalised, statistics
from bitrow.images.npz import read_npz
from bitrow.images.raw import Raw, Size, check_classes, check_size, convert
from bitrow.images.split import Choice, source_count
from bitrow.images.tree import read_folder, read_zip

SOURCE_SHARE = 0.6  # of the classes, where nothing else is asked for
TEST_SHARE = 0.2  # of each class, where the data has no test part


@dataclass(frozen=True, eq=False)
class Images:
    """Normalised images x f32[n,h,w,c], every value an FP16 number, and labels y i32[n] from 0."""

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True, eq=False)
class Task:
    """A classification task: label i means `classes[i]`."""

    name: str
    classes: tuple[str, ...]
    train: Images
    test: Images


@dataclass(frozen=True, eq=False)
class Transfer:
    """Two tasks on images of one shape, no class in both; the source may have no class and no image.

    `mean` and `std`, by channel, are what both tasks were normalised with: those of the first task's training
    images, in units of the data's pixels.
    """

    source: Task
    target: Task
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def first(self) -> Task:
        """The source, or the target where there is none: what scales are chosen on."""
        return self.source if self.source.classes else self.target

    @property
    def input_shape(self) -> Size:
        """(h, w, c) of an image."""
        h, w, c = self.source.train.x.shape[1:]
        return h, w, c


def load(
    spec: str | Path,
    input_shape: Size | None = None,
    *,
    source: int | Sequence[str] | None = None,
    limit: int | None = None,
    test_share: float = TEST_SHARE,
    seed: int = 0,
) -> Transfer:
    """Read a data set and split it into a source and a target task.

    Args:
        spec: "digits" (scikit-learn's, 8x8x1, digits 0-4 the source; a folder of that name is "./digits"), or a path:
            a folder or zip of CLASS/IMAGE files or of train/CLASS/IMAGE and test/CLASS/IMAGE ones, a folder of
            MNIST-style IDX files or its file of training images (each may be gzipped), or an npz file.
        input_shape: (h, w, c), c 1 or 3, to resize and convert every image to; None keeps the data's own,
            which must then be one size.
        source: which classes are the source's, by number (the first ones) or by name; None: about 60% of
            them, half of the digits. 0: none, all classes are the target's. Numbers sort as numbers, before names.
        limit: at most this many images of each class in each part.
        test_share: share of each class to hold out where the data has no test part.
        seed: of the choice of what is held out.

    Raises:
        BitrowError: one line naming the path or file: nothing there, not an image, a corrupt or truncated
            file, images of several sizes without `input_shape`, a class without images, fewer than two
            classes on either side, arguments out of range, pixels that FP16 cannot hold beside the others, an extra
            not installed.
    """
    check_size(input_shape)
    if not 0 < test_share < 1:
        raise BitrowError(f"data test_share: found {test_share}, expected a number between 0 and 1")
    if limit is not None and limit < 2:
        raise BitrowError(f"data limit: found {limit}, expected at least 2 images of each class")
    raw = _read(str(spec), input_shape, Choice(test_share, seed, limit, 1 if source == 0 else 2))
    chosen = _source_classes(str(spec), raw.classes, source)
    return _split(Path(spec).stem, convert(str(spec), raw, input_shape), chosen)


def _read(spec: str, input_shape: Size | None, choice: Choice) -> Raw:
    try:
        return _read_any(spec, input_shape, choice)
    except OSError as error:
        raise BitrowError(f"data {spec}: cannot be read: {error.strerror or error}") from None


def _read_any(spec: str, input_shape: Size | None, choice: Choice) -> Raw:
    path = Path(spec)
    if spec != "digits" and not path.exists():
        raise BitrowError(
            f"data {spec}: found nothing there, expected 'digits', a folder, zip, IDX or npz file"
        )
    if spec != "digits" and path.is_dir() and not any(is_idx(file) for file in path.iterdir()):
        return read_folder(path, input_shape, choice)
    if spec != "digits" and path.suffix == ".zip":
        return read_zip(path, input_shape, choice)
    raw = _digits() if spec == "digits" else _arrays(path)
    check_classes(spec, raw.classes, choice.tasks)
    places, test = choice(spec, raw.classes, raw.y, raw.test)
    return Raw(raw.classes, raw.x[places], raw.y[places], test)


def _arrays(path: Path) -> Raw:
    if path.suffix == ".npz":
        return read_npz(path)
    if path.is_dir() or is_idx(path):
        return read_idx(path)
    raise BitrowError(f"data {path}: found a file of an unknown kind, expected .zip, .npz or an IDX file of images")


def _digits() -> Raw:
    bunch = extra("transfer", "sklearn.datasets", "scikit-learn").load_digits()
    images = bunch.images.astype(np.uint8)[..., None]  # pixels 0 to 16
    return Raw(tuple(map(str, range(10))), images, bunch.target.astype(np.int32), None)


def _source_classes(spec: str, classes: tuple[str, ...], source: int | Sequence[str] | None) -> list[int]:
    """Numbers of the source's classes."""
    where = f"data {spec}"
    if source is None:
        source = len(classes) // 2 if spec == "digits" else source_count(len(classes), SOURCE_SHARE)
    if isinstance(source, int):
        chosen = list(range(source))
    else:
        unknown = [name for name in source if name not in classes]
        if unknown:
            raise BitrowError(
                f"{where} source: found class {unknown[0]!r}, expected some of {', '.join(classes)}"
            )
        chosen = sorted({classes.index(name) for name in source})
    if chosen and not 2 <= len(chosen) <= len(classes) - 2:
        raise BitrowError(f"{where} source: found {len(chosen)} classes, expected 2 to {len(classes) - 2}")
    return chosen


def _split(name: str, raw: Raw, chosen: list[int]) -> Transfer:
    assert raw.test is not None
    learning = (np.isin(raw.y, chosen) if chosen else True) & ~raw.test
    mean, std = statistics(raw.x[learning])
    others = [label for label in range(len(raw.classes)) if label not in chosen]
    tasks = [
        _task(f"{name} {side}", raw, labels, mean, std)
        for side, labels in (("source", chosen), ("target", others))
    ]
    return Transfer(tasks[0], tasks[1], tuple(map(float, mean)), tuple(map(float, std)))


def _task(name: str, raw: Raw, labels: list[int], mean: np.ndarray, std: np.ndarray) -> Task:
    assert raw.test is not None
    new_label = np.full(len(raw.classes), -1, np.int32)
    new_label[labels] = np.arange(len(labels), dtype=np.int32)

    def images(part: np.ndarray) -> Images:
        chosen = part & np.isin(raw.y, labels)
        return Images(normalised(name, raw.x[chosen], mean, std), new_label[raw.y[chosen]])

    return Task(name, tuple(raw.classes[label] for label in labels), images(~raw.test), images(raw.test))
