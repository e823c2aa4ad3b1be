"""Deliberate faults: each is a fault, each is found, and none is left behind (SPEC.md V5)."""

from __future__ import annotations

import itertools
import json
import random
import re
from dataclasses import replace
from pathlib import Path
from types import CodeType, FunctionType

import numpy as np
import pytest

from bitrow import cli
from bitrow.config import AddConfig
from bitrow.contract import elementwise, operations
from bitrow.contract.arithmetic import ROUNDED
from bitrow.contract.elementwise import ADD_FORWARD
from bitrow.contract.exceptions import FLAGGED
from bitrow.contract.operation import Operation
from bitrow.contract.operations import OPERATIONS
from bitrow.contract.program import Program
from bitrow.contract.units import UNITS
from bitrow.errors import BitrowError
from bitrow.faults import apply, catalogue, rounding_points
from bitrow.faults.mutant import Edit, FaultFamily, Mutant
from bitrow.formats import FloatMode, Rounding
from bitrow.oracle import fp16, lfsr, softfloat
from bitrow.proofs.mutants import all_properties, judge, properties, report
from bitrow.proofs.mutants.word_properties import MODES, rounded, value
from bitrow.vectors.files import store

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "golden" / "v1"
SETS = sorted(GOLDEN.parent.glob("v*"))
MUTANTS = {mutant.name: mutant for mutant in catalogue.MUTANTS}
DATAPATH = [mutant for mutant in catalogue.MUTANTS if mutant.datapath]
_ADD, _SUM = "contract.elementwise:ADD_FORWARD", "out y : 16, n h w c = add x shortcut"
CLAUSES = set(re.findall(r"^\*\*([A-Z]\d+)\*\*", (ROOT / "SPEC.md").read_text(), re.MULTILINE))


@pytest.fixture(scope="module")
def cases() -> list[judge.Judged]:
    """The committed sets, their control runs done."""
    return [case for folder in SETS for case in judge.load(folder)]


@pytest.fixture(scope="module")
def sound() -> tuple[properties.Sound, ...]:
    """Every property, its control run done."""
    return all_properties.sound()


def small_set(out: Path, *names: str, spoil: str = "") -> Path:
    """A set of some golden cases; the last word of tensor `spoil` changed."""
    chosen = [store.read_case(GOLDEN, name) for name in names]
    for case in chosen:
        for tensor in case.tensors:
            if tensor.name == spoil:
                tensor.data.reshape(-1)[-1] ^= 1
    versions = {"jax": "0.0.0", "jaxlib": "0.0.0", "numpy": np.__version__}
    store.write_set(out, chosen, {"seed": 1, "versions": versions, "coverage": {}})
    return out


def shipped(place: FunctionType | Operation) -> CodeType | str:
    """The code of a function, the text of a program, as it is now."""
    return place.program.text if isinstance(place, Operation) else place.__code__


def fault(target: str, old: str, new: str, name: str = "fault") -> Mutant:
    return Mutant(name, "does something else", FaultFamily.ROUNDING, "F3", (Edit(target, old, new),))


# The catalogue


def test_the_catalogue_is_large_and_its_names_are_unique() -> None:
    """SPEC.md F to A: every family has faults, and every one says in its own words what it does."""
    assert len(MUTANTS) == len(catalogue.MUTANTS) >= 200
    assert len({mutant.does for mutant in catalogue.MUTANTS}) == len(MUTANTS)
    assert len({mutant.edits for mutant in catalogue.MUTANTS}) == len(MUTANTS)
    assert all(re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name) for name in MUTANTS)
    for family in FaultFamily:
        assert sum(mutant.family is family for mutant in catalogue.MUTANTS) >= 3, family


def test_every_clause_of_the_datapath_has_a_mutant() -> None:
    """SPEC.md F2, T1: clauses exist; every arithmetic clause has a fault."""
    found = {mutant.clause for mutant in catalogue.MUTANTS}
    assert found <= CLAUSES
    hosts = {"F1", "F8", "B4", "C4"}  # encodings, the host's scales and weights: no arithmetic of the datapath
    assert {clause for clause in CLAUSES if clause[0] in "FQMDCBA"} - hosts <= found


