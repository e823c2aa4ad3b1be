"""Freeze policies: what of a network is trained, as labels for optax (SPEC.md C4).

Every policy trains the head, whose classes are the target's. `bias` adds the batch norms' shifts (and
convolutions' biases), `lite_residual` branches beside the frozen blocks, `prompt` a perturbation of the input,
`last_K` the last K convolutions with their batch norms, and `full` everything. The accelerator has no
weight-gradient path: where `last_K` and `full` train convolutions, their gradients are the host's, in float32.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import optax

from bitrow.errors import BitrowError
from bitrow.graph import Network, consumers, convolutions
from bitrow.layers.table import layer
from bitrow.transfer.network_module import NetworkModule

TRAIN, FREEZE = "train", "freeze"
NAMES = ("head", "bias", "lite_residual", "prompt", "last_1", "full")
_LAST = re.compile(r"last_([1-9][0-9]{0,8})")


@dataclass(frozen=True)
class Policy:
    """A policy by name; `last` counts the convolutions that `last_K` trains, and is 0 for the others."""

    name: str
    last: int = 0


def parse(name: str) -> Policy:
    """The policy called `name`.

    Raises:
        BitrowError: an unknown name.
    """
    found = _LAST.fullmatch(name)
    if found:
        return Policy(name, int(found[1]))
    if name not in NAMES:
        raise BitrowError(f"policy: found {name!r}, expected head, bias, lite_residual, prompt, last_K or full")
    return Policy(name)


def prepare(module: NetworkModule, policy: Policy, seed: int) -> None:
    """Add to the module what the policy trains beside the network; branches are drawn from `seed`."""
    if policy.name == "lite_residual":
        module.add_branches(seed)
    elif policy.name == "prompt":
        module.add_prompt()


def trained(network: Network, policy: Policy, names: Iterable[str]) -> frozenset[str]:
    """Which of the parameters called `names` (`network_module.Parts.params`) the policy trains.

    Raises:
        BitrowError: `last_K` of more convolutions than there are, or no head to train.
    """
    heads = {node.name for node in network.nodes if layer(node.config).flat}
    if not heads:
        raise BitrowError(f"{network.name}: found no head, expected one for policy {policy.name}")
    layers = heads | _last(network, policy)

    def chosen(name: str) -> bool:
        kind, *path = name.split("/")
        if kind != "layers" or path[0] in layers or policy.name == "full":
            return True
        return policy.name == "bias" and path[1] in ("shift", "bias", "beta")

    return frozenset(name for name in names if chosen(name))


def _last(network: Network, policy: Policy) -> set[str]:
    if not policy.last:
        return set()
    convs = [conv.name for conv in convolutions(network)]
    if policy.last > len(convs):
        raise BitrowError(f"policy {policy.name}: found {network.name} with {len(convs)} convolutions, expected more")
    chosen = set(convs[-policy.last :])
    readers = consumers(network)
    norms = {reader for name in chosen for reader in readers[name]}
    return chosen | {name for name in norms if layer(network.node(name).config).twin.normalizes}


def labels(params: Mapping[str, object], names: Iterable[str]) -> dict[str, str]:
    """A label tree for optax: TRAIN for the parameters called `names`, FREEZE for the others."""
    chosen = frozenset(names)
    return {name: TRAIN if name in chosen else FREEZE for name in params}


def frozen_but(optimizer: optax.GradientTransformation, tree: Mapping[str, str]) -> optax.GradientTransformation:
    """`optimizer` for what the label tree trains, zero updates for the rest."""
    return optax.partition({TRAIN: optimizer, FREEZE: optax.set_to_zero()}, dict(tree))
