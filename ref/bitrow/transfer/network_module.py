"""A network of `bitrow.graph` as one nnx module, with the branches and prompt that a policy adds.

In simulated and bit-accurate numerics its gradients reach a value with several consumers in the order of SPEC.md
A5, a branch counting as the last reader of its block's input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from bitrow import host
from bitrow.config import AddConfig
from bitrow.errors import BitrowError
from bitrow.float_model import FloatModel, Observe
from bitrow.graph import INPUT, Network, consumers, shapes
from bitrow.layers import residual
from bitrow.layers.batch_norm import BatchParams, FrozenParams
from bitrow.layers.conv import ConvParams
from bitrow.layers.linear import LinearParams
from bitrow.layers.table import layer
from bitrow.layers.twin import EPS, ConvScales, FloatLayer
from bitrow.ops import fp16
from bitrow.parameters import LayerParams, Params, check_params
from bitrow.transfer import loss_scale, ordered
from bitrow.transfer.branches import Block, LiteResidual, Prompt, blocks
from bitrow.transfer.loss_scale import LossScale
from bitrow.transfer.modules import (
    BatchNorm,
    CalibrationConstant,
    ConvOfParams,
    FrozenBatchNorm,
    GradientState,
    Head,
    LayerModule,
    Probe,
    UntrainedLayer,
)
from bitrow.transfer.numerics import Numerics, ScaleRule, Scaling, TrainingNumerics, with_gradient


class SparseUpdate(NamedTuple):
    """What a sparse update trains: names of parameters, and by convolution the input channels of its weights.

    Of a grouped convolution all channels or none are trained.
    """

    names: frozenset[str]
    channels: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many input channels each of the convolutions trains."""
        return {name: len(chosen) for name, chosen in self.channels}


class NetworkModule(LayerModule):
    """The network's layers by name, called in its order."""

    def __init__(self, network: Network, layers: Mapping[str, LayerModule]) -> None:
        super().__init__()
        self.network = network
        self.layers = nnx.Dict(dict(layers))
        self.branches: nnx.Dict[Any] = nnx.Dict({})
        self.places: tuple[Block, ...] = ()
        self.prompt: Prompt | None = nnx.data(None)
        self.loss_scale: LossScale | None = None
        self.sparse: SparseUpdate | None = None

    def __call__(self, x: Array, observe: Observe = lambda name, value: None) -> Any:
        """Logits [n, classes] (or the output map) of images f32 or f16 [n,h,w,c]: f32 in float32, else f16.

        Of several outputs a dict of them by name.

        With a `loss_scale` they are the same numbers as f32, because the loss is the host's, and the gradient of any
        loss of them fits the scales of output gradients; without one it goes in as it is given. `observe` sees the
        input, with its prompt, and every layer's output, with its branch.
        """
        if self.loss_scale is None or self.in_float:
            return self._run(x, observe)
        return loss_scale.call(self.loss_scale, self, lambda module, x: module._run(x, observe), x)

    def _run(self, x: Array, observe: Observe) -> Any:
        values = _Values(self.network, self.places, self.in_float, observe)
        x = x.astype(jnp.float32) if self.in_float else ordered.as_half(x)
        values.put(INPUT, x if self.prompt is None else self.prompt(x))
        by_end = {place.end: place for place in self.places}
        for node in self.network.nodes:
            y = self.layers[node.name](*(values.take(name) for name in node.inputs))
            if y.ndim == 2:  # a head's
                y = y[:, None, None, :]
            place = by_end.get(node.name)
            if place is not None:
                extra = self.branches[node.name](values.take(place.start))
                y = y + extra if self.in_float else residual.apply(AddConfig(self.network.mode), y, extra)
            values.put(node.name, y)
        found = {name: self._result(name, values.take(name)) for name in self.network.outputs}
        return found if self.network.more_outputs else found[self.network.output]

    def _result(self, name: str, y: Array) -> Array:
        return y.reshape(y.shape[0], -1) if layer(self.network.node(name).config).flat else y

    def add_branches(self, seed: int) -> None:
        """A lite residual branch beside every block but the first, drawn by numpy from `seed`."""
        sizes, rng = shapes(self.network), np.random.default_rng(seed)
        self.places = tuple(blocks(self.network))
        for place in self.places:
            branch = LiteResidual(sizes[place.start], sizes[place.end], rng)
            branch.set_attributes(numerics=self.numerics)
            self.branches[place.end] = branch

    def learn_scales(self, power_of_two: bool = False, rule: ScaleRule = ScaleRule.LSQ) -> None:
        """Let the scale of every convolution's input train."""
        for each in self.layers.values():
            if isinstance(each, ConvOfParams):
                each.learn_scale(power_of_two, rule)

    def add_prompt(self) -> None:
        """A trainable perturbation of the input."""
        self.prompt = nnx.data(Prompt(self.network.input_shape))
        self.prompt.set_attributes(numerics=self.numerics)


