"""The command line: `bitrow generate`, `verify`, `inspect`, `pipeline`, `ablate`, `prove`, `certify` and `transfer`.

Exit status: 0 all well; 1 words that differ, or a claim that is false, and nothing else; 2 bad input, usage or
environment, too little memory, or what cannot be written: a file, standard output that is full or closed or whose
reader has gone; 3 a defect of bitrow itself; 128 + N ended by signal N, so 129 SIGHUP, 130 SIGINT (interrupted),
143 SIGTERM, 152 SIGXCPU. An error is one line on standard error, if that can be written. Heavy modules load inside
the commands that need them: help, `inspect` and `verify --no-recompute` work without JAX.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from bitrow import __version__, jax_switches, leave, terminal
from bitrow.arguments import Number, Place, Whole
from bitrow.errors import BitrowError
from bitrow.files import check_outputs, write_report
from bitrow.terminal import Column, put
from bitrow.zoo import WIDEST

if TYPE_CHECKING:
    from bitrow.vectors.generate import Generated

DIFFERS, BAD_INPUT, DEFECT, INTERRUPTED = 1, 2, 3, 130
DEBUG = "BITROW_DEBUG"
_NO_MEMORY = ("RESOURCE_EXHAUSTED", "bad_alloc", "Cannot allocate memory", "failed to map segment")
DEFAULT_SUITE = "standard"

_SET = Place()
_WIDTH = Number(0, WIDEST, min_open=True)
_TIMES, _TIMES_OR_NONE = Whole(1, 10_000), Whole(0, 10_000)  # epochs, seeds, processes: more is a slip


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bitrow")
def cli() -> None:
    """Golden vectors of the row-pipelined FXP4/FP16 training accelerator, and its row pipeline.

    Files are read up to a size that no sound one of their kind has; BITROW_READ_LIMIT=BYTES allows more.
    """


def say(line: str) -> None:
    """The command's last line; a standard error that cannot be written changes no status."""
    leave.said()
    with contextlib.suppress(OSError):
        terminal.say(line)


def _check_outputs(options: Mapping[str, Any], inputs: Iterable[Path | None]) -> None:
    """Refuse files to write that are read, before anything is computed."""
    check_outputs({f"--{name}": options.get(f"{name}_file") for name in ("json", "csv", "trace", "html")}, inputs)


def _load_jax() -> None:
    """JAX and its devices, or one line."""
    jax_switches.prepare()
    jax_switches.find_devices()


def _ready(command: str) -> Callable[[], None]:
    """Asks whether this machine gives the contract's bits, when `command` is about to need them."""

    def ask() -> None:
        from bitrow.backend.require import require

        require(command)

    return ask


@cli.command()
@click.option("--out", type=_SET, required=True, help="Folder to create; its parent must exist.")
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="NAME",
    help="smoke, standard or the name of a case; repeatable. [default: standard, unless --network]",
)
@click.option("--network", metavar="NAME", help="The training pass of this network, too.")
@click.option(
    "--seed", type=Whole(0, 2**32 - 1), default=0, show_default=True, help="Of the stimulus."
)
@click.option("--force", is_flag=True, help="Replace the vector set at --out, in one step at the end.")
@click.option("--quiet", is_flag=True, help="No progress bar and no summary.")
def generate(
    out: Path, suites: Sequence[str], network: str | None, seed: int, force: bool, quiet: bool
) -> None:
    """Compute vectors by oracle and kernels, and write them as a new set.

    Nothing is written unless every word of every tensor agrees.
    """
    from bitrow.vectors import store

    store.check_target(out, force)  # before JAX loads: a wrong folder should not cost seconds
    _load_jax()
    from bitrow.progress import bar
    from bitrow.vectors import catalog
    from bitrow.vectors.generate import generate as compute

    names = tuple(suites) or (() if network else (DEFAULT_SUITE,))
    total = catalog.count(names, network)  # refuses unknown names before anything is compiled
    problems = catalog.problems(names, network, seed)
    label = " ".join([*names, *([network] if network else [])])
    with bar("generate", total, quiet) as advance:
        result = compute(out, problems, seed, label, force, lambda row: advance(row.case), _ready("generate"))
    if not quiet:
        _summary(result)


