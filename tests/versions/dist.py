"""Usage: PYTHONPATH=tests python -m versions.dist FOLDER: its wheel and its sdist, each installed and certified.

Each is installed with the locked versions in an environment of its own and run from outside the checkout.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from versions.__main__ import ROOT


def certified(built: Path, arguments: list[str]) -> int:
    """The exit status of `bitrow certify` of what `built` installs; 2 if it cannot be installed."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder, "venv/bin/python")
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint"]
        for command in (
            [sys.executable, "-m", "venv", str(python.parents[1])],
            [str(python), *install, str(ROOT / "requirements.lock"), f"{built}[jax]"],
            [str(python.parent / "bitrow"), *arguments],
        ):
            status = subprocess.run(command, cwd=folder, env=kept, check=False).returncode
            if status:
                return status if command[1:] == arguments else 2
    return 0


def main(folder: Path) -> int:
    """0 if both are sound; every other status as `certified`."""
    built = [*folder.glob("bitrow-*.whl"), *folder.glob("bitrow-*.tar.gz")]
    if len(built) != 2:
        print(f"error: {folder}: found {len(built)} distributions, expected a wheel and an sdist", file=sys.stderr)
        return 2
    for each in built:
        status = certified(each.resolve(), ["certify"])
        print(f"{each.name}: {'certified' if not status else f'exit status {status}'}", flush=True)
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
