"""Small .keras files for the importers' tests, laid out as Keras 3 (or 2) lays them out, without Keras."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py

# As Keras names arrays: classes in small letters, numbered from the second on.
STORED = {"Conv2D": "conv2d", "DepthwiseConv2D": "depthwise_conv2d", "BatchNormalization": "batch_normalization",
          "Dense": "dense"}  # fmt: skip


def layer(kind: str, name: str, arrays: Any = (), registered_name: Any = None, **config: Any) -> dict[str, Any]:
    """A layer of a configuration; its arrays are taken out when it is saved."""
    return {"module": "keras.layers", "class_name": kind, "config": {"name": name, **config},
            "registered_name": registered_name, "arrays": list(arrays)}  # fmt: skip


@dataclass
class KerasModel:
    """Layers in order, of a Sequential model, or a whole configuration; `change` adds to the file of arrays."""

    layers: list[dict[str, Any]]
    config: dict[str, Any] = field(default_factory=dict)
    version: str = "3.15.1"
    change: Callable[[Any], Any] = lambda file: None

    def __post_init__(self) -> None:
        self.config = self.config or {"class_name": "Sequential", "config": {"name": "net", "layers": self.layers}}

    def arrays(self) -> bytes:
        stream, used = io.BytesIO(), dict[str, int]()
        with h5py.File(stream, "w") as file:
            for one in self.layers:
                if one["arrays"]:
                    name = STORED[one["class_name"]]
                    number = used[name] = used.get(name, -1) + 1
                    for place, array in enumerate(one["arrays"]):
                        file[f"layers/{name}{f'_{number}' if number else ''}/vars/{place}"] = array
            self.change(file)
        return stream.getvalue()

    def plain(self) -> Any:
        """The configuration as JSON has it."""
        return json.loads(json.dumps(self.config, default=lambda array: None))

    def to_bytes(self, arrays: bytes | None = None, config: Any = None) -> bytes:
        """The file, or one with other arrays or another configuration."""
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": self.version}))
            archive.writestr("config.json", json.dumps(self.plain() if config is None else config))
            archive.writestr("model.weights.h5", self.arrays() if arrays is None else arrays)
        return stream.getvalue()

    def save(self, folder: Path, name: str = "net.keras") -> Path:
        (folder / name).write_bytes(self.to_bytes())
        return folder / name


def functional(
    old: bool, layers: list[tuple[dict[str, Any], list[list[str]]]], given: str, end: str, version: str = "3.15.1"
) -> KerasModel:
    """Layers with the values that each of their calls reads: a layer's name, or `name:1` of its second call."""

    def history(value: str) -> list[Any]:
        name, _, node = value.partition(":")
        return [name, int(node or 0), 0]

    def tensor(value: str) -> dict[str, Any]:
        return {"class_name": "__keras_tensor__", "config": {"shape": [None], "keras_history": history(value)}}

    made = []
    for one, calls in layers:
        if old:
            nodes: list[Any] = [[[*history(value), {}] for value in call] for call in calls]
        else:
            several = one["class_name"] in ("Add", "Multiply", "Concatenate")
            nodes = [{"args": [list(map(tensor, call))] if several else list(map(tensor, call)), "kwargs": {}}
                     for call in calls]  # fmt: skip
        made.append(one | {"name": one["config"]["name"], "inbound_nodes": nodes})
    ends = {"input_layers": [history(given)], "output_layers": [history(end)]}
    return KerasModel(made, {"class_name": "Functional", "config": {"name": "net", "layers": made, **ends}}, version)
