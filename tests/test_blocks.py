"""Products, sigmoids, upsampling and depth to space: words, networks whole and by rows (SPEC.md A8 to A13)."""

from __future__ import annotations

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitrow.config import (
    AvgPoolConfig,
    ConcatConfig,
    ConvConfig,
    ConvSize,
    DepthOrder,
    DepthToSpaceConfig,
    HardSigmoidConfig,
    LinearConfig,
    LinearSize,
    MultiplyConfig,
    ReluConfig,
    SigmoidConfig,
    SiluConfig,
    UpsampleConfig,
)
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode, Rounding
from bitrow.graph import INPUT, Network, Node
from bitrow.layers import sigmoid
from bitrow.oracle import sigmoid as oracle
from bitrow.pipeline.check import check
from bitrow.pipeline.machine import Machine, RingRule
from bitrow.pipeline.policies import layer_by_layer, row_pipelined, row_pipelined_overlap
from bitrow.pipeline.ring_sizes import ring_sizes
from bitrow.pipeline.rings import RingKind
from bitrow.pipeline.schedule import schedule
from bitrow.proofs.mutants import block_properties
from bitrow.synthetic import synthetic
from bitrow.vectors import network_pass
from bitrow.vectors.operations import to_words
from network_samples import training_pass

CONV, POINT = ConvConfig(padding=1), ConvConfig()


def excited(rows: int = 6) -> Network:
    """A squeeze-and-excite block between two convolutions, then a map that multiplies another one."""
    return Network("excited", (rows, 5, 2), (
        Node("c1", CONV, (INPUT,), ConvSize(3, 3, 4)),
        Node("s1", SiluConfig(), ("c1",)),
        Node("pool", AvgPoolConfig(), ("s1",)),
        Node("down", POINT, ("pool",), ConvSize(1, 1, 2)),
        Node("r1", ReluConfig(), ("down",)),
        Node("up", POINT, ("r1",), ConvSize(1, 1, 4)),
        Node("gate", HardSigmoidConfig(), ("up",)),
        Node("m1", MultiplyConfig(gate=True), ("s1", "gate")),
        Node("c2", CONV, ("m1",), ConvSize(3, 3, 4)),
        Node("s2", SigmoidConfig(), ("c2",)),
        Node("m2", MultiplyConfig(), ("s2", "m1")),
        Node("average", AvgPoolConfig(), ("m2",)),
        Node("head", LinearConfig(), ("average",), LinearSize(3)),
    ), "head")  # fmt: skip


def grown(rows: int = 4) -> Network:
    """Maps that shrink and grow again, one of them kept for a concatenation."""
    return Network("grown", (rows, 3, 2), (
        Node("c1", ConvConfig(stride=2, padding=1), (INPUT,), ConvSize(3, 3, 8)),
        Node("u1", UpsampleConfig(2, 3), ("c1",)),
        Node("r1", ReluConfig(), ("u1",)),
        Node("c2", CONV, ("r1",), ConvSize(3, 3, 8)),
        Node("cat", ConcatConfig(), ("c2", "r1")),
        Node("d1", DepthToSpaceConfig(2, DepthOrder.CRD), ("cat",)),
        Node("c3", CONV, ("d1",), ConvSize(3, 3, 2)),
    ), "c3")  # fmt: skip


NETWORKS = {"excited": excited, "grown": grown}


@pytest.mark.parametrize("bits", range(3, 11))
def test_tables_are_made_twice(bits: int) -> None:
    """SPEC.md A10: bounds of a series in integers, and decimals rounded once, give one table; numpy is near both."""
    words, rises = sigmoid.table(bits)
    expected = np.array(oracle.table(bits), np.uint16)
    np.testing.assert_array_equal(words, expected[:-1])
    values = expected.view(np.float16).astype(np.float64)
    np.testing.assert_array_equal(rises.view(np.float16).astype(np.float64), np.diff(values))
    near = 1 / (1 + np.exp(-8.0 * np.arange(len(values)) / (len(values) - 1)))
    assert np.abs(values - near).max() <= 2.0**-12


def test_a_table_is_told_from_its_neighbours() -> None:
    """SPEC.md A10: a bound that the oracle takes for e^v lies below it by less than 2^-100, and above it as little."""
    for v in (Fraction(1, 128), Fraction(1), Fraction(1021, 128), Fraction(8)):
        low, high = oracle._exponential(v)
        assert 0 < high - low < 1 << 20
        assert abs(low / 2**128 - np.exp(float(v))) <= 1e-12 * np.exp(float(v))


