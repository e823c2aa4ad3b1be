"""A user's bench, tried: sets with one fault each, and the smallest case that fails (SPEC.md V1 to V5)."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bitrow import cli
from bitrow.contract.encoding import Role
from bitrow.errors import BitrowError
from bitrow.vectors.bench import planted, shrink
from bitrow.vectors.bench.audit import audit
from bitrow.vectors.bench.runs import Bench, Ending, WorkingSet
from bitrow.vectors.case import Case
from bitrow.vectors.files import store
from bitrow.vectors.files.check import check
from bitrow.vectors.operations import split
from vectors_samples import conv_backward_case, conv_case, frozen_case, write


@pytest.fixture(autouse=True)
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where scratch folders lie: nothing is left of them."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    return write(tmp_path / "set", frozen_case())


def compares(vectors: Path, *names: str, words: str = "", differs: str = "exit 1") -> tuple[str, ...]:
    """A bench whose design gives the set's own words: it compares some files, perhaps their first words only."""
    first = f"head -n {words}" if words else "cat"
    each = (f'{first} "$BITROW_SET/{n}" | cmp -s - <({first} {vectors}/{n}) || {differs}' for n in names)
    return ("bash", "-c", "; ".join(each))


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, list[str]]:
    status = cli.run([str(argument) for argument in arguments])
    done = capsys.readouterr()
    return status, done.out, done.err.splitlines()


