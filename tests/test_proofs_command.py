"""`bitrow prove claims` as users see it: table, report, exit status, errors of a line (SPEC.md V5)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bitrow import cli, processor
from bitrow.proofs import registry
from bitrow.proofs.claim import Claim, Counterexample, Effort, Method, Outcome
from bitrow.versions import versions
from test_proofs_runner import seal

FALSE = Counterexample((("a", "0x3c00", "1"), ("mode", "up/infinity", "")), "0x3c00 (1)", "0x3c01 (1.001)", "oracle")


def claim(name: str, false: bool = False) -> Claim:
    return Claim(
        name, f"{name} is right", ("F3", "Q1"), Method.SEARCH, lambda effort: f"the {effort.value} domain",
        lambda effort: 2 if effort is Effort.QUICK else 4,
        lambda effort, index: Outcome(100, FALSE if false and index else None, "ab" * 32, "smallest K = 33"),
    )  # fmt: skip


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> dict[str, Claim]:
    made = {name: claim(name, "wrong" in name) for name in ("fp16.one", "fp16.two", "wrong")}
    monkeypatch.setattr(registry, "claims", lambda: made)
    return made


@pytest.fixture
def run(claims: dict[str, Claim], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """`bitrow prove` in this process, in one process: its exit status, its output, the lines of its error."""

    def command(*arguments: object) -> tuple[int, str, list[str]]:
        options = ("--state", str(tmp_path / "state"), "--jobs", "1")
        try:
            status = cli.run(["prove", "claims", *map(str, arguments), *options])
        except SystemExit as leave:
            status = int(leave.code or 0)
        done = capsys.readouterr()
        return status, done.out, done.err.splitlines()

    return command


def test_a_claim_that_holds(run, tmp_path: Path) -> None:
    status, out, err = run("fp16.one", "--json", tmp_path / "report.json")
    assert (status, err) == (0, [])
    for text in ("fp16.one", "F3 Q1", "search", "the quick domain", "200", "holds; smallest K = 33"):
        assert text in out
    report = json.loads((tmp_path / "report.json").read_text())
    (row,) = report["claims"]
    assert report["holds"] and report["effort"] == "quick" and set(report["versions"]) >= {"bitrow", "source", "jax"}
    assert (row["verdict"], row["cases"], row["chunks"], len(row["digest"])) == ("holds", 200, [2, 2], 64)
    assert [path.name for path in (tmp_path / "state").iterdir()] == [Path(out.split()[-1]).name]


def test_a_false_claim_ends_with_its_counterexample(run) -> None:
    status, out, _ = run()
    assert status == cli.DIFFERS
    assert "wrong is false: wrong is right" in out
    assert "  a = 0x3c00 (1), mode = up/infinity" in out
    assert "  found 0x3c00 (1), expected 0x3c01 (1.001), says the oracle" in out
    assert out.count("holds") == 2
    status, out, _ = run("--json", "-")
    report = json.loads(out)
    assert status == cli.DIFFERS and not report["holds"]
    assert report["claims"][2]["counterexample"]["operands"][0] == {"name": "a", "word": "0x3c00", "meaning": "1"}


def test_patterns_choose_claims(run) -> None:
    status, out, _ = run("fp16.*")
    assert status == 0 and "fp16.two" in out and "wrong" not in out
    status, out, err = run("fp17.add")
    assert status == cli.BAD_INPUT
    assert err == ["bitrow: claim: found 'fp17.add', expected one of fp16.one, fp16.two, wrong"]


def test_a_page_of_claims(run, tmp_path: Path) -> None:
    """Each claim with its statement, domain and what was found; totals, digests, versions, machine, the command."""
    page = tmp_path / "claims.md"
    assert run("--full", "fp16.*", "--markdown", page)[0] == 0
    text = page.read_text()
    assert "2 of 2 hold" in text and "They took 8 chunks" in text and processor.describe() in text
    assert f"`bitrow prove claims 'fp16.one' 'fp16.two' --full --markdown {page}`" in text
    row = "| fp16.one | F3 Q1 | fp16.one is right | search | the full domain | 400 | holds; smallest K = 33 | 0.0 |"
    assert row in text.splitlines() and "| total | 2 |  | 0.0 |" in text.splitlines()
    found = versions()
    assert f"| source | `{found['source']}` |" in text and f"| jax | `{found['jax']}` |" in text
    status, _, err = run("fp16.one", "--markdown", tmp_path / "none" / "page.md")
    assert status == cli.BAD_INPUT and len(err) == 1 and "cannot be written" in err[0]
    run("--markdown", page)
    assert "2 of 3 hold" in page.read_text() and "| wrong | F3 Q1 | wrong is right |" in page.read_text()
    assert "`bitrow prove claims --quick --markdown" in page.read_text()


def test_fresh_forgets_an_unfinished_run(run, claims, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    run("fp16.one")
    (done,) = state.iterdir()
    text = done.read_text()
    partial = done.with_suffix(".partial.json")
    value = json.loads(text)
    value["versions"]["jax"] = "9"
    seal(partial, value)
    status, _, err = run("fp16.one")
    assert status == cli.BAD_INPUT and len(err) == 1 and "found jax 9" in err[0] and "--fresh" in err[0]
    assert run("fp16.one", "--fresh")[0] == 0 and not partial.exists()


def test_all_registered_claims_are_whole() -> None:
    """SPEC.md E1: names are unique, clauses stand in the contract, domains and chunks are told without running."""
    spec = (Path(__file__).parents[1] / "SPEC.md").read_text()
    for name, one in registry.claims().items():
        assert name == one.name and one.statement
        # a claim about the pipeline stands outside the contract
        assert one.clauses or name.startswith("solver.banks")
        for clause in one.clauses:
            assert f"**{clause}**" in spec, (name, clause)
        for effort in Effort:
            assert one.chunks(effort) >= 1 and one.domain(effort)
