"""Taps: named intermediates handed to whoever asked for them (SPEC.md T1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jax import Array

Tap = Callable[[str, Array], None]


def no_tap(name: str, value: Array) -> None:
    """The tap that records nothing; kernels skip taps that only exist for recording when they see it."""


def prefixed(tap: Tap, prefix: str) -> Tap:
    """`tap` with `prefix` before every name; `no_tap` stays `no_tap`."""
    if tap is no_tap:
        return no_tap
    return lambda name, value: tap(prefix + name, value)


def renamed(tap: Tap, names: Mapping[str, str | None]) -> Tap:
    """`tap` under other names where `names` has one, silent where it has None; `no_tap` stays `no_tap`."""
    if tap is no_tap:
        return no_tap

    def rename(name: str, value: Array) -> None:
        new = names.get(name, name)
        if new is not None:
            tap(new, value)

    return rename