def test_a_bench_that_is_awake(vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md V2: a bench that compares every word catches every fault; the report has them all, by family."""
    report = tmp_path / "report.json"
    command = compares(vectors, "frozen/z.hex")
    status, printed, errors = run(capsys, "bench-audit", vectors, "--json", report, "--quiet", "--", *command)
    assert (status, errors) == (0, []) and "rounding: " in printed and "let pass" not in printed
    content = json.loads(report.read_text())
    names = {one["name"] for one in content["heard"]}
    assert content["caught"] == content["faults"] == len(content["heard"]) >= 20
    assert {"nearest_even_as_truncation", "norm_fused", "frozen z"} <= names
    assert all(one["outcome"] == "caught" and one["cases"] == ["frozen"] for one in content["heard"])


def test_a_bench_that_sleeps(vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md V2: a bench that stops after 20 words lets faults pass; each is named with what it does, status 1."""
    command = compares(vectors, "frozen/z.hex", words="20")
    status, printed, errors = run(capsys, "bench-audit", vectors, "--quiet", "--", *command)
    assert status == 1 and len(errors) == 1 and "faults are not caught" in errors[0]
    assert "words of outputs: 0 of 1 faults caught" in printed
    assert "  let pass frozen z (V2): the last word of z has its lowest bit turned; in frozen" in printed.splitlines()


def test_faults_of_what_is_given(vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md V3: a bench that never drives b, or keeps it as a constant, is found; one that reads all of it is not."""
    reads = compares(vectors, "frozen/y.hex", "frozen/a.hex", "frozen/b.hex")
    found = audit(vectors, Bench(reads, 60), inputs=True)
    assert [one.name for one in found.heard] == ["frozen y", "frozen a", "frozen b"] and not found.asleep
    status, printed, errors = run(capsys, "bench-audit", vectors, "--inputs", "--", *compares(vectors, "frozen/y.hex"))
    assert status == 1 and "2 of 3 faults are not caught: frozen a, frozen b" in errors[0]
    assert "words of parameters: 0 of 2 faults caught" in printed
    (only,) = audit(vectors, Bench(reads, 60), families=["words of inputs"], inputs=True).heard
    assert only.name == "frozen y"


def test_taps_count_where_they_are_asked_for(vectors: Path) -> None:
    """SPEC.md T1: with taps, a fault that only ay shows is handed over, too."""
    bench = Bench(compares(vectors, "frozen/z.hex"), 60)
    asleep = {one.name for one in audit(vectors, bench, taps=True).asleep}
    assert "frozen ay" in asleep and "frozen ay" not in {one.name for one in audit(vectors, bench).heard}


def test_a_command_that_hangs(vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md V5: it is ended with what it started, and said so in a line; on the set as it is, it is refused."""
    begun = time.monotonic()
    command = compares(vectors, "frozen/z.hex", differs="sleep 60")
    options = ("--family", "words of outputs", "--seconds", "0.4")
    status, printed, errors = run(capsys, "bench-audit", vectors, *options, "--", *command)
    assert status == 1 and "  hangs on frozen z (V2)" in printed and "1 of 1 faults are not caught" in errors[0]
    status, _, errors = run(capsys, "bench-audit", vectors, "--seconds", "0.1", "--", "sleep", "60")
    assert status == 2 and "takes more than 0.1 s" in errors[0] and time.monotonic() - begun < 30


REFUSED = {
    "no command": ((), "command: found none, expected the command that runs the bench, behind --"),
    "no program": (("--", "/no/such/program"), "command /no/such/program: cannot be started: No such file"),
    "fails as it is": (("--", "false"), "command false: found that it fails on"),
    "case": (("--case", "fronzen", "--", "true"), "case: found 'fronzen', expected a case of"),
    "family": (("--family", "rows", "--", "true"), "family: found 'rows', expected one of rounding"),
    "shrink": (("--shrink", "SET", "--taps", "--", "true"), "--shrink: found taps beside it"),
    "nothing fails": (("--shrink", "OUT", "--", "true"), "found no case of"),
    "in the set": (("--shrink", "SET/x", "--", "false"), "which is read or part of"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused(vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """SPEC.md V5: one line, status 2, and nothing is written."""
    given, message = REFUSED[kind]
    places = {"OUT": str(tmp_path / "out"), "SET": str(tmp_path / "other"), "SET/x": str(vectors / "x")}
    before = sorted(vectors.rglob("*"))
    status, printed, errors = run(capsys, "bench-audit", vectors, *(places.get(part, part) for part in given))
    assert (status, printed, len(errors)) == (2, "", 1) and message in errors[0], errors
    assert sorted(vectors.rglob("*")) == before and not (tmp_path / "out").exists()


def test_the_set_is_named_twice(vectors: Path, tmp_path: Path) -> None:
    """SPEC.md V1: by BITROW_SET, and in place of {}; the command may write there."""
    seen = tmp_path / "seen"
    script = f'echo "$BITROW_SET {{}}" > {seen}; echo spoiled > "{{}}/frozen/z.hex"'
    assert Bench(("bash", "-c", script), 60).run(vectors) is Ending.PASSES
    assert seen.read_text() == f"{vectors} {vectors}\n"


def test_every_set_with_a_fault_is_sound(tmp_path: Path, room: Path) -> None:
    """SPEC.md V1 to V4: checksums, headers, packages and arrays are those of the changed words."""
    vectors = write(tmp_path / "set", conv_case(), frozen_case())
    chosen = planted.subjects(vectors)
    faults = [*planted.expected(chosen, True, ["quantizer", "words of taps"]), *planted.given(chosen)]
    assert len({fault.name for fault in faults}) > 15
    work = tmp_path / "work"
    work.mkdir()
    working = WorkingSet(vectors, work)
    for fault in faults[::3]:
        with working.holding(fault.cases) as folder:
            assert check(folder) == []
            changed = {case.name for case in fault.cases}
            for name in store.case_names(vectors):
                same = (folder / name / "case.npz").read_bytes() == (vectors / name / "case.npz").read_bytes()
                assert same == (name not in changed), fault.name
        assert check(working.folder) == []


SHAPED = """
import json, os, pathlib, sys
for path in pathlib.Path(os.environ["BITROW_SET"]).glob("*/case.json"):
    case = json.loads(path.read_text())
    shape = {t["name"]: t["shape"] for t in case["tensors"]}
    if case["operation"] == "conv.forward" and shape["x"][2] >= 3 and shape["x"][3] >= 2:
        sys.exit(1)
"""


def test_the_smallest_case_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md V1, V5: a design that fails from three columns and two channels on is left with just those."""
    vectors, out = write(tmp_path / "set", frozen_case(), conv_case(bias=True)), tmp_path / "small"
    script = tmp_path / "bench.py"
    script.write_text(SHAPED)
    status, printed, errors = run(capsys, "bench-audit", vectors, "--shrink", out, "--", sys.executable, "-S", script)
    assert (status, errors) == (0, []), errors
    assert "conv x: 2 x 5 x 6 x 3 became 1 x 1 x 3 x 2" in printed
    assert check(out) == [] and store.case_names(out) == ["conv"]
    small = store.read_case(out, "conv")
    given, computed = split(small)
    assert given["weight_code"].shape == (3, 3, 2, 1) and given["bias"].shape == (1,) and small.bins
    for name, words in small.operation.oracle(small.config, given).items():
        assert (words == computed[name]).all()


def whole(case: Case) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.data.shape for tensor in case.tensors}


def test_maps_of_a_gradient_are_cut_together() -> None:
    """SPEC.md C2: where the mask's map is cut, dy is cut to the rows and columns that go with it."""
    case = conv_backward_case()
    smaller = [found for cut in shrink._cuts(case) if (found := shrink._apply(case, cut)) is not None]
    heights = {found.tensor("mask").data.shape[1:3] for found in smaller}
    assert len(heights) > 3
    for found in smaller:
        dy, mask = found.tensor("dy").data, found.tensor("mask").data
        assert dy.shape[1:3] == mask.shape[1:3] and whole(found) != whole(case)
        given, computed = split(found)
        assert all((words == computed[n]).all() for n, words in found.operation.oracle(found.config, given).items())


def test_a_word_of_each_kind_of_tensor_can_be_turned() -> None:
    """SPEC.md V2: one bit of one element, others as they were, in the tensor's own integers."""
    case = conv_case()
    for tensor in case.tensors:
        found = planted.turned(tensor, 0, 0)
        assert found.dtype == tensor.data.dtype and found.shape == np.shape(tensor.data)
        assert int((found != tensor.data).sum()) == 1, tensor.name
    assert any(tensor.role is Role.TAP for tensor in case.tensors)


def test_a_set_without_a_case_to_change(tmp_path: Path) -> None:
    """SPEC.md V5: a fault that no word of the chosen cases shows is none."""
    vectors = write(tmp_path / "set", frozen_case())
    with pytest.raises(BitrowError, match="found no word that such a fault changes"):
        audit(vectors, Bench(("true",), 60), families=["accumulator"])