def test_every_edit_fits_the_shipped_text() -> None:
    """SPEC.md V5: each edit occurs once, and gives other code than the shipped function's, other lines of a program."""
    for mutant in catalogue.MUTANTS:
        faulty = apply.fault(mutant)
        assert len(faulty.codes) + len(faulty.texts) == len({edit.target for edit in mutant.edits}) > 0
        for function, code in faulty.codes.items():
            shipped = function.__code__
            assert (code.co_code, code.co_consts, code.co_names) != (
                shipped.co_code, shipped.co_consts, shipped.co_names,
            ), mutant.name  # fmt: skip
        for operation, text in faulty.texts.items():
            assert Program(operation.program.name, text).lines != operation.program.lines, mutant.name


def test_every_rounding_of_every_line_is_one_mutant() -> None:
    """SPEC.md F2, V5: under every condition, each line that rounds is truncated by exactly one mutant.

    The one line of a unit is the arithmetic itself: no program's fault, but one of the functions that every line calls.
    """
    points = [apply.fault(mutant).texts for mutant in catalogue.MUTANTS if mutant.family is FaultFamily.POINTS]
    units = {*UNITS.values(), *FLAGGED.values()}
    assert not any(operation in units for texts in points for operation in texts)
    for operation in set(OPERATIONS) - units:
        shipped = operation.program
        faulty = [Program(shipped.name, texts[operation]) for texts in points if operation in texts]
        for holds in itertools.product((False, True), repeat=len(shipped.conditions)):
            conditions = dict(zip(sorted(shipped.conditions), holds, strict=True))
            for line in shipped.active(conditions):
                cut = replace(line, rounding="toward_zero", guard=())
                found = [[replace(one, guard=()) for one in program.active(conditions)] for program in faulty]
                rounds = line.op in (*ROUNDED, "tree", "running", "partial_sums", "reciprocal")
                assert sum(cut in lines for lines in found) == rounds, (operation, line.name, conditions)


def test_a_new_operation_brings_its_rounding_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md V5: its lines are mutants by their names, and by the operation's where an earlier line has the name."""
    program = Program("A2 scaled", """
        in  x    : 16, n h w c
        par k    : 16, c
            half : 16, n h w c = mul k x
        out mean : 16, n h w c = add half x if twice
        out mean : 16, n h w c = copy half  if not twice
    """)
    scaled = Operation("scaled.forward", program, FloatMode, lambda mode: ("A2",))
    monkeypatch.setattr(elementwise, "SCALED", scaled, raising=False)
    monkeypatch.setattr(operations, "OPERATIONS", (*OPERATIONS, scaled))
    found = {mutant.name: mutant for mutant in rounding_points.derived()}
    target, cut = "contract.elementwise:SCALED", "rounding toward_zero"
    product, total = "half : 16, n h w c = mul k x", "out mean : 16, n h w c = add half x"
    assert found.keys() - MUTANTS.keys() == {"half_truncated", "scaled_forward_mean_truncated"}
    assert found["half_truncated"].edits == (Edit(target, product, f"{product} {cut}"),)
    mean = found["scaled_forward_mean_truncated"]
    assert mean.edits == (Edit(target, f"{total} if twice", f"{total} {cut} if twice"),)
    assert (mean.does, mean.clause, mean.family) == ("scaled forward mean is truncated", "A2", FaultFamily.POINTS)


def test_no_shipped_function_knows_of_mutants() -> None:
    """SPEC.md V5: nothing but the rooms that put them in, and the commands, speaks of them."""
    rooms = {"faults", "mutants", "diagnose", "bench", "cli"}
    for path in (ROOT / "ref" / "bitrow").rglob("*.py"):
        if not rooms & set(path.parts):
            assert "mutant" not in path.read_text(encoding="utf-8").lower(), path


# Applying one


