"""A network as a user names it, the same for every command: a shipped model, a named network, or a model file.

JAX loads with a model's parameters; named networks alone do without.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bitrow import zoo
from bitrow.errors import BitrowError
from bitrow.graph import Network

if TYPE_CHECKING:
    from bitrow.model_file import Model

SUFFIX = ".safetensors"  # of a model file
InputSize = tuple[int, int]  # rows and columns


def is_file(name: str) -> bool:
    """Whether a name is a model file's."""
    return name.endswith(SUFFIX)


def find_network(name: str, size: InputSize | None = None) -> Network:
    """The graph of a named network, a shipped model or a model file, for an input of `size`; None: its own.

    Raises:
        BitrowError: neither a name nor a file; a model file that cannot be read; a size that the layers, or their
            parameters, do not fit.
    """
    if name not in zoo.NETWORKS:
        return _resized(_read(name), name, size).network
    if size is None:
        return zoo.build(name)
    _check_size(size)
    return zoo.build(name, (*size, zoo.build(name).input_shape[2]))


def find_model(
    name: str, size: InputSize | None = None, seed: int = 1, count: int = 1, images: Path | None = None
) -> Model:
    """As `find_network`, with parameters and samples.

    Those of a named network are drawn from `seed`, with `count` samples. A model has its own; where it has no samples,
    or others than `size` asks for, `count` are drawn. With `images` the first `count` of them are its samples, as
    `images.read_samples` has them, and the gradients at the output are drawn.

    Raises:
        BitrowError: as `find_network`; images that cannot be read.
    """
    from bitrow.synthetic import drawn_samples

    model = _with_samples(name, size, seed, count)
    if images is None:
        return model
    from bitrow.images import read_samples

    taken = read_samples(images, model.network.input_shape, count)
    return model._replace(samples=drawn_samples(model.network, model.loss_scale, seed, images=taken))


def _with_samples(name: str, size: InputSize | None, seed: int, count: int) -> Model:
    from bitrow.synthetic import drawn_samples, synthetic

    if name in zoo.NETWORKS:
        return synthetic(find_network(name, size), seed, count)
    model = _resized(_read(name), name, size)
    if model.samples is not None:
        return model
    return model._replace(samples=drawn_samples(model.network, model.loss_scale, seed, count))


def _read(name: str) -> Model:
    from bitrow import model_file, models

    if name in models.names():
        return models.load(name)
    if is_file(name):
        return model_file.load(Path(name))
    known = ", ".join([*zoo.NETWORKS, *models.names()])
    raise BitrowError(f"network: found {name!r}, expected one of {known} or a {SUFFIX} model file")


def _check_size(size: InputSize) -> None:
    if min(size) < 1:
        raise BitrowError(f"input size: found {size[0]}x{size[1]}, expected rows and columns from 1")


def _resized(model: Model, name: str, size: InputSize | None) -> Model:
    from bitrow.parameters import check_params

    if size is None or model.network.input_shape[:2] == tuple(size):
        return model
    _check_size(size)
    try:
        network = replace(model.network, input_shape=(*size, model.network.input_shape[2]))
        check_params(network, model.params)
    except BitrowError as error:
        raise BitrowError(f"{name} at an input of {size[0]}x{size[1]}: {error}") from None
    return model._replace(network=network, samples=None)
