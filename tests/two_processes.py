"""One of several processes that train one small network on the digits together; prints the state's digest.

`python two_processes.py PORT COUNT INDEX`: the batch is split over the processes' devices, one each.
"""

from __future__ import annotations

import sys

import jax


def main(port: int, count: int, index: int) -> None:
    """Train an epoch and print the digest of what came out."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if count > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", count, index)
    jax.config.update("jax_numpy_dtype_promotion", "strict")

    from bitrow.transfer import checkpoint
    from transfer_samples import trainer

    assert jax.device_count() == count and jax.local_device_count() == 1
    built = trainer("lite_residual", devices=jax.devices())
    state, _ = built.epoch(built.start(), 0)
    print(checkpoint.digest(state))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
