"""How many examples a property test draws: what it says, always the same; by night ten times as many, new ones."""

from __future__ import annotations

from hypothesis import Phase, settings

USUAL = 100  # max_examples of the profile of every day: the measure of the others


def examples(count: int, shrink: bool = True) -> settings:
    """Settings of a property test of `count` examples.

    Without `shrink` a failing example is shown as it was drawn, since each step may compile a program; the night has
    time to make it small.
    """
    profile = settings.default
    phases = profile.phases if shrink or not profile.derandomize else (Phase.explicit, Phase.generate)
    return settings(max_examples=count * profile.max_examples // USUAL, phases=phases)
