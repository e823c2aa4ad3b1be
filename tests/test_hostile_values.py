"""Every option of every command with values that it cannot take: one line, at once, and nothing begun."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from bitrow import zoo
from bitrow.cli.group import root
from bitrow.errors import BitrowError
from bitrow.pipeline import command, machine
from bitrow.pipeline.schedule import schedule
from bitrow.reading import values
from bitrow.vectors.files import inspect
from hostile_samples import accepts_or_refuses, clean, refused, refuses, run
from test_cli_help import commands

# What `int` and `float` take and a command does not: other scripts' digits, underscores, spaces, no numbers.
NO_NUMBERS = ["٣", "１", "²", "1_0", " 1", "1 ", "", "x", "0x1", "1e3", "nan", "inf", "-inf", "9" * 5_000, "\x1b[31m",
              "1\n"]  # fmt: skip
NO_WHOLE = ["1.5", "1.0", "True", *NO_NUMBERS]

WHOLE = {
    "generate seed": ["generate", "--out", "OUT", "--seed", "VALUE"],
    "pipeline images": ["pipeline", "resnet8", "--images", "VALUE"],
    "pipeline input size": ["pipeline", "resnet8", "--input-size", "VALUE"],
    "pipeline at": ["pipeline", "resnet8", "--vectors", "OUT", "--at", "VALUE"],
    "generate input size": ["generate", "--network", "resnet8", "--out", "OUT", "--input-size", "VALUE"],
    "export input size": ["export", "c", "OUT", "--network", "resnet8", "--input-size", "VALUE"],
    "generate limit images": ["generate", "--network", "resnet8", "--out", "OUT", "--limit-images", "VALUE"],
    "ablate images": ["ablate", "--network", "resnet8", "--study", "banks", "--images", "VALUE"],
    "explore images": ["explore", "resnet8", "--state", "OUT", "--images", "VALUE"],
    "explore input size": ["explore", "resnet8", "--state", "OUT", "--input-size", "VALUE"],
    "explore jobs": ["explore", "resnet8", "--state", "OUT", "--jobs", "VALUE"],
    "generate jobs": ["generate", "--out", "OUT", "--jobs", "VALUE"],
    "verify jobs": ["verify", "OUT", "--jobs", "VALUE"],
    "prove jobs": ["prove", "claims", "fp16.add", "--state", "OUT", "--jobs", "VALUE"],
    **{f"rtl {name}": ["prove", "rtl", "u.sv", "--top", "u", "--as", "fp16.add", f"--{name}", "VALUE"]
       for name in ("acc-bits", "latency")},
    "rtl tie": ["prove", "rtl", "u.sv", "--top", "u", "--as", "fp16.add", "--tie", "en=VALUE"],
    **{f"transfer {name}": ["transfer", f"--{name}", "VALUE", "--out", "OUT"]
       for name in ("seeds", "epochs", "pretrain-epochs", "tune-epochs", "batch", "input-size", "limit", "jobs",
                    "processes", "process", "accumulate")},
}  # fmt: skip
NUMBERS = {
    "explore fps": ["explore", "resnet8", "--state", "OUT", "--fps", "VALUE"],
    "transfer width": ["transfer", "--width", "VALUE", "--out", "OUT"],
    "transfer checkpoint-seconds": ["transfer", "--checkpoint-seconds", "VALUE", "--out", "OUT"],
    "transfer replay": ["transfer", "--replay", "VALUE", "--out", "OUT"],
    "transfer learning-rate": ["transfer", "--learning-rate", "VALUE", "--out", "OUT"],
    "rtl time-limit": ["prove", "rtl", "u.sv", "--top", "u", "--as", "fp16.add", "--time-limit", "VALUE"],
    "bench-audit seconds": ["bench-audit", "OUT", "--seconds", "VALUE", "--", "true"],
}


def _fill(arguments: list[str], value: str, out: Path) -> list[str]:
    return [str(out) if part == "OUT" else part.replace("VALUE", value) for part in arguments]


@pytest.mark.parametrize("option", [*WHOLE, *NUMBERS])
def test_numbers_are_in_ascii_digits(tmp_path: Path, option: str) -> None:
    for value in NO_WHOLE if option in WHOLE else [value for value in NO_NUMBERS if value not in ("1e3",)]:
        refused(*_fill((WHOLE | NUMBERS)[option], value, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_every_number_of_a_command_is_in_the_table() -> None:
    """An option that takes a number takes it by `arguments`, and stands above."""
    known = {name.partition(" ")[2].replace(" ", "-") for name in (*WHOLE, *NUMBERS)}
    for name, made in commands(root):
        for option in made.params:
            if isinstance(option.type, click.types.IntParamType | click.types.FloatParamType):
                assert type(option.type).__module__ == "bitrow.cli.arguments", (name, option.name)
                assert option.opts[0].removeprefix("--") in known, (name, option.name)


OUT_OF_BOUNDS = {
    "input size": (["pipeline", "resnet8", "--input-size", "100000"], "found a map of 100000x100000x16"),
    "input size of 20,000": (["pipeline", "resnet18", "--input-size", "20000"], "found a map of"),
    "negative input size": (["pipeline", "resnet8", "--input-size", "-5"], "found -5x-5, expected rows"),
    "images": (["pipeline", "resnet18", "--images", "100000"], "rows of maps for each of 100,000 images"),
    "more images": (["pipeline", "resnet8", "--images", "9223372036854775807"], "rows of maps"),
    "no limit": (["generate", "--network", "resnet8", "--out", "OUT", "--limit-images", "0"], "--limit-images"),
    "three sides": (["generate", "--network", "resnet8", "--out", "OUT", "--input-size", "8x8x3"], "is not a size"),
    "pass of nothing": (["generate", "--images", "a.png", "--out", "OUT"], "--images: found no --network"),
    "no images": (["pipeline", "resnet8", "--images", "0"], "images: found 0"),
    "images of a search": (["explore", "resnet8", "--state", "OUT", "--images", "0"], "images: found 0"),
    "many of a search": (["explore", "resnet8", "--state", "OUT", "--images", "1000000"], "rows of maps"),
    "ablate images": (["ablate", "--network", "resnet8", "--images", "100000"], "rows of maps"),
    "network": (["pipeline", "x" * 200_000], "network: found 'xxx"),
    "policy": (["pipeline", "resnet8", "--policy", "[red]"], "policy: found '[red]'"),
    "freeze": (["pipeline", "resnet8", "--freeze", "last_99"], "with 9 convolutions, expected more"),
    "freeze within a budget": (["pipeline", "resnet8", "--freeze", "sparse_12"], "layers follow from the network"),
    "freeze of nothing": (["pipeline", "resnet8", "--freeze", "head", "--forward-only"], "--freeze: found 'head'"),
    "cycle": (["pipeline", "resnet8", "--input-size", "8", "--vectors", "OUT", "--at", "9" * 18], "at: found 999"),
    "format of images": (["pipeline", "resnet8", "--vectors", "OUT", "--image-format", "bin"], "--image-format"),
    "NUL in costs": (["pipeline", "resnet8", "--costs", "a\0b"], "NUL"),
    "frames": (["explore", "resnet8", "--state", "OUT", "--fps", "-1"], "--fps"),
    "axis": (["explore", "resnet8", "--state", "OUT", "--vary", "[red]"], "--vary: found '[red]'"),
    "axis of no field": (["explore", "resnet8", "--state", "OUT", "--vary", "lane\x1b=1"], "axes: found 'lane"),
    "axis of no number": (["explore", "resnet8", "--state", "OUT", "--vary", "banks=٣"], "banks: found '٣'"),
    "long axis": (["explore", "resnet8", "--state", "OUT", "--vary", f"banks={','.join(map(str, range(1, 500)))}"],
                  "axes: found 2,299,392 machines"),
    "axis of a number": (["explore", "resnet8", "--state", "OUT", "--vary", "banks=" + "9" * 5_000], "banks: found"),
    "policy of a search": (["explore", "resnet8", "--state", "OUT", "--policy", "x"], "policy: found 'x'"),
    "NUL in a state": (["explore", "resnet8", "--state", "a\0b"], "NUL"),
    "study": (["ablate", "--study", "\x1b[2J"], "study: found"),
    "seed": (["generate", "--out", "OUT", "--seed", "4294967296"], "--seed"),
    "suite": (["generate", "--out", "OUT", "--suite", "x" * 200_000], "found"),
    "suite of a NUL": (["generate", "--out", "OUT", "--suite", "a\0b"], "found"),
    "jobs": (["prove", "claims", "fp16.add", "--state", "OUT", "--jobs", "100000"], "--jobs"),
    "jobs of one way": (["verify", "golden/v1", "--no-recompute", "--jobs", "2"], "--jobs: found it with --model"),
    "scheduler of one way": (["verify", "golden/v1", "--model", "c", "--scheduler", "local"], "--scheduler: found it"),
    "claim": (["prove", "claims", "[", "--state", "OUT"], "claim: found"),
    "stars": (["prove", "claims", "*" * 30 + "x", "--state", "OUT"], "claim: found"),
    "width": (["transfer", "--width", "101", "--out", "OUT"], "--width"),
    "seeds": (["transfer", "--seeds", "1000000000", "--out", "OUT"], "--seeds"),
    "numerics": (["transfer", "--numerics", "float32-" * 10_000, "--out", "OUT"], "numerics"),
    "last": (["transfer", "--policy", "last_" + "9" * 5_000, "--out", "OUT"], "policy: found"),
    "format": (["inspect", "3c00", "--as", "fxp" + "9" * 5_000], "format: found"),
    "unicode format": (["inspect", "3c00", "--as", "fxp٤"], "format: found"),
    "word of a width": (["inspect", "٣'h3c00"], "found neither a file nor a word"),
    "word": (["inspect", "1" * 200_000], "name too long"),
    "out of the format": (["inspect", "8", "--as", "fxp3"], "8: found more than 3 bits, expected a code of FXP3"),
    "out of an unsigned format": (["inspect", "f0", "--as", "ufxp5"], "f0: found more than 5 bits"),
    "NUL in a file": (["inspect", "a\0b"], ""),
    "NUL in a model": (["pipeline", "a\0b.safetensors"], "NUL"),
    "NUL in a machine": (["pipeline", "resnet8", "--machine", "a\0b"], "NUL"),
    "NUL in a set": (["verify", "a\0b"], "NUL"),
    "NUL in data": (["transfer", "--data", "a\0b"], ""),
    "NUL in results": (["prove", "claims", "--state", "a\0b"], "NUL"),
}


@pytest.mark.parametrize("case", OUT_OF_BOUNDS)
def test_values_out_of_all_bounds_are_refused(tmp_path: Path, case: str) -> None:
    arguments, words = OUT_OF_BOUNDS[case]
    refused(*_fill(arguments, "", tmp_path / "out"), words=words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("word", "name", "said"),
    [
        ("4", "fxp3", "as FXP3: -4"),
        ("c", "fxp3", "as FXP3: -4"),
        ("3", "fxp3", "as FXP3: 3"),
        ("f", "fxp2", "as FXP2: -1"),
        ("ff", "fxp5", "as FXP5: -1"),
        ("1f", "fxp5", "as FXP5: -1"),
        ("1f", "ufxp5", "as UFXP5: 31"),
    ],
)
def test_codes_are_sign_extended_or_bare(word: str, name: str, said: str) -> None:
    """SPEC.md Q5, V2: a nibble or byte holds the code, or the code sign-extended."""
    assert run("inspect", word, "--as", name).printed == f"0x{word} {said}\n"


LARGE = [1 << 40, (1 << 40) + 1, 1 << 62, 10**30, -1, 0, 1.5, True, "x", None, float("nan"), float("inf"), []]


@pytest.mark.parametrize("field", [*machine.as_table(machine.DEFAULT_MACHINE)])
def test_machines_of_any_value_run_or_are_refused(field: str) -> None:
    """Each field of a machine with the largest value that it takes, and with those that it does not."""
    network = zoo.resnet8((8, 8, 1), 4, 0.1)
    most = {"banks": 1 << 9, "ports": 1 << 6}.get(field, 1 << 40)

    def build(value: object) -> None:
        made = machine.machine_from({field: value}, "m")
        schedule(network, made, images=1)

    for value in (*LARGE, most):
        accepts_or_refuses(lambda value=value: build(value))
    if isinstance(getattr(machine.DEFAULT_MACHINE, field), int) and field != "shared":
        refuses(lambda: build(most + 1), f"{field}: found {most + 1}")


def test_the_readers_of_numbers_take_ascii_alone() -> None:
    assert [values.whole_number(text) for text in ("0", "-12", "+7", "9" * 19)] == [0, -12, 7, 10**19 - 1]
    assert [values.number(text) for text in ("0", "-1.5", ".5", "5.", "1e-3")] == [0, -1.5, 0.5, 5, 0.001]
    for text in NO_NUMBERS:
        assert values.whole_number(text) is None and (values.number(text) is None or text == "1e3")
    refuses(lambda: zoo.resnet8((8, 8, 1), 4, 1e308), "width: found 1e+308")
    for text in ("٣", "0x٣", "٣'h3", "fxp٣"):
        refuses(lambda text=text: list(inspect.word_lines(text)), "found neither")
    with pytest.raises(BitrowError):
        command.find_network("resnet8", (10**9, 10**9))


def test_help_says_what_may_be_read() -> None:
    assert "BITROW_READ_LIMIT" in clean(run("--help")).printed
