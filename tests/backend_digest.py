"""Run in a process of its own: recompute a set's tensors by the compiled kernels, print the SHA-256 of its hex files.

Usage: python backend_digest.py SET CPUS CASE... With CPUS other than 0 the process keeps to that many processors. Files
are hashed in the order given, each as V2 writes it.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

if int(sys.argv[2]):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[2])])

import jax

from bitrow.vectors import generate, operations
from bitrow.vectors.files import hexfile, store


def recomputed_digest(folder: Path, names: Sequence[str]) -> str:
    """SHA-256 of every hex file of the cases, outputs and taps made anew from the stored inputs."""
    digest = hashlib.sha256()
    for name in names:
        case = store.read_case(folder, name)
        operation = case.operation
        given, _ = operations.split(case)
        words = {**given, **generate.run_kernel(operation, case.config, given, compiled=True)}
        for tensor in sorted(operations.tensors(operation, case.config, words), key=lambda tensor: tensor.name):
            digest.update(f"{name}/{tensor.name}\n".encode())
            for chunk in hexfile.hex_chunks(tensor.data, tensor.encoding):
                digest.update(chunk)
    return digest.hexdigest()


if __name__ == "__main__":
    print(recomputed_digest(Path(sys.argv[1]), sys.argv[3:]), jax.device_count(), len(os.sched_getaffinity(0)))
