"""Products, sigmoids, upsampling and depth to space: words, networks whole and by rows (SPEC.md A8 to A13)."""

from __future__ import annotations

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitrow import calibrate, float_model, zoo
from bitrow.calibrate import LeastSquares
from bitrow.config import (
    AvgPoolConfig,
    BatchNormConfig,
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
from bitrow.config.rows import Phase, Take
from bitrow.contract.operations import find
from bitrow.errors import BitrowError
from bitrow.faults import catalogue
from bitrow.formats import FloatMode, Rounding
from bitrow.graph import INPUT, Network, Node
from bitrow.layers import sigmoid, table
from bitrow.layers.twin import FloatLayer
from bitrow.ops.tap import no_tap
from bitrow.oracle import sigmoid as oracle
from bitrow.pipeline.check import check
from bitrow.pipeline.machine import Machine, RingRule
from bitrow.pipeline.policies import layer_by_layer, row_pipelined, row_pipelined_overlap
from bitrow.pipeline.ring_sizes import RingSize, ring_sizes
from bitrow.pipeline.rings import RingKind
from bitrow.pipeline.schedule import schedule
from bitrow.proofs.mutants import block_properties, judge, properties
from bitrow.synthetic import synthetic
from bitrow.transfer import network_module, numerics, policies
from bitrow.transfer.data import Images
from bitrow.transfer.recipe import Recipe
from bitrow.transfer.training import Trainer
from bitrow.vectors import catalog, network_pass
from bitrow.vectors.coverage import measure as coverage
from bitrow.vectors.judge import stepwise
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


def trained() -> Network:
    """Batch norms before a gate and before a map that grows, and a head behind both."""
    return Network("trained", (4, 4, 2), (
        Node("c1", CONV, (INPUT,), ConvSize(3, 3, 8)),
        Node("n1", BatchNormConfig(), ("c1",)),
        Node("s1", SiluConfig(), ("n1",)),
        Node("pool", AvgPoolConfig(), ("s1",)),
        Node("c2", POINT, ("pool",), ConvSize(1, 1, 8)),
        Node("gate", SigmoidConfig(), ("c2",)),
        Node("m1", MultiplyConfig(gate=True), ("s1", "gate")),
        Node("d1", DepthToSpaceConfig(), ("m1",)),
        Node("u1", UpsampleConfig(), ("d1",)),
        Node("h1", HardSigmoidConfig(), ("u1",)),
        Node("average", AvgPoolConfig(), ("h1",)),
        Node("head", LinearConfig(), ("average",), LinearSize(3)),
    ), "head")  # fmt: skip


NETWORKS = {"excited": excited, "grown": grown}


@pytest.mark.parametrize("bits", range(3, 11))
def test_tables_are_made_twice(bits: int) -> None:
    """SPEC.md A10: bounds of a series in integers, and decimals rounded once, give one table; numpy is near both."""
    words, rises = sigmoid._table(bits)
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
    ("excited", True), pytest.param("grown", True, marks=pytest.mark.slow),
    pytest.param("excited", False, marks=pytest.mark.slow), pytest.param("grown", False, marks=pytest.mark.slow),
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
    """SPEC.md A8: rows of the map wait for the gate, which waits for all of them; of the gate one row is kept."""
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


def only(size: RingSize) -> bool:
    """A gate's ring, which has a slot for each image under way, needed or not."""
    return size.ring.held.buffer.take(Phase.FORWARD_CHAIN) is Take.ONLY


@pytest.mark.parametrize("name", NETWORKS)
def test_rings_hold_what_waits(name: str) -> None:
    """Ring sizes by formula are the peaks of the balanced pipeline, also where rows come faster than the input's."""
    for rows in (NETWORKS[name]().input_shape[0], 60):
        for training in (True, False):
            sizes = ring_sizes(NETWORKS[name](rows), training=training)
            assert sizes and all(size.found == size.formula for size in sizes if not only(size))
            assert all(size.found <= size.formula for size in sizes)


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


@pytest.mark.slow
def test_training_through_them() -> None:
    """SPEC.md A8 to A13, C4: an epoch in bit-accurate numerics moves the batch norm before a gate."""
    graph, rng, rule = trained(), np.random.default_rng(3), LeastSquares(True)
    x, y = rng.standard_normal((8, *graph.input_shape)).astype(np.float32), rng.integers(0, 3, 8).astype(np.int32)
    twin = float_model.initialize(graph, 2)
    head = jnp.asarray(rng.standard_normal(twin.params["head"].weight.shape), jnp.float32)
    twin.params["head"] = twin.params["head"]._replace(weight=head)
    scales = calibrate.forward_scales(graph, twin, x, rule)
    dy = calibrate.gradient_scales(graph, twin, scales, x, y, rule).dy_scale
    params = calibrate.make_params(graph, twin, scales, dy)
    module = network_module.from_params(graph, params, numerics.parse("bit_accurate"), twin, scales)
    policy = policies.parse("bias")
    policies.prepare(module, policy, 0)
    trainer = Trainer(module, policy, Recipe(8, 1e-2, 1, 0, 256.0, True, None), Images(x, y), jax.devices()[:1])
    before = trainer.start()
    after, metrics = trainer.epoch(before, 0)
    moved = {name for name, value in after.params.items() if not np.array_equal(value, before.params[name])}
    assert "layers/n1/shift" in moved and np.isfinite(metrics.loss).all(), moved


def test_twins_are_near() -> None:
    """Each layer's float32 twin against its words: what rounding leaves, and of the table what A10 states."""
    model = synthetic(trained(), 4, 4)
    assert model.samples is not None
    x = jnp.asarray(model.samples.images)
    for config, bound in ((SigmoidConfig(), 6e-4), (SiluConfig(), 4e-3), (HardSigmoidConfig(), 1e-3),
                          (UpsampleConfig(2, 3), 0), (DepthToSpaceConfig(1), 0)):  # fmt: skip
        kind = table.layer(config)
        run = stepwise.run(lambda x, kind=kind, config=config: {"y": kind.forward(config, None, [x], no_tap)[0]}, x)
        y = run["y"].astype(np.float32)
        float_y = kind.twin.forward(config, FloatLayer(), [x.astype(jnp.float32)])[0]
        assert np.abs(y - np.asarray(float_y)).max() <= bound, config.label


def test_bins_of_clipping_and_of_the_table() -> None:
    """SPEC.md V3, A9, A10: each proven from the data."""
    config = HardSigmoidConfig()
    given = {"x": np.array([-8, -3, -1, 0, 1, 3, 8, np.nan], np.float16).view(np.uint16).reshape(1, 1, 8, 1)}
    operation = find("hard_sigmoid.forward", config)
    found = coverage.measure(operation, config, given | operation.oracle(config, given))
    assert [found[f"clip_{name}"] for name in ("negative", "inside", "one", "nan")] == [1, 3, 2, 1]
    tabled = find("sigmoid.forward", SigmoidConfig(3))
    for values, bins in (([0.0, 1, 7, 0.5, 8, -9, np.nan], {"entry": 3, "between": 1, "end": 2, "negative": 1}),
                         ([-0.25], {"between": 1, "negative": 1}), ([2.0], {"entry": 1})):  # fmt: skip
        given = {"x": np.array(values, np.float16).view(np.uint16).reshape(1, 1, -1, 1)}
        found = coverage.measure(tabled, SigmoidConfig(3), given | tabled.oracle(SigmoidConfig(3), given))
        assert {name.removeprefix("table_"): many for name, many in found.items() if name.startswith("table_")} == bins


def test_the_suite_finds_every_fault() -> None:
    """SPEC.md V5: small cases find each deliberate fault of these clauses by words, and so does numpy."""
    cases = []
    for entry in catalog.blocks():
        name, operation, config, given, _ = catalog.build(entry, 1)
        words = operation.oracle(config, given)
        parts = judge.parts_run_by(lambda run=operation.oracle, a=config, b=given: run(a, b))
        cases.append(judge.Judged(name, operation, config, given, words, parts))
    sound = properties.control(block_properties.BLOCK_PROPERTIES)
    mutants = [one for one in catalogue.MUTANTS if one.clause in ("A8", "A9", "A10", "A11", "A12", "A13")]
    assert len(mutants) > 30
    for mutant in mutants:
        (kill,) = judge.kills(mutant, cases, first_only=True)
        assert not kill.raised and properties.broken(mutant, sound), mutant.name


def test_mobilenetv3_on_the_machine() -> None:
    """SPEC.md A8: nine gates in one pipeline, the rings of the formula's sizes."""
    network = zoo.mobilenetv3((32, 32, 3), 10)
    assert schedule(network, images=2).cycles > schedule(network, images=2, training=False).cycles > 0
    for training in (True, False):
        sizes = ring_sizes(network, training=training)
        assert all(size.found == size.formula for size in sizes if not only(size))
        assert all(size.found <= size.formula for size in sizes)


@pytest.mark.slow
def test_mobilenetv3_in_rows() -> None:
    """SPEC.md A6, A8, A9: its rows are whole tensors', forward and backward."""
    model = synthetic(zoo.mobilenetv3((9, 9, 3), 5, 0.1), 3, 2)
    assert model.samples is not None
    found = schedule(model.network, images=2)
    assert check(found, model.params, jnp.asarray(model.samples.images), jnp.asarray(model.samples.dlogits)).words


MAP = np.zeros((1, 2, 3, 4), np.uint16)


@pytest.mark.parametrize(("name", "config", "given", "message"), [
    ("multiply.forward", MultiplyConfig(), {"x": MAP, "other": MAP[:, :1]},
     "multiply: found factors of [1, 2, 3, 4] and [1, 1, 3, 4], expected [1, 2, 3, 4]"),
    ("multiply.backward", MultiplyConfig(True), {"x": MAP, "gate": MAP[:, :1], "dy": MAP},
     "multiply: found factors of [1, 2, 3, 4] and [1, 1, 3, 4], expected [1, 1, 1, 4]"),
    ("upsample.backward", UpsampleConfig(), {"dy": MAP}, "upsample dy: found 2x3, expected multiples of 2x2"),
    ("depth_to_space.forward", DepthToSpaceConfig(3), {"x": MAP},
     "depth to space x: found 4 channels, expected a multiple of 9"),
    ("depth_to_space.backward", DepthToSpaceConfig(), {"dy": MAP},
     "depth to space dy: found 2x3, expected multiples of 2"),
])  # fmt: skip
def test_words_that_do_not_fit_are_refused(name: str, config: object, given: dict, message: str) -> None:
    with pytest.raises(BitrowError) as caught:
        find(name, config).oracle(config, given)
    assert str(caught.value) == message
