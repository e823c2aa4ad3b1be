"""Model files whose header or graph is broken or out of all bounds: one line."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitrow import model_file
from hostile_samples import model, model_with, refused, refuses


def _tensors(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


_ENTRY = {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}
SAFETENSORS = {
    "huge header": struct.pack("<Q", 1 << 62) + b"{}",
    "long header": _tensors(b"{" + b" " * (9 << 20) + b"}"),
    "header of another kind": _tensors([]),
    "deep header": _tensors(b"[" * 1_000 + b"]" * 1_000),
    "name twice": _tensors(b'{"a": %s, "a": %s}' % ((json.dumps(_ENTRY).encode(),) * 2), bytes(2)),
    "long number": _tensors(b'{"a": ' + b"1" * 5_000 + b"}"),
    "huge shape": _tensors({"a": _ENTRY | {"shape": [1 << 40, 1 << 40]}}, bytes(2)),
    "gap": _tensors({"a": _ENTRY | {"data_offsets": [2, 4]}}, bytes(4)),
    "escape codes": _tensors({"\x1b[31m\0": _ENTRY}, bytes(2)),
    "strange dtype": _tensors({"a": _ENTRY | {"dtype": "BF16"}}, bytes(2)),
    "short": b"\0" * 7,
    "cut": model()[:-1],
    "longer": model() + b"\0",
    "no graph": _tensors({"__metadata__": {"bitrow": "[" * 1_000}}),
    "graph twice": _tensors({"__metadata__": {"bitrow": '{"version": 1, "version": 1}'}}),
}


@pytest.mark.parametrize("kind", SAFETENSORS)
def test_safetensors_are_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(SAFETENSORS[kind])
    refused("pipeline", path, words="m.safetensors")
    if kind != "no graph":
        from bitrow import zoo
        from bitrow.transfer.checkpoint import load_float

        refuses(lambda: load_float(path, zoo.resnet8((8, 8, 1), 5, 0.1)), "m.safetensors")


def _chain(many: int) -> Callable[[dict], object]:
    def edit(header: dict) -> None:
        node = {"type": "Node", "config": {"type": "ReluConfig", "six": False}, "size": None}
        names = ["input", *(f"r{place}" for place in range(many))]
        header["network"] |= {
            "nodes": [node | {"name": name, "inputs": [before]} for before, name in itertools.pairwise(names)],
            "output": names[-1],
        }

    return edit


def _first(field: str, value: int) -> Callable[[dict], object]:
    def edit(header: dict) -> None:
        node = header["network"]["nodes"][0]
        (node["config"] if field in node["config"] else node["size"])[field] = value

    return edit


GRAPHS: dict[str, tuple[Callable[[dict], object], str]] = {
    "a hundred thousand layers": (_chain(100_000), "bytes, more than 8,388,608"),
    "twenty thousand layers": (_chain(20_000), "found 20,000 items, expected at most 2,048"),
    "padding": (_first("padding", 10**9), "padding: found 1000000000, expected at most 65,536"),
    "padding of 65,536": (_first("padding", 65_536), "found a map of"),
    "stride": (_first("stride", 2**62), "stride: found 4611686018427387904, expected at most 65,536"),
    "groups": (_first("groups", 2**62), "expected a multiple of"),
    "kernel": (_first("kh", 2**40), "found weights of 1099511627776x3"),
    "channels": (_first("c_out", 10**9), "found weights of"),
    "input": (lambda h: h["network"].update(input_shape=[100_000, 100_000, 3]), "found a map of 100000x100000x3"),
    "long input": (lambda h: h["network"].update(input_shape=[10**30, 1, 1]), "found a map of"),
    "name": (lambda h: h["network"].update(name="x" * 200_000), "m.safetensors"),
    "names of nodes": (lambda h: h["network"]["nodes"][0].update(name="\x1b[31m\n"), "m.safetensors"),
    "bool for a number": (_first("padding", True), "padding: found True, expected an int"),  # type: ignore[arg-type]
    "float for a number": (_first("padding", 1.0), "padding: found 1.0, expected an int"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", GRAPHS)
def test_graphs_out_of_all_bounds_are_refused(tmp_path: Path, kind: str) -> None:
    edit, words = GRAPHS[kind]
    path = tmp_path / "m.safetensors"
    path.write_bytes(model_with(edit))
    refused("pipeline", path, words=words)


def test_the_longest_chain_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(model_with(_chain(2_048)))
    refused("pipeline", path, words="samples.images: found no such tensor")


@pytest.mark.parametrize("label", [-1, 99, 2**31 - 1])
def test_labels_of_samples_are_classes(tmp_path: Path, label: int) -> None:
    from safetensors.numpy import load

    path = tmp_path / "m.safetensors"
    arrays = load(model())
    arrays["samples.labels"] = np.full_like(arrays["samples.labels"], label)
    path.write_bytes(model_with(lambda header: None, arrays))
    refuses(lambda: model_file.load(path), f"samples.labels: found {label}, expected 0 to")
