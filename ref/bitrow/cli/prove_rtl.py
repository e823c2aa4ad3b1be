"""`bitrow prove rtl`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bitrow.cli import needs, options
from bitrow.cli.arguments import FiniteNumber, Whole
from bitrow.cli.options import PLACE, RUN
from bitrow.cli.sections import Command, option
from bitrow.errors import BitrowError
from bitrow.leave import DIFFERS

if TYPE_CHECKING:
    from bitrow.proofs.rtl.command import RtlProof

_UNIT, _CONTRACT = "Unit", "Contract"
_ROUNDINGS = ("nearest_even", "toward_zero", "up", "down", "nearest_away")


def _pairs(option_name: str, given: Sequence[str], bare: bool = False) -> dict[str, str]:
    """NAME=VALUE, as often as given; `bare` allows a name alone."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not (equals or bare):
            raise BitrowError(f"{option_name}: found {text!r}, expected NAME=VALUE")
        if name in found:
            raise BitrowError(f"{option_name}: found {name} twice, expected it once")
        found[name] = value
    return found


def _numbers(option_name: str, given: Sequence[str]) -> dict[str, int]:
    from bitrow.reading.values import whole_number

    found = {}
    for name, text in _pairs(option_name, given).items():
        value = whole_number(text)
        if value is None:
            raise BitrowError(f"{option_name} {name}: found {text!r}, expected a whole number")
        found[name] = value
    return found


@click.command(cls=Command)
@click.argument("files", metavar="FILE...", nargs=-1, type=PLACE, help="SystemVerilog files.")
@option("--as", "operation", metavar="OPERATION", section=_CONTRACT, help="What the unit is, such as fp16.add.")
@option("--list", "list_", is_flag=True, section=_CONTRACT, help="The operations, with their words, widths, options.")
@option("--rounding", type=click.Choice(_ROUNDINGS), default=_ROUNDINGS[0], show_default=True, section=_CONTRACT,
        help="Of FP16 arithmetic (SPEC.md F3).")  # fmt: skip
@option("--overflow", type=click.Choice(["infinity", "saturate"]), default="infinity", show_default=True,
        section=_CONTRACT, help="Past the largest finite number (F6).")  # fmt: skip
@option("--flush", is_flag=True, section=_CONTRACT, help="Subnormals are zeros (F5).")
@option("--any-nan", is_flag=True, section=_CONTRACT, help="Every NaN is as good as the canonical one (F4).")
@option("--format", "x_format", metavar="FORMAT", default="fxp4", show_default=True, section=_CONTRACT,
        help="Of codes: fxp2..8, ufxp2..8 unsigned, nfxp2..8 symmetric (F7).")  # fmt: skip
@option("--weight-format", metavar="FORMAT", default="fxp4", show_default=True, section=_CONTRACT,
        help="Of a MAC's weights.")  # fmt: skip
@option("--acc-bits", type=Whole(8, 32), default=24, show_default=True, metavar="N", section=_CONTRACT,
        help="Of the accumulator (M2).")  # fmt: skip
@option("--acc-overflow", type=click.Choice(["wrap", "saturate"]), default="wrap", show_default=True,
        section=_CONTRACT, help="Of a MAC's register (M2).")  # fmt: skip
@option("--two-step", is_flag=True, section=_CONTRACT, help="A dequantizer that rounds twice (D2).")
@option("--fma", is_flag=True, section=_CONTRACT, help="A frozen norm that rounds once (B1).")
@option("--six", is_flag=True, section=_CONTRACT, help="A ReLU of at most 6 (A1).")
@option("--top", metavar="MODULE", section=_UNIT, help="The unit's module.")
@option("--port", "ports", metavar="WORD=PORT", multiple=True, section=_UNIT,
        help="What the unit calls a word of the contract; repeatable. WORD= leaves an output out.")  # fmt: skip
@option("--tie", "ties", metavar="PORT=N", multiple=True, section=_UNIT,
        help="An input of the unit that keeps a value; repeatable.")  # fmt: skip
