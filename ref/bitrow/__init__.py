"""bitrow: a bit-accurate reference and verification suite for a row-pipelined FXP4/FP16 training accelerator.

Submodules load on first use, so that reading vectors needs no JAX. `bitrow.fp16` is `bitrow.ops.fp16`.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__version__ = "0.1.0"

_LAZY = {
    name: f"bitrow.{name}"
    for name in ("formats", "config", "oracle", "ops", "layers", "network", "zoo", "vectors", "testing")
}
_LAZY |= {name: f"bitrow.ops.{name}" for name in ("fp16", "flags", "fxp", "lfsr")}


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY:
        return importlib.import_module(_LAZY[name])
    raise AttributeError(f"module 'bitrow' has no attribute '{name}'")
