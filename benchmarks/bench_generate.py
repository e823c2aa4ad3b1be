"""`bitrow generate --suite standard` as a whole process: seconds of wall clock, and peak memory.

Run as `python benchmarks/bench_generate.py [SUITE]`.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main(suite: str) -> None:
    """Generate the suite into a temporary folder and print one line."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        start = time.perf_counter()
        command = [sys.executable, "-m", "bitrow", "generate", "--suite", suite, "--out", str(out), "--quiet"]
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - start
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"{suite}: {seconds:.1f} s, {size / 1e6:.1f} MB written, peak {peak:.2f} GB")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "standard")
