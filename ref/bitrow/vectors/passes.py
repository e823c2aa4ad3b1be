"""The cases of a network's training pass: of which network, on which images, which of its layers (SPEC.md V4, V5)."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bitrow import lookup
from bitrow.errors import BitrowError
from bitrow.lookup import InputSize
from bitrow.vectors.problem import Problem

if TYPE_CHECKING:
    from bitrow.graph import Network
    from bitrow.model_file import Model

MODEL = "resnet8_digits"  # of the suites


class PassPart(enum.Enum):
    """Which cases of a pass: those of its layers, that of the whole network, or both."""

    ALL = "all"
    LAYERS = "layers"
    WHOLE = "whole"


@dataclass(frozen=True)
class PassChoice:
    """A training pass of `network` (as `lookup.find_network`'s) at `input_size`, and which cases of it are wanted.

    It runs on at most `limit_images` samples from `first_image` on, in one batch: on the model's own, or drawn ones, or
    the first ones of `images`, a path as `images.read_samples`' is. `layers`: the cases of these layers alone. Only a
    shipped model has a case of the whole network: a set holds no parameters of another.

    Raises:
        BitrowError: no images.
    """

    network: str
    input_size: InputSize | None = None
    images: Path | None = None
    limit_images: int = 1
    layers: tuple[str, ...] = ()
    part: PassPart = PassPart.ALL
    first_image: int = 0

    def __post_init__(self) -> None:
        if self.limit_images < 1 or self.first_image < 0:
            raise BitrowError(f"images of a pass: found {self.limit_images} from {self.first_image}, expected 1 from 0")


def _prefix(choice: PassChoice, network: Network) -> str:
    """Of the cases' names; short, as it is in every file's name."""
    if choice.network == MODEL:
        return f"digit{choice.first_image}"
    return network.name if lookup.is_file(choice.network) else choice.network


def _has_whole(choice: PassChoice, network: Network) -> bool:
    """Whether the case of the whole network is wanted.

    Raises:
        BitrowError: it is asked for and there is none.
    """
    from bitrow import models

    shipped = choice.network in models.names() and models.load(choice.network).network == network
    if choice.part is PassPart.WHOLE and (not shipped or choice.layers):
        raise BitrowError(f"part of {choice.network}: found whole, expected it of a shipped model at its own input "
                          "size and without single layers")  # fmt: skip
    return shipped and not choice.layers and choice.part is not PassPart.LAYERS


def _chosen(choice: PassChoice, network: Network) -> list[str]:
    from bitrow.vectors.judge import networks

    prefix = _prefix(choice, network)
    found = [] if choice.part is PassPart.WHOLE else networks.case_names(network, prefix)
    if choice.layers:
        kinds = ("forward", "backward", "fan_out")
        wanted = {f"{prefix}_{network.node(name).name}_{kind}" for name in choice.layers for kind in kinds}
        found = [name for name in found if name in wanted]
    return [*found, f"{prefix}_whole"] if _has_whole(choice, network) else found


def case_names(choice: PassChoice) -> list[str]:
    """The names of the cases that `problems` yields, without computing any.

    Raises:
        BitrowError: as `problems`.
    """
    return _chosen(choice, lookup.find_network(choice.network, choice.input_size))


def _span(choice: PassChoice, model: Model) -> slice:
    """Places of the samples."""
    found = 0 if model.samples is None else len(model.samples.images)
    return slice(choice.first_image, max(choice.first_image + 1, min(choice.first_image + choice.limit_images, found)))


def problems(choice: PassChoice, seed: int) -> Iterator[Problem]:
    """The problems of a pass, each layer's inputs as the layers before it computed them; then the whole network's.

    The layers of a network that is not shipped may be large: the oracle computes a sample of their rows (SPEC.md V5),
    and the network is run whole beside its layers. `seed` draws what a network has not.

    Raises:
        BitrowError: no such network or layer; a model file or images that cannot be read, or too few of them; the
            network run whole gives other words than its layers one by one.
    """
    count = choice.first_image + choice.limit_images
    model = lookup.find_model(choice.network, choice.input_size, seed, count, choice.images)
    return _walk(choice, model)  # what cannot be read is refused at once


def _walk(choice: PassChoice, model: Model) -> Iterator[Problem]:
    from bitrow import models
    from bitrow.vectors import generate
    from bitrow.vectors.judge import networks

    prefix, shipped = _prefix(choice, model.network), choice.network in models.names()
    left = _chosen(choice, model.network)
    whole = left.pop() if _has_whole(choice, model.network) else ""
    compare = choice.part is PassPart.ALL and not whole and not choice.layers
    images = _span(choice, model)
    if left:
        walk = networks.problems(model, prefix, images, generate.run_problem, whole=shipped, compare=compare)
        for problem in walk:
            if problem.name in left:
                left.remove(problem.name)
                yield problem
            if not left and not compare:
                break
    if whole:
        yield networks.pass_problem(choice.network, model, whole, images)
