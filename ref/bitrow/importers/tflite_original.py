"""A TFLite file run by LiteRT's interpreter, without its fused kernels, with every tensor kept."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bitrow.errors import BitrowError
from bitrow.extras import extra
from bitrow.importers.tflite_file import INT8, TFLITE, TfliteFile
from bitrow.importers.tflite_graph import tensor_names
from bitrow.reading import read_bytes


def run_tflite(
    path: Path, images: np.ndarray, values: Iterable[str], layouts: Mapping[str, tuple[str, ...]]
) -> dict[str, np.ndarray]:
    """Tensors of the file by name, as f32[n,h,w,c] or f32[n,c], for images f32[n,h,w,c], one after another.

    Raises:
        BitrowError: LiteRT is not installed, or refuses the file.
    """
    file = TfliteFile(path)
    if any(one.kind == INT8 and one.data is None for one in file.tensors):
        raise BitrowError(f"{path}: found maps of INT8, which the original has as codes, expected FLOAT32: no check")
    runtime = extra("litert", "ai_edge_litert.interpreter", "ai-edge-litert")
    places = {name: place for place, name in enumerate(tensor_names(file))}
    wanted = list(dict.fromkeys(values))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that tensors are kept
            kind = runtime.OpResolverType.BUILTIN_REF
            model = runtime.Interpreter(model_content=read_bytes(path, TFLITE), experimental_op_resolver_type=kind,
                                        experimental_preserve_all_tensors=True)  # fmt: skip
        model.allocate_tensors()
        found = [_run_one(model, image, [places[name] for name in wanted], file) for image in images]
    except Exception as error:  # LiteRT's own kinds
        reason = " ".join(str(error).split())[:160]
        raise BitrowError(f"{path}: LiteRT refuses it ({reason}), expected it to run") from None
    made = {name: np.concatenate([one[at] for one in found]) for at, name in enumerate(wanted)}
    return {name: _as_map(value, layouts[name]) for name, value in made.items()}


def _run_one(model: Any, image: np.ndarray, places: list[int], file: TfliteFile) -> list[np.ndarray]:
    model.set_tensor(file.inputs[0], image.reshape(file.tensors[file.inputs[0]].shape).astype(np.float32))
    model.invoke()
    return [np.array(model.get_tensor(place)) for place in places]


def _as_map(value: np.ndarray, axes: tuple[str, ...]) -> np.ndarray:
    if sorted(axes) == ["c", "h", "n", "w"] and value.ndim == 4:
        return value.transpose(*(axes.index(letter) for letter in "nhwc"))
    return value.reshape(len(value), -1)
