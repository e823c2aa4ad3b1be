"""Options that several commands take, each said once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from bitrow.cli.arguments import ImageSize, Integer, PathArgument, Whole
from bitrow.cli.sections import OUTPUT, Decorated, option
from bitrow.errors import BitrowError

PLACE = PathArgument()
TIMES, TIMES_OR_NONE = Whole(1, 10_000), Whole(0, 10_000)  # epochs, seeds, processes: more is a slip
MACHINE, RUN, WORKLOAD = "Machine", "Run", "Workload"

quiet = option("--quiet", is_flag=True, help="No progress bar.")
json_file = option(
    "--json", "json_file", section=OUTPUT, type=PLACE, metavar="FILE", help="The report as JSON; - is standard output."
)
csv_file = option("--csv", "csv_file", section=OUTPUT, type=PLACE, metavar="FILE", help="The report as rows.")
html_file = option("--html", "html_file", section=OUTPUT, type=PLACE, metavar="FILE", help="One page with the plots.")
markdown = option("--markdown", section=OUTPUT, type=PLACE, metavar="FILE", help="The tables as a page for the docs.")
record = option(
    "--record", section=OUTPUT, type=PLACE, metavar="FILE",
    help="Append counterexamples, as lines of vectors/found.jsonl.",
)  # fmt: skip


def _jobs(default: str) -> Callable[[Decorated], Decorated]:
    return option("--jobs", section=RUN, type=TIMES, metavar="N", show_default=default, help="Processes.")


jobs = _jobs("one for each processor")
case_jobs = _jobs("one for each processor, from 50 cases each")
scheduler = option(
    "--scheduler", section=RUN, metavar="local|ADDRESS|FILE",
    help="A dask cluster instead: its scheduler's address or file; local: one of --jobs workers (docs/cluster.md).",
)  # fmt: skip


fresh = option("--fresh", is_flag=True, section=RUN, help="Do not take up what was done before.")


def kept(folder: str) -> Callable[[Decorated], Decorated]:
    """Where a run that can be taken up again is kept, by default in `folder`."""
    state = option(
        "--state", type=PLACE, default=Path(folder), show_default=True, metavar="DIR", section=RUN,
        help="Where what is done is kept.",
    )  # fmt: skip
    return lambda command: state(fresh(command))


machine = option(
    "--machine", section=MACHINE, type=PLACE, metavar="FILE", show_default="the 28 nm machine",
    help="A machine in TOML.",
)  # fmt: skip
costs = option(
    "--costs", section=MACHINE, type=PLACE, metavar="FILE", show_default="28 nm, from published figures",
    help="What operations and units cost, in TOML.",
)  # fmt: skip
policy = option(
    "--policy", section=MACHINE, default="row_pipelined_overlap", show_default=True, metavar="NAME",
    help="How the rows are scheduled.",
)  # fmt: skip


def passes(command: Decorated) -> Decorated:
    """How far a run goes: `--forward-only`, `--freeze`."""
    freeze = option(
        "--freeze", section=WORKLOAD, metavar="POLICY", show_default="every layer with parameters trains",
        help="Backward as far as what trains needs, by transfer's policies: head, bias, last_2, prompt.",
    )  # fmt: skip
    forward = option("--forward-only", section=WORKLOAD, is_flag=True, help="Without the backward pass.")
    return forward(freeze(command))


def training(forward_only: bool, freeze: str | None) -> Any:
    """What `passes` asks for, as a run takes it; None where it says nothing.

    Raises:
        BitrowError: both options, or an unknown policy.
    """
    if forward_only and freeze:
        raise BitrowError(f"--freeze: found {freeze!r} with --forward-only, expected one of them")
    if not freeze:
        return False if forward_only else None
    from bitrow.transfer import policies

    parsed = policies.parse(freeze)
    return lambda network: policies.reached(network, parsed)


def records(given: Mapping[str, Any], *kinds: type[Any]) -> list[Any]:
    """Options of a command as one frozen record of each kind; what was not given keeps the record's default."""
    values = {name: value for name, value in given.items() if value not in (None, ())}
    names = [{field.name for field in fields(kind)} for kind in kinds]
    assert given.keys() <= set().union(*names), given.keys() - set().union(*names)
    return [kind(**{name: values[name] for name in own & values.keys()})
            for kind, own in zip(kinds, names, strict=True)]  # fmt: skip


def input_size(section: str, text: str, **attributes: Any) -> Callable[[Decorated], Decorated]:
    """Rows and columns of images."""
    return option("--input-size", section=section, type=ImageSize(), metavar="N|HxW", help=text, **attributes)


def images(default: int) -> Callable[[Decorated], Decorated]:
    """How many images run."""
    return option(
        "--images", section=WORKLOAD, type=Integer(), default=default, show_default=True, metavar="N",
        help="Images in sequence.",
    )  # fmt: skip
