"""Named networks at any input size and width: resnet8, resnet20, resnet18, mobilenetv2, mobilenetv3, vgg8.

Every convolution is frozen FXP (SPEC.md C), followed by batch norm (B) and ReLU (A1) or hard swish (A6) in FP16,
those of squeeze-and-excite gates (A8, A9) by biases; shortcuts add in FP16 (A2); a global average pool (A3) and a
linear head (A4) end the network. Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable

from bitrow.builder import INPUT, Builder, Options
from bitrow.config import AvgPoolConfig, HardSwishConfig, ReluConfig
from bitrow.errors import BitrowError
from bitrow.graph import Network, Shape

WIDEST = 100  # times the channels that a network is made of
_SMALL_MAP = 64  # up to this many rows or columns a network for photographs keeps its first maps unhalved


def _scaled(channels: int, width: float) -> int:
    return max(1, int(channels * width + 0.5))


def _scaled_to_8(channels: int, width: float) -> int:
    """Nearest multiple of 8, at least 8, and never more than a tenth below `channels * width`."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * wanted else rounded + 8


def _check_arguments(name: str, num_classes: int, width: float) -> None:
    if num_classes < 1:
        raise BitrowError(f"{name} num_classes: found {num_classes}, expected 1 or more")
    if not 0 < width <= WIDEST:
        raise BitrowError(f"{name} width: found {width}, expected a positive number up to {WIDEST}")


def _basic_block(build: Builder, name: str, x: str, c_in: int, c_out: int, stride: int) -> str:
    y = build.conv_bn_relu(f"{name}_1", x, c_out, stride=stride)
    y = build.conv_bn(f"{name}_2", y, c_out)
    shortcut = x
    if stride != 1 or c_in != c_out:
        shortcut = build.conv_bn(f"{name}_proj", x, c_out, kernel=1, stride=stride)
    return build.add(f"{name}_relu", ReluConfig(), build.residual(f"{name}_add", y, shortcut))


def _basic_stages(build: Builder, x: str, c_in: int, channels: list[int], blocks: int) -> str:
    for stage, c_out in enumerate(channels, start=1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _basic_block(build, f"s{stage}b{block}", x, c_in, c_out, stride)
            c_in = c_out
    return x


def _cifar_resnet(
    name: str, blocks: int, input_shape: Shape, num_classes: int, width: float, options: Options
) -> Network:
    _check_arguments(name, num_classes, width)
    build = Builder(name, input_shape, options)
    channels = [_scaled(c, width) for c in (16, 32, 64)]
    x = build.conv_bn_relu("stem", INPUT, channels[0])
    x = _basic_stages(build, x, channels[0], channels, blocks)
    return build.network(build.pool_and_head(x, num_classes))


def resnet8(
    input_shape: Shape = (32, 32, 3),
    num_classes: int = 10,
    width: float = 1.0,
    options: Options = Options(),
) -> Network:
    """Three stages of one basic block, 16, 32 and 64 channels, after a 3x3 stem; projections are 1x1.

    Raises:
        BitrowError: arguments below their least, or layers that the options or the size do not allow.
    """
    return _cifar_resnet("resnet8", 1, input_shape, num_classes, width, options)


def resnet20(
    input_shape: Shape = (32, 32, 3),
    num_classes: int = 10,
    width: float = 1.0,
    options: Options = Options(),
) -> Network:
    """As `resnet8` with three basic blocks in each stage.

    Raises:
        BitrowError: as `resnet8`.
    """
    return _cifar_resnet("resnet20", 3, input_shape, num_classes, width, options)


def resnet18(
    input_shape: Shape = (224, 224, 3),
    num_classes: int = 1000,
    width: float = 1.0,
    options: Options = Options(),
) -> Network:
    """Four stages of two basic blocks, 64 to 512 channels.

    The stem is 7x7 of stride 2 and a 3x3 max pool of stride 2; for an input of at most 64 rows or columns it
    is one 3x3 of stride 1.

    Raises:
        BitrowError: as `resnet8`.
    """
    _check_arguments("resnet18", num_classes, width)
    build = Builder("resnet18", input_shape, options)
    channels = [_scaled(c, width) for c in (64, 128, 256, 512)]
    if min(input_shape[:2]) <= _SMALL_MAP:
        x = build.conv_bn_relu("stem", INPUT, channels[0])
    else:
        x = build.conv_bn_relu("stem", INPUT, channels[0], kernel=7, stride=2)
        x = build.max_pool("stem_pool", x, 3, 2, 1)
    x = _basic_stages(build, x, channels[0], channels, 2)
    return build.network(build.pool_and_head(x, num_classes))


def vgg8(
    input_shape: Shape = (32, 32, 3),
    num_classes: int = 10,
    width: float = 1.0,
    options: Options = Options(),
) -> Network:
    """Three pairs of 3x3 convolutions of 128, 256, 512 channels, each with a 2x2 max pool; 1,024 features.

    The hidden fully connected layer is a 1x1 convolution of the globally pooled map, so that it is frozen FXP
    like the rest and any input from 8x8 up will do.

    Raises:
        BitrowError: as `resnet8`; an input below 8x8.
    """
    _check_arguments("vgg8", num_classes, width)
    build = Builder("vgg8", input_shape, options)
    x = INPUT
    for stage, channels in enumerate((128, 256, 512), start=1):
        for layer in (1, 2):
            x = build.conv_bn_relu(f"s{stage}_{layer}", x, _scaled(channels, width))
        x = build.max_pool(f"s{stage}_pool", x, 2, 2)
    x = build.add("pool", AvgPoolConfig(None, options.mode), x)
    x = build.conv_bn_relu("hidden", x, _scaled(1024, width), kernel=1)
    return build.network(build.head(x, num_classes))


# Expansion, channels, blocks, stride of the first block (Sandler et al., CVPR 2018, table 2).
_MOBILENETV2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _inverted_residual(
    build: Builder, name: str, x: str, c_in: int, c_out: int, expand: int, stride: int
) -> str:
    hidden = c_in * expand
    y = x
    if expand != 1:
        y = build.conv_bn_relu(f"{name}_expand", y, hidden, six=True, kernel=1)
    y = build.conv_bn_relu(f"{name}_depth", y, hidden, six=True, stride=stride, groups=hidden)
    y = build.conv_bn(f"{name}_project", y, c_out, kernel=1)
    if stride == 1 and c_in == c_out:
        y = build.residual(f"{name}_add", y, x)
    return y


def mobilenetv2(
    input_shape: Shape = (224, 224, 3),
    num_classes: int = 1000,
    width: float = 1.0,
    options: Options = Options(),
) -> Network:
    """Inverted residuals: depthwise 3x3 convolutions, ReLU6, linear bottlenecks; channels multiples of 8.

    For an input of at most 64 rows or columns the stem and the second stage keep stride 1.

    Raises:
        BitrowError: as `resnet8`.
    """
    _check_arguments("mobilenetv2", num_classes, width)
    build = Builder("mobilenetv2", input_shape, options)
    small = min(input_shape[:2]) <= _SMALL_MAP
    c_in = _scaled_to_8(32, width)
    x = build.conv_bn_relu("stem", INPUT, c_in, six=True, stride=1 if small else 2)
    for stage, (expand, channels, blocks, first_stride) in enumerate(_MOBILENETV2_STAGES, start=1):
        c_out = _scaled_to_8(channels, width)
        for block in range(1, blocks + 1):
            stride = first_stride if block == 1 and not (small and stage == 2) else 1
            x = _inverted_residual(build, f"s{stage}b{block}", x, c_in, c_out, expand, stride)
            c_in = c_out
    x = build.conv_bn_relu("last", x, _scaled_to_8(1280, max(1.0, width)), six=True, kernel=1)
    return build.network(build.pool_and_head(x, num_classes))


# Kernel, expanded channels, channels, gate, hard swish, stride (Howard et al., ICCV 2019, table 2: the small one).
_MOBILENETV3_BLOCKS = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)


