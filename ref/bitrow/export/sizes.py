"""The sizes that an operation's C function is told, from what is given to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bitrow.config import DepthToSpaceConfig, UpsampleConfig
from bitrow.contract.operation import Config, Operation
from bitrow.export import body, configs


def sizes(operation: Operation, config: Config, given: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Elements along each axis of `body.given_axes`: of what is given, and of results as they will be."""
    found: dict[str, int] = {}
    for name, line in (operation.inputs | operation.parameters).items():
        words = given.get(name)
        if words is None or name in operation.static or words.ndim != len(line.axes):
            continue
        for axis, size in zip(line.axes, words.shape, strict=True):
            if axis not in found or name in operation.inputs:
                found.setdefault(axis, size)
    found |= _of_results(operation, config, given, found)
    return {axis: found[axis] for axis in body.given_axes(operation)}


def _of_results(
    operation: Operation, config: Any, given: Mapping[str, np.ndarray], known: Mapping[str, int]
) -> dict[str, int]:
    """Sizes that no input has: a result's rows and columns, a run's words, a row's bytes, channels joined."""
    axes, found = body.given_axes(operation), dict[str, int]()
    if "input_hw" in given:
        found |= dict(zip(("h", "w"), given["input_hw"].reshape(-1).tolist(), strict=True))
    found |= _enlarged(config, known)
    if "oh" in axes and "oh" not in {**known, **found}:
        found |= _windows(config, known)
    if "count" in given:
        found["element"] = int(given["count"].reshape(-1)[0])
    if "byte" in axes:
        row = known["w"] * known["c"]
        found["byte"] = row if config.bits > 4 else -(-row // 2)
    for axis in axes:
        parts = [size for own, size in known.items() if own.startswith(f"{axis}_")]
        if axis not in known and axis not in found and parts:
            found[axis] = sum(parts)
    return found


def _enlarged(config: Any, known: Mapping[str, int]) -> dict[str, int]:
    """Rows, columns and channels of the larger map from the smaller one's, or the other way round (A12, A13)."""
    if isinstance(config, UpsampleConfig):
        down, across, deep = config.rows, config.columns, 1
    elif isinstance(config, DepthToSpaceConfig):
        down, across, deep = config.block, config.block, config.block**2
    else:
        return {}
    if "oh" in known:
        return {"h": known["oh"] // down, "w": known["ow"] // across, "c_x": known.get("c_y", 0) * deep}
    return {"oh": known["h"] * down, "ow": known["w"] * across, "c_y": known.get("c_x", 0) // deep}


def _windows(config: Any, known: Mapping[str, int]) -> dict[str, int]:
    """Rows and columns that windows make of a map (C1, A2, A3), or a map of theirs (C5)."""
    settings = configs.values(config)
    kernel = (known["kh"], known["kw"]) if "kh" in known else settings["kernel"]
    found = {}
    for axis, (name, of) in enumerate((("oh", "h"), ("ow", "w"))):
        extent = kernel[axis] or known[of]
        reach = (extent - 1) * settings["dilation"][axis] + 1
        padding = sum(settings["padding"][2 * axis : 2 * axis + 2])
        if settings.get("transposed"):
            more = settings["output_padding"][axis]
            found[name] = (known[of] - 1) * settings["stride"][axis] + reach - padding + more
            continue
        found[name] = (known[of] + padding - reach) // (settings["stride"][axis] or extent) + 1
    return found
