"""A network with its parameters in one file: safetensors, with the graph as JSON in its header.

A tensor is called "LAYER.FIELD", as in "stem_conv.weight_code"; samples are "samples.images" and so on. The
header's only metadata key, "bitrow", holds the schema, its version, the graph, the loss scale and notes, so
that equal models make equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save as save_tensors

from bitrow.config import ArraySpec
from bitrow.errors import BitrowError
from bitrow.files import write_bytes
from bitrow.graph import Network, shapes
from bitrow.layers.table import layer
from bitrow.outputs import words
from bitrow.parameters import (
    LayerParams,
    check_params,
    check_values,
    layer_spec,
    params_type,
)
from bitrow.reading import records
from bitrow.reading.tensors import read_tensors
from bitrow.reading.values import parse_json

SCHEMA = "bitrow-model"
VERSION = 1


class Samples(NamedTuple):
    """Real inputs kept with a model, as numpy arrays: images f16[k,h,w,c], labels i32[k], dlogits f16[k,...].

    `dlogits` is a gradient of the output for each image (of several outputs side by side, `outputs.split`), so that a
    training pass needs nothing that the platform's exponential could change.
    """

    images: np.ndarray
    labels: np.ndarray
    dlogits: np.ndarray


class Model(NamedTuple):
    """A network, its parameters, the loss scale of its gradient scales, samples, and notes on its making."""

    network: Network
    params: dict[str, LayerParams]
    loss_scale: float = 1.0
    samples: Samples | None = None
    notes: Mapping[str, str] = MappingProxyType({})


def save(path: str | Path, model: Model, *, force: bool = False) -> None:
    """Write the model, whole or not at all.

    Raises:
        BitrowError: parameters that do not fit the network or that the contract refuses; a file that exists,
            without `force`; a path that cannot be written.
    """
    path = Path(path)
    data = to_bytes(model)
    if path.exists() and not force:
        raise BitrowError(f"{path}: found a file there, expected none; force replaces it")
    write_bytes(path, data)


def to_bytes(model: Model) -> bytes:
    """The file that `save` writes.

    Raises:
        BitrowError: parameters that do not fit the network or that the contract refuses.
    """
    network = model.network
    check_params(network, model.params)
    tensors: dict[str, np.ndarray] = {}
    for node in network.nodes:
        if node.name not in model.params:
            continue
        params = model.params[node.name]
        check_values(f"{network.name} {node.name}", node, params)
        for field in layer_spec(network, node):
            tensors[f"{node.name}.{field}"] = np.asarray(getattr(params, field), order="C")
    if model.samples is not None:
        spec = _samples_spec(network, len(model.samples.labels))
        for field, array in model.samples._asdict().items():
            _check_spec(
                f"{network.name} samples.{field}", ArraySpec(str(array.dtype), array.shape), spec[field]
            )
            tensors[f"samples.{field}"] = np.asarray(array, order="C")
    header = {
        "schema": SCHEMA,
        "version": VERSION,
        "network": records.write(network),
        "loss_scale": model.loss_scale,
        "samples": 0 if model.samples is None else len(model.samples.labels),
        "notes": dict(model.notes),
    }
    return save_tensors(tensors, {"bitrow": json.dumps(header, sort_keys=True, separators=(",", ":"))})


def load(path: str | Path) -> Model:
    """Read and check a model file.

    Raises:
        BitrowError: naming the file, and the layer where one is at fault: no file, no safetensors or a
            truncated one, another schema or version, a graph that `Network` refuses, tensors missing,
            superfluous or of another dtype or shape, values that the contract refuses, labels of no class.
    """
    path = Path(path)
    header, tensors = _read(path)
    if header.get("version") != VERSION or header.get("schema") != SCHEMA:
        raise BitrowError(
            f"{path}: found schema {header.get('schema')!r} version {header.get('version')!r}, "
            f"expected {SCHEMA!r} version {VERSION}"
        )
    network: Network = records.read(Network, header.get("network"), f"{path}: network", join=".")
    count, loss_scale, notes = (header.get(key) for key in ("samples", "loss_scale", "notes"))
    if type(count) is not int or count < 0:
        raise BitrowError(f"{path} samples: found {count!r}, expected a number of samples")
    if type(loss_scale) is not float or not 0 < loss_scale < float("inf"):
        raise BitrowError(f"{path} loss_scale: found {loss_scale!r}, expected a positive number")
    if not isinstance(notes, dict) or not all(isinstance(note, str) for note in notes.values()):
        raise BitrowError(f"{path} notes: found {str(notes)[:40]!r}, expected texts by name")
    _check_tensors(path, network, count, tensors)
    if count:
        _check_labels(path, network, tensors["samples.labels"])
    params = {node.name: _layer(path, network, node, tensors) for node in network.nodes if params_type(node)}
    samples = Samples(*(tensors[f"samples.{field}"] for field in Samples._fields)) if count else None
    return Model(network, params, loss_scale, samples, notes)


def _layer(path: Path, network: Network, node: Any, tensors: dict[str, np.ndarray]) -> LayerParams:
    kind = params_type(node)
    assert kind is not None
    given = {field: tensors[f"{node.name}.{field}"] for field in layer_spec(network, node)}
    arrays: dict[str, Any] = {field: given.get(field) for field in kind._fields}
    check_values(f"{path} {node.name}", node, kind(**arrays))
    return jax.tree.map(jnp.asarray, kind(**arrays))


def _samples_spec(network: Network, count: int) -> dict[str, ArraySpec]:
    output: tuple[int, ...] = shapes(network)[network.output]
    if layer(network.node(network.output).config).flat:
        output = output[2:]
    if network.more_outputs:
        output = (words(network),)
    return {
        "images": ArraySpec("float16", (count, *network.input_shape)),
        "labels": ArraySpec("int32", (count,)),
        "dlogits": ArraySpec("float16", (count, *output)),
    }


def _check_tensors(path: Path, network: Network, count: int, tensors: dict[str, np.ndarray]) -> None:
    expected = {
        f"{node.name}.{field}": spec
        for node in network.nodes
        for field, spec in layer_spec(network, node).items()
    }
    if count:
        expected |= {f"samples.{field}": spec for field, spec in _samples_spec(network, count).items()}
    for name, spec in expected.items():
        if name not in tensors:
            raise BitrowError(f"{path} {name}: found no such tensor, expected {spec.dtype}{list(spec.shape)}")
        _check_spec(f"{path} {name}", ArraySpec(str(tensors[name].dtype), tensors[name].shape), spec)
    for name in tensors:
        if name not in expected:
            raise BitrowError(f"{path} {name}: found this tensor, expected none of this name")


def _check_labels(path: Path, network: Network, labels: np.ndarray) -> None:
    if not layer(network.node(network.output).config).flat:
        return
    classes = shapes(network)[network.output][2]
    for label in (labels.min(), labels.max()):
        if not 0 <= label < classes:
            raise BitrowError(f"{path} samples.labels: found {label}, expected 0 to {classes - 1}")


def _check_spec(where: str, found: ArraySpec, wanted: ArraySpec) -> None:
    if found != wanted:
        raise BitrowError(
            f"{where}: found {found.dtype}{list(found.shape)}, expected {wanted.dtype}{list(wanted.shape)}"
        )


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    found = read_tensors(path, "a model file")
    where = f"{path} metadata key 'bitrow'"
    header = parse_json(found.metadata.get("bitrow", "null"), where, "a model's graph in JSON")
    if not isinstance(header, dict):
        raise BitrowError(f"{where}: found no JSON object, expected a model's graph in JSON")
    return header, found.arrays
