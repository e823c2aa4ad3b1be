"""What a command that promises bits asks of the machine before it begins."""

from __future__ import annotations

import functools

import jax

from bitrow.backend import programs
from bitrow.backend.program_digests import DIGESTS
from bitrow.errors import BitrowError
from bitrow.vectors.judge import identity

# One kernel for each way that a backend has been seen to go wrong, and the program that the command is about to run.
KERNELS = ("fp16_add_default", "fp16_mul_wide", "fp16_fma_default", "fp16_div_default", "quantize", "dequantize_fused",
           "conv_forward", "batch_norm_frozen")  # fmt: skip
PROGRAMS = {
    "generate": "training frozen",
    "import": "training frozen",  # with --check
    "pipeline": "rows forward",
    "transfer": "step bias bit_accurate",
}


@functools.cache
def require(command: str) -> None:
    """Refuse a machine whose bits are not the contract's; a few seconds, once in a process.

    Args:
        command: one of PROGRAMS.

    Raises:
        BitrowError: naming the backend and the first program that differs, a kernel's with its first wrong word, or
            what in the compiled code may differ (fast-math, say).
    """
    wrong = identity.differing(KERNELS)
    name = PROGRAMS[command]
    words, violations = programs.run_and_read(programs.programs()[name])
    differs = identity.digest(words) != DIGESTS[name] or bool(violations)
    if not wrong and not differs:
        return
    what = f"program {name!r}: found words that differ from the oracle's digest"
    if violations:
        what = str(violations[0])
    if wrong:
        what = identity.first_difference(identity.problems()[next(iter(wrong))])
    device = jax.devices()[0]
    raise BitrowError(
        f"{command} on backend {device.platform} ({device.device_kind}): {what}; "
        f"{len(wrong) + differs} of {len(KERNELS) + 1} checks differ, see bitrow certify"
    )