@pytest.mark.parametrize("family", [f for f in FaultFamily if f is not FaultFamily.ROWS], ids=lambda f: f.name)
def test_leaving_a_mutant_restores_the_oracle_exactly(family: FaultFamily, cases: list[judge.Judged]) -> None:
    """SPEC.md V5: a drawn mutant of each family changes words; code and words are as before once it is left."""
    mutant = random.Random(family.name).choice([m for m in catalogue.MUTANTS if m.family is family])
    places = {apply.subject(edit.target) for edit in mutant.edits}
    before = {place: shipped(place) for place in places}
    (kill,) = judge.kills(mutant, cases, first_only=True)
    case = next(case for case in cases if case.name == kill.case)
    with apply.applied(mutant) as faulty:
        assert {place: shipped(place) for place in places} == faulty.codes | faulty.texts
        found = case.compute()
        if not kill.raised and kill.element >= 0:
            assert int(found[kill.tap].reshape(-1)[kill.element]) == kill.found != kill.expected
    assert {place: shipped(place) for place in places} == before
    after = case.compute()
    assert set(after) >= set(case.expected)
    for name, expected in case.expected.items():
        assert after[name].dtype == expected.dtype and after[name].tobytes() == expected.tobytes()


def test_an_error_inside_leaves_nothing_behind() -> None:
    """SPEC.md F3: the old code is back after an error, too, and caches hold nothing of the fault."""
    mutant = MUTANTS["lfsr_taps"]
    sound = lfsr.words(0xACE1, 5, 3)
    with pytest.raises(RuntimeError, match="stop"), apply.applied(mutant):
        assert lfsr.words(0xACE1, 5, 3) != sound
        raise RuntimeError("stop")
    assert lfsr.words(0xACE1, 5, 3) == sound
    with apply.applied(MUTANTS["inputs_flushed"]):
        assert fp16.add(1, 1) == 0
    assert fp16.add(1, 1) == 2


def test_a_program_is_put_back_after_an_error() -> None:
    """SPEC.md V5: text and lines, and what the operation knows of its tensors."""
    before = ADD_FORWARD.program.text, ADD_FORWARD.program.lines, dict(ADD_FORWARD.outputs)
    given = {"x": np.full((1, 1, 1, 1), 0x3C00, np.uint16), "shortcut": np.full((1, 1, 1, 1), 0x4000, np.uint16)}
    other = fault(_ADD, _SUM, "t : 16, n h w c = sub x shortcut\nout y : 16, n h w c = copy t")
    with pytest.raises(RuntimeError, match="stop"), apply.applied(other):
        assert ADD_FORWARD.oracle(AddConfig(), given)["y"].item() == 0xBC00 and list(ADD_FORWARD.taps) == ["t"]
        raise RuntimeError("stop")
    assert (ADD_FORWARD.program.text, ADD_FORWARD.program.lines, ADD_FORWARD.outputs) == before
    assert ADD_FORWARD.oracle(AddConfig(), given)["y"].item() == 0x4200 and not ADD_FORWARD.taps


def test_one_mutant_at_a_time() -> None:
    """A second one inside is refused, and leaves the first in place (SPEC.md F4)."""
    with apply.applied(MUTANTS["zero_sign_lost"]):
        message = "mutant zero_sum_negative: found another mutant applied, expected one at a time"
        with pytest.raises(BitrowError, match=message), apply.applied(MUTANTS["zero_sum_negative"]):
            pass
        with pytest.raises(BitrowError, match="mutant added_truncated"), apply.applied(MUTANTS["added_truncated"]):
            pass
        assert fp16.mul(0x8000, 0x3C00) == 0
    assert fp16.mul(0x8000, 0x3C00) == 0x8000
    with apply.applied(MUTANTS["added_truncated"]):
        pass


