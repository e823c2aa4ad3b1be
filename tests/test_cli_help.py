"""Help: each command under a heading, of each the options that it takes, and no command takes those of another."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from bitrow import cli
from bitrow.cli.group import root
from bitrow.cli.sections import Option

OPTIONS = {
    "generate": {"--suite", "--network", "--layer-file", "--seed", "--input-size", "--images", "--limit-images",
                 "--layer", "--part", "--out", "--force", "--list", "--jobs", "--scheduler", "--fresh", "--quiet"},
    "verify": {"--no-recompute", "--model", "--dut", "--require", "--jobs", "--scheduler", "--fresh", "--json",
               "--junit", "--quiet"},
    "export c": {"--network", "--input-size"},
    "export sv": set(),
    "export constants": {"--language"},
    "inspect": {"--as"},
    "import": {"--input-size", "--output", "--images", "--limit-images", "--mean", "--std", "--bits", "--per-channel",
               "--round-scales", "--check", "--out", "--force", "--report", "--quiet"},
    "bench-audit": {"--case", "--family", "--taps", "--inputs", "--seconds", "--shrink", "--json", "--quiet"},
    "pipeline": {"--input-size", "--images", "--samples", "--forward-only", "--freeze", "--machine", "--costs",
                 "--policy", "--check", "--rings", "--json", "--csv", "--trace", "--rows", "--baselines", "--html",
                 "--vectors", "--at", "--image-format", "--force"},
    "explore": {"--input-size", "--images", "--forward-only", "--freeze", "--machine", "--costs", "--policy", "--vary",
                "--fps", "--state", "--fresh", "--jobs", "--scheduler", "--json", "--csv", "--html", "--quiet"},
    "ablate": {"--network", "--study", "--images", "--machine", "--json", "--csv", "--html"},
    "transfer": {"--data", "--input-size", "--limit", "--network", "--output", "--width", "--model", "--policy",
                 "--numerics", "--seeds", "--compare", "--epochs", "--pretrain-epochs", "--tune-epochs", "--batch",
                 "--power-of-two", "--target-only", "--optimizer", "--learning-rate", "--schedule", "--accumulate",
                 "--replay", "--plot", "--jobs", "--scheduler", "--checkpoint-seconds", "--resume", "--coordinator",
                 "--processes", "--process", "--out", "--quiet"},
    "prove claims": {"--quick", "--full", "--state", "--fresh", "--jobs", "--scheduler", "--json", "--markdown",
                     "--record", "--quiet"},
    "prove rtl": {"--as", "--list", "--rounding", "--overflow", "--flush", "--any-nan", "--format", "--weight-format",
                  "--acc-bits", "--acc-overflow", "--two-step", "--fma", "--six", "--top", "--port", "--tie", "--clock",
                  "--latency", "--reset", "--define", "--parameter", "--method", "--time-limit", "--json", "--record",
                  "--quiet"},
    "prove mutants": {"--set", "--json", "--markdown", "--quiet"},
    "prove certificates": set(),
    "certify": {"--full", "--json"},
}  # fmt: skip
# Claims, files and networks are arguments of the commands of `prove`, none of its own.
NOT_ITS_OWN = {
    "a claim": (["fp16.add"], "No such command 'fp16.add'."),
    "all claims in full": (["--full"], "No such option '--full'."),
    "shards": (["--merge", "a.json"], "No such option '--merge'."),
    "a network": (["--network", "resnet8"], "No such option '--network'."),
}


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command below `group` that is none, with its name as it is typed."""
    for name, each in group.commands.items():
        if isinstance(each, click.Group):
            yield from commands(each, f"{before}{name} ")
        else:
            yield f"{before}{name}", each


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """A command in this process, before 80 columns: its exit status, what it printed, the lines of its error."""
    monkeypatch.setenv("COLUMNS", "80")

    def command(*arguments: str) -> tuple[int, str, list[str]]:
        status = cli.run(arguments)
        done = capsys.readouterr()
        return status, done.out, done.err.splitlines()

    return command


def test_the_table_has_every_command() -> None:
    assert {name for name, _ in commands(root)} == set(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_help_lists_the_options_that_apply(run, name: str) -> None:
    """SPEC.md V1: those and no others, in words that are not cut."""
    status, printed, errors = run(*name.split(), "--help")
    assert (status, errors) == (0, []) and printed.startswith(f"Usage: bitrow {name} [OPTIONS]")
    rows = re.findall(r"^  (?:-h, )?(--[a-z-]+)(?: / (--[a-z-]+))?", printed, re.M)
    assert sorted(filter(None, (option for row in rows for option in row))) == sorted({*OPTIONS[name], "--help"})


@pytest.mark.parametrize("name", OPTIONS)
def test_options_of_other_commands_are_refused(run, name: str) -> None:
    """SPEC.md V5: in one line, which says where help is."""
    for option in set().union(*OPTIONS.values()) - OPTIONS[name]:
        status, printed, errors = run(*name.split(), option, "1")
        assert (status, printed, len(errors)) == (2, "", 1), (option, errors)
        assert errors[0].startswith(f"bitrow: No such option '{option}'."), errors
        assert errors[0].endswith(f"(see bitrow {name} --help)")


@pytest.mark.parametrize("kind", NOT_ITS_OWN)
def test_what_is_of_a_command_of_prove_is_not_its_own(run, kind: str) -> None:
    """SPEC.md V5: one line, 2."""
    arguments, text = NOT_ITS_OWN[kind]
    assert run("prove", *arguments) == (2, "", [f"bitrow: {text} (see bitrow prove --help)"])


@pytest.mark.parametrize(("group", "sections"), [
    ("", {
        "Golden vectors": ["generate", "verify", "inspect", "bench-audit", "export"], "Networks": ["import"],
        "Row pipeline": ["pipeline", "explore", "ablate"],
        "Training": ["transfer"], "Proofs": ["prove"], "This machine": ["certify"], "General": ["--version", "-h"],
    }),
    ("export", {"Languages": ["c", "sv"], "Vector sets": ["constants"], "General": ["-h"]}),
    ("prove", {
        "Claims of the contract": ["claims"], "A unit of yours": ["rtl"], "Faults": ["mutants"],
        "Exactness of a network": ["certificates"], "General": ["-h"],
    }),
])  # fmt: skip
def test_commands_stand_under_headings(run, group: str, sections: dict[str, list[str]]) -> None:
    """SPEC.md V1: each once, in a line that is not cut; without a command the same, as an error."""
    status, printed, errors = run(*group.split(), "--help")
    assert (status, errors) == (0, []) and "..." not in printed.partition("\n")[2]
    found = {
        title: re.findall(r"^  (-?-?[a-z-]+)", rows, re.M)
        for title, rows in re.findall(r"^([A-Z][a-z ]+):\n((?:  .*\n)+)", printed, re.M)
    }
    assert found == sections
    assert run(*group.split()) == (2, "", printed.splitlines())


def test_every_argument_and_option_is_described() -> None:
    """SPEC.md V1: in words; an option has a section of the help, and no range without ends is shown."""
    for name, command in commands(root):
        context = command.make_context(name, [], resilient_parsing=True)
        assert command.help
        for parameter in command.params:
            assert parameter.help, (name, parameter.name)
            assert isinstance(parameter, click.Argument) or (isinstance(parameter, Option) and parameter.section)
        assert "None" not in command.get_help(context), name
