"""The exactness certificate of a convolution's case, from the words of the case alone (SPEC.md V4, E).

Standard library and numpy only: a set is written with its certificates, and whoever checks it forms them anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bitrow.config import ConvConfig
from bitrow.exactness import FORWARD, GRADIENT, certify_direction

_DIRECTIONS = {"conv.forward": FORWARD, "conv.backward": GRADIENT}
_SCALES = {FORWARD: ("x_inv_scale", "scale"), GRADIENT: ("dy_inv_scale", "dx_scale")}

PARAMETERS = frozenset({"weight_code", *(name for names in _SCALES.values() for name in names)})


def certificate(name: str, operation: str, config: Any, words: Mapping[str, np.ndarray]) -> dict[str, Any] | None:
    """The manifest's entry for the case `name`, None for a case of no convolution.

    `words` holds those of its `PARAMETERS` that the case has, as integers.
    """
    direction = _DIRECTIONS.get(operation)
    if direction is None or not isinstance(config, ConvConfig) or "weight_code" not in words:
        return None
    inv_scale, scale = (words.get(key) for key in _SCALES[direction])
    return certify_direction(name, config, direction, words["weight_code"], inv_scale, scale).to_json()
