"""Cases of a layer of one's own (SPEC.md V4; docs/vectors.md)."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bitrow import typed
from bitrow.config import ConvConfig, ConvSize, LayerConfig, LayerSize, Shape
from bitrow.config.base import check_extent
from bitrow.contract.operation import Operation
from bitrow.contract.operations import backward_of, forward_of
from bitrow.errors import BitrowError
from bitrow.graph import INPUT, Node
from bitrow.host import Scales
from bitrow.layers import conv, conv_twin
from bitrow.layers.table import layer
from bitrow.layers.twin import LayerParams, Site
from bitrow.oracle.arrays import Words
from bitrow.parameters import check_values
from bitrow.splitmix import Draw
from bitrow.vectors import generate
from bitrow.vectors.bit_views import to_words
from bitrow.vectors.files.schema import check_name
from bitrow.vectors.network_pass import operation_inputs
from bitrow.vectors.problem import Problem
from bitrow.vectors.stimulus import problems as make
from bitrow.vectors.stimulus.layer_problems import edge_map
from bitrow.vectors.stimulus.stream import Stream, spread

MapShape = tuple[int, int, int, int]  # n, h, w, c
MOST_VALUES = 1 << 23  # of a map, or of weights: more are no vectors to look at


class Direction(enum.Enum):
    """Which passes of a layer are cases."""

    FORWARD = "forward"
    BACKWARD = "backward"
    BOTH = "both"


class Stimulus(enum.Enum):
    """Words aimed at every edge of the layer, words around 1, or those that are given."""

    DIRECTED = "directed"
    RANDOM = "random"
    GIVEN = "given"


@dataclass(frozen=True)
class LayerCase:
    """A layer with its inputs, to compute in one direction or both: the cases NAME_forward and NAME_backward.

    `inputs`: n, h, w, c of each input map. `size` is what the configuration's `size_type` asks for. `scales` are a
    convolution's; without them, and for other parameters, values are drawn from `seed` that neither vanish nor
    saturate. `arrays` replace what is drawn: a parameter by its name, the maps by the names of the operation's inputs
    (`x`, an add's `shortcut`, `dy`), of the parameter's dtype, float16, or words as SPEC.md V2 has them; with the
    stimulus GIVEN every map is among them. The backward case reads what the forward pass kept.

    Raises:
        BitrowError: naming the layer; inputs, size, scales or arrays that do not fit it, a name that is none of a case
            (SPEC.md V1), a direction that the layer lacks.
    """

    name: str
    config: LayerConfig
    inputs: tuple[MapShape, ...]
    size: LayerSize | None = None
    scales: Scales | None = None
    direction: Direction = Direction.BOTH
    stimulus: Stimulus = Stimulus.DIRECTED
    seed: int = 0
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        typed.coerce_fields(self, f"layer {typed.shown(self.name)}")
        check_name(f"{self.name}_backward", "layer")
        config, expected = self.config, self.config.size_type or type(None)
        if len(self.inputs) != (config.arity or max(2, len(self.inputs))):
            raise BitrowError(f"{self.name} inputs: found {len(self.inputs)}, expected {config.arity or '2 or more'}")
        if type(self.size) is not expected:
            raise BitrowError(f"{self.name} size: found {self.size}, expected {expected.__name__} for {config.label}")
        if self.scales is not None and not isinstance(config, ConvConfig):
            raise BitrowError(f"{self.name} scales: found some, expected none for {config.label}")
        for shape in self.inputs:
            if min(shape) < 1 or shape[0] != self.inputs[0][0]:
                raise BitrowError(f"{self.name} inputs: found {list(shape)}, expected n, h, w, c from 1 and one n")
            check_extent(f"{self.name} inputs", shape)
        weights = config.weight_shape(self.size, self.inputs[0][1:])
        for what, sizes in (("map", max(self.inputs, key=math.prod)), ("result", (self.inputs[0][0], *self._output)),
                            ("weights", weights)):  # fmt: skip
            if math.prod(sizes) > MOST_VALUES:
                raise BitrowError(f"{self.name} {what}: found {list(sizes)}, expected at most {MOST_VALUES:,} values")
        if self.direction is not Direction.FORWARD:
            self._check_backward()
        self._check_arrays()

    def _check_backward(self) -> None:
        """Refuse a direction that the layer lacks."""
        config, size = self.config, self.size
        why = ""
        if self.direction is Direction.BACKWARD and backward_of(config) is None:
            why = f"for {config.label}, whose gradient is no operation"
        if isinstance(config, ConvConfig) and isinstance(size, ConvSize) and size.per_channel and not config.fold:
            why = "for a scale of each channel without fold (SPEC.md C2)"
        if why:
            raise BitrowError(f"{self.name} direction: found {self.direction.value}, expected forward {why}")

    def _check_arrays(self) -> None:
        maps = self._maps(forward_of(self.config)) + (["dy"] if self._backward is not None else [])
        names = [*maps, *getattr(layer(self.config).params(self.config), "_fields", ())]
        for name in self.arrays:
            if name not in names:
                raise BitrowError(f"{self.name} arrays: found {name!r}, expected some of {', '.join(names)}")
        for name in maps if self.stimulus is Stimulus.GIVEN else ():
            if name not in self.arrays:
                raise BitrowError(f"{self.name} arrays: found no {name!r}, expected all of {', '.join(maps)}")
        if self.scales is not None or any(name not in maps for name in self.arrays):
            self._params  # noqa: B018, which refuses what does not fit
        for name, shape in zip(maps, [*self.inputs, (self.inputs[0][0], *self._output)], strict=False):
            self._given_map(name, shape)

    @property
    def _output(self) -> Shape:
        return self.config.output_shape(self.name, self.size, [shape[1:] for shape in self.inputs])

    @property
    def _backward(self) -> Operation | None:
        return None if self.direction is Direction.FORWARD else backward_of(self.config)

    @staticmethod
    def _maps(operation: Operation) -> list[str]:
        return [name for name in operation.inputs if name not in operation.kept]

    def names(self) -> list[str]:
        """The names of the cases."""
        forward = [] if self.direction is Direction.BACKWARD else [f"{self.name}_forward"]
        return forward + ([f"{self.name}_backward"] if self._backward is not None else [])

    @property
    def _site(self) -> Site:
        shape = self.inputs[0][1:]
        weights = self.config.weight_shape(self.size, shape)
        return Site(self.name, 1, self.size, weights, shape, self._output, (1.0,) * len(self.inputs))

    @property
    def _draw(self) -> Draw:
        return Draw(self.seed % (1 << 64))

    @property
    def _scales(self) -> Scales:
        """Of a convolution."""
        return self.scales or conv_twin.TWIN.draw(self.config, self._site, 1.0, self._draw)[1]

    @property
    def _params(self) -> Any:
        """Parameters drawn, with the scales and arrays that are given; None where the layer has none."""
        kind, site = layer(self.config), self._site
        if not kind.params(self.config):
            return None
        params = kind.twin.draw(self.config, site, 1.0, self._draw)
        if isinstance(self.config, ConvConfig) and self.scales is not None:
            code, _, bias, number = conv_twin.TWIN.draw(self.config, site, 1.0, self._draw)
            params = conv.make_params(self.config, self.name, code, self.scales, bias, number)
        given = {name: self._parameter(params, name) for name in params._fields if name in self.arrays}
        params = params._replace(**given)
        check_values(self.name, Node(self.name, self.config, (INPUT,) * len(self.inputs), self.size), params)
        self._check_spec(params)
        return params

    def _check_spec(self, params: Any) -> None:
        spec = self.config.arrays(self.size, self.inputs[0][1:], self._output[2])
        for name, wanted in spec.items():
            found = getattr(params, name)
            if found is None or (str(found.dtype), tuple(found.shape)) != (wanted.dtype, wanted.shape):
                shown = "nothing" if found is None else f"{found.dtype}{list(found.shape)}"
                raise BitrowError(f"{self.name} {name}: found {shown}, expected {wanted.dtype}{list(wanted.shape)}")

    def _parameter(self, params: LayerParams, name: str) -> np.ndarray:
        """A given parameter as its drawn one's dtype, exactly."""
        given, like = np.asarray(self.arrays[name]), getattr(params, name)
        where = f"{self.name} {name}"
        if like is None:
            raise BitrowError(f"{where}: found an array, expected none in this configuration")
        with np.errstate(all="ignore"):
            made = given.astype(like.dtype) if given.dtype.kind in "biuf" else given
        if given.shape != like.shape or made.dtype != like.dtype or not np.array_equal(made, given):
            found = f"{given.dtype}{list(given.shape)}"
            raise BitrowError(f"{where}: found {found}, expected values of {like.dtype}{list(like.shape)}")
        return made

    def _map(self, name: str, shape: MapShape, stream: Stream, at: int) -> np.ndarray:
        """Words of a map: given, directed or random."""
        given = self._given_map(name, shape)
        if given is not None:
            return given
        return edge_map(stream, shape, at) if self.stimulus is Stimulus.DIRECTED else spread(stream, shape)

    def _given_map(self, name: str, shape: MapShape) -> np.ndarray | None:
        if name not in self.arrays:
            return None
        given, where = np.asarray(self.arrays[name]), f"{self.name} {name}"
        flat = (shape[0], shape[1] * shape[2] * shape[3])
        if str(given.dtype) not in ("float16", "uint16") or given.shape not in (shape, flat):
            found = f"{given.dtype}{list(given.shape)}"
            raise BitrowError(f"{where}: found {found}, expected float16 or its words uint16, {list(shape)}")
        return given.view(np.uint16).reshape(shape)

    def _problem(self, operation: Operation, maps: list[np.ndarray], kept: Words) -> Problem:
        params, direction = self._params, operation.name.rpartition(".")[2]
        found = {} if params is None else params._asdict()
        own = {name: to_words(value) for name, value in found.items() if value is not None}
        own["input_hw"] = np.array(self.inputs[0][1:3], np.int32)
        given = operation_inputs(operation, self.config, maps, kept, own)
        if isinstance(self.config, ConvConfig) and self.stimulus is Stimulus.DIRECTED:
            aimed = self._aimed_conv(direction, "bias" in given)
            given |= {name: words for name, words in aimed.items() if name in given and name not in self.arrays}
        return Problem(f"{self.name}_{direction}", operation, self.config, given, whole=False)

    def _aimed_conv(self, direction: str, bias: bool) -> Words:
        """Maps at every edge of a convolution's quantizer, and weights whose sums reach both extremes."""
        assert isinstance(self.config, ConvConfig) and isinstance(self.size, ConvSize)
        size = make.ConvShapes(*self.inputs[0], self.size.kh, self.size.kw, self.size.c_out)
        stream = Stream(self.seed, f"{self.name}_{direction}")
        if direction == "forward":
            return make.conv_forward(stream, self.name, self.config, size, self._scales, bias).given
        return make.conv_backward(stream, self.name, self.config, size, self._scales).given

    def problems(self) -> Iterator[Problem]:
        """The problems; the backward one reads what the forward pass, run by the kernels, has kept."""
        forward, backward, stream = forward_of(self.config), self._backward, Stream(self.seed, self.name)
        names = self._maps(forward)
        maps = [self._map(name, shape, stream, at)
                for at, (name, shape) in enumerate(zip(names, self.inputs, strict=True))]  # fmt: skip
        problem = self._problem(forward, maps, {})
        if self.direction is not Direction.BACKWARD:
            yield problem
        if backward is not None:
            known = problem.given | generate.run_problem(problem)
            dy = self._map("dy", (self.inputs[0][0], *self._output), stream, 1)
            yield self._problem(backward, [dy], {name: known[name] for name in backward.kept})
