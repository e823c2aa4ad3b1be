"""The ARM processors that are emulated, and what LLVM must read to compile for them.

LLVM takes the processor's name and features from /proc/cpuinfo. QEMU before 8.2 shows the host's file there, in which
LLVM finds nothing that it knows: it then compiles for ARMv8.0, without FP16 arithmetic, whatever `-cpu` says.
"""

from __future__ import annotations

from typing import NamedTuple

BASE = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
N1 = f"{BASE} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp ssbs"
V1 = (f"{N1} jscvt fcma sha3 sm3 sm4 sha512 sve asimdfhm dit uscat ilrcpc flagm paca pacg dcpodp svei8mm svebf16 i8mm "
      "bf16 dgh rng")  # fmt: skip


class Processor(NamedTuple):
    """QEMU's `-cpu`, what /proc/cpuinfo says, and whether it has FP16 arithmetic."""

    cpu: str
    part: int
    features: str
    half: bool

    def cpuinfo(self) -> str:
        """The text of /proc/cpuinfo, as Linux on ARM writes it."""
        lines = {
            "processor": "0",
            "BogoMIPS": "243.75",
            "Features": self.features,
            "CPU implementer": "0x41",
            "CPU architecture": "8",
            "CPU variant": "0x1",
            "CPU part": f"{self.part:#x}",
            "CPU revision": "1",
        }
        return "".join(f"{key}\t: {value}\n" for key, value in lines.items()) + "\n"


PROCESSORS = {
    "neoverse-n1": Processor("neoverse-n1", 0xD0C, N1, half=True),
    "neoverse-v1": Processor("max", 0xD40, V1, half=True),  # with SVE, which is off in QEMU's own model of the N1
    "cortex-a72": Processor("cortex-a72", 0xD08, BASE, half=False),
}