def _summary(result: Generated) -> None:
    """The table at the end of `generate`."""
    columns = [Column(name) for name in ("case", "operation", "oracle rows")]
    columns += [Column(name, True) for name in ("tensors", "words", "bins", "clauses", "seconds")]
    table = terminal.table(f"{result.path}: {result.summary.cases} cases", columns)
    for row in result.rows:
        rows = "all" if row.rows_checked == "all" else "sample"
        counts = (row.tensors, row.words, row.bins, row.clauses, f"{row.seconds:.2f}")
        terminal.add_row(table, (row.case, row.operation, rows, *counts))
    total = result.summary
    table.add_section()
    terminal.add_row(table, ("total", "", "", total.tensors, total.words, "", "", ""))
    terminal.put_table(table)
    put([f"{total.bytes:,} bytes; every word agreed by oracle, eager and compiled kernels"])


@cli.command()
@click.argument("folder", metavar="DIR", type=_SET)
@click.option("--no-recompute", is_flag=True, help="Check the files only; needs no JAX.")
@click.option("--dut", "outputs", type=_SET, metavar="OUTPUTS", help="Compare a design's dumps, see below.")
@click.option(
    "--json", "report", type=_SET, metavar="FILE", help="Write the report as JSON, too (- is stdout)."
)
@click.option("--quiet", is_flag=True, help="No progress bar.")
def verify(folder: Path, no_recompute: bool, outputs: Path | None, report: Path | None, quiet: bool) -> None:
    """Check the vector set in DIR, then recompute every value.

    With --dut, compare instead what a design dumped into OUTPUTS, as CASE/TENSOR.hex or CASE.TENSOR.hex, of
    outputs or any tap: where it differs, by how much, and what the design seems to do instead.
    """
    from bitrow.vectors.check import check

    dumps = [outputs] if outputs is not None and report is not None and report.suffix == ".hex" else []
    check_outputs({"--json": report}, [folder, *dumps])
    found = check(folder)
    result: dict[str, Any] = {"set": str(folder), "findings": [str(finding) for finding in found]}
    if found:
        write_report(report, result)
        more = f" (and {len(found) - 1} more findings)" if len(found) > 1 else ""
        raise BitrowError(f"{folder}/{found[0]}{more}")
    if outputs is not None:
        _compare(folder, outputs, report, result, quiet)
    elif no_recompute:
        write_report(report, result)
        put([f"{folder}: files, checksums and words are sound; not recomputed"])
    else:
        _recompute(folder, report, result, quiet)


def _compare(folder: Path, outputs: Path, report: Path | None, result: dict[str, Any], quiet: bool) -> None:
    from bitrow.progress import bar
    from bitrow.vectors import dut

    with bar("compare", None, quiet) as advance:
        compared = dut.compare(folder, outputs, lambda case, number, total: advance(case, total))
    write_report(report, result | {"dut": dut.to_json(compared)})
    if str(report) != "-":
        put(compared.lines())
    wrong = [case.case for case in compared.cases if not case.matches]
    if wrong:
        share = f"{len(wrong)} of {len(compared.cases)} cases"
        say(f"{outputs}: {share} differ from {folder}: {', '.join(wrong[:4])}")
        raise click.exceptions.Exit(DIFFERS)


def _recompute(folder: Path, report: Path | None, result: dict[str, Any], quiet: bool) -> None:
    _load_jax()
    from bitrow.progress import bar
    from bitrow.vectors import store
    from bitrow.vectors.generate import recompute

    names = store.case_names(folder)
    mismatches = []
    with bar("recompute", len(names), quiet) as advance:
        for name in names:
            mismatches += [str(mismatch) for mismatch in recompute(store.read_case(folder, name))]
            advance(name)
    write_report(report, result | {"recomputed": len(names), "mismatches": mismatches})
    if str(report) != "-":
        put(mismatches or [f"{folder}: {len(names)} cases, every value recomputed and the same"])
    if mismatches:
        say(
            f"{folder}: {len(mismatches)} tensors differ from their recomputation, the first: {mismatches[0]}"
        )
        raise click.exceptions.Exit(DIFFERS)


