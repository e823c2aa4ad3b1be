"""Random networks and machines that the pipeline's tests share."""

from __future__ import annotations

import enum

from hypothesis import strategies as st

from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConcatConfig,
    ConvConfig,
    DepthToSpaceConfig,
    HardSigmoidConfig,
    HardSwishConfig,
    LinearConfig,
    MaxPoolConfig,
    MultiplyConfig,
    ReluConfig,
    SigmoidConfig,
    SiluConfig,
    Statistics,
    UpsampleConfig,
)
from bitrow.errors import BitrowError
from bitrow.formats import AccOverflow, Accumulator
from bitrow.graph import INPUT, ConvSize, LinearSize, Network, Node
from bitrow.pipeline.machine import Mac, Machine, Mapping, Packing, RingRule, WeightMemory
from bitrow.pipeline.stages import Stage
from bitrow.testing.layers import avg_pool_configs
from bitrow.testing.parameters import edges, pairs


class Head(enum.Enum):
    """What stands at the head of a stage, told by its layer's type. SOURCE feeds images; NONE is a chain alone."""

    SOURCE = None
    CONV = ConvConfig
    MAX_POOL = MaxPoolConfig
    AVG_POOL = AvgPoolConfig
    LINEAR = LinearConfig
    BATCH_NORM = BatchNormConfig
    UPSAMPLE = UpsampleConfig
    DEPTH_TO_SPACE = DepthToSpaceConfig
    NONE = ()


def head_of(stage: Stage) -> Head:
    if stage.head is None:
        return Head.NONE if stage.chain else Head.SOURCE
    return Head(type(stage.head.config))


class _Growing:
    """A network under construction: nodes so far, and the shape of every value."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.nodes: list[Node] = []
        self.shapes = {INPUT: shape}

    def add(self, config, *inputs: str, size=None) -> str | None:
        """The new value's name, or None where the layer does not fit."""
        name = f"n{len(self.nodes)}"
        try:
            self.shapes[name] = config.output_shape(name, size, [self.shapes[value] for value in inputs])
        except BitrowError:
            return None
        self.nodes.append(Node(name, config, inputs, size))
        return name


