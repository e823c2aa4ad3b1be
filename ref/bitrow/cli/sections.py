"""Help in sections: options and commands under headings, which click lists under one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

GENERAL = "General"
OUTPUT = "Output"
Decorated = TypeVar("Decorated", bound=Callable[..., Any])
_Records = Mapping[str, Sequence[tuple[str, str]]]


class Option(click.Option):
    """An option that help lists under the heading `section`."""

    def __init__(self, *arguments: Any, section: str, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.section = section


def option(*names: str, section: str = GENERAL, **attributes: Any) -> Callable[[Decorated], Decorated]:
    """`click.option`, listed under `section`."""
    return click.option(*names, cls=Option, section=section, **attributes)


def _options(command: click.Command, context: click.Context) -> _Records:
    """Names and help of a command's options by section, each section where its first option stands."""
    found: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and not isinstance(parameter, click.Argument):
            section = parameter.section if isinstance(parameter, Option) else GENERAL
            found.setdefault(section, []).append(record)
    return found


def _write(formatter: click.HelpFormatter, sections: _Records) -> None:
    for title, records in sections.items():
        with formatter.section(title):
            formatter.write_dl(records)


class Command(click.Command):
    """A command whose options are listed in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write(formatter, _options(self, ctx))


class Group(click.Group):
    """Commands in sections, in the order in which they are added."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.sections: dict[str, tuple[click.Command, ...]] = {}

    def add_section(self, title: str, *commands: click.Command) -> None:
        """Add `commands`, listed under `title`."""
        self.sections[title] = commands
        for command in commands:
            self.add_command(command)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        _write(formatter, _options(self, ctx))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        widest = max(len(name) for name in self.commands)
        limit = formatter.width - 6 - widest
        for title, commands in self.sections.items():
            with formatter.section(title):
                rows = [(str(each.name).ljust(widest), each.get_short_help_str(limit)) for each in commands]
                formatter.write_dl(rows)