class _Values:
    """Values under way to their readers, each reader's its own copy (SPEC.md A5)."""

    def __init__(self, network: Network, places: tuple[Block, ...], in_float: bool, observe: Observe) -> None:
        self._network, self._in_float, self._observe = network, in_float, observe
        self._readers = {name: len(readers) for name, readers in consumers(network).items()}
        self._readers |= dict.fromkeys(network.outputs, 1)
        for place in places:
            self._readers[place.start] += 1
        self._copies: dict[str, list[Array]] = {}

    def put(self, name: str, value: Array) -> None:
        self._observe(name, value)
        count = self._readers[name]
        if self._in_float or count == 1:
            self._copies[name] = [value] * count
        else:
            stored = name != INPUT and layer(self._network.node(name).config).stores
            self._copies[name] = list(ordered.copies(self._network.mode, count, stored, value))

    def take(self, name: str) -> Array:
        return self._copies[name].pop(0)


class Parts(NamedTuple):
    """A module taken apart: its structure, which is static, and its arrays by name ("layers/stem_conv/weight").

    `params` are the float32 masters, `probes` the zeros of `modules.Probe`, `gradient` the convolutions'
    BackwardScales by layer, `constants` their ForwardScales.
    """

    structure: Any
    params: dict[str, Array]
    probes: dict[str, Array]
    gradient: dict[str, Any]
    constants: dict[str, Any]

    def join(self) -> Any:
        """The module again."""
        graph, trees = self.structure
        values = (self.params, self.probes, self.gradient, self.constants)
        states = [jax.tree.unflatten(tree, jax.tree.leaves(_in_order(value, names)))
                  for (tree, names), value in zip(trees, values, strict=True)]  # fmt: skip
        return nnx.merge(graph, *states)


def _in_order(values: Mapping[str, Any], names: tuple[str, ...]) -> list[Any]:
    return [values[name] for name in names]


def take_apart(module: nnx.Module) -> Parts:
    """The module's structure and arrays; `Parts.join` puts them together again, in or out of a program."""
    graph, *states = nnx.split(module, nnx.Param, Probe, GradientState, CalibrationConstant)
    found, trees = [], []
    for state in states:
        flat = {"/".join(map(str, path)): variable.get_value() for path, variable in nnx.to_flat_state(state)}
        found.append(flat)
        trees.append((jax.tree.structure(state), tuple(flat)))
    return Parts((graph, tuple(trees)), *found)


def from_params(
    network: Network,
    params: Params,
    arithmetic: TrainingNumerics,
    model: FloatModel | None = None,
    scales: Mapping[str, ConvScales] | None = None,
) -> NetworkModule:
    """A module of bit-accurate parameters, and of the float32 model and scales that they were made of if known.

    Its bit-accurate forward pass is `network.forward`'s. With `arithmetic` of float32 and a model, the masters
    are that model's; batch norms are folded. The network's convolutions must have the gradient that `arithmetic`
    names (`numerics.with_gradient`), unless it is float32.

    Raises:
        BitrowError: parameters that `parameters.check_params` refuses, or of another gradient format.
    """
    check_params(network, params)
    _check_gradient(network, arithmetic)
    layers = {}
    for node in network.nodes:
        found, floats = params.get(node.name), FloatLayer() if model is None else model.layer(node.name)
        scale, scaling = None if scales is None else scales.get(node.name), arithmetic.gradient.scaling
        given = _Given(f"{network.name} {node.name}", node.config, found, floats, scale, scaling)
        layers[node.name] = _TRAINED.get(type(found), _plain)(given)
    module = NetworkModule(network, layers)
    module.set_attributes(numerics=arithmetic.numerics)
    return module


