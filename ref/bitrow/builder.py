"""Networks of one's own, a layer a line: convolutions with their batch norm and activation, blocks, heads.

Every convolution is frozen FXP (SPEC.md C), followed by batch norm (B) and ReLU (A1) or hard swish (A6) in FP16; those
of gates (A8, A9) have biases. `zoo` is built of it. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bitrow import typed
from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConvConfig,
    HardSigmoidConfig,
    HardSwishConfig,
    LayerConfig,
    LinearConfig,
    MaxPoolConfig,
    MultiplyConfig,
    ReluConfig,
)
from bitrow.config.base import LayerSize, Shape
from bitrow.config.windows import Pair, Sides, both, same
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode, Fxp
from bitrow.graph import INPUT, ConvSize, LinearSize, Network, Node, placed

__all__ = ["INPUT", "Builder", "Options"]


@dataclass(frozen=True)
class Options:
    """Arithmetic of a network's layers, the same for all of a kind.

    `conv` and `batch_norm` are templates: stride, padding and groups are the network's. `relu_format` is the
    code format of convolution inputs that cannot be negative (None: `conv.x_format`, which is signed FXP4 by
    default). `per_channel` gives weights a scale for each output channel; their gradient then wants
    `conv.fold` (SPEC.md C2). `mode` is the FP16 arithmetic of adds, pools, head and fan-outs.

    Raises:
        BitrowError: a field of another type.
    """

    conv: ConvConfig = ConvConfig()
    batch_norm: BatchNormConfig = BatchNormConfig()
    mode: FloatMode = FloatMode()
    relu_format: Fxp | None = None
    per_channel: bool = False

    def __post_init__(self) -> None:
        typed.coerce_fields(self, "options")


class Builder:
    """Layers of the network `name` in order; every method returns the name of the value it made.

    `input_shape` is (h, w, c) of one image, which is called `INPUT`. A convolution's `kernel` and `stride` are one int
    or (rows, columns). Its windows reach half a kernel out of the map at each side; with `same`, as far as TensorFlow's
    SAME says: results are the map's rows and columns over the stride, rounded up.

    Raises:
        BitrowError: in every method; naming network and layer, what `graph.Network` refuses of it.
    """

    def __init__(self, name: str, input_shape: Shape, options: Options = Options(), *, same: bool = False) -> None:
        self.name, self.input_shape, self.options, self.same = name, input_shape, options, same
        self.nodes: list[Node] = []
        self._shapes = {INPUT: input_shape}
        self._not_negative: set[str] = set()

    def shape(self, value: str) -> Shape:
        """(h, w, c) of a value."""
        if value not in self._shapes:
            found = f"no value {typed.shown(value)}"
            raise BitrowError(f"{self.name}: found {found}, expected {INPUT!r} or an earlier layer's")
        return self._shapes[value]

    def add(self, name: str, config: LayerConfig, *inputs: str, size: LayerSize | None = None) -> str:
        """Any layer."""
        node = Node(name, config, inputs, size)
        self._shapes[name] = placed(self.name, node, self._shapes)
        self.nodes.append(node)
        if config.not_negative([each in self._not_negative for each in inputs]):
            self._not_negative.add(name)
        return name

    def _config(self, x: str, **geometry: Pair | Sides) -> ConvConfig:
        """The template, reading codes that suit x."""
        options = self.options
        relu_format = options.relu_format if x in self._not_negative else None
        return replace(options.conv, x_format=relu_format or options.conv.x_format, **geometry)  # type: ignore[arg-type]

    def _padding(self, x: str, kernel: tuple[int, int], stride: tuple[int, int]) -> Sides:
        if not self.same:
            rows, columns = (each // 2 for each in kernel)
            return rows, rows, columns, columns
        top, bottom = same(self.shape(x)[0], kernel[0], stride[0])
        return top, bottom, *same(self.shape(x)[1], kernel[1], stride[1])

    def conv_bn(self, name: str, x: str, c_out: int, kernel: Pair = 3, stride: Pair = 1, groups: int = 1) -> str:
        """Layers NAME_conv and NAME_bn."""
        size = ConvSize(*both(kernel), c_out, per_channel=self.options.per_channel)
        config = self._config(x, stride=stride, groups=groups)
        config = replace(config, padding=self._padding(x, (size.kh, size.kw), both(config.stride)))
        return self.add(f"{name}_bn", self.options.batch_norm, self.add(f"{name}_conv", config, x, size=size))

    def conv_bn_relu(self, name: str, x: str, c_out: int, *, six: bool = False, **geometry: Pair) -> str:
        """`conv_bn`, with its kernel, stride and groups, and NAME_relu; `six`: ReLU6."""
        return self.add(f"{name}_relu", ReluConfig(six), self.conv_bn(name, x, c_out, **geometry))  # type: ignore[arg-type]

    def conv_bn_swish(self, name: str, x: str, c_out: int, **geometry: Pair) -> str:
        """`conv_bn`, with its kernel, stride and groups, and NAME_swish."""
        made = self.conv_bn(name, x, c_out, **geometry)  # type: ignore[arg-type]
        return self.add(f"{name}_swish", HardSwishConfig(self.options.mode), made)

    def separable(self, name: str, x: str, c_out: int, kernel: Pair = 3, stride: Pair = 1, *, six: bool = False) -> str:
        """MobileNetV1's block: NAME_depth, depthwise, and NAME_point, each with batch norm and ReLU."""
        c_in = self.shape(x)[2]
        y = self.conv_bn_relu(f"{name}_depth", x, c_in, six=six, kernel=kernel, stride=stride, groups=c_in)
        return self.conv_bn_relu(f"{name}_point", y, c_out, six=six, kernel=1)

    def dense(self, name: str, x: str, c_out: int) -> str:
        """A 1x1 convolution with a bias, of a map of one place."""
        config = self._config(x, stride=1, padding=0, groups=1)
        return self.add(name, config, x, size=ConvSize(1, 1, c_out, self.options.per_channel, bias=True))

    def excite(self, name: str, x: str, channels: int, squeezed: int) -> str:
        """x times a gate for each of its channels, made of their averages (squeeze and excite)."""
        mode = self.options.mode
        y = self.dense(f"{name}_down", self.add(f"{name}_pool", AvgPoolConfig(None, mode), x), squeezed)
        y = self.dense(f"{name}_up", self.add(f"{name}_relu", ReluConfig(), y), channels)
        return self.add(f"{name}_scale", MultiplyConfig(True, mode), x,
                        self.add(f"{name}_gate", HardSigmoidConfig(mode=mode), y))  # fmt: skip

    def max_pool(self, name: str, x: str, kernel: int, stride: int, padding: int = 0) -> str:
        """The largest of each window."""
        return self.add(name, MaxPoolConfig(kernel, stride, padding, self.options.mode), x)

    def residual(self, name: str, x: str, shortcut: str) -> str:
        """The sum of two maps."""
        return self.add(name, AddConfig(self.options.mode), x, shortcut)

    def pool_and_head(self, x: str, num_classes: int) -> str:
        """A mean over the whole map, `pool`, and `head`."""
        return self.head(self.add("pool", AvgPoolConfig(None, self.options.mode), x), num_classes)

    def head(self, x: str, num_classes: int) -> str:
        """The linear layer `head`."""
        return self.add("head", LinearConfig(self.options.mode), x, size=LinearSize(num_classes))

    def network(self, output: str, *more_outputs: str) -> Network:
        """The network that ends in `output`, or in several."""
        return Network(self.name, self.input_shape, tuple(self.nodes), output, self.options.mode, more_outputs)
