"""What is wrong is refused at the door: settings, dtypes, ranks, shapes and host values, each in one line."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import pkgutil
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bitrow.layers
import bitrow.ops
from bitrow import calibrate, config, door_slots, float_model, formats, fp16, graph, host, network, typed, zoo
from bitrow.config import AvgPoolConfig, BatchNormConfig, ConvConfig, LinearConfig, MaxPoolConfig, ReluConfig, Window
from bitrow.contract import conv as contract_conv
from bitrow.errors import BitrowError
from bitrow.formats import FP16, FXP4, Accumulator, FlagMode, Float, FloatMode, Fxp, Overflow, Rounding
from bitrow.graph import ConvSize, LinearSize, Network, Node
from bitrow.host import Scales
from bitrow.layers import activation, batch_norm, conv, linear, pool, residual
from bitrow.layers.batch_norm import BatchParams, FrozenParams
from bitrow.layers.linear import LinearParams
from bitrow.ops import fxp, lfsr, mac, reduce, softfloat
from bitrow.oracle import fp16 as scalar
from bitrow.transfer.augment import Augmentation
from bitrow.transfer.numerics import GradientNumerics, TrainingNumerics

HALF = jnp.float16
X = jnp.ones((2, 4, 4, 2), HALF)


def refused(call):
    with pytest.raises(BitrowError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and "found" in message and "expected" in message and len(message) < 400
    return message


# Settings


RECORDS = [
    FloatMode(), FlagMode(), Fxp(4), Accumulator(), Float(5, 10), ConvConfig(), BatchNormConfig(), ReluConfig(),
    config.AddConfig(), MaxPoolConfig(), AvgPoolConfig(), LinearConfig(), ConvSize(3, 3, 4), LinearSize(3),
    Node("a", ReluConfig(), ("input",)), zoo.resnet8(), GradientNumerics(),
    TrainingNumerics(next(iter(typing.get_type_hints(TrainingNumerics)["numerics"]))), Augmentation(),
]  # fmt: skip
FIELDS = [(record, field.name) for record in RECORDS for field in dataclasses.fields(record) if field.init]


def test_every_record_of_formats_and_config_is_among_them():
    known = {type(record) for record in RECORDS}
    for module in (formats, config, graph):
        for member in vars(module).values():
            if isinstance(member, type) and dataclasses.is_dataclass(member) and member.__module__ == module.__name__:
                assert member in known


@pytest.mark.parametrize("record, field", FIELDS, ids=lambda v: v if isinstance(v, str) else type(v).__name__)
def test_fields_of_another_type_are_refused(record, field):
    hint = typing.get_type_hints(type(record))[field]
    wrong: list[object] = [object(), 1.5, b"", (4, 1, 3, 2, 5), np.ones(2)]
    wrong += [1, 0, np.True_] if hint is bool else [True]
    wrong += [2.0, "1", np.float32(2), jnp.int32(1)] if hint is int else []
    wrong += ["", "bogus", "NEAREST_EVEN", "Up", 0] if isinstance(hint, type) and issubclass(hint, enum.Enum) else []
    for value in wrong:
        message = refused(lambda value=value: dataclasses.replace(record, **{field: value}))
        assert field in message


@pytest.mark.parametrize("record, field", FIELDS, ids=lambda v: v if isinstance(v, str) else type(v).__name__)
def test_exact_values_are_taken(record, field):
    hint, value = typing.get_type_hints(type(record))[field], getattr(record, field)
    given = value
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        given = value.value
    elif type(value) is int:
        given = np.int64(value)
    elif type(value) is tuple:
        given = list(value)
    made = dataclasses.replace(record, **{field: given})
    assert made == record and hash(made) == hash(record)
    assert type(getattr(made, field)) is type(value)


SETTINGS = [
    (lambda: FloatMode("bogus"), "FloatMode rounding: found 'bogus', expected one of nearest_even, toward_zero"),
    (lambda: FloatMode(Overflow.INFINITY), "FloatMode rounding: found <Overflow.INFINITY"),
    (lambda: ConvConfig(stride=1.5), "convolution stride: found 1.5, expected an int"),
    (lambda: ConvConfig(groups=2.0), "convolution groups: found 2.0, expected an int"),
    (lambda: ConvConfig(x_format=4), "convolution x_format: found 4, expected Fxp"),
    (lambda: ConvConfig(padding=(4, 1)), "convolution padding: found (4, 1), expected an int or a tuple of 4, each"),
    (lambda: ConvConfig(stride=(2, 0)), "convolution stride: found (2, 0), expected 1 or more"),
    (lambda: ConvConfig(dilation=(1, 1.5)), "convolution dilation: found (1, 1.5), expected an int or a tuple of 2"),
    (lambda: ConvConfig(padding=(0, 0, -1, 0)), "convolution padding: found (0, 0, -1, 0), expected 0 or more"),
    (lambda: MaxPoolConfig((2, 17)), "max pool kernel: found (2, 17), expected at most 16"),
    (lambda: MaxPoolConfig((2, 3), 1, (0, 0, 0, 3)), "max pool padding: found (0, 0, 0, 3), expected less than the ke"),
    (lambda: AvgPoolConfig(2, padding=2), "average pool padding: found 2, expected less than the kernel of 2"),
    (lambda: AvgPoolConfig(stride=2), "average pool stride: found 2, expected None for the whole map"),
    (lambda: AvgPoolConfig(padding=1), "average pool padding: found 1, expected 0 for the whole map"),
    (lambda: AvgPoolConfig(2, stride=(1, 0)), "average pool stride: found (1, 0), expected 1 or more"),
    (lambda: ConvConfig(gradient="FP16"), "convolution gradient: found 'FP16', expected one of fxp, fp16"),
    (lambda: Accumulator(8, "wraps"), "accumulator overflow: found 'wraps'"),
    (lambda: Accumulator(7), "accumulator bits: found 7, expected 8 to 32"),
    (lambda: Fxp(4, 1), "Fxp signed: found 1, expected True or False"),
    (lambda: Fxp(9), "Fxp bits: found 9"),
    (lambda: Float(1, 3), "Float exponent_bits: found 1"),
    (lambda: formats.magnitude_bound(2.0, FXP4, FXP4), "magnitude_bound terms: found 2.0"),
    (lambda: formats.magnitude_bound(2, 4, FXP4), "magnitude_bound x_format: found 4"),
    (lambda: config.output_size(8, 3, 1.0, 0), "output_size stride: found 1.0"),
    (lambda: config.output_size(8, kernel="3", stride=1, padding=0), "output_size kernel: found '3'"),
    (lambda: ConvConfig().bounds((3, 3, 4)), "kernel_shape: found (3, 3, 4), expected a tuple of 4"),
    (lambda: ConvConfig().check("c", (3, 3, 0, 4)), "c kernel_shape: found (3, 3, 0, 4)"),
    (lambda: Network("n", (8, 8), (), "a"), "network input_shape: found (8, 8)"),
]


@pytest.mark.parametrize("call, message", SETTINGS, ids=[message for _, message in SETTINGS])
def test_settings_are_refused(call, message):
    assert message in refused(call)


def test_names_of_members_mean_the_members():
    assert FloatMode("up").rounding is Rounding.UP
    assert float(fp16.add(HALF(1), HALF(2**-11), FloatMode("up"))) == 1 + 2**-10
    assert float(fp16.add(HALF(1), HALF(2**-11), FloatMode("nearest_even"))) == 1
    assert scalar.add(0x3C00, 0x1000, FloatMode("up")) == 0x3C01  # the oracle reads the same values
    codes = jnp.full((1, 1, 1, 4), -8, jnp.int8)
    kernel = mac.Kernel(jnp.full((1, 1, 4, 1), 7, jnp.int8), None)
    acc = mac.accumulate(codes, kernel, mac.Places(mac.NO_PADDING), Accumulator(8, "wrap"), 256)
    assert int(acc.reshape(())) == (-224 + 128) % 256 - 128


# The doors


def public(package):
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{found.name}")
        for name, member in vars(module).items():
            if name.startswith("_") or isinstance(member, type) or not callable(member):
                continue
            if getattr(member, "__module__", None) == module.__name__:
                yield found.name, name, member


HOST = {("half_casts", "casts_are_exact"), ("frozen", "zero_cotangent")}  # a backend's name; any tree of parameters
FUNCTIONS = [
    (module, name, member)
    for package in (bitrow.ops, bitrow.layers)
    for module, name, member in public(package)
    if module not in ("tap", "dtypes") and (module, name) not in HOST
] + [("network", name, getattr(network, name)) for name in ("forward", "backward", "training_pass", "apply")]
SAMPLES = {
    int: 3, bool: False, str: "name", FloatMode: FloatMode(), FlagMode: FlagMode(), Fxp: Fxp(4), Float: FP16,
    Accumulator: Accumulator(), formats.Dequantize: formats.Dequantize.FUSED, Rounding: Rounding.UP,
    Network: zoo.resnet8(), Window: Window(),
}  # fmt: skip


def sample(slot):
    """Some value that a slot takes; every dimension has 3 elements."""
    hint = slot.options[0]
    if isinstance(slot, door_slots.ArraySlot):
        arrays = [option for option in slot.options if option is not int]
        return array(arrays[0], dtypes(arrays[0])[0])
    if isinstance(slot, door_slots.RecordSlot):
        return hint(*map(sample, door_slots.slots(hint)))
    if isinstance(slot, door_slots.SequenceSlot):
        return [array(hint, dtypes(hint)[0])]
    if hint in SAMPLES:
        return SAMPLES[hint]
    if isinstance(hint, type) and issubclass(hint, config.LayerConfig):
        return hint()
    return sample_of(slot.hint)


def sample_of(hint):
    if typing.get_origin(hint) is tuple:
        items = [item for item in typing.get_args(hint) if item is not Ellipsis]
        return tuple(SAMPLES[item] if item in SAMPLES else sample_of(item) for item in items)
    return lambda *args: None  # a tap, an adder, or what is not looked at


def any_dtype(hint):
    return not isinstance(hint.dtypes, list | tuple)


def dtypes(hint):
    """Names of the dtypes that an annotation allows, or some where it names none."""
    named = getattr(hint, "dtypes", None)
    return [d if isinstance(d, str) else "int32" for d in named] if isinstance(named, list | tuple) else ["float16"]


def array(hint, dtype, more=0):
    names = getattr(hint, "dim_str", "s").split()
    sizes = [int(name) if name.isdigit() else 3 for name in names if name[0] not in "*."]
    return jnp.ones([*sizes, *[1] * more], dtype)


def calls(function):
    """Every slot, and the call with a wrong value in it and right ones in the others."""
    slots = door_slots.slots(inspect.unwrap(function))
    right = [sample(slot) for slot in slots]
    for place, slot in enumerate(slots):
        for wrong in wrongs(slot):
            yield slot.name, (*right[:place], wrong, *right[place + 1 :])


def wrongs(slot):
    if isinstance(slot, door_slots.SequenceSlot):
        return [[array(slot.options[0], "complex64")], []]
    if isinstance(slot, door_slots.RecordSlot):
        record = sample(slot)
        fields = zip(record._fields, door_slots.slots(type(record)), strict=True)
        return ["a record", tuple(record), *(record._replace(**{n: wrongs(s)[0]}) for n, s in fields if wrongs(s))]
    if isinstance(slot, door_slots.ArraySlot):
        hint = next(option for option in slot.options if option is not int)
        wrong = ["an array", [1.0], object()]
        if not hasattr(hint, "dtypes"):  # any array
            return wrong
        if not set("*.") & {name[0] for name in hint.dim_str.split()}:
            wrong.append(array(hint, dtypes(hint)[0], more=1))
        return wrong if any_dtype(hint) else [array(hint, "complex64"), *wrong]
    return [] if slot.hint is typing.Any or isinstance(slot.hint, typing.TypeVar) else [object(), 1.5]


@pytest.mark.parametrize("module, name, function", FUNCTIONS, ids=[f"{m}.{n}" for m, n, _ in FUNCTIONS])
def test_every_public_function_refuses_what_its_annotations_do_not_declare(module, name, function):
    checked = 0
    for argument, values in calls(function):
        if argument in ("network", "params", "saved") and module == "network":
            continue  # mappings, which check_params reads
        message = refused(lambda values=values: function(*values))
        assert message.startswith(f"{module}.{name} {argument}"), message
        checked += 1
    assert checked or not inspect.signature(inspect.unwrap(function)).parameters or name == "make_params"


P = conv.make_params(ConvConfig(padding=1), "c", np.ones((3, 3, 2, 3), int), Scales(0.5, 0.5, 0.5), np.ones(3))
HEAD = LinearParams(jnp.ones((2, 3), HALF), jnp.ones(3, jnp.float32))
NORM = BatchParams(jnp.ones(2, jnp.float32), jnp.ones(2, jnp.float32), jnp.float32(0.5))
C, BATCH = ConvConfig(padding=1), BatchNormConfig("batch")
MASK = jnp.ones((2, 4, 4, 2), bool)
ARRAYS = [
    (lambda: activation.apply(ReluConfig(), jnp.array([1, -2], jnp.bfloat16)), "found bfloat16[2], expected float16"),
    (lambda: activation.apply(ReluConfig(), jnp.ones(2, jnp.float32)), "activation.apply x: found float32[2]"),
    (lambda: fp16.div(jnp.float32(1), jnp.float32(3)), "fp16.div a: found float32[], expected float16"),
    (lambda: fp16.sqrt(jnp.bfloat16(4)), "fp16.sqrt a: found bfloat16[]"),
    (lambda: fp16.add(HALF(1), 0.0004885), "fp16.add b: found 0.0004885, expected float16"),
    (lambda: fp16.add(HALF(1), 70000), "fp16.add b: found 70000"),
    (lambda: fp16.add(HALF(1), True), "fp16.add b: found True"),
    (lambda: fp16.add(HALF(1), np.float64(0.5)), "fp16.add b: found float64[]"),
    (lambda: fp16.add(X, jnp.ones(3, HALF)), "fp16.add b: found float16[3], expected float16[*s] (broadcast) with *s"),
    (lambda: fp16.add(X, [1.0]), "fp16.add b: found [1.0]"),
    (lambda: fp16.add(X, X, "up"), "fp16.add mode: found 'up', expected FloatMode"),
    (lambda: fp16.from_int32(jnp.float32(1)), "fp16.from_int32 value: found float32[]"),
    (lambda: softfloat.add(jnp.uint32(1), jnp.int32(1), FP16), "softfloat.add b: found int32[]"),
    (lambda: linear.forward(LinearConfig(), HEAD._replace(bias=jnp.ones(3, jnp.int32)), X[0, 0]),
     "linear.forward params.bias: found int32[3], expected float32[c_out] with c_out = 3"),
    (lambda: linear.forward(LinearConfig(), HEAD, jnp.ones((1, 5), HALF)), "x: found float16[1, 5]"),
    (lambda: batch_norm.forward_batch(BATCH, NORM._replace(gamma=jnp.ones(2, HALF)), X),
     "batch_norm.forward_batch params.gamma: found float16[2], expected float32[c]"),
    (lambda: batch_norm.forward_batch(BATCH, NORM._replace(eps=0.001), X), "params.eps: found 0.001"),
    (lambda: batch_norm.forward_frozen(BATCH, FrozenParams(jnp.ones(1, HALF), jnp.ones(1, HALF)), X), "with c = 1"),
    (lambda: batch_norm.forward_batch(BATCH, NORM, X[:0]), "found 0 elements a channel"),
    (lambda: conv.forward(C, tuple(P), X), "conv.forward params: found tuple, expected ConvParams"),
    (lambda: conv.forward(C, P, X[0]), "conv.forward x: found float16[4, 4, 2], expected float16[n, h, w, c]"),
    (lambda: conv.forward(C, P._replace(weight_code=P.weight_code.astype(jnp.int32)), X), "found int32[3, 3, 2, 3]"),
    (lambda: conv.forward(C, P._replace(weight_code=P.weight_code.astype(jnp.uint8)), X), "weight_code: found uint8"),
    (lambda: conv.forward(C, P._replace(bias=jnp.ones(2, HALF)), X), "convolution bias: found shape [2]"),
    (lambda: conv.forward(C, P._replace(scale=jnp.ones(1, HALF)), X), "convolution scale: found shape [1]"),
    (lambda: conv.backward(C, P, MASK, jnp.ones((2, 4, 3, 3), HALF)), "convolution dy: found 4x3, expected 4x4"),
    (lambda: conv.backward(C, P, MASK[..., :1], jnp.ones((2, 4, 4, 3), HALF)), "convolution mask: found 1 channels"),
    (lambda: conv.backward(C, P._replace(dx_scale=None), MASK, jnp.ones((2, 4, 4, 3), HALF)), "dx_scale: found none"),
    (lambda: residual.forward(config.AddConfig(), X, X[:1]), "residual.forward shortcut: found float16[1, 4, 4, 2]"),
    (lambda: residual.accumulate([X, X.astype(jnp.float32)]), "residual.accumulate dys[1]: found float32"),
    (lambda: pool.max_forward(MaxPoolConfig(), X.astype(jnp.float32)), "pool.max_forward x: found float32"),
    (lambda: fxp.quantize(X, jnp.ones(3, HALF), FXP4), "fxp.quantize inv_scale: found float16[3]"),
    (lambda: fxp.dequantize(jnp.ones(2, jnp.int32), HALF(1), 2.5), "fxp.dequantize acc_bound: found 2.5"),
    (lambda: lfsr.words(jnp.uint16(1), 1.5, (3,)), "lfsr.words start: found 1.5"),
    (lambda: lfsr.words(70000, 0, (3,)), "lfsr.words seed: found 70000"),
    (lambda: reduce.tree(jnp.ones(4, jnp.int32), 0, reduce.fp32_add), "reduce.tree x: found int32[4]"),
    (lambda: network.forward("resnet8", {}, X), "network.forward network: found 'resnet8', expected Network"),
]  # fmt: skip


@pytest.mark.parametrize("call, message", ARRAYS, ids=[message for _, message in ARRAYS])
def test_arrays_are_refused(call, message):
    assert message in refused(call)


def test_refused_while_tracing_and_under_vmap():
    wide = jnp.ones((3, 4), jnp.float32)
    for call in (
        lambda: jax.jit(fp16.sqrt)(wide), lambda: jax.vmap(fp16.sqrt)(wide), lambda: jax.eval_shape(fp16.sqrt, wide),
        lambda: jax.grad(lambda x: activation.apply(ReluConfig(), x).sum())(wide),
    ):  # fmt: skip
        assert "expected float16" in refused(call)


def test_numpy_arrays_and_exact_scalars_are_taken():
    half = np.array([1.5, -2, np.inf], np.float16)
    expected = np.array([2, -1.5, np.inf], np.float16)
    for other in (0.5, np.float16(0.5), np.array(0.5, ">f2"), HALF(0.5)):
        got = fp16.add(half, other)
        assert isinstance(got, jax.Array) and np.array_equal(np.asarray(got), expected)
    assert float(fp16.add(1, 2)) == 3 and np.isnan(float(fp16.add(HALF(1), float("nan"))))
    y, _ = conv.forward(C, conv.ConvParams(*(np.asarray(v) for v in P)), np.asarray(X))
    assert np.array_equal(np.asarray(y), np.asarray(conv.forward(C, P, X)[0]))


def test_each_signature_is_checked_once(monkeypatch):
    seen = []
    monkeypatch.setattr(typed, "coerce", lambda where, hint, value: seen.append(where) or value)
    assert float(fp16.add(HALF(1), HALF(1), FloatMode())) == 2 and not seen


# What the host gives


CODES = np.ones((1, 1, 2, 3), int)


def made(codes=CODES, x_scale=0.5, w_scale=0.5, **given):
    return conv.make_params(ConvConfig(), "layer", codes, Scales(x_scale, w_scale, 0.5), **given)


PER_CHANNEL = np.array([0.5, 0.1, 0.5])
HOST_VALUES = [
    (lambda: made(CODES * 1.7), "layer weight_code: found float64, expected integers -8 to 7"),
    (lambda: made(CODES * -8.9), "layer weight_code: found float64"),
    (lambda: made(CODES > 0), "layer weight_code: found bool"),
    (lambda: made(CODES * 9), "layer weight_code: found 9 to 9"),
    (lambda: made(CODES[..., :0]), "layer weight_code: found shape (1, 1, 2, 0)"),
    (lambda: made(bias=np.array([0, 7e4, 0])), "layer bias channel 1: found 70000.0, expected an FP16 number"),
    (lambda: made(bias=np.array([0, 0, np.nan])), "layer bias channel 2: found nan"),
    (lambda: made(bias=np.array([-np.inf, 0, 0], np.float16)), "layer bias channel 0: found -inf"),
    (lambda: made(bias=np.array([0, 0.1, 0])), "layer bias channel 1: found 0.1"),
    (lambda: made(bias=np.array(["a", "b", "c"])), "layer bias: found <U1"),
    (lambda: made(w_scale=PER_CHANNEL), "layer w_scale channel 1: found 0.1"),
    (lambda: made(w_scale=np.nan), "layer w_scale: found nan"),
    (lambda: made(x_scale=np.inf), "layer x_scale: found inf"),
    (lambda: host.check_scale("layer", "x_scale", "0.5"), "layer x_scale: found '0.5', expected a number"),
    (lambda: host.check_scale("layer", "x_scale", True), "layer x_scale: found True"),
    (lambda: made(seed=1.5), "seed: found 1.5, expected an int"),
    (lambda: made(seed=0), "layer seed: found 0"),
    (lambda: conv.make_params(4, "layer", CODES, Scales(0.5, 0.5, 0.5)), "make_params config: found 4"),
    (lambda: conv.make_params(C, "layer", CODES, (0.5, 0.5, 0.5)), "make_params scales: found tuple, expected Scales"),
    (lambda: host.inverse_scale(0.0), "scale: found 0.0, expected a positive finite number"),
    (lambda: host.fold_batch_norm("bn", [1.0, np.inf], [0, 0], [0, 0], [1, 1], 0.1), "bn gamma channel 1: found inf"),
    (lambda: host.fold_batch_norm("bn", [1.0, 1], [0, 0], [0, 0], [1, np.inf], 0.1), "bn var channel 1: found inf"),
    (lambda: host.fold_batch_norm("bn", [1.0, 1], [0, 0], [0, 1e300], [1, 1], 0.1), "bn mean channel 1: found 1e+300"),
    (lambda: host.fold_batch_norm("bn", [1.0, 1], [0, 0], [0, 0], [1, 1], -1.0), "bn eps: found -1.0"),
    (lambda: host.fold_batch_norm("bn", [1.0, 1], [0], [0, 0], [1, 1], 0.1), "var: found shapes [2], [1], [2], [2]"),
]


@pytest.mark.parametrize("call, message", HOST_VALUES, ids=[message for _, message in HOST_VALUES])
def test_host_values_are_refused(call, message):
    assert message in refused(call)


def test_float16_statistics_are_widened_exactly():
    values = [np.array(v, np.float16) for v in ([1.5, 2], [0.25, 0], [1, 2], [0.5, 4])]
    narrow = batch_norm.fold("bn", *values, 0.5)
    wide = batch_norm.fold("bn", *(v.astype(np.float32) for v in values), 0.5)
    assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(narrow, wide, strict=True))


CALIBRATED = Network(
    "net", (4, 4, 2),
    (Node("c", ConvConfig(padding=1), ("input",), ConvSize(3, 3, 2)), Node("bn", BATCH, ("c",)),
     Node("head", LinearConfig(), ("bn",), LinearSize(3))), "head",
)  # fmt: skip
MODEL = float_model.initialize(CALIBRATED, 0)
IMAGES, LABELS = np.ones((2, 4, 4, 2), np.float32), np.array([0, 2])
SCALES = {"c": float_model.ConvScales(jnp.float32(0.5), jnp.float32(0.5))}


def with_params(**changes):
    return float_model.FloatModel(MODEL.params | changes, MODEL.stats)


def weights(value):
    weight = np.zeros((3, 3, 2, 2), np.float32)
    weight[1, 1, 0, 1] = value
    return with_params(c=MODEL.params["c"]._replace(weight=jnp.asarray(weight)))


def calibrated(model=MODEL, images=IMAGES, labels=LABELS, **rule):
    return calibrate.calibrate(CALIBRATED, model, images, labels, **rule)


NOT_CALIBRATED = [
    (lambda: calibrated(weights(np.inf)), "net c"),
    (lambda: calibrate.forward_scales(CALIBRATED, weights(np.nan), IMAGES), "net c weight channel 1: found nan"),
    (lambda: calibrate.make_params(CALIBRATED, weights(np.inf), SCALES, {"c": 1.0}), "net c weight channel 1"),
    (lambda: calibrated(labels=np.array([0, 3])), "net labels: found 0 to 3, expected 0 to 2"),
    (lambda: calibrated(labels=np.array([-1, 0])), "net labels: found -1 to 0, expected 0 to 2"),
    (lambda: calibrated(labels=LABELS.astype(np.float32)), "net labels: found float32[2], expected integers [2]"),
    (lambda: calibrated(labels=LABELS[:1]), "net labels: found int64[1], expected integers [2]"),
    (lambda: calibrated(images=IMAGES[0]), "net images: found shape [4, 4, 2], expected [n, 4, 4, 2]"),
    (lambda: calibrated(images=IMAGES[:0]), "net images: found shape [0, 4, 4, 2]"),
    (lambda: calibrated(images=IMAGES.astype(np.float64) * 1e300), "net images channel 0: found 1e+300"),
    (lambda: calibrated(rule=lambda values, fmt: float("nan")), "net c x_scale: found nan from the rule"),
    (lambda: calibrate.Percentile(101.0), "percentile percent: found 101.0"),
    (lambda: calibrate.LeastSquares(1), "least squares power_of_two: found 1"),
    (lambda: calibrate.make_params(CALIBRATED, MODEL, {}, {"c": 1.0}), "net c scales: found none"),
    (lambda: calibrate.make_params(CALIBRATED, MODEL, SCALES, {}), "net c dy_scale: found none"),
    (lambda: calibrate.make_params(
        CALIBRATED, with_params(head=MODEL.params["head"]._replace(bias=np.array([0, np.nan, 0]))), SCALES, {"c": 1.0}
    ), "net head bias channel 1: found nan"),
]  # fmt: skip


@pytest.mark.parametrize("call, message", NOT_CALIBRATED, ids=[message for _, message in NOT_CALIBRATED])
def test_models_and_images_are_refused(call, message):
    assert message in refused(call)


def test_the_oracle_refuses_values_that_are_no_words():
    inputs = {"x": np.ones((1, 1, 1, 2), np.float16), "weight_code": CODES, "x_inv_scale": 1, "scale": 1}
    assert "oracle inputs x: found float16" in refused(lambda: contract_conv.FORWARD.oracle(ConvConfig(), inputs))