@pytest.mark.parametrize(
    "mutant, message",
    [
        (fault("oracle.fp16:add", "no such text", ""), "mutant fault: found 'no such text' 0 times in oracle.fp16:add"),
        (fault("oracle.fp16:add", "mode", "m"), r"found 'mode' \d+ times in oracle.fp16:add, expected it once"),
        (fault("oracle.fp16:gone", "", ""), "mutant target: found 'oracle.fp16:gone', expected MODULE:FUNCTION"),
        (fault("oracle.fp16:add", "a: int, ", "c: int, "), "found other arguments in oracle.fp16:add"),
        (fault(_ADD, "out y : 16, n h w c = add x", ""), f"found 'out y : 16, n h w c = add x' 0 times in {_ADD}"),
        (fault(_ADD, "out y: 16, n h w c = sub x shortcut", ""), f"0 times in {_ADD}, expected it once"),
        (Mutant("fault", "does", FaultFamily.ROUNDING, "F3", (
            Edit(_ADD, _SUM, f"{_SUM}\n{_SUM}"), Edit(_ADD, _SUM, ""))), f"2 times in {_ADD}, expected it once"),
        (fault(_ADD, _SUM, "out y = add x shortcut"), "contract line: found 'out y = add x shortcut', expected NAME"),
        (fault(_ADD, _SUM, "out y : 16, n h w c = add x z"), "contract A2 add y: found the operand 'z'"),
        (fault(_ADD, _SUM, "out y : 16, n h w c = plus x x"), "contract add.forward y: found the operation 'plus'"),
    ],
    ids=["absent", "twice", "function", "arguments", "part", "no line", "line twice", "grammar", "name", "op"],
)  # fmt: skip
def test_an_edit_that_does_not_fit_is_refused(mutant: Mutant, message: str) -> None:
    """SPEC.md V5: a changed oracle makes stale edits errors, never mutants that change nothing, and leaves no part."""
    before = ADD_FORWARD.program.text
    with pytest.raises(BitrowError, match=message), apply.applied(mutant):
        pass
    assert ADD_FORWARD.program.text == before


def test_blanks_of_a_line_do_not_count() -> None:
    """SPEC.md V5: programs are laid out in columns, edits need not be."""
    with apply.applied(fault(_ADD, "  out y  :  16, n h w c\t= add x shortcut", _SUM.replace("add", "sub"))):
        assert ADD_FORWARD.program.lines[-1].op == "sub"


# What finds them


def test_golden_finds_every_fault_of_the_datapath(cases: list[judge.Judged]) -> None:
    """SPEC.md V5: the committed sets find each, by words and not by an error."""
    survivors, raised = [], []
    for mutant in DATAPATH:
        found = judge.kills(mutant, cases, first_only=True)
        survivors += [] if found else [mutant.name]
        raised += [mutant.name for kill in found if kill.raised]
    assert (survivors, raised) == ([], [])


@pytest.mark.slow  # and `make mutants`, on every change
def test_properties_find_every_mutant(sound: tuple[properties.Sound, ...]) -> None:
    """SPEC.md C1, F2: those of the row pipeline, too, which change no word of a set."""
    assert [m.name for m in catalogue.MUTANTS if not properties.broken(m, sound, first_only=True)] == []


def test_a_property_that_does_not_hold_is_refused() -> None:
    """SPEC.md V5: a property that is false of the sound oracle can judge nothing."""
    false = properties.Property("never", "nothing holds", "F1", lambda: "a counterexample")
    message = "property never: found a counterexample without a mutant, expected it to hold"
    with pytest.raises(BitrowError, match=message):
        properties.control([false])


def test_a_case_that_is_not_run_could_not_have_found_it(cases: list[judge.Judged]) -> None:
    """SPEC.md V5: what the profile leaves out gives the set's words under the mutant."""
    drawn = random.Random(7)
    for mutant in drawn.sample(DATAPATH, 12):
        skipped = [case for case in cases if case not in judge.reachable(mutant, cases)]
        if not skipped:
            continue
        with apply.applied(mutant) as faulty:
            for case in drawn.sample(skipped, min(5, len(skipped))):
                assert judge.judge(case, faulty) is None, (mutant.name, case.name)


def test_a_control_run_that_differs_is_refused(tmp_path: Path) -> None:
    """SPEC.md V5: a set whose words are wrong can judge nothing; the case, tap and element are named."""
    folder = small_set(tmp_path / "set", "relu6_forward", spoil="y")
    with pytest.raises(BitrowError, match=r"set/relu6_forward y element 95: found .* by the sound oracle, expected .*"):
        list(judge.load(folder))