def _layers(draw, x: str, growing: _Growing, barrier: bool) -> str | None:
    h, w, c = growing.shapes[x]
    kinds = "conv conv conv bn relu max avg add swish concat curve product gate up"
    kind = draw(st.sampled_from(kinds.split()))
    if kind == "conv":
        kernel = draw(st.sampled_from([1, 3, 3, 5, 7]))
        padding = draw(edges(st.integers(0, min(3, kernel))))
        groups = draw(st.sampled_from([1, c]))
        channels = groups * draw(st.integers(1, 3))
        stride, dilation = draw(pairs(st.sampled_from([1, 1, 2, 3]))), draw(pairs(st.sampled_from([1, 1, 1, 2])))
        short = Accumulator(8, AccOverflow.SATURATE), Accumulator(9, AccOverflow.WRAP)
        sums = draw(st.sampled_from([Accumulator(), *short]))
        config = ConvConfig(stride, padding, groups, accumulator=sums, dilation=dilation)
        return growing.add(config, x, size=ConvSize(kernel, kernel, channels))
    if kind == "bn":
        batch = barrier and draw(st.booleans())
        return growing.add(BatchNormConfig(Statistics.BATCH if batch else Statistics.FROZEN), x)
    if kind == "relu":
        return growing.add(ReluConfig(draw(st.booleans())), x)
    if kind == "max":
        kernel = draw(st.integers(1, 3))
        stride, padding = draw(pairs(st.integers(1, 3))), draw(edges(st.integers(0, kernel // 2)))
        return growing.add(MaxPoolConfig(kernel, stride, padding), x)
    if kind == "avg":
        return growing.add(draw(avg_pool_configs()), x)
    if kind == "swish":
        return growing.add(HardSwishConfig(), x)
    if kind == "concat":
        beside = [name for name, shape in growing.shapes.items() if shape[:2] == (h, w)]
        return growing.add(ConcatConfig(), x, draw(st.sampled_from(beside)))
    if kind == "curve":
        return growing.add(draw(st.sampled_from((SigmoidConfig(), SiluConfig(), HardSigmoidConfig()))), x)
    if kind == "gate":
        return _gated(draw, x, growing)
    if kind == "up":
        deep = growing.add(DepthToSpaceConfig(2), x) if h <= 13 else None
        return deep or (growing.add(UpsampleConfig(draw(st.integers(1, 3)), 2), x) if h <= 13 else None)
    if kind == "product":
        beside = [name for name, shape in growing.shapes.items() if shape == (h, w, c)]
        return growing.add(MultiplyConfig(), x, draw(st.sampled_from(beside)))
    same = [name for name, shape in growing.shapes.items() if shape == (h, w, c)]
    return growing.add(AddConfig(), x, draw(st.sampled_from(same)))


def _gated(draw, x: str, growing: _Growing) -> str | None:
    """A map times a gate: one that is there, or what a 1x1 convolution makes of its average, or another's."""
    c = growing.shapes[x][2]
    gates = [name for name, shape in growing.shapes.items() if shape == (1, 1, c)]
    if gates and draw(st.booleans()):
        return growing.add(MultiplyConfig(gate=True), x, draw(st.sampled_from(gates)))
    pool = growing.add(AvgPoolConfig(), draw(st.sampled_from((x, *growing.shapes))))
    gate = growing.add(ConvConfig(), pool, size=ConvSize(1, 1, c))
    return growing.add(MultiplyConfig(gate=True), x, growing.add(HardSigmoidConfig(), gate))


@st.composite
def networks(draw, *, barrier: bool = True, least_rows: int = 1, most_rows: int = 13, layers: int = 7) -> Network:
    """A network of up to `layers` layers in a row, with shortcuts to any earlier value of equal shape."""
    shape = (draw(st.integers(least_rows, most_rows)), draw(st.integers(1, 4)), draw(st.integers(1, 3)))
    growing = _Growing(shape)
    x = INPUT
    for _ in range(draw(st.integers(1, layers))):
        x = _layers(draw, x, growing, barrier) or x
        if x == INPUT and draw(st.booleans()):
            x = growing.add(ReluConfig(), INPUT) or x
    if x == INPUT:
        x = growing.add(ReluConfig(), INPUT) or x
    if draw(st.booleans()):
        x = growing.add(LinearConfig(), x, size=LinearSize(draw(st.integers(1, 3)))) or x
    return Network("net", shape, tuple(growing.nodes), x)


@st.composite
def machines(draw, *, shared: bool | None = None, rule: RingRule | None = None) -> Machine:
    """A machine with lanes enough for units of its own, and everything else at random."""
    lanes = st.integers(20, 64)
    return Machine(
        name="random",
        mac=draw(st.sampled_from(Mac)),
        fxp_lanes=draw(lanes),
        dequantizer_lanes=draw(lanes),
        fp_mul_lanes=draw(lanes),
        fp_add_lanes=draw(lanes),
        fxp_latency=draw(st.integers(0, 9)),
        dequantizer_latency=draw(st.integers(0, 4)),
        fp_latency=draw(st.integers(0, 9)),
        shared=draw(st.booleans()) if shared is None else shared,
        banks=draw(st.integers(1, 32)),
        ports=draw(st.integers(1, 4)),
        bank_width=draw(st.sampled_from([8, 32, 256])),
        ring_rule=draw(st.sampled_from(RingRule)) if rule is None else rule,
        handoff_rows=draw(st.integers(1, 3)),
        images_in_flight=draw(st.integers(3, 5)),
        input_width=draw(st.sampled_from([4, 64])),
        loss_latency=draw(st.integers(0, 50)),
        statistics_latency=draw(st.integers(0, 20)),
        packing=draw(st.sampled_from(Packing)),
        mapping=draw(st.sampled_from(Mapping)),
        weights=draw(st.sampled_from(WeightMemory)),
        weight_buffers=draw(st.integers(1, 2)),
        dram_width=draw(st.sampled_from([1, 16])),
    )
