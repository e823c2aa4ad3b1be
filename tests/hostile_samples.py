"""What bad input must come to: one printable line, at once, in little memory; and sound files to spoil."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import resource
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import sklearn.datasets
from PIL import Image
from safetensors.numpy import save as save_tensors

from bitrow import cli, model_file
from bitrow.config import ConvConfig
from bitrow.errors import BitrowError
from bitrow.importers import command as import_command
from bitrow.proofs import command, registry, results, saved
from bitrow.proofs.claim import Effort
from bitrow.proofs.claim import Outcome as Chunk
from bitrow.synthetic import synthetic
from bitrow.transfer import command as transfer_command
from bitrow.vectors import catalog, generate
from network_samples import every_layer
from vectors_samples import conv_case, frozen_case, write

LOADED = (command, import_command, onnx, transfer_command, catalog, generate, sklearn.datasets, registry.claims())
# no command's time has them
SECONDS = 2.0
BYTES = 1 << 30
LENGTH = 1_200


class Outcome(NamedTuple):
    """How a command ended: its status, what it printed, the lines of its error."""

    status: int
    printed: str
    errors: list[str]


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextlib.contextmanager
def bounded():
    """Hold what runs inside to its time (of the processor, so that a loaded machine does not count) and memory."""
    peak, begun, wall = _peak(), time.process_time(), time.monotonic()
    yield
    assert time.process_time() - begun < SECONDS and time.monotonic() - wall < 10 * SECONDS
    assert _peak() - peak < BYTES


def run(*arguments: object) -> Outcome:
    """A command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), bounded():
        try:
            status = cli.run([str(argument) for argument in arguments])
        except SystemExit as leave:
            status = int(leave.code or 0)
    return Outcome(status, out.getvalue(), err.getvalue().splitlines())


def clean(outcome: Outcome) -> Outcome:
    """No defect, no traceback; an error is one printable line of bounded length; nothing raw is printed."""
    assert outcome.status in (0, 1, 2), outcome.errors
    assert len(outcome.errors) == (outcome.status != 0), outcome.errors
    for line in outcome.errors:
        assert line.isprintable() and line.startswith("bitrow: ") and len(line) <= LENGTH, line[:300]
    assert all(line.isprintable() for line in outcome.printed.split("\n"))
    return outcome


def refused(*arguments: object, words: str = "") -> str:
    """The one line of a command that must not accept its input."""
    outcome = clean(run(*arguments))
    assert outcome.status == 2 and outcome.printed == "" and words in outcome.errors[0], outcome
    return outcome.errors[0]


def refuses(call: Callable[[], object], words: str = "") -> str:
    """The one line of a call that must not accept its input."""
    with bounded(), pytest.raises(BitrowError) as caught:
        call()
    line = str(caught.value)
    assert line.isprintable() and len(line) <= LENGTH and words in line, line
    return line


def accepts_or_refuses(call: Callable[[], object]) -> None:
    """Whatever a call does with its input, it is one line at most."""
    with bounded():
        try:
            call()
        except BitrowError as error:
            assert str(error).isprintable() and len(str(error)) <= LENGTH


@functools.cache
def _vectors() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        root = write(Path(folder) / "set", conv_case(config=ConvConfig(padding=1)), frozen_case())
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def vector_set(folder: Path, **changed: bytes) -> Path:
    """A sound set of two cases, `conv` and `frozen`."""
    for name, content in _vectors().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@functools.cache
def model() -> bytes:
    """A sound model file with samples."""
    return model_file.to_bytes(synthetic(every_layer(), 1, 2))


def model_with(edit: Callable[[dict], object], tensors: dict[str, np.ndarray] | None = None) -> bytes:
    """The model file with its graph's JSON edited."""
    size = int.from_bytes(model()[:8], "little")
    header = json.loads(json.loads(model()[8 : 8 + size])["__metadata__"]["bitrow"])
    edit(header)
    arrays = {"x": np.zeros(1, np.float16)} if tensors is None else tensors
    return save_tensors(arrays, {"bitrow": json.dumps(header)})


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@functools.cache
def picture() -> bytes:
    return png(np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8))


def idx_files(folder: Path) -> Path:
    """Images as MNIST's files have them, with their labels beside them."""
    (folder / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + struct.pack(">I", 4) + bytes(range(4)))
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(b"\0\0\x08\x03" + struct.pack(">III", 4, 2, 2) + bytes(16))
    return path


def class_folders(root: Path, content: bytes | None = None) -> Path:
    """Four classes of two images; `content` is the first one's."""
    for place, name in enumerate(f"{label}/{image}.png" for label in "abcd" for image in "12"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if content is not None and place == 0 else picture())
    return root


@functools.cache
def npz() -> bytes:
    stream = io.BytesIO()
    x = np.random.default_rng(0).integers(0, 256, (12, 4, 5, 3), np.uint8)
    np.savez_compressed(stream, images=x, labels=np.arange(12) % 4)
    return stream.getvalue()


@functools.cache
def result_file() -> bytes:
    """What `prove` writes for one small claim."""
    run = results.Results(Effort.QUICK, {"fp16.add": 2})
    run.add(results.Job("fp16.add", 0), results.Done(Chunk(10, None, "0f" * 32, ""), 0.5))
    run.add(results.Job("fp16.add", 1), results.Done(Chunk(12, None, "0e" * 32, "a note"), 0.25))
    with tempfile.TemporaryDirectory() as folder:
        saved.save(run, Path(folder) / "a.json")
        return (Path(folder) / "a.json").read_bytes()


MACHINE = b'name = "test"\nfxp_lanes = 64\nmac = "fxp"\nring_rule = "K+S"\nclock_mhz = 500.0\nshared = true\n'