def test_an_error_counts_only_from_the_faulty_function(cases: list[judge.Judged]) -> None:
    """SPEC.md F2: an operation that fails is found; an error from elsewhere is the judge's, and goes on."""
    case = next(case for case in cases if case.name == "fp16_add_nearest_even")
    with apply.applied(fault("oracle.softfloat:add", "exponent = min", "exponent = 1 // 0 + min")) as faulty:
        kill = judge.judge(case, faulty)
        assert kill is not None and kill.raised.startswith("ZeroDivisionError") and kill.element == -1
        with pytest.raises(ZeroDivisionError):
            judge.judge(case, apply.Fault())


def test_an_error_counts_only_from_the_faulty_program(cases: list[judge.Judged]) -> None:
    """SPEC.md F2: a run of the edited program that fails is found; one of another program's is the judge's."""
    case = next(case for case in cases if case.name == "add")
    with apply.applied(fault(_ADD, _SUM, "out y : 16, n h w c = quantize x")) as faulty:  # an add has no formats
        kill = judge.judge(case, faulty)
        assert kill is not None and kill.raised.startswith("AttributeError") and kill.element == -1
        with pytest.raises(AttributeError):
            judge.judge(case, apply.Fault(texts={elementwise.RELU_FORWARD: ""}))


def test_a_program_edit_reaches_where_its_line_stands(cases: list[judge.Judged]) -> None:
    """SPEC.md V5: cases of that operation, under the conditions of the line."""
    split, fused = MUTANTS["z_truncated"], MUTANTS["fused_z_truncated"]
    norms = [case for case in cases if case.operation.name == "batch_norm.forward"]
    assert judge.reachable(split, cases) == [case for case in norms if not case.config.fma]
    assert judge.reachable(fused, cases) == [case for case in norms if case.config.fma]
    assert 0 < len(judge.reachable(fused, cases)) < len(norms)


def test_taps_missing_or_of_another_shape_differ() -> None:
    """SPEC.md T1: in the order of the case, before any later word."""
    expected = {"t": np.zeros(4, np.uint16), "y": np.ones(4, np.uint16)}
    assert judge.first_difference("case", dict(expected), expected) is None
    assert judge.first_difference("case", {"y": expected["y"] + 1}, expected) == judge.Kill("case", "t")
    reshaped = {"t": expected["t"].reshape(2, 2), "y": expected["y"]}
    assert judge.first_difference("case", reshaped, expected) == judge.Kill("case", "t")
    changed = {"t": expected["t"], "y": np.array([1, 1, 9, 8], np.uint16)}
    assert judge.first_difference("case", changed, expected) == judge.Kill("case", "y", 2, 9, 1)


def test_the_judge_of_roundings_agrees_with_numpy() -> None:
    """SPEC.md F3, F6: the Fractions' rounding is float64's to float16 for nearest even, and brackets the others."""
    stream = np.random.default_rng(5)
    exact = stream.normal(0, 1, 300) * 2.0 ** stream.integers(-26, 18, 300)
    with np.errstate(over="ignore"):
        words = exact.astype(np.float16).view(np.uint16)
    for number, word in zip(exact.tolist(), words.tolist(), strict=True):
        fraction = value(0x3C00) * int(number * 2**60) / 2**60
        assert rounded(fraction, zero=0x8000 if number < 0 else 0) == word
    directed = {mode.rounding: rounded(value(0x3C00) + value(0x0400), mode) for mode in MODES}
    assert directed[Rounding.UP] == 0x3C01 and directed[Rounding.DOWN] == directed[Rounding.TOWARD_ZERO] == 0x3C00
    assert rounded(value(0x7BFF) * 2, FloatMode(Rounding.DOWN)) == 0x7BFF
    assert softfloat.round_to(softfloat.Float(5, 10), 0, 1, 20) == rounded(value(0x7BFF) * 100)


