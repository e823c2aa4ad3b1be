"""A row engine that knows a trace's files and SPEC.md, and nothing of bitrow: it loads the banks' images, does what
every row task does, by numpy, and holds each row that it writes, and each image, against the files.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

HALF = np.float16
Row = tuple[str, int, int]  # ring, image, row


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read_parameters(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file: eight bytes of length, a header in JSON, what it points to."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    types = {"F16": "<f2", "F32": "<f4", "I8": "<i1", "I32": "<i4", "U16": "<u2"}
    found = {}
    for name, entry in json.loads(content[8:start]).items():
        if name != "__metadata__":
            low, high = (start + at for at in entry["data_offsets"])
            found[name] = np.frombuffer(content[low:high], types[entry["dtype"]]).reshape(entry["shape"])
    return found


def read_stream(folder: Path, stream: dict[str, Any]) -> np.ndarray:
    lines = (folder / "rows" / f"{stream['name']}.hex").read_text().split()
    words = np.array([int(line, 16) for line in lines], np.int64)
    return words.reshape(stream["images"], stream["rows"], stream["words"])


def read_image(path: Path) -> dict[int, int]:
    """The words of a `$readmemh` file by address; a word of x is none."""
    first, *lines = path.read_text().split()
    assert first == "@0"
    return {address: int(line, 16) for address, line in enumerate(lines) if set(line) != {"x"}}


def tree(values: np.ndarray) -> np.ndarray:
    """B2's pairwise tree along the first axis, in float32."""
    values = values.astype(np.float32)
    size = 1 << max(0, len(values) - 1).bit_length()
    values = np.concatenate([values, np.zeros((size - len(values), *values.shape[1:]), np.float32)])
    while len(values) > 1:
        values = values[0::2] + values[1::2]
    return values[0]