@cli.command()
@click.argument("target", metavar="WORD|FILE")
@click.option("--as", "as_format", metavar="FORMAT", help="fp16, fp32, fxp2..8, ufxp2..8, int8..32.")
def inspect(target: str, as_format: str | None) -> None:
    """Decode a word such as 0x3c01, or sum up a hex file.

    Without --as, a word of four digits is FP16 (and its nibbles FXP4), of eight FP32, of one or two FXP4; a
    file in a vector set is what its case says.
    """
    from bitrow.vectors.inspect import inspect_lines

    put(inspect_lines(target, as_format))


@cli.command()
@click.argument("network", metavar="NETWORK|MODEL")
@click.option("--input-size", type=Whole(), metavar="N", help="Input rows and columns of a named network.")
@click.option("--images", type=Whole(), default=1, show_default=True, help="Images in sequence.")
@click.option("--machine", type=_SET, metavar="FILE", help="A machine in TOML. [default: the 28 nm machine]")
@click.option("--policy", default="row_pipelined_overlap", show_default=True, metavar="NAME")
@click.option("--forward-only", is_flag=True, help="Without the backward pass.")
@click.option("--check", is_flag=True, help="Compute every row and compare it with the whole-tensor model.")
@click.option("--rings", is_flag=True, help="List every ring.")
@click.option("--json", "json_file", type=_SET, metavar="FILE", help="The report; - is standard output.")
@click.option("--csv", "csv_file", type=_SET, metavar="FILE", help="The report as rows.")
@click.option("--trace", "trace_file", type=_SET, metavar="FILE", help="A trace that opens in Perfetto.")
@click.option("--html", "html_file", type=_SET, metavar="FILE", help="One page with the plots.")
def pipeline(network: str, forward_only: bool, **options: Any) -> None:
    """Run the row pipeline of a named network or a model file: cycles, buffers, banks, energy."""
    from bitrow.pipeline import command

    model = [Path(network)] if network.endswith(".safetensors") else []
    _check_outputs(options, [*model, options["machine"]])
    _load_jax()
    command.pipeline(network, training=not forward_only, ready=_ready("pipeline"), **options)


@cli.command()
@click.option("--network", "networks", multiple=True, metavar="NAME", help="Repeatable. [default: four networks]")
@click.option("--study", "studies", multiple=True, metavar="NAME", help="techniques, input-size, lanes, banks.")
@click.option("--images", type=Whole(), default=2, show_default=True, help="Images in sequence.")
@click.option("--machine", type=_SET, metavar="FILE", help="A machine in TOML. [default: the 28 nm machine]")
@click.option("--json", "json_file", type=_SET, metavar="FILE", help="The points; - is standard output.")
@click.option("--csv", "csv_file", type=_SET, metavar="FILE", help="The points as rows.")
@click.option("--html", "html_file", type=_SET, metavar="FILE", help="One page with the plot.")
def ablate(networks: Sequence[str], studies: Sequence[str], **options: Any) -> None:
    """Switch the paper's three techniques on and off, and sweep input size, lanes and banks."""
    from bitrow.pipeline import command

    _check_outputs(options, [options["machine"]])
    _load_jax()
    chosen: dict[str, Any] = {name: value for name, value in (("networks", networks), ("studies", studies)) if value}
    command.ablate(**chosen, **options)