def _check_gradient(network: Network, arithmetic: TrainingNumerics) -> None:
    if arithmetic.numerics is not Numerics.FLOAT32 and with_gradient(network, arithmetic.gradient) != network:
        raise BitrowError(
            f"{network.name}: found convolutions with another gradient, expected {arithmetic.gradient.name}"
        )


class _Given(NamedTuple):
    """What a layer's module is made of: its parameters, the float ones behind them, their scales, if known."""

    where: str
    config: Any
    params: LayerParams
    floats: FloatLayer
    scale: ConvScales | None
    scaling: Scaling


def _conv(given: _Given) -> ConvOfParams:
    weight = bias = x_scale = None
    if given.floats.params is not None and given.scale is not None:
        w_scale = np.asarray(given.params.w_scale, np.float32)
        gain = float(w_scale.reshape(-1)[0] / np.asarray(given.scale.w_scale).reshape(-1)[0])  # a power of two
        weight, bias = (None if part is None else part * jnp.float32(gain) for part in given.floats.params)
        x_scale = float(given.scale.x_scale)
    return ConvOfParams(given.config, given.params, weight, bias, x_scale, scaling=given.scaling, name=given.where)


def _frozen(given: _Given) -> FrozenBatchNorm:
    """The fold of B1 as float32, rounded to odd, so that rounding it to FP16 is rounding the binary64 value once.

    Where calibration moved a power of two into the fold, the FP16 coefficients say which.
    """
    params, floats = given.params, given.floats
    if floats.params is not None:
        gamma, beta, mean, var = (np.asarray(v) for v in (*floats.params, *floats.stats))
        a64, b64 = host.exact_fold(gamma, beta, mean, var, EPS)
        for gain in (1.0, *(2.0**k for k in range(1, 15))):
            a, b = _odd(a64 / gain), _odd(b64)
            if np.array_equal(a.astype(np.float16), np.asarray(params.a)):
                return FrozenBatchNorm(given.config, jnp.asarray(a), jnp.asarray(b))
    return FrozenBatchNorm(given.config, fp16.widen(params.a), fp16.widen(params.b))


def _head(given: _Given) -> Head:
    weights, (weight, bias) = given.floats.params, given.params
    return Head(given.config, fp16.widen(weight) if weights is None else weights.weight, bias)


# By the type of the parameters; any other layer's are constants.
_TRAINED: dict[type, Callable[[_Given], LayerModule]] = {
    ConvParams: _conv,
    FrozenParams: _frozen,
    BatchParams: lambda given: BatchNorm(given.config, given.params.gamma, given.params.beta, float(given.params.eps)),
    LinearParams: _head,
}


def _plain(given: _Given) -> UntrainedLayer:
    return UntrainedLayer(given.config, given.params, given.floats)


def _odd(value: np.ndarray) -> np.ndarray:
    near = value.astype(np.float32)
    word = near.view(np.int32)
    away = np.abs(value) > np.abs(near.astype(np.float64))
    inexact = near.astype(np.float64) != value
    word = np.where(inexact & (word & 1 == 0), word + np.where(away, 1, -1), word)
    return word.astype(np.int32).view(np.float32)


def to_params(module: NetworkModule) -> dict[str, LayerParams]:
    """Parameters for `network.forward` and the model file, as the module's masters round now.

    Raises:
        BitrowError: a module with branches or a prompt, which the network does not have.
    """
    if module.places or module.prompt is not None:
        what = "a prompt" if module.prompt is not None else f"{len(module.places)} branches"
        raise BitrowError(f"{module.network.name}: found {what} beside the network, expected its layers only")
    params: dict[str, LayerParams] = {}
    for node in module.network.nodes:
        found = module.layers[node.name].to_params()
        if found is not None:
            params[node.name] = found
    return params