# The report


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`bitrow prove mutants` in this process on a few mutants: its exit status, its output, the lines of its error."""
    few = ("relu_drops_nan", "relu_passes_at_zero", "ring_one_slot_short")
    monkeypatch.setattr(catalogue, "MUTANTS", tuple(MUTANTS[name] for name in few))

    def command(*arguments: object) -> tuple[int, str, list[str]]:
        try:
            status = cli.run(["prove", "mutants", *map(str, arguments)])
        except SystemExit as leave:
            status = int(leave.code or 0)
        done = capsys.readouterr()
        return status, done.out, done.err.splitlines()

    return command


def test_every_mutant_found(run, tmp_path: Path) -> None:
    """Exit status 0; tables, JSON and page say which case and which property (SPEC.md A1)."""
    folder = small_set(tmp_path / "set", "relu6_forward", "relu6_backward")
    page, file = tmp_path / "page.md", tmp_path / "report.json"
    status, out, err = run("--set", folder, "--markdown", page, "--json", file)
    assert (status, err) == (0, [])
    assert "3 mutants: 2 of 2 of the datapath found by" in out and "relu6_backward dx[" in out
    found = json.loads(file.read_text())
    assert found["survivors"] == [] and found["mutants"][0]["name"] == "relu_drops_nan"
    assert {case["case"]: case["alone"] for case in found["cases"]} == {
        "relu6_forward": ["relu_drops_nan"], "relu6_backward": ["relu_passes_at_zero"],
    }  # fmt: skip
    first = found["mutants"][0]["cases"][0]
    assert (first["case"], first["tap"], first["found"], first["expected"]) == ("relu6_forward", "y", 0, 0x7E00)
    broken = {one["property"]: one["counterexample"] for one in found["mutants"][2]["properties"]}
    assert list(broken) == ["reads_find_their_rows", "emulated_rows_equal_whole_tensors"]
    assert "by rows, expected" in broken["emulated_rows_equal_whole_tensors"]
    assert "| relu6_forward | 1 | relu_drops_nan |" in page.read_text()


def test_a_survivor_is_named_and_fails(run, tmp_path: Path) -> None:
    """Exit status 1 where the set lacks what finds a mutant, though a property does (SPEC.md A1)."""
    status, out, err = run("--set", small_set(tmp_path / "set", "relu6_forward"), "--json", "-")
    assert (status, err) == (1, [])
    found = json.loads(out)
    assert found["survivors"] == ["relu_passes_at_zero"]
    assert found["mutants"][1]["properties"][0]["property"] == "layers_by_numpy"


def test_bad_arguments_are_one_line(run, tmp_path: Path) -> None:
    status, out, err = run("--set", tmp_path / "none")
    assert (status, out) == (2, "") and len(err) == 1
    assert "none: found no vector set, expected one there or at --set DIR" in err[0]
    assert run("--full") == (2, "", ["bitrow: No such option '--full'. (see bitrow prove mutants --help)"])
    assert cli.run(["prove", "claims", "fp16.add", "--set", str(tmp_path)]) == 2


def test_the_committed_page_is_current(cases: list[judge.Judged]) -> None:
    """The page lists the whole catalogue, every case, and the finds of drawn mutants, as computed now (SPEC.md V5)."""
    text, names = (ROOT / "docs" / "mutants.md").read_text(), ", ".join(f"golden/{folder.name}" for folder in SETS)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    by_name = {row[0]: row for row in rows if len(row) == 6}
    assert list(by_name)[1:] == list(MUTANTS)
    assert [row[0] for row in rows if len(row) == 3 and row[0] != "case"] == [case.name for case in cases]
    assert f"{len(DATAPATH)} of {len(DATAPATH)} of the datapath found by {names}" in text
    assert "SURVIVES" not in text
    for mutant in random.Random(11).sample(DATAPATH, 4):
        kills = judge.kills(mutant, cases)
        reached = len(judge.reachable(mutant, cases))
        row = by_name[mutant.name]
        expected = [mutant.clause, mutant.does, f"{len(kills)}/{reached}", report.where(kills[0])]
        assert row[1:5] == expected