@cli.command()
@click.argument("claims", metavar="[CLAIM...]", nargs=-1)
@click.option("--quick/--full", default=True, show_default="quick", help="A stated slice of each domain, or all.")
@click.option("--shard", metavar="I/N", help="The I-th of N parts; writes a result file for --merge.")
@click.option("--merge", is_flag=True, help="The arguments are the result files of all shards.")
@click.option("--json", "json_file", type=_SET, metavar="FILE", help="The report; - is standard output.")
@click.option("--state", type=_SET, default=Path("out/prove"), show_default=True, metavar="DIR", help="Result files.")
@click.option("--fresh", is_flag=True, help="Do not take up an unfinished run.")
@click.option("--jobs", type=_TIMES, metavar="N", help="Processes. [default: one for each processor]")
@click.option("--set", "folder", type=_SET, metavar="DIR", help="mutants: the vector set. [default: golden/v1]")
@click.option("--markdown", type=_SET, metavar="FILE", help="The tables as a page for the docs.")
@click.option("--record", type=_SET, metavar="FILE", help="Append counterexamples, as lines of vectors/found.jsonl.")
@click.option("--network", metavar="NAME|MODEL", help="Instead, print what is proved of each convolution of it.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def prove(
    claims: Sequence[str],
    network: str | None,
    quick: bool,
    merge: bool,
    json_file: Path | None,
    folder: Path | None,
    markdown: Path | None,
    record: Path | None,
    **options: Any,
) -> None:
    """Check the claims of the contract again, all or those named: which hold, on which domain, by which method.

    A killed run is taken up where it stopped. The word mutants, alone, asks instead which case of a vector set and
    which property finds each deliberate fault of the datapath.
    """
    _load_jax()
    from bitrow.proofs import command
    from bitrow.proofs.claim import Effort

    if network is not None:
        if claims:
            raise BitrowError(f"prove: found --network with {' '.join(claims)}, expected it alone")
        from bitrow.proofs.theorems import print_certificates

        print_certificates(network)
        return
    if tuple(claims) == ("mutants",):
        from bitrow.proofs.mutants.command import mutants

        if merge or options["shard"]:
            raise BitrowError("prove mutants: found --merge or --shard, expected neither: it takes seconds")
        holds = mutants(folder, json_file=json_file, markdown=markdown, quiet=options["quiet"])
    elif folder:
        raise BitrowError(f"prove: found --set with {' '.join(claims) or 'all claims'}, expected mutants")
    elif merge:
        holds = command.merge([Path(name) for name in claims], json_file, markdown, record, jobs=options["jobs"])
    else:
        effort = Effort.QUICK if quick else Effort.FULL
        holds = command.prove(
            claims, effort=effort, json_file=json_file, markdown=markdown, record_file=record, **options
        )
    if not holds:
        raise click.exceptions.Exit(DIFFERS)


