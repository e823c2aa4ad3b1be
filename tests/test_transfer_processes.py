"""Training by several processes: jax.distributed on this machine, one device each, gloo between them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np

from bitrow.transfer import checkpoint
from transfer_samples import trainer

SCRIPT = Path(__file__).with_name("two_processes.py")


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def test_two_processes_end_with_the_bits_of_one():
    """SPEC.md A4, C4, Q3: an epoch of lite_residual, the batch split over two processes; and step by step in one."""
    environment = os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    arguments = [sys.executable, str(SCRIPT), str(_free_port()), "2"]
    both = [
        subprocess.Popen([*arguments, str(index)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True, cwd=SCRIPT.parent)
        for index in range(2)
    ]  # fmt: skip
    built = trainer("lite_residual")
    state = built.start()
    for index in built.order(0):
        state, _ = built.advance(state, 0, index[None])
    outputs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    digests = [output.splitlines()[-1] for output, _ in outputs]
    assert digests == [checkpoint.digest(state)] * 2
    start = built.start().params["layers/head/weight"]
    assert not np.array_equal(np.asarray(start), np.asarray(state.params["layers/head/weight"]))