@option("--clock", metavar="PORT", section=_UNIT, help="The clock of a unit with registers.")
@option("--latency", type=Whole(0, 64), metavar="N", show_default="none", section=_UNIT,
        help="Cycles from an input to its output.")  # fmt: skip
@option("--reset", metavar="PORT[=N]", section=_UNIT, help="The reset, which stays off; N is what sets it (1).")
@option("--define", "defines", metavar="NAME[=VALUE]", multiple=True, section=_UNIT, help="A macro; repeatable.")
@option("--parameter", "parameters", metavar="NAME=VALUE", multiple=True, section=_UNIT,
        help="A parameter of the module; repeatable.")  # fmt: skip
@option("--method", type=click.Choice(["auto", "solver", "exhaustive"]), default="auto", show_default=True, section=RUN,
        help="Solvers, or every input run; auto runs where solvers give no answer.")  # fmt: skip
@option("--time-limit", type=FiniteNumber(0.1, 604_800), default=300, show_default=True, metavar="S", section=RUN,
        help="Seconds of each question to the solvers.")  # fmt: skip
@options.json_file
@options.record
@options.quiet
def rtl(
    files: Sequence[Path], list_: bool, json_file: Path | None, record: Path | None, quiet: bool, **given: Any
) -> None:
    """Prove that a unit in SystemVerilog is the contract's.

    For every input it is, or the input is shown for which it is not, with what the unit gives and what the contract
    does. Ports of the contract's names need no --port. docs/rtl-proofs.md has more.
    """
    if list_:
        _list()
        return
    for name, value in (("--as", given["operation"]), ("--top", given["top"])):
        if not value:
            raise BitrowError(
                f"{name}: found none, expected {'an operation; --list' if name == '--as' else 'a module'}"
            )
    proof = _proof(files, given)
    needs.jax()
    from bitrow.proofs.rtl import command, decide

    limits = decide.RtlLimits(given["time_limit"], given["method"], given["any_nan"])
    if not command.prove(proof, limits, json_file, record, quiet):
        raise click.exceptions.Exit(DIFFERS)


def _list() -> None:
    needs.jax()
    from bitrow.proofs.rtl import command
    from bitrow.terminal import Column, put_table, table

    columns = [Column(name, False) for name in ("operation", "inputs", "outputs (optional)", "options", "clauses")]
    put_table(table("bitrow prove rtl --as", columns, command.listed()))


def _reset(text: str | None) -> tuple[str, int]:
    """The reset's port, and the value that leaves it off."""
    name, equals, active = (text or "").partition("=")
    if equals and active not in ("0", "1"):
        raise BitrowError(f"--reset: found {text!r}, expected PORT, PORT=0 or PORT=1")
    return name, 1 if active == "0" else 0


def _proof(files: Sequence[Path], given: dict[str, Any]) -> RtlProof:
    from bitrow.formats import AccOverflow, Accumulator, Dequantize, FloatMode
    from bitrow.proofs.rtl.binding import RtlTiming
    from bitrow.proofs.rtl.command import RtlProof
    from bitrow.proofs.rtl.units import UnitOptions, code_format
    from bitrow.proofs.rtl.yosys import RtlSource

    mode = FloatMode(given["rounding"], given["overflow"], given["flush"])
    unit = UnitOptions(
        mode, code_format("--format", given["x_format"]), code_format("--weight-format", given["weight_format"]),
        Accumulator(given["acc_bits"], AccOverflow(given["acc_overflow"])),
        Dequantize.TWO_STEP if given["two_step"] else Dequantize.FUSED, given["fma"], given["six"],
    )  # fmt: skip
    reset, idle = _reset(given["reset"])
    if given["clock"] and given["latency"] is None:
        raise BitrowError(f"--latency: found none with --clock {given['clock']}, expected how many cycles")
    timing = RtlTiming(given["clock"] or "", given["latency"] or 0, reset, idle)
    source = RtlSource(files, given["top"], _pairs("--define", given["defines"], True),
                       _pairs("--parameter", given["parameters"]))  # fmt: skip
    return RtlProof(source, given["operation"], unit, _pairs("--port", given["ports"]),
                    _numbers("--tie", given["ties"]), timing)  # fmt: skip
