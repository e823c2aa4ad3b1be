"""Numbers and paths of the command line: ASCII digits, finite, within a range; no NUL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bitrow.reading.values import number, whole_number


class Integer(click.types.IntParamType):
    """A whole number, which the command bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        _check_whole(self, value, param, ctx)
        return super().convert(value, param, ctx)


class Whole(click.IntRange):
    """A whole number within a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        _check_whole(self, value, param, ctx)
        return super().convert(value, param, ctx)


def _check_whole(
    kind: click.ParamType, value: Any, param: click.Parameter | None, ctx: click.Context | None
) -> None:
    if isinstance(value, str) and whole_number(value) is None:
        kind.fail(f"{value!r} is not a whole number of up to 19 digits.", param, ctx)


class ImageSize(click.ParamType):
    """Rows and columns, as 32 or 24x32."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        sides = [whole_number(side) for side in value.split("x")]
        if len(sides) > 2 or None in sides:
            self.fail(f"{value!r} is not a size such as 32 or 24x32.", param, ctx)
        return sides[0], sides[-1]


class FiniteNumber(click.FloatRange):
    """A finite number."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and number(value) is None:
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return super().convert(value, param, ctx)


class PathArgument(click.Path):
    """A path, as `pathlib.Path`."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if "\0" in str(value):
            self.fail(f"{value!r} has a NUL in it.", param, ctx)
        return super().convert(value, param, ctx)
