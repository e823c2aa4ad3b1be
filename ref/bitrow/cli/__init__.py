"""The command line, a module of this room for each command; `docs/running.md` says how they end.

Heavy modules load inside the commands that need them: help, `inspect` and `verify --no-recompute` work without JAX.
"""

from bitrow.cli.process import main, run
from bitrow.leave import BAD_INPUT, DEFECT, DIFFERS, INTERRUPTED

__all__ = ["BAD_INPUT", "DEFECT", "DIFFERS", "INTERRUPTED", "main", "run"]
