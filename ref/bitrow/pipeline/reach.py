"""How far the backward pass goes: which values need a gradient, by what trains. Standard library only."""

from __future__ import annotations

from bitrow.errors import BitrowError
from bitrow.graph import INPUT, Network, shapes

# False: a forward pass alone; True: the gradient of every value, the image's too; or the names of what trains, layers
# or `graph.INPUT` (a prompt): then no gradient goes further than the lowest of them needs.
Training = bool | frozenset[str]


def trainable(network: Network) -> frozenset[str]:
    """The layers that have parameters to train: all that the host may update."""
    sizes = shapes(network)
    return frozenset(
        node.name
        for node in network.nodes
        if node.config.masters(node.size, sizes[node.inputs[0]], sizes[node.name][2])
    )


def every_layer(network: Network) -> Training:
    """Training of all layers that have parameters; of a network without any, every gradient."""
    return trainable(network) or True


def needed(network: Network, training: Training) -> frozenset[str]:
    """Values whose gradient is made: those of what trains, and all that are made of them.

    Raises:
        BitrowError: a name that the network does not have, or none at all.
    """
    if isinstance(training, bool):
        return frozenset((INPUT, *(node.name for node in network.nodes)) if training else ())
    unknown = sorted(training - {INPUT, *(node.name for node in network.nodes)})
    if unknown or not training:
        found = repr(unknown[0]) if unknown else "nothing"
        raise BitrowError(f"{network.name} trained: found {found}, expected layers such as {network.output!r}")
    values = set(training & {INPUT})
    for node in network.nodes:
        if node.name in training or not values.isdisjoint(node.inputs):
            values.add(node.name)
    return frozenset(values)
