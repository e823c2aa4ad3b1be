"""What a network's outputs give and take, where there are several: by name, or side by side. Shapes only, no JAX."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bitrow.errors import BitrowError
from bitrow.graph import Network, shapes


def words(network: Network) -> int:
    """Words of all outputs for one image."""
    return sum(math.prod(shapes(network)[name]) for name in network.outputs)


def by_name(network: Network, results: Any) -> dict[str, Any]:
    """What `network.forward` returns by name, of one output, too; in the network's order, which jit does not keep."""
    return {name: results[name] for name in network.outputs} if network.more_outputs else {network.output: results}


def split(network: Network, given: Any, what: str = "dlogits") -> dict[str, Any]:
    """Each output's part `[n, h, w, c]` of arrays by its name, or of one `[n, words]` that has them side by side, flat.

    Of one output, an array of its shape, or flat.

    Raises:
        BitrowError: naming the network, the output and `what`: a name too many or too few, another shape.
    """
    if not isinstance(given, Mapping):
        return _cut(network, given, what)
    names = ", ".join(network.outputs)
    if set(given) != set(network.outputs):
        raise BitrowError(f"{network.name} {what}: found those of {', '.join(given) or 'none'}, expected {names}")
    found = {name: _shaped(network, name, given[name], what) for name in network.outputs}
    counts = {len(part) for part in found.values()}
    if len(counts) > 1:
        raise BitrowError(f"{network.name} {what}: found {sorted(counts)} images, expected as many for {names}")
    return found


def _shaped(network: Network, name: str, part: Any, what: str) -> Any:
    shape = shapes(network)[name]
    flat = part.ndim == 2 and part.shape[1] == math.prod(shape)
    if not flat and part.shape[1:] != shape:
        found = list(part.shape)
        raise BitrowError(f"{network.name} {what} of {name}: found {found}, expected [n, {', '.join(map(str, shape))}]")
    return part.reshape(-1, *shape)


def _cut(network: Network, given: Any, what: str) -> dict[str, Any]:
    if len(network.outputs) == 1:
        return {network.output: _shaped(network, network.output, given, what)}
    if given.ndim != 2 or given.shape[1] != words(network):
        expected = f"[n, {words(network)}], or one by name for {', '.join(network.outputs)}"
        raise BitrowError(f"{network.name} {what}: found {list(given.shape)}, expected {expected}")
    found, at = {}, 0
    for name in network.outputs:
        shape = shapes(network)[name]
        found[name] = given[:, at : at + math.prod(shape)].reshape(-1, *shape)
        at += math.prod(shape)
    return found


def only(network: Network, what: str) -> str:
    """The network's one output.

    Raises:
        BitrowError: several, which `what` does not serve.
    """
    if network.more_outputs:
        raise BitrowError(f"{network.name}: found {len(network.outputs)} outputs, expected one for {what}")
    return network.output
