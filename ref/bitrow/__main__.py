"""`python -m bitrow`: the command line."""

from __future__ import annotations

from bitrow.cli import main

if __name__ == "__main__":
    main()
