"""The sample units of `rtl_units/`, which operation each is, and faults of them; `python -m rtl_samples` decides all.

With `--markdown FILE` the verdicts become the table of that page, between its two marks.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bitrow import processor, terminal
from bitrow.errors import BitrowError
from bitrow.files import write_text
from bitrow.formats import AccOverflow, Accumulator, Fxp
from bitrow.proofs.markdown import section
from bitrow.proofs.rtl import command, verdict
from bitrow.proofs.rtl.binding import Binding, RtlTiming
from bitrow.proofs.rtl.decide import RtlLimits
from bitrow.proofs.rtl.units import UnitOptions
from bitrow.proofs.rtl.verdict import RtlVerdict
from bitrow.proofs.rtl.yosys import RtlSource

FOLDER = Path(__file__).parent / "rtl_units"
MARKS = "<!-- verdicts: make prove-rtl -->", "<!-- end -->"


@dataclass(frozen=True)
class RtlSample:
    """A unit, the operation that it is, its faults (macros), and how the correct one is decided."""

    top: str
    operation: str
    faults: tuple[str, ...] = ()
    ports: Mapping[str, str] = field(default_factory=dict)
    ties: Mapping[str, int] = field(default_factory=dict)
    timing: RtlTiming = RtlTiming()
    options: UnitOptions = UnitOptions()
    parameters: Mapping[str, str] = field(default_factory=dict)
    method: str = "auto"

    def proof(self, *defines: str) -> command.RtlProof:
        """What is to be shown, of the unit with these macros."""
        files = [FOLDER / name for name in ("fp16.sv", "fxp.sv")]
        source = RtlSource(files, self.top, dict.fromkeys(defines, ""), self.parameters)
        return command.RtlProof(source, self.operation, self.options, self.ports, self.ties, self.timing)


_STEP = RtlTiming("clk", 1)
_WORD = {"state": "word", "next": "word"}
_ACC = {"acc": "acc", "weight": "w", "next": "acc"}
_ROUNDING = (
    "BUG_NO_STICKY",
    "BUG_TRUNCATE",
    "BUG_TIES_AWAY",
    "BUG_TIES_ODD",
    "BUG_FLUSH_RESULT",
    "BUG_OVERFLOW_LARGEST",
)

SAMPLES = (
    RtlSample("fp16_add", "fp16.add", (
        *_ROUNDING, "BUG_FLUSH_OPERAND", "BUG_NO_ALIGNED_STICKY", "BUG_SHORT_ALIGNER", "BUG_ZERO_SIGN",
        "BUG_INF_MINUS_INF", "BUG_NAN_PAYLOAD")),
    RtlSample("fp16_sub", "fp16.sub"),
    RtlSample("fp16_mul", "fp16.mul", (*_ROUNDING, "BUG_FLUSH_OPERAND", "BUG_PRODUCT_SHORT", "BUG_INF_TIMES_ZERO")),
    RtlSample("fp16_div", "fp16.div", ("BUG_TRUNCATE", "BUG_OVERFLOW_LARGEST"), method="exhaustive"),
    RtlSample("fp16_sqrt", "fp16.sqrt", ("BUG_ROOT_NEGATIVE",), method="exhaustive"),
    RtlSample("fp16_max", "max", ("BUG_LATER_WINS", "BUG_NAN_LOSES")),
    RtlSample("fp16_add_piped", "fp16.add", ("BUG_UNREGISTERED",), ties={"en": 1}, timing=RtlTiming("clk", 2, "rst")),
    RtlSample("norm_frozen", "batch_norm.forward", ("BUG_NORM_SWAPPED", "BUG_TRUNCATE")),
    RtlSample("quantizer", "fxp.quantize", ("BUG_SYMMETRIC", "BUG_HALF_UP", "BUG_NAN_LARGEST"), {"x_code": "code"}),
    RtlSample("quantizer", "fxp.quantize", (), {"x_code": "code"}, options=UnitOptions(format=Fxp(8)),
              parameters={"BITS": "8"}),
    RtlSample("dequantizer", "fxp.dequantize", ("BUG_MAGNITUDE_SHORT", "BUG_NO_STICKY")),
    RtlSample("mac_lane", "mac.step", ("BUG_UNSIGNED_CODES",), _ACC, {"clear": 0, "en": 1}, _STEP),
    RtlSample("mac_lane", "mac.step", ("BUG_NO_CLAMP",), _ACC, {"clear": 0, "en": 1}, _STEP,
              UnitOptions(accumulator=Accumulator(16, AccOverflow.SATURATE)), {"ACC": "16", "SATURATE": "1"}),
    RtlSample("lfsr16", "lfsr.step", ("BUG_TAP",), _WORD, {"load": 0, "step": 1, "seed": 0}, _STEP),
    RtlSample("pack2", "fxp.pack", ("BUG_NIBBLES",), {"packed": "packed_byte"}),
)  # fmt: skip


def decided(sample: RtlSample, defines: tuple[str, ...], limits: RtlLimits) -> tuple[Binding, RtlVerdict]:
    """A unit, decided; a faulty one by whatever finds the fault."""
    method = limits.method if defines else sample.method
    return command.proved(sample.proof(*defines), replace(limits, method=method))


def rows(samples: Iterable[RtlSample], limits: RtlLimits) -> Iterator[tuple[str, ...]]:
    """Unit, operation, fault, verdict, method, domain, seconds; in the order in which they are decided."""
    for sample in samples:
        for defines in ((), *((fault,) for fault in sample.faults)):
            held, found = decided(sample, defines, limits)
            wanted = verdict.REFUTED if defines else verdict.PROVED
            if found.verdict != wanted:
                raise BitrowError(f"{sample.top} {' '.join(defines)}: found {found.verdict}, expected {wanted}")
            given = " ".join(f"{name}={value}" for name, value in sample.parameters.items())
            how = f"{found.method}, {found.solver}" if found.solver else found.method
            shown = ""
            if found.counterexample is not None:
                shown = " ".join(f"{name}={word:x}" for name, word in found.counterexample.words.items())
            yield (f"{sample.top} {given}".strip(), sample.operation, "".join(defines).removeprefix("BUG_").lower(),
                   found.verdict, how, shown or verdict.domain(held), f"{found.seconds:.1f}")  # fmt: skip


def main() -> None:
    """Decide every sample and every fault; end with an error where a verdict is another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--unit", default=".*", help="a pattern of modules")
    given = parser.parse_args()
    found = []
    for row in rows([each for each in SAMPLES if re.fullmatch(given.unit, each.top)], RtlLimits()):
        terminal.put([" | ".join(row)])
        found.append(row)
    if given.markdown is not None:
        before, _, rest = given.markdown.read_text().partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        head = ("module", "operation", "fault", "verdict", "by", "domain, or the input", "seconds")
        text = "\n".join(section("", head, found)[2:-1])
        write_text(given.markdown, f"{before}{MARKS[0]}\n\nOn {processor.describe()}:\n\n{text}\n\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
