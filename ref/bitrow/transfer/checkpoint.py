"""Checkpoints of a run under way, and float32 models as safetensors.

A checkpoint is orbax's, complete or absent, and holds the state's arrays by name with the metrics so far; a run
that goes on from it ends with the same bits. A float32 model file holds "LAYER.weight" (and bias, gamma, beta,
mean, var), and says of which network in its header.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save as save_tensors

from bitrow.errors import BitrowError
from bitrow.extras import extra
from bitrow.files import write_bytes
from bitrow.float_model import FloatModel, initialize
from bitrow.graph import Network
from bitrow.reading import CHECKPOINT, check_tree
from bitrow.reading.tensors import read_tensors
from bitrow.reading.values import parse_json
from bitrow.transfer import processes
from bitrow.transfer.epoch import State

FLOAT_SCHEMA, STATE_SCHEMA = "bitrow-float-model", "bitrow-transfer-state"
_OVERHEAD = 1 << 16  # bytes of a checkpoint beside its arrays, generously


class Checkpoint(NamedTuple):
    """A checkpoint: epochs done, the state after them, their metrics."""

    epochs: int
    state: State
    rows: list[dict[str, Any]]


def arrays(state: State) -> dict[str, np.ndarray]:
    """The state's arrays by path, as in ".params['layers/head/bias']"."""
    leaves = jax.tree.leaves_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def digest(state: State) -> str:
    """SHA-256 of every array's name, dtype, shape and bits: equal for equal states only."""
    total = hashlib.sha256()
    for name, array in sorted(arrays(state).items()):
        total.update(f"{name} {array.dtype} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


class Checkpoints:
    """The checkpoints of one run in a folder; `identity` says which run, in JSON's values.

    Raises:
        BitrowError: orbax is not installed.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder.absolute()
        self.identity = parse_json(json.dumps(identity), "identity")
        self._orbax = extra("transfer", "orbax.checkpoint", "orbax-checkpoint")
        logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax's tracebacks: errors are told in one line here

    @contextlib.contextmanager
    def _manager(self) -> Iterator[Any]:
        options = self._orbax.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
        if jax.process_count() > 1:  # one of them is here; the others wait in `processes.agree`
            alone = self._orbax.options.MultiprocessingOptions(0, {0}, "bitrow")
            options = dataclasses.replace(options, multiprocessing_options=alone, create=False)
        with self._orbax.CheckpointManager(self.folder, options=options) as manager:
            yield manager

    def save(self, epochs: int, state: State, rows: list[dict[str, Any]]) -> None:
        """Keep the state after `epochs` epochs; the one before goes when this one is complete.

        Raises:
            BitrowError: a folder that cannot be written; the checkpoint before stays.
        """
        args = self._orbax.args
        notes = {"identity": self.identity, "epochs": epochs, "rows": rows}
        held = arrays(state)
        try:
            self._make_room(sum(array.nbytes for array in held.values()) + len(json.dumps(notes)))
            with self._manager() as manager:
                content = args.Composite(state=args.StandardSave(held), notes=args.JsonSave(notes))
                manager.save(epochs, args=content, force=True)
        except Exception as error:  # orbax and tensorstore have no common one
            raise BitrowError(f"{self.folder}: checkpoint cannot be written: {_reason(error)}") from None

    def _make_room(self, size: int) -> None:
        """Find out by a file of zeros whether the disk is full: orbax's threads leave more than one line then."""
        self.folder.mkdir(parents=True, exist_ok=True)
        room = self.folder / ".room"
        try:
            room.write_bytes(bytes(size + _OVERHEAD))
        finally:
            room.unlink(missing_ok=True)

    def latest(self, like: State) -> Checkpoint | None:
        """The last complete checkpoint, None where there is none. `like` has the state's structure.

        Of several processes the first one reads it, and every one has it.

        Raises:
            BitrowError: a checkpoint that cannot be read, of another run, or of arrays of other names, dtypes
                or shapes.
        """
        found: list[Checkpoint] = []

        def read() -> tuple[int, list[dict[str, Any]]] | None:
            last = self._latest(like)
            if last is None:
                return None
            found.append(last)
            return last.epochs, last.rows

        told = processes.agree(read)
        if told is None:
            return None
        return Checkpoint(told[0], _shared(found[0].state if found else like), told[1])

    def _latest(self, like: State) -> Checkpoint | None:
        if not self.folder.is_dir():
            return None
        args = self._orbax.args
        held = sum(array.nbytes for array in arrays(like).values())
        check_tree(self.folder, CHECKPOINT, CHECKPOINT.most + 4 * held)  # two may lie there, each with its overhead
        try:
            with self._manager() as manager:
                step = manager.latest_step()
                if step is None:
                    return None
                wanted = args.Composite(state=args.StandardRestore(), notes=args.JsonRestore())
                notes = manager.restore(step, args=args.Composite(notes=args.JsonRestore())).notes
                self._check(notes)
                found = manager.restore(step, args=wanted)
        except BitrowError:
            raise
        except Exception as error:
            raise BitrowError(f"{self.folder}: checkpoint cannot be read: {_reason(error)}") from None
        return Checkpoint(notes["epochs"], _fill(str(self.folder), like, found.state), notes["rows"])

    def _check(self, notes: dict[str, Any]) -> None:
        identity = notes["identity"]
        for key, value in self.identity.items():
            if identity.get(key) != value:
                found, wanted = (str(v)[:60] for v in (identity.get(key), value))
                raise BitrowError(f"{self.folder}: found a checkpoint of {key} {found}, expected {wanted}")

    def clear(self) -> None:
        """Delete the checkpoints of a run that has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _fill(where: str, like: State, found: Mapping[str, Any]) -> State:
    """The arrays `found` by name as a state of the structure of `like`. Raises: BitrowError, naming the array."""
    wanted = arrays(like)
    other = sorted(set(found) ^ set(wanted))
    if other:
        word, expected = ("an array", "none") if other[0] in found else ("no array", "one")
        raise BitrowError(f"{where} {other[0]}: found {word} of this name, expected {expected}")
    leaves = []
    for name, array in wanted.items():
        held = np.asarray(found[name])
        if (held.dtype, held.shape) != (array.dtype, array.shape):
            raise BitrowError(
                f"{where} {name}: found {held.dtype}{list(held.shape)}, expected {array.dtype}{list(array.shape)}"
            )
        leaves.append(jnp.asarray(held))
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def save_state(path: Path, state: State) -> None:
    """Write a state as safetensors. Raises: BitrowError as `files.whole`."""
    held = dict(sorted(arrays(state).items()))
    write_bytes(path, save_tensors(held, {"bitrow": json.dumps({"schema": STATE_SCHEMA})}), parents=True)


def load_state(path: Path, like: State) -> State:
    """The state that `save_state` wrote, of the structure of `like`; of several processes the first one reads it.

    Raises:
        BitrowError: naming the file; no such file, or arrays of other names, dtypes or shapes.
    """
    found: list[State] = []

    def read() -> None:
        found.append(_fill(str(path), like, _read(path, "the state of a finished run")))

    processes.agree(read)
    return _shared(found[0] if found else like)


def _shared(state: State) -> State:
    """The first process's state in every one."""
    held = arrays(state)
    return _from_bytes(state, processes.spread(b"".join(array.tobytes() for array in held.values())))


def _from_bytes(like: State, data: bytes) -> State:
    """A state of arrays as those of `like`, which lie in `data` one after another."""
    leaves, place = [], 0
    for array in arrays(like).values():
        held = np.frombuffer(data, array.dtype, array.size, place)
        leaves.append(jnp.asarray(held.reshape(array.shape)))
        place += array.nbytes
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(lines[0].split())[:200]


def save_float(path: Path, network: Network, model: FloatModel) -> None:
    """Write a float32 model, whole or not at all.

    Raises:
        BitrowError: a path that cannot be written.
    """
    tensors = {name: np.asarray(array) for name, array in float_tensors(model).items()}
    header = {"schema": FLOAT_SCHEMA, "network": network.name, "input_shape": list(network.input_shape)}
    write_bytes(path, save_tensors(tensors, {"bitrow": json.dumps(header, sort_keys=True)}), parents=True)


def float_tensors(model: FloatModel) -> dict[str, jax.Array]:
    """A float32 model's arrays under the names of its file."""
    found: dict[str, jax.Array] = {}
    for layer, group in [*model.params.items(), *model.stats.items()]:
        found |= {f"{layer}.{field}": value for field, value in group._asdict().items() if value is not None}
    return found


def load_float(path: Path, network: Network, *, any_head: bool = False) -> FloatModel:
    """The float32 model of `network` in a safetensors file; its header is optional.

    With `any_head`, a head that is missing or of other classes is left out, for a new one of zeros.

    Raises:
        BitrowError: naming the file and the tensor; no safetensors, a tensor missing, superfluous, of another
            shape or not float, or values that are not finite: a checkpoint of another network.
    """
    tensors = _read(path)
    wanted = initialize(network, 0)
    expected = float_tensors(wanted)
    if any_head:
        tensors = _without_other_head(network, tensors, expected)
    for name, array in expected.items():
        if name not in tensors:
            raise BitrowError(f"{path}: found no tensor {name}, expected those of {network.name}")
        found = tensors[name]
        if found.shape != array.shape or found.dtype.kind != "f":
            raise BitrowError(
                f"{path} {name}: found {found.dtype}{list(found.shape)}, expected float32{list(array.shape)} "
                f"of {network.name}"
            )
        if not np.isfinite(found).all():
            raise BitrowError(f"{path} {name}: found a value that is not finite, expected finite numbers")
    superfluous = sorted(set(tensors) - set(expected))
    if superfluous:
        raise BitrowError(f"{path}: found tensor {superfluous[0]}, expected none of this name in {network.name}")

    def group(layer: str, kind: Any) -> Any:
        return kind(*(_float(tensors.get(f"{layer}.{field}")) for field in kind._fields))

    params = {layer: group(layer, type(value)) for layer, value in wanted.params.items()}
    return FloatModel(params, {layer: group(layer, type(value)) for layer, value in wanted.stats.items()})


def _without_other_head(
    network: Network, tensors: dict[str, np.ndarray], expected: Mapping[str, jax.Array]
) -> dict[str, np.ndarray]:
    """The head's tensors as a new head has them, unless they fit; weights of other inputs stay, to be refused."""
    head = {name: array for name, array in expected.items() if name.split(".")[0] == network.output}
    if all(name in tensors and tensors[name].shape == array.shape for name, array in head.items()):
        return tensors
    weight, wanted = tensors.get(f"{network.output}.weight"), head.get(f"{network.output}.weight")
    if weight is not None and wanted is not None and (weight.ndim != 2 or weight.shape[0] != wanted.shape[0]):
        return tensors
    others = {name: array for name, array in tensors.items() if name.split(".")[0] != network.output}
    return others | {name: np.asarray(array) for name, array in head.items()}


def _float(value: np.ndarray | None) -> jax.Array | None:
    return None if value is None else jnp.asarray(value, jnp.float32)


def _read(path: Path, what: str = "a float32 model") -> dict[str, np.ndarray]:
    return read_tensors(path, what).arrays
