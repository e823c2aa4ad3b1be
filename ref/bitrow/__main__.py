"""`python -m bitrow` and the console script: the command line, which signals end in order from its first moment."""

from __future__ import annotations

from typing import NoReturn

from bitrow import leave, limited


def main() -> NoReturn:
    """Run the command line on this process's arguments."""
    limited.run(_main)


def _main() -> NoReturn:
    leave.install()
    from bitrow import cli

    cli.main()


if __name__ == "__main__":
    main()
