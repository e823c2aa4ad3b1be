"""Units of `rtl_units/` and `golden/bench/rtl`, their operations, and faults; `python -m rtl_samples` decides them.

With `--markdown FILE` the verdicts become tables of that page, one of each folder, between its two marks.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bitrow import processor, terminal
from bitrow.errors import BitrowError
from bitrow.files import write_text
from bitrow.formats import AccOverflow, Accumulator, Fxp
from bitrow.markdown import table
from bitrow.proofs.rtl import command, verdict
from bitrow.proofs.rtl.binding import Binding, RtlTiming
from bitrow.proofs.rtl.decide import RtlLimits
from bitrow.proofs.rtl.units import UnitOptions
from bitrow.proofs.rtl.verdict import RtlVerdict
from bitrow.proofs.rtl.yosys import RtlSource

FOLDER = Path(__file__).parent / "rtl_units"
BENCH = Path(__file__).parents[1] / "golden" / "bench" / "rtl"
END = "<!-- end -->"


@dataclass(frozen=True)
class RtlSample:
    """A unit, the operation that it is, its faults, and how the correct one is decided.

    A fault of `rtl_units/` is a macro, one of the bench's design (`bench`) a switch of its bugs.sv.
    """

    top: str
    operation: str
    faults: tuple[str, ...] = ()
    ports: Mapping[str, str] = field(default_factory=dict)
    ties: Mapping[str, int] = field(default_factory=dict)
    timing: RtlTiming = RtlTiming()
    options: UnitOptions = UnitOptions()
    parameters: Mapping[str, str] = field(default_factory=dict)
    method: str = "auto"
    bench: bool = False

    def proof(self, *faults: str) -> command.RtlProof:
        """What is to be shown, of the unit with these faults."""
        defines = dict.fromkeys(faults, "")
        files = [FOLDER / name for name in ("fp16.sv", "fxp.sv")]
        if self.bench:
            defines = {"BITROW_BUG": f'"{faults[0]}"'} if faults else {}
            files = sorted(BENCH.glob("*.sv"), key=lambda file: (file.name != "bugs.sv", file.name))
        source = RtlSource(files, self.top, defines, self.parameters)
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
_FACTOR = {"x_inv_scale": "inv_scale", "x_code": "code"}
_LANE = {"acc": "acc", "weight": "w", "next": "acc"}, {"first": 0, "enable": 1}, RtlTiming("clk", 1, "rst")
_FP16_RESULT = ("truncated", "ties_away", "sticky_lost", "results_flushed", "overflow_to_largest", "operands_flushed")
BENCH_SAMPLES = tuple(replace(each, bench=True) for each in (
    RtlSample("fp16_add", "fp16.add", (*_FP16_RESULT, "align_sticky_lost", "zero_sum_negative", "nan_payload",
                                       "nan_sign")),
    RtlSample("fp16_add", "fp16.sub", parameters={"SUBTRACT": "1"}),
    RtlSample("fp16_mul", "fp16.mul", (*_FP16_RESULT, "nan_sign", "infinity_times_zero")),
    RtlSample("fp16_from_int32", "fp16.from_int32"),
    RtlSample("fp16_from_float32", "fp16.from_float32"),
    RtlSample("fp16_to_float32", "fp16.to_float32"),
    RtlSample("fp16_relu", "relu.forward"),
    RtlSample("hard_swish", "hard_swish.forward", ("truncated",)),
    RtlSample("hard_swish_gradient", "hard_swish.backward", ("operands_flushed",)),
    RtlSample("hard_sigmoid", "hard_sigmoid.forward", ("align_sticky_lost",)),
    RtlSample("hard_sigmoid_gradient", "hard_sigmoid.backward", ("results_flushed",)),
    RtlSample("fp16_fma", "fp16.fma", ("sticky_lost", "truncated", "nan_sign")),
    RtlSample("fxp_quantize", "fxp.quantize", (
        "codes_truncated", "codes_ties_away", "codes_wrap", "codes_narrow", "nan_code_largest", "mask_stuck",
        "mask_exclusive"), _FACTOR, {"drawn": 0}),
    RtlSample("fxp_quantize", "fxp.quantize_stochastic", ("word_to_magnitude",), {**_FACTOR, "words": "drawn"},
              parameters={"DRAWN": "1"}),
    RtlSample("fxp_dequantize", "fxp.dequantize", ("acc_short", "dequantized_in_two")),
    RtlSample("fxp_mac", "mac.step", (), *_LANE),
    RtlSample("fxp_mac", "mac.step", ("codes_signed",), *_LANE, UnitOptions(format=Fxp(4, signed=False)),
              {"X_SIGNED": "0"}),
    RtlSample("fxp_mac", "mac.step", ("acc_wraps",), *_LANE,
              UnitOptions(accumulator=Accumulator(12, AccOverflow.SATURATE)), {"ACC_BITS": "12", "SATURATE": "1"}),
    RtlSample("lfsr16", "lfsr.step", ("lfsr_taps",), {"state": "word", "next": "word"},
              {"load": 0, "step": 1, "seed": 0, "start": 0}, RtlTiming("clk", 1)),
    RtlSample("norm_frozen", "batch_norm.forward", ("norm_fused",)),
))  # fmt: skip
GROUPS = {"<!-- verdicts: make prove-rtl -->": SAMPLES, "<!-- verdicts of the bench: make prove-rtl -->": BENCH_SAMPLES}


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


def main(arguments: Sequence[str]) -> int:
    """Decide every sample and every fault; the exit status, 2 and a line where a verdict is not the one expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--unit", default=".*", help="a pattern of modules")
    parser.add_argument("--folder", choices=("rtl_units", "bench", "both"), default="both")
    given = parser.parse_args(arguments)
    try:
        _decide(given)
    except (BitrowError, OSError) as error:
        terminal.say(error)
        return 2
    return 0


def _decide(given: argparse.Namespace) -> None:
    if given.markdown is not None and not set(GROUPS) <= set(given.markdown.read_text().splitlines()):
        raise BitrowError(f"{given.markdown}: found not all of its marks, expected {' and '.join(GROUPS)}")
    for mark, samples in GROUPS.items():
        if given.folder != "both" and samples[0].bench != (given.folder == "bench"):
            continue
        found = []
        for row in rows([each for each in samples if re.fullmatch(given.unit, each.top)], RtlLimits()):
            terminal.put([" | ".join(row)])
            found.append(row)
        if given.markdown is not None:
            _write(given.markdown, mark, found)


def _write(page: Path, mark: str, found: list[tuple[str, ...]]) -> None:
    before, _, rest = page.read_text().partition(mark)
    after = rest.partition(END)[2]
    head = ("module", "operation", "fault", "verdict", "by", "domain, or the input", "seconds")
    text = "\n".join(table(head, found))
    write_text(page, f"{before}{mark}\n\nOn {processor.describe()}:\n\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
