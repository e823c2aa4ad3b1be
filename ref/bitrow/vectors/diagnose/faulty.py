"""Guesses that a faulty oracle computes: each fault of the catalogue and those of designs, put in one by one."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from bitrow.faults import apply, catalogue, designs, reach
from bitrow.faults.mutant import FaultFamily, Mutant
from bitrow.oracle.arrays import Row
from bitrow.vectors.diagnose.rounding_points import steps_of
from bitrow.vectors.diagnose.scene import Guess, Scene

_WHOLE_LIMIT = 4_000  # words of an operation that the oracle can only compute whole
# What other guesses say in their own words.
_SAID = (
    """
    nearest_even_as_away nearest_away_as_even toward_zero_as_nearest_even infinity_saturates saturate_gives_infinity
    fused_as_two_step two_step_as_fused norm_fused norm_fma_split accumulator_one_bit_less wrap_as_saturate
    saturate_as_wrap products_reversed kernel_rows_and_columns_swapped kernel_rotated_forward padding_repeats_the_edge
    groups_interleaved group_of_the_first kernel_not_rotated kernel_rows_not_rotated channels_not_swapped
    first_product_lost mask_missing rows_reversed row_summed_running consumers_reversed
    nibbles_swapped sticky_dropped
    """
)
SAID = frozenset(_SAID.split())


def _hypotheses(scene: Scene) -> Iterator[Mutant]:
    steps = steps_of(scene)
    for mutant in (*designs.DESIGNS, *catalogue.MUTANTS):
        rounds = mutant.family is FaultFamily.POINTS  # a step's truncation is a guess of its own
        line = mutant.edits[0].old.replace("out ", "").replace("let ", "").split()[0]
        if mutant.datapath and mutant.name not in SAID and not (rounds and line in steps):
            yield mutant


def _predict(scene: Scene, mutant: Mutant, rows: list[Row] | None) -> np.ndarray | None:
    """What the faulty oracle gives; None where it fails, as a faulty program may on words it was not made for."""
    with apply.applied(mutant):
        try:
            return scene.recompute(scene.config, scene.given, rows)
        except Exception:
            return None


def costly(scene: Scene) -> bool:
    """Whether faults take seconds here: a large map, or an operation that is computed whole."""
    return scene.few != scene.rows or not scene.operation.by_rows


def guesses(scene: Scene) -> Iterator[Guess]:
    """Every fault of the datapath that a case's computation meets."""
    if not scene.affordable() or not (scene.operation.by_rows or scene.data.size <= _WHOLE_LIMIT):
        return
    parts = reach.parts_run_by(lambda: scene.operation.oracle(scene.config, scene.given, scene.few))
    for mutant in _hypotheses(scene):
        if not parts & apply.changed(mutant):
            continue
        screen = None if scene.few == scene.rows else functools.partial(_predict, scene, mutant, scene.few)
        predict = functools.partial(_predict, scene, mutant, scene.rows)
        yield Guess(f"{mutant.does} ({mutant.clause})", predict, screen)