def mobilenetv3(
    input_shape: Shape = (224, 224, 3),
    num_classes: int = 1000,
    width: float = 1.0,
    options: Options = Options(),
) -> Network:
    """MobileNetV3 small: inverted residuals with squeeze-and-excite, hard swish; channels multiples of 8.

    The hidden fully connected layer is a 1x1 convolution with a bias. For an input of at most 64 rows or columns the
    stem and the second block keep stride 1.

    Raises:
        BitrowError: as `resnet8`.
    """
    _check_arguments("mobilenetv3", num_classes, width)
    build = Builder("mobilenetv3", input_shape, options)
    small = min(input_shape[:2]) <= _SMALL_MAP
    c_in = _scaled_to_8(16, width)
    x = build.conv_bn_swish("stem", INPUT, c_in, stride=1 if small else 2)
    for number, (kernel, expanded, channels, gate, swish, stride) in enumerate(_MOBILENETV3_BLOCKS, start=1):
        name, c_hidden, c_out = f"b{number}", _scaled_to_8(expanded, width), _scaled_to_8(channels, width)
        active = build.conv_bn_swish if swish else build.conv_bn_relu
        y = x if c_hidden == c_in else active(f"{name}_expand", x, c_hidden, kernel=1)
        stride = 1 if small and number == 2 else stride
        y = active(f"{name}_depth", y, c_hidden, kernel=kernel, stride=stride, groups=c_hidden)
        if gate:
            y = build.excite(f"{name}_se", y, c_hidden, _scaled_to_8(c_hidden // 4, 1.0))
        y = build.conv_bn(f"{name}_project", y, c_out, kernel=1)
        x = build.residual(f"{name}_add", y, x) if stride == 1 and c_in == c_out else y
        c_in = c_out
    x = build.conv_bn_swish("last", x, _scaled_to_8(576, width), kernel=1)
    x = build.dense("hidden", build.add("pool", AvgPoolConfig(None, options.mode), x), _scaled_to_8(1024, width))
    x = build.add("hidden_swish", HardSwishConfig(options.mode), x)
    return build.network(build.head(x, num_classes))


NETWORKS: dict[str, Callable[..., Network]] = {
    "resnet8": resnet8,
    "resnet20": resnet20,
    "resnet18": resnet18,
    "mobilenetv2": mobilenetv2,
    "mobilenetv3": mobilenetv3,
    "vgg8": vgg8,
}


def build(
    name: str,
    input_shape: Shape | None = None,
    num_classes: int | None = None,
    width: float = 1.0,
    options: Options = Options(),
) -> Network:
    """The named network; None keeps its usual input size or number of classes.

    Raises:
        BitrowError: an unknown name, or as the network's own function.
    """
    if name not in NETWORKS:
        raise BitrowError(f"network: found {name!r}, expected one of {', '.join(NETWORKS)}")
    given = {"input_shape": input_shape, "num_classes": num_classes}
    arguments = {key: value for key, value in given.items() if value is not None}
    return NETWORKS[name](**arguments, width=width, options=options)