def quantize(row: np.ndarray, inverse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q1 to Q4 for signed codes of 4 bits."""
    rounded = np.rint((row * HALF(inverse)).astype(np.float64))
    return np.clip(rounded, -8, 7).astype(np.int64), (rounded >= -8) & (rounded <= 7)


def product(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """An exact product, rounded once to FP16."""
    return (np.asarray(one, np.float64) * np.asarray(other, np.float64)).astype(HALF)


class RowEngine:
    """One run of a trace: `run` does all tasks; `checked_rows`, `checked_words` count what was held against files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.case = json.loads((folder / "case.json").read_text())
        self.parameters = read_parameters(folder / "model.safetensors")
        self.nodes = {node["name"]: node for node in self.case["network"]["nodes"]}
        self.streams = {stream["name"]: stream for stream in self.case["streams"]}
        self.words = {name: read_stream(folder, stream) for name, stream in self.streams.items()}
        self.stages = {stage["name"]: stage for stage in self.case["stages"]}
        self.places = list(self.nodes)
        self.channels = self._channels()
        self.accesses = defaultdict(list)
        for line in read_table(folder / "accesses.csv"):
            self.accesses[line["task"]].append(line)
        self.rows = {(r["ring"], int(r["image"]), int(r["row"])): r for r in read_table(folder / "rows.csv")}
        self.banks: list[dict[int, int]] = []
        self.beside: dict[Row, np.ndarray] = {}  # the queue from FXP to FP array, and its sums
        self.checked_rows = self.checked_words = 0

    def _channels(self) -> dict[str, int]:
        found = {"input": self.case["network"]["input_shape"][2]}
        for name, node in self.nodes.items():
            size = node["size"] or {}
            found[name] = size.get("c_out", found[node["inputs"][0]])
        return found

    # Time: what ends in a cycle is written before what starts in it reads.

    def run(self) -> None:
        tasks = read_table(self.folder / "tasks.csv")
        events = sorted([(int(t["start"]), 1, n) for n, t in enumerate(tasks)]
                        + [(int(t["end"]), 0, n) for n, t in enumerate(tasks)])  # fmt: skip
        under_way: dict[int, list[tuple[Row, np.ndarray]]] = {}
        images = {int(path.name): path for path in (self.folder / "banks").iterdir()}
        for place, (cycle, starts, number) in enumerate(events):
            if starts:
                under_way[number] = self._task(tasks[number])
                continue
            for key, row in under_way.pop(number):
                self._write(key, row)
            if place + 1 == len(events) or events[place + 1][:2] != (cycle, 0):
                self._load(images[cycle], cycle)
        assert not under_way

    def _load(self, folder: Path, cycle: int) -> None:
        """The banks are what the images say; then they are loaded, so that what is dead is gone."""
        loaded = [read_image(path) for path in sorted(folder.iterdir())]
        for bank, image in enumerate(loaded):
            for address, word in image.items():
                assert self.banks[bank][address] == word, (cycle, bank, address)
                self.checked_words += 1
        self.banks = loaded

    def _write(self, key: Row, row: np.ndarray) -> None:
        stream, place = self.streams[key[0]], self.rows.get(key)
        if place is None:
            self.beside[key] = row
            return
        words = self._encoded(stream, row)
        value = sum(int(word) << at * stream["bank_bits"] for at, word in enumerate(words))
        width = self.case["machine"]["bank_width"]
        while len(self.banks) <= int(place["bank"]):
            self.banks.append({})
        for at in range(int(place["words"])):
            self.banks[int(place["bank"])][int(place["address"]) + at] = value >> at * width & (1 << width) - 1

    def _encoded(self, stream: dict[str, Any], row: np.ndarray) -> np.ndarray:
        flat = row.reshape(-1)
        if stream["encoding"] == "packed":
            nibbles = np.append(flat & 15, np.zeros(flat.size % 2, np.int64))
            return nibbles[0::2] | nibbles[1::2] << 4
        return flat.view(f"u{flat.itemsize}") if flat.dtype.kind == "f" else flat

    def _taken(self, access: dict[str, str]) -> np.ndarray:
        """A row as a task reads it from its bank: its elements."""
        stream, width = self.streams[access["ring"]], self.case["machine"]["bank_width"]
        place = self.rows[access["ring"], int(access["image"]), int(access["row"])]
        assert (place["bank"], place["address"]) == (access["bank"], access["address"])
        value = 0
        for at in range(int(access["words"])):
            value |= self.banks[int(access["bank"])][int(access["address"]) + at] << at * width
        bits = stream["bank_bits"]
        words = np.array([value >> at * bits & (1 << bits) - 1 for at in range(stream["words"])], np.int64)
        if stream["encoding"] == "packed":
            nibbles = np.stack([words & 15, words >> 4], axis=1).reshape(-1)[: stream["elements"]]
            return (nibbles ^ 8) - 8
        return words.astype(np.uint16).view(HALF) if stream["encoding"] == "fp16" else words

    # Tasks: what one reads, what it makes of it, what it writes.

    def _task(self, task: dict[str, str]) -> list[tuple[Row, np.ndarray]]:
        stage, image, row = self.stages[task["stage"]], int(task["image"]), int(task["row"])
        reads = [(a, self._taken(a)) for a in self.accesses[task["task"]] if a["access"] == "read"]
        does = {"forward head": self._head, "forward chain": self._chain, "backward chain": self._back,
                "backward head": self._back_head}[task["kind"]]  # fmt: skip
        made = does(stage, image, row, reads)
        written = {(a["ring"], int(a["image"]), int(a["row"])) for a in self.accesses[task["task"]]
                   if a["access"] == "write"}  # fmt: skip
        assert written == {key for key in made if key in self.rows}
        for key, value in made.items():
            if key[0] != "pool.sum":  # has its last words when its last row is added
                words = self._encoded(self.streams[key[0]], value)
                assert np.array_equal(words, self.words[key[0]][key[1], key[2]]), key
                self.checked_rows += 1
        return list(made.items())

    def _window(self, reads: list, holds: str) -> dict[int, np.ndarray]:
        return {int(a["row"]): row for a, row in reads if self.streams[a["ring"]]["holds"] == holds}

    def _head(self, stage: dict, image: int, row: int, reads: list) -> dict[Row, np.ndarray]:
        name = stage["layers"][0]
        rows = self._window(reads, "input rows")
        if "padding" in self.nodes[name]["config"] and "size" in self.nodes[name] and self.nodes[name]["size"]:
            return {(f"{name}.deq", image, row): self._convolved(name, rows, row)}
        values = tree(rows[row].reshape(-1, self.channels[name]))
        before = self.beside.get((f"{name}.sum", image, 0), np.zeros_like(values)) if row else np.zeros_like(values)
        self.beside[f"{name}.sum", image, 0] = before + values
        return {(f"{name}.sum", image, 0): before + values}

    def _convolved(self, name: str, rows: dict[int, np.ndarray], row: int) -> np.ndarray:
        weights, stride, padding = self._kernel(name)
        channels = weights.shape[2]
        width = len(next(iter(rows.values()))) // channels
        columns = (width + 2 * padding - weights.shape[1]) // stride + 1
        acc = np.zeros((columns, weights.shape[3]), np.int64)
        for kh, kw in np.ndindex(weights.shape[:2]):
            codes = rows.get(row * stride - padding + kh)
            for column in range(columns):
                at = column * stride - padding + kw
                if codes is not None and 0 <= at < width:
                    acc[column] += codes.reshape(width, channels)[at] @ weights[kh, kw].astype(np.int64)
        return product(acc, self.parameters[f"{name}.scale"])

    def _kernel(self, name: str) -> tuple[np.ndarray, int, int]:
        config = self.nodes[name]["config"]
        return self.parameters[f"{name}.weight_code"], config["stride"], config["padding"]

    def _chain(self, stage: dict, image: int, row: int, reads: list) -> dict[Row, np.ndarray]:
        made: dict[Row, np.ndarray] = {}
        z = self.words["host.images"][image, row].astype(np.uint16).view(HALF)
        for place, name in enumerate(stage["layers"]):
            kind = self.nodes[name]["config"]["type"]
            if place == 0:
                z = self._headed(name, kind, image, row, reads, made)
            elif kind == "BatchNormConfig":
                a, b = (self.parameters[f"{name}.{field}"] for field in "ab")
                z = (a * z.reshape(-1, len(a)) + b).reshape(-1)
            elif kind == "ReluConfig":
                made[f"{stage['name']}.{name}.mask", image, row] = (z.reshape(-1) > 0).astype(np.int64)
                z = np.where(z > 0, z, HALF(0))
            else:
                (skip,) = self._window(reads, "skip rows").values()
                z = z.reshape(-1) + skip
        output = stage["layers"][-1] if stage["layers"] else "input"
        made.update(self._sent(output, z.reshape(-1), image, row))
        return made

    def _headed(self, name: str, kind: str, image: int, row: int, reads: list, made: dict) -> np.ndarray:
        if kind == "ConvConfig":
            return self.beside.pop((f"{name}.deq", image, row))
        if kind == "AvgPoolConfig":
            return product(self.beside.pop((f"{name}.sum", image, 0)), self._share())
        rows = self._window(reads, "input rows")
        if kind == "MaxPoolConfig":
            slab = np.stack([rows[2 * row + kh].reshape(-1, self.channels[name]) for kh in range(2)])
            columns = slab.shape[1] // 2
            windows = slab[:, : 2 * columns].reshape(2, columns, 2, -1).transpose(0, 2, 1, 3).reshape(4, columns, -1)
            made[f"{name}.index", image, row] = windows.argmax(axis=0).reshape(-1)
            return windows.max(axis=0).reshape(-1)
        weight, bias = (self.parameters[f"{name}.{field}"] for field in ("weight", "bias"))
        sums = tree(rows[0].astype(np.float32)[:, None] * weight.astype(np.float32))
        return (sums.astype(np.float64) + bias.astype(np.float64)).astype(HALF)

    def _share(self) -> np.ndarray:
        """1/n of the whole map that the average pool sees, in float32."""
        stream = self.streams["pool.x"]
        return np.float32(1) / np.float32(stream["rows"] * stream["elements"] // self.channels["pool"])

    def _sent(self, value: str, z: np.ndarray, image: int, row: int) -> dict[Row, np.ndarray]:
        """A stage's row to each of its readers, as the reader holds it."""
        made = {}
        for name, stream in self.streams.items():
            layer, holds = stream["layer"], stream["holds"]
            if holds in ("input rows", "quantizer masks", "skip rows"):
                inputs = self.nodes[layer]["inputs"]
                if (inputs[-1] if holds == "skip rows" else inputs[0]) != value:
                    continue
                if self.nodes[layer]["config"]["type"] == "ConvConfig":
                    codes, mask = quantize(z, self.parameters[f"{layer}.x_inv_scale"])
                    made[name, image, row] = codes if holds == "input rows" else mask.astype(np.int64)
                else:
                    made[name, image, row] = z
            elif holds == "outputs" and value == self.case["network"]["output"]:
                made[name, image, row] = z
        return made

    def _back(self, stage: dict, image: int, row: int, reads: list) -> dict[Row, np.ndarray]:
        made: dict[Row, np.ndarray] = {}
        dy = self._gradient(image, row, reads)
        of = [(self.streams[a["ring"]], values) for a, values in reads]
        masks = {stream["layer"]: mask for stream, mask in of if stream["holds"] == "ReLU masks"}
        for place, name in reversed(list(enumerate(stage["layers"]))):
            kind = self.nodes[name]["config"]["type"]
            if place == 0:
                if kind == "ConvConfig":
                    dy, _ = quantize(dy, self.parameters[f"{name}.dy_inv_scale"])
                made[f"{name}.dy", image, row] = dy
            elif kind == "BatchNormConfig":
                a = self.parameters[f"{name}.a"]
                dy = (a * dy.reshape(-1, len(a))).reshape(-1)
            elif kind == "ReluConfig":
                dy = np.where(masks[name] == 1, dy, HALF(0))
            else:
                made[f"{stage['name']}.{name}.skip_dx", image, row] = dy
        if not stage["layers"]:
            made["input.dx", image, row] = dy
        return made

    def _gradient(self, image: int, row: int, reads: list) -> np.ndarray:
        """The readers' gradients, the last in the network first (A5); the host's at the network's end."""
        found = [(self.places.index(self.streams[a["ring"]]["layer"]), values) for a, values in reads
                 if self.streams[a["ring"]]["holds"] == "input gradient rows"]  # fmt: skip
        if not found:
            return self.words["host.dlogits.head"][image, row].astype(np.uint16).view(HALF)
        total, *others = [values for _, values in sorted(found, key=lambda one: -one[0])]
        for other in others:
            total = total + other
        return total

    def _back_head(self, stage: dict, image: int, row: int, reads: list) -> dict[Row, np.ndarray]:
        name = stage["layers"][0]
        kind, rows = self.nodes[name]["config"]["type"], self._window(reads, "output gradient rows")
        if kind == "ConvConfig":
            (mask,) = self._window(reads, "quantizer masks").values()
            dx = np.where(mask == 1, self._spread(name, rows, row), HALF(0))
        elif kind == "AvgPoolConfig":
            columns = self.streams["pool.x"]["elements"] // self.channels[name]
            dx = np.tile(product(rows[0], self._share()), columns)
        elif kind == "MaxPoolConfig":
            dx = self._won(name, rows, self._window(reads, "max pool winners"), row)
        else:
            weight = self.parameters[f"{name}.weight"].astype(np.float32)
            dx = tree((rows[0].astype(np.float32)[None, :] * weight).T).astype(HALF)
        return {(f"{name}.dx", image, row): dx}

    def _won(self, name: str, rows: dict, winners: dict, row: int) -> np.ndarray:
        channels = self.channels[name]
        columns = self.streams[f"{name}.x"]["elements"] // channels
        dx = np.zeros((columns, channels), HALF)
        for at, dy in rows.items():
            index = winners[at].reshape(-1, channels)
            for (column, channel), won in np.ndenumerate(index):
                if row == 2 * at + won // 2:
                    dx[2 * column + won % 2, channel] = dy.reshape(-1, channels)[column, channel]
        return dx.reshape(-1)

    def _spread(self, name: str, rows: dict[int, np.ndarray], row: int) -> np.ndarray:
        weights, stride, padding = self._kernel(name)
        columns = self.streams[f"{name}.x"]["elements"] // weights.shape[2]
        acc = np.zeros((columns, weights.shape[2]), np.int64)
        for at, codes in rows.items():
            kh = row + padding - at * stride
            for out, code in enumerate(codes.reshape(-1, weights.shape[3])):
                for column in range(columns):
                    kw = column + padding - out * stride
                    if 0 <= kh < weights.shape[0] and 0 <= kw < weights.shape[1]:
                        acc[column] += weights[kh, kw].astype(np.int64) @ code
        return product(acc, self.parameters[f"{name}.dx_scale"]).reshape(-1)