@pytest.mark.parametrize("config", [SigmoidConfig(), SigmoidConfig(3), SigmoidConfig(10)], ids=str)
def test_sigmoid_of_every_word(config: SigmoidConfig) -> None:
    """SPEC.md A10: numpy's float64 says the same of all 65,536 words; what k = 6 gives lies near the sigmoid."""
    every = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    with np.errstate(all="ignore"):
        expected = block_properties._sigmoid(config, {"x": every})["y"]
    found = to_words(jax.jit(lambda x: sigmoid.forward(config, x))(jnp.asarray(every.view(np.float16))))
    np.testing.assert_array_equal(found, expected)
    if config.table_bits == 6:
        x, y = every.view(np.float16).astype(np.float64), found.view(np.float16).astype(np.float64)
        finite = np.isfinite(x)
        with np.errstate(over="ignore"):
            assert np.abs(y[finite] - 1 / (1 + np.exp(-x[finite]))).max() < 0.0006


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_by_the_contract(name: str) -> None:
    """SPEC.md A5, A8 to A13: the whole pass is its layers by the contract; a gate gets its sum."""
    net = NETWORKS[name]()
    model = synthetic(net, 3, 2)
    assert model.samples is not None
    x, dlogits = model.samples.images, model.samples.dlogits
    walk = network_pass.Pass(model, name, lambda one: one.operation.oracle(one.config, one.given))
    steps = [*walk.forward(to_words(x)), *walk.backward(to_words(dlogits))]
    found = training_pass(net, dict(model.params), jnp.asarray(x), jnp.asarray(dlogits))
    np.testing.assert_array_equal(to_words(found.logits), walk.logits)
    np.testing.assert_array_equal(to_words(found.dx), walk.dx)
    if name == "excited":
        gate = next(step for step in steps if step.problem.name == "excited_m1_backward")
        np.testing.assert_array_equal(to_words(found.taps["m1/backward/dgate"]), gate.words["dgate"])
        assert np.unique(gate.words["dgate"]).size > 2 and np.unique(walk.dx).size > 50


@pytest.mark.parametrize(("name", "training"), [
    ("excited", True), ("grown", True), pytest.param("excited", False, marks=pytest.mark.slow),
    pytest.param("grown", False, marks=pytest.mark.slow),
])  # fmt: skip
def test_networks_in_rows(name: str, training: bool) -> None:
    """SPEC.md A8 to A13, A5: rows held for a gate, rows that one makes, and their gradients, bit for bit."""
    net = NETWORKS[name]()
    model = synthetic(net, 5, 2)
    assert model.samples is not None
    found = schedule(net, images=2, training=training)
    checked = check(found, model.params, jnp.asarray(model.samples.images), jnp.asarray(model.samples.dlogits))
    assert checked.words > 0


def test_a_gates_rings() -> None:
    """SPEC.md A8: the map's rows wait for the gate, which waits for all of them; its one row is kept, its gradient too."""
    found = schedule(excited(40), images=2)
    slots = {ring.name: many for ring, many in zip(found.rings, found.slots, strict=True)}
    rings = {ring.name: ring for ring in found.rings}
    assert slots["m1.x"] == 2 * 40  # a gate takes longer than the next image's rows
    assert (rings["m1.m1.skip"].rows, rings["m1.m1.skip"].kind, slots["m1.m1.skip"]) == (1, RingKind.KEPT, 2)
    assert (rings["m1.m1.skip_dx"].rows, rings["m1.m1.skip_dx"].per) == (1, 40)
    assert rings["m1.m1.skip"].row_bits == 4 * 16
    forward = schedule(excited(40), images=5, training=False)
    kinds = {ring.name: ring.kind for ring in forward.rings}
    assert kinds["m1.m1.skip"] is RingKind.SKIP and "m1.m1.input" not in kinds


@pytest.mark.parametrize("name", NETWORKS)
def test_rings_hold_what_waits(name: str) -> None:
    """Ring sizes by formula are the peaks of the balanced pipeline, also where rows are made faster than the input's."""
    for rows in (NETWORKS[name]().input_shape[0], 60):
        for training in (True, False):
            sizes = ring_sizes(NETWORKS[name](rows), training=training)
            assert sizes and all(size.found == size.formula for size in sizes)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rule", RingRule)
