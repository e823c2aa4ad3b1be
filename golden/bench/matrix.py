"""Every deliberate fault of the sample design, switched on: does the bench fail, and is the fault named?"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benches import Bug, Options, Outcome, bugs, compare, run
from bitrow.vectors.diagnose.report import CaseReport
from cover import Cover

LOOKED = 4  # cases of a fault that are diagnosed, the first that fail
# What a right name of each fault has in it, and other pauses where a race asks for them.
NAMED: dict[str, tuple[str, ...]] = {
    "truncated": ("truncat",),
    "ties_away": ("ties away from zero",),
    "sticky_lost": ("no sticky bit: of what is discarded only the first",),
    "align_sticky_lost": ("no sticky bit in an adder's alignment", "without a sticky bit"),
    "results_flushed": ("subnormal results always become zero", "flushed subnormals"),
    "operands_flushed": ("subnormal operands are always read as zero", "flushed subnormals"),
    "overflow_to_largest": ("overflow to the largest", "overflow gives the largest"),
    "zero_sum_negative": ("x - x is -0",),
    "nan_payload": ("a sum returns its NaN operand", "payload"),
    "nan_sign": ("NaN is 0xfe00", "NaN with its sign set"),
    "infinity_times_zero": ("infinity times zero is infinity",),
    "codes_truncated": ("codes truncated toward zero", "codes are truncated"),
    "codes_ties_away": ("code ties away from zero", "codes round ties away"),
    "codes_wrap": ("codes that wrap instead of clipping", "codes outside the range wrap"),
    "codes_narrow": ("narrow codes in", "the smallest code is never given"),
    "nan_code_largest": ("NaN gives the largest code",),
    "mask_stuck": ("stuck at 1", "every word is 0x1"),
    "mask_exclusive": ("the mask is 0 at the ends of the range",),
    "word_to_magnitude": ("the word is added to the magnitude",),
    "lfsr_taps": ("LFSR taps of 0xb402",),
    "lfsr_early": ("element i takes the state after i steps",),
    "nibbles_swapped": ("swapped nibbles", "lower index lies in the high nibble"),
    "nibbles_zero_extended": ("without its sign extended",),
    "acc_not_cleared": ("is never cleared", "is not cleared"),
    "acc_wraps": ("a wrapping instead of a saturating accumulator", "a saturating register wraps"),
    "acc_short": ("one bit less of the register", "one accumulator bit less"),
    "codes_signed": ("unsigned codes are read as signed",),
    "last_product_lost": ("the last product of each sum is lost",),
    "dequantized_in_two": ("a two-step dequantize", "rounds the accumulator first"),
    "bias_early": ("the bias is added before the one rounding",),
    "scale_of_neighbour": ("its neighbour's scale",),
    "padding_shifted": ("windows read one column to the right", "windows read one column of the result to the right"),
    "padding_edge": ("repeats the edge at the left",),
    "stale_row": ("the last row of each window is stale", "the last row on the map of each window is stale"),
    "row_overwritten": ("the first row of each window is overwritten", "the first row of a window is overwritten"),
    "kernel_turned": ("the kernel is rotated by 180 degrees", "kernel is not rotated", "forward kernel is rotated"),
    # of one channel in a group: the same
    "channels_reversed": ("channels of the result are in reverse", "groups are in reverse order in the kernel"),
    "mask_ignored": ("the gradient of clipped inputs passes", "stuck at 1, or not applied"),
    "norm_fused": ("a fused multiply-add instead", "fuses its product and sum"),
    "norm_neighbour": ("normed by its neighbour's a and b",),
}
PAUSES: dict[str, dict[str, int]] = {"stale_row": {"stalls": 0, "rests": 2000}, "row_overwritten": {"stalls": 0}}


@dataclass(frozen=True)
class Row:
    """A fault: how many designs fail under it, and the diagnoses that name it, that name nothing, and others."""

    bug: Bug
    failing: int
    named: tuple[CaseReport, ...]
    unnamed: tuple[CaseReport, ...]
    wrong: tuple[CaseReport, ...]

    @property
    def phrase(self) -> str:
        """The words by which it is named."""
        texts = [str(case.diagnosis) for case in self.named]
        return next((part for text in texts for part in NAMED[self.bug.name] if part in text), "")

    def lines(self) -> Iterator[str]:
        """The fault in words: what was found, and whatever does not name it."""
        yield f"{self.bug.name}: {self.failing} designs fail; {self.phrase or 'not named'}"
        for what, cases in (("not named", self.unnamed), ("named otherwise", self.wrong)):
            yield from (f"  {what}: {case.case} {case.root}: {case.diagnosis}" for case in cases)


def rows(folder: Path, covered: Cover, options: Options) -> Iterator[Row]:
    """Each fault in turn, by the SystemVerilog bench."""
    for bug in bugs().values():
        chosen = replace(options, bug=bug.name, **PAUSES.get(bug.name, {}))
        found = run(folder, covered, "sv", chosen)
        yield judge(folder, found, bug)


def judge(folder: Path, found: Outcome, bug: Bug) -> Row:
    """Diagnose the first cases that fail, by their dumps."""
    kept = 0
    for case in sorted(found.dumps.iterdir()):
        wrong = any(
            (case / file.name).read_bytes().split() != (folder / case.name / file.name).read_bytes().split()
            for file in case.iterdir()
        )
        kept += wrong
        if not wrong or kept > LOOKED:
            shutil.rmtree(case)
    reports = [case for case in compare(folder, found).cases if case.diagnosis is not None] if kept else []
    named, unnamed, wrong_names = [], [], []
    for case in reports:
        diagnosis = case.diagnosis
        assert diagnosis is not None
        if any(part in str(diagnosis) for part in NAMED[bug.name]):
            named.append(case)
        else:
            (wrong_names if diagnosis.explained else unnamed).append(case)
    return Row(bug, len(found.failing), tuple(named), tuple(unnamed), tuple(wrong_names))


def markdown(found: list[Row]) -> list[str]:
    """The table of docs/benches.md."""
    lines = ["| switch | clause | the faulty design | named in | as |", "|---|---|---|---|---|"]
    for row in found:
        looked = len(row.named) + len(row.unnamed) + len(row.wrong)
        phrase = f"“{row.phrase}”" if row.phrase else "-"
        cells = (f"`{row.bug.name}`", row.bug.clause, row.bug.does, f"{len(row.named)} of {looked}", phrase)
        lines.append(f"| {' | '.join(cells)} |")
    return lines