@cli.command()
@click.option("--data", "spec", default="digits", show_default=True, metavar="digits|PATH", help="What to learn from.")
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="Repeatable. [default: six of them]")
@click.option("--numerics", multiple=True, metavar="NAME", help="Repeatable. [default: float32 simulated bit_accurate]")
@click.option("--seeds", type=_TIMES, default=3, show_default=True)
@click.option("--out", type=_SET, metavar="DIR", help="Where results, metrics and plots go.")
@click.option("--resume", is_flag=True, help="Continue the results in --out.")
@click.option("--network", default="resnet8", show_default=True, metavar="NAME")
@click.option("--width", type=_WIDTH, default=0.5, show_default=True, help="Of the network's channels.")
@click.option("--epochs", type=_TIMES, default=20, show_default=True, help="On the target task.")
@click.option("--pretrain-epochs", type=_TIMES_OR_NONE, default=30, show_default=True, help="On the source task.")
@click.option("--tune-epochs", type=_TIMES_OR_NONE, default=15, show_default=True, help="Through quantization.")
@click.option("--batch", type=Whole(), default=32, show_default=True, help="A power of two.")
@click.option("--model", "model_file", type=_SET, metavar="FILE", help="A float32 model in place of pretraining.")
@click.option("--input-size", type=Whole(), metavar="N", help="Resize every image to N x N x 3.")
@click.option("--limit", type=Whole(), metavar="N", help="At most N images of each class.")
@click.option("--power-of-two", is_flag=True, help="Scales that are powers of two only.")
@click.option("--compare", is_flag=True, help="Instead, train simulated beside bit-accurate; show where they differ.")
@click.option("--checkpoint-seconds", type=Number(0), metavar="N", help="Least time between. [default: 15]")
@click.option("--jobs", type=_TIMES, metavar="N", help="Runs at a time. [default: one for each processor]")
@click.option("--coordinator", metavar="HOST:PORT", help="Train with other processes, which meet there.")
@click.option("--processes", "process_count", type=_TIMES, metavar="N", help="How many there are.")
@click.option("--process", type=_TIMES_OR_NONE, metavar="I", help="Which one this is; 0 writes the results.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def transfer(spec: str, policies: Sequence[str], numerics: Sequence[str], compare: bool, **options: Any) -> None:
    """Transfer a network to new classes under freeze policies: accuracy, memory, operations, energy."""
    jax_switches.prepare()  # its devices after the processes have met
    from bitrow.transfer import command

    chosen: dict[str, Any] = {name: tuple(v) for name, v in (("policies", policies), ("numerics", numerics)) if v}
    if options["checkpoint_seconds"] is None:
        del options["checkpoint_seconds"]
    ready = _ready("transfer")
    if not compare:
        command.transfer(spec, ready=ready, **chosen, **options)
    elif not command.compare(spec, ready=ready, **chosen, **options):
        raise click.exceptions.Exit(DIFFERS)


@cli.command()
@click.option("--json", "json_file", type=_SET, metavar="FILE", help="The certificate; - is standard output.")
@click.option("--full", is_flag=True, help="Every whole program under every instruction set and flag, too: minutes.")
def certify(json_file: Path | None, full: bool) -> None:
    """Check that this machine gives the contract's bits: kernels and whole programs, in every form, under every
    instruction set that it has and under XLA's flags; and read the compiled code."""
    _load_jax()
    from bitrow.backend.certify import certify as run_checks

    if not run_checks(json_file, full):
        raise click.exceptions.Exit(DIFFERS)


def run(arguments: Sequence[str]) -> int:
    """Run a command; its exit status, every failure told in one line."""
    terminal.tolerate()
    try:
        # not cli.main, which writes to standard error of its own accord
        with cli.make_context("bitrow", list(arguments)) as context:
            cli.invoke(context)
        sys.stdout.flush()
        return 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)  # our own words
        return BAD_INPUT
    except click.exceptions.Exit as done:
        return done.exit_code
    except SystemExit:  # rich's answer to a reader that has gone
        return BAD_INPUT
    except (KeyboardInterrupt, click.Abort):
        say("interrupted")
        return INTERRUPTED
    except click.ClickException as error:
        say(f"{error.format_message()} (see bitrow --help)")
        return BAD_INPUT
    except BitrowError as error:
        say(str(error))
    except BrokenPipeError:
        return BAD_INPUT  # nobody is there to be told
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say(f"{where}{error.strerror or error}")
    except MemoryError:
        say("not enough memory")
    except Exception as error:
        if any(word in str(error) for word in _NO_MEMORY):
            say("not enough memory")
            return BAD_INPUT
        say(f"defect: {type(error).__name__}: {error} (set {DEBUG}=1 for a traceback)")
        if os.environ.get(DEBUG):
            traceback.print_exc()
        return DEFECT
    if os.environ.get(DEBUG):
        traceback.print_exc()
    return BAD_INPUT


def _open_streams() -> None:
    """Standard streams that are closed: what is written to standard output then fails, and no file takes its place."""
    for number, (name, flags, mode) in enumerate(
        [("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w")]
    ):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, flags)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _close_streams(status: int) -> int:
    """The status, now that all that was printed is written; what cannot be is given up."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return status


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point of the console script `bitrow`."""
    leave.install()
    _open_streams()
    if not os.environ.get(DEBUG):
        warnings.simplefilter("ignore")  # libraries' words are not the one line
    status = _close_streams(run(sys.argv[1:] if arguments is None else arguments))
    leave.over(status)
    sys.exit(status)