@pytest.mark.parametrize("training", [True, False], ids=["training", "forward"])
def test_no_machine_stands_still(name: str, rule: RingRule, training: bool) -> None:
    """Any rule of slots, units of one's own or shared, one image or many: the order of tasks runs to its end."""
    for shared in (True, False):
        lanes = dict.fromkeys(("fxp_lanes", "dequantizer_lanes", "fp_mul_lanes", "fp_add_lanes"), 64)
        machine = Machine(ring_rule=rule, shared=shared, **lanes)
        for policy in (layer_by_layer, row_pipelined, row_pipelined_overlap):
            for images in (1, 6):
                found = schedule(NETWORKS[name](), machine, policy, images, training=training, book_banks=False)
                assert len(found) and found.cycles > 0


def test_many_images_of_a_late_skip() -> None:
    """A forward pass alone has as many images under way as its longest path is long: a skip over rows that are their
    maps' only ones once stood still.
    """
    chain = [Node(f"c{at}", POINT, (f"c{at - 1}" if at else "pool",), ConvSize(1, 1, 2)) for at in range(5)]
    net = Network("late", (8, 4, 2), (Node("pool", AvgPoolConfig(), (INPUT,)), *chain,
                                      Node("m", MultiplyConfig(), ("c4", "pool"))), "m")  # fmt: skip
    for rule in RingRule:
        assert schedule(net, Machine(ring_rule=rule), images=8, training=False).cycles > 0


def test_numbers_of_a_hard_sigmoid() -> None:
    """SPEC.md A9: alpha and beta rounded once, to nearest even; what is no such number is refused."""
    assert HardSigmoidConfig.of(0.2, 0.5) == HardSigmoidConfig(0x3266, 0x3800)
    assert HardSigmoidConfig.of(1 / 6, 0.5) == HardSigmoidConfig()
    mode = FloatMode(Rounding.UP)
    assert HardSigmoidConfig.of(0.2, -0.5, mode) == HardSigmoidConfig(0x3266, 0xB800, mode)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: HardSigmoidConfig(0), "hard sigmoid alpha: found 0x0, expected a positive finite FP16 word"),
    (lambda: HardSigmoidConfig(0x7C00), "hard sigmoid alpha: found 0x7c00, expected a positive finite FP16 word"),
    (lambda: HardSigmoidConfig(beta=0xFC00), "hard sigmoid beta: found 0xfc00, expected a finite FP16 word"),
    (lambda: HardSigmoidConfig.of(1e6, 0.5), "hard sigmoid alpha: found 1000000.0, expected a number that FP16 holds"),
    (lambda: HardSigmoidConfig(1.5), "hard sigmoid alpha: found 1.5, expected an int"),
    (lambda: SigmoidConfig(2), "sigmoid table_bits: found 2, expected 3 to 10"),
    (lambda: SiluConfig(11), "SiLU table_bits: found 11, expected 3 to 10"),
    (lambda: UpsampleConfig(0), "upsample rows: found 0, expected 1 or more"),
    (lambda: UpsampleConfig(2, 0), "upsample columns: found 0, expected 1 or more"),
    (lambda: DepthToSpaceConfig(0), "depth to space block: found 0, expected 1 or more"),
    (lambda: DepthToSpaceConfig(2, "cdr"), "depth to space order: found 'cdr', expected one of dcr, crd"),
    (lambda: Network("n", (2, 2, 6), (Node("d", DepthToSpaceConfig(2), (INPUT,)),), "d"),
     "n d: found 6 channels, expected a multiple of 4"),
    (lambda: Network("n", (2, 2, 4), (Node("d", DepthToSpaceConfig(2), (INPUT,)),
                                      Node("m", MultiplyConfig(), (INPUT, "d"))), "m"),
     "n m: found factors (2, 2, 4) and (4, 4, 1), expected equal shapes, or the option gate"),
    (lambda: Network("n", (2, 2, 4), (Node("m", MultiplyConfig(gate=True), (INPUT, INPUT)),), "m"),
     "n m: found factors (2, 2, 4) and (2, 2, 4), expected a gate (1, 1, 4) for the map (2, 2, 4)"),
    (lambda: Network("n", (1 << 15, 2, 4), (Node("u", UpsampleConfig(4), (INPUT,)),), "u"),
     "n u: found a map of 131072x4x4, expected sides up to 65,536 and up to 268,435,456 values"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(make, message: str) -> None:
    with pytest.raises(BitrowError) as caught:
        make()
    assert str(caught.value) == message
