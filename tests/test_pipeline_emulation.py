"""The schedule's order and its smallest rings, run on real rows: the bits of the whole-tensor model."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from network_samples import assert_same_bits, every_layer

from bitrow.network import backward, forward
from bitrow.pipeline.emulation import emulator_order, emulator_slots
from bitrow.pipeline.emulator import Emulator
from bitrow.pipeline.machine import Machine, RingRule
from bitrow.pipeline.policies import row_pipelined_overlap
from bitrow.pipeline.rings import RingKind
from bitrow.pipeline.schedule import schedule
from bitrow.synthetic import synthetic


def test_a_schedule_runs_in_its_smallest_rings_with_the_right_bits():
    """Every kind of layer, SPEC.md A5's fan-out and B2's barrier among them, in rings of K slots."""
    network, images = every_layer(), 2
    machine = Machine(ring_rule=RingRule.K, images_in_flight=images)
    found = schedule(network, machine, row_pipelined_overlap, images)
    model = synthetic(network, 1, images)
    assert model.samples is not None
    x = jnp.asarray(model.samples.images)
    logits, saved = forward(network, model.params, x)
    dlogits = jnp.asarray(np.random.default_rng(0).normal(size=logits.shape), jnp.float16)
    dx, grads = backward(network, model.params, saved, dlogits)
    emulator = Emulator(network, emulator_order(found), images=images, slots=emulator_slots(found))
    result = emulator(model.params, x, dlogits)
    assert_same_bits(result.logits, logits, "logits")
    assert_same_bits(result.dx, dx, "dx")
    for name, grad in grads.items():
        assert_same_bits(tuple(result.grads[name]), tuple(grad), name)


def test_slots_are_named_as_the_emulator_names_rings():
    found = schedule(every_layer(), Machine(images_in_flight=2), images=2)
    slots = emulator_slots(found)
    for ring, many in zip(found.rings, found.slots, strict=True):
        if ring.kind is RingKind.DY:
            assert slots["dy", ring.stage] == many
        if ring.kind is RingKind.SKIP:
            assert slots["edge", ring.edge] == many
    assert not any(key[0] == "mask" for key in slots)
