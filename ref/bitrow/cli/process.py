"""The process around a command: its exit status, one line for every failure."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import NoReturn

import click

from bitrow import leave, terminal
from bitrow.cli import streams
from bitrow.cli.group import root
from bitrow.cli.streams import say
from bitrow.errors import BitrowError
from bitrow.leave import BAD_INPUT, DEFECT, INTERRUPTED

DEBUG = "BITROW_DEBUG"
_NO_MEMORY = ("RESOURCE_EXHAUSTED", "bad_alloc", "Cannot allocate memory", "failed to map segment")


def run(arguments: Sequence[str]) -> int:
    """Run a command; its exit status, every failure told in one line."""
    terminal.tolerate()
    try:
        # not root.main, which writes to standard error of its own accord
        with root.make_context("bitrow", list(arguments)) as context:
            root.invoke(context)
        sys.stdout.flush()
        return 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)  # our own words
        return BAD_INPUT
    except click.exceptions.Exit as done:
        return done.exit_code
    except SystemExit:  # rich's answer to a reader that has gone
        return BAD_INPUT
    except (KeyboardInterrupt, click.Abort):
        say("interrupted")
        return INTERRUPTED
    except click.ClickException as error:
        asked = getattr(error, "ctx", None)
        say(f"{error.format_message()} (see {asked.command_path if asked else 'bitrow'} --help)")
        return BAD_INPUT
    except Exception as error:
        return _failed(error)


def _failed(error: Exception) -> int:
    """Tell what a command failed of; its exit status."""
    status = BAD_INPUT
    match error:
        case BitrowError():
            say(str(error))
        case BrokenPipeError():
            return status  # nobody is there to be told
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            say(f"{where}{error.strerror or error}")
        case MemoryError():
            say("not enough memory")
        case _ if any(word in str(error) for word in _NO_MEMORY):
            say("not enough memory")
        case _:
            say(f"defect: {type(error).__name__}: {error} (set {DEBUG}=1 for a traceback)")
            status = DEFECT
    if os.environ.get(DEBUG):
        traceback.print_exc()
    return status


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The command line on `arguments`, by default this process's, which it ends."""
    leave.install()
    streams.open_closed()
    if not os.environ.get(DEBUG):
        warnings.simplefilter("ignore")  # libraries' words are not the one line
    status = run(sys.argv[1:] if arguments is None else arguments)
    streams.flush()
    leave.over(status)
    sys.exit(status)
