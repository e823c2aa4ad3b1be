"""Freeze policies: what of a network is trained, as labels for optax (SPEC.md C4).

Every policy trains the head, whose classes are the target's (of several outputs, each head). `bias` adds the batch
norms' shifts (and convolutions' and hidden Linears' biases), `norm` all of the batch norms, `lite_residual` branches
beside the frozen blocks, `prompt` a perturbation of the input, `lsq` or `pact` the scales of the convolutions' inputs
(`learned_scales`), `last_K` the last K convolutions with their batch norms and every Linear, `sparse_KIB` what
contributes most within a budget of memory (`sparse`), and `full` everything. They combine by `+`, as in
`bias+lite_residual`. The accelerator has no weight-gradient path: where convolutions train, their gradients are the
host's, in float32.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import optax

from bitrow.errors import BitrowError
from bitrow.formats import Fxp
from bitrow.graph import Network, consumers, convolutions
from bitrow.layers.table import layer
from bitrow.transfer.accounting_reach import BRANCHES, LAYERS, PROMPT, SCALES, Reach, parameter_shapes, scale_shapes
from bitrow.transfer.network_module import NetworkModule, SparseUpdate
from bitrow.transfer.numerics import ScaleRule, TrainedWeights

TRAIN, FREEZE = "train", "freeze"
NAMES = ("head", "bias", "lite_residual", "prompt", "last_1", "full")
_PARTS = ("head", "bias", "norm", "lite_residual", "prompt", "lsq", "pact", "last_K", "sparse_KIB", "full")
_SPARSE = re.compile(r"sparse_([0-9]{1,6}(?:\.[0-9]{1,6})?)")
_LAST = re.compile(r"last_([1-9][0-9]{0,8})")
_FIELDS = {"bias": ("shift", "bias", "beta"), "norm": ("scale", "shift", "gamma", "beta")}


@dataclass(frozen=True)
class Policy:
    """A policy by name; `last` counts the convolutions that `last_K` trains, and is 0 for the others.

    `budget`: KiB that `sparse_KIB` may keep of an image for its backward pass, 0 for the others.
    """

    name: str
    last: int = 0
    budget: float = 0.0

    @property
    def parts(self) -> tuple[str, ...]:
        """What the name combines."""
        return tuple(self.name.split("+"))


def parse(name: str) -> Policy:
    """The policy called `name`.

    Raises:
        BitrowError: an unknown name, or one twice; two rules for one scale; a sparse update with other policies, whose
            memory has no budget.
    """
    last, budget, seen = 0, 0.0, set[str]()
    for part in name.split("+"):
        found = _LAST.fullmatch(part)
        within = _SPARSE.fullmatch(part)
        kind = "last_K" if found else "sparse_KIB" if within else part
        if kind not in _PARTS or (kind == part and kind in ("last_K", "sparse_KIB")):
            raise BitrowError(f"policy: found {name!r}, expected {', '.join(_PARTS)}, or some joined by +")
        if kind in seen:
            raise BitrowError(f"policy: found {name!r}, expected {kind} once")
        seen.add(kind)
        last = int(found[1]) if found else last
        budget = float(within[1]) if within else budget
    if {rule.value for rule in ScaleRule} <= seen:
        raise BitrowError(f"policy: found {name!r}, expected lsq or pact: a scale trains by one rule")
    if "sparse_KIB" in seen and not budget:
        raise BitrowError(f"policy: found {name!r}, expected a budget of more than 0 KiB")
    if "sparse_KIB" in seen and seen - {"sparse_KIB", "head"}:
        raise BitrowError(f"policy: found {name!r}, expected a sparse update without other policies")
    return Policy(name, last, budget)


def prepare(module: NetworkModule, policy: Policy, seed: int, power_of_two: bool = False) -> None:
    """Add to the module what the policy trains beside the network; branches are drawn from `seed`.

    Learned scales are FP16 numbers, or powers of two; in float32 there are none.
    """
    rules = [rule for rule in ScaleRule if rule.value in policy.parts]
    if rules and not module.in_float:
        module.learn_scales(power_of_two, rules[0])
    if "lite_residual" in policy.parts:
        module.add_branches(seed)
    if "prompt" in policy.parts:
        module.add_prompt()


def trained(
    network: Network, policy: Policy, names: Iterable[str], sparse: SparseUpdate | None = None
) -> frozenset[str]:
    """Which of the parameters called `names` (`network_module.Parts.params`) the policy trains.

    `sparse`: what was chosen for a module (`sparse.apply`), for a policy with a budget.

    Raises:
        BitrowError: `last_K` of more convolutions than there are, or no head to train.
    """
    if sparse is not None and policy.budget:
        return sparse.names & frozenset(names)
    heads = [node.name for node in network.nodes if layer(node.config).flat]
    if not heads:
        raise BitrowError(f"{network.name}: found no head, expected one for policy {policy.name}")
    last = [name for name in heads if name in network.outputs] or heads[-1:]
    layers = {*(heads if policy.last else last), *_last(network, policy)}
    fields = {field for part in policy.parts for field in _FIELDS.get(part, ())}

    def chosen(name: str) -> bool:
        kind, *path = name.split("/")
        if kind != "layers" or path[0] in layers or "full" in policy.parts:
            return True
        return path[1] in fields or path[1] in SCALES  # it is there where it is trained

    return frozenset(name for name in names if chosen(name))


def coded(network: Network, names: Iterable[str], weights: TrainedWeights) -> tuple[tuple[str, Fxp], ...]:
    """The weights of convolutions among the parameters called `names`, with their formats; none of masters."""
    chosen = frozenset(names) if weights is not TrainedWeights.MASTERS else frozenset()
    found = ((f"{LAYERS}/{conv.name}/weight", conv.config.weight_format) for conv in convolutions(network))
    return tuple((name, fmt) for name, fmt in found if name in chosen)


def reached(network: Network, policy: Policy) -> frozenset[str]:
    """The values whose gradient the policy needs, layers' names or `graph.INPUT`: how far the backward pass goes.

    Raises:
        BitrowError: as `trained`; a sparse update, whose layers follow from images.
    """
    if policy.budget:
        raise BitrowError(f"policy: found {policy.name!r}, expected one whose layers follow from the network alone")
    beside = {BRANCHES: "lite_residual", PROMPT: "prompt"}
    known = [name for name in parameter_shapes(network)
             if beside.get(name.split("/")[0], policy.parts[0]) in policy.parts]  # fmt: skip
    scales = scale_shapes(network) if {"lsq", "pact"} & set(policy.parts) else ()
    return Reach(network, trained(network, policy, [*known, *scales])).values


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
