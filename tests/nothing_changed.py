"""Did a change of the house change a result? Digests of what the commands compute, to be compared between two trees.

    PYTHONPATH=ref python tests/nothing_changed.py record BEFORE.json [PART ...]
    PYTHONPATH=ref python tests/nothing_changed.py compare BEFORE.json AFTER.json

Parts: sets (every file of `generate` for smoke, standard and resnet20's pass), pipeline (the JSON report of every
named network and policy, forward and both passes), mutants (what finds each of them), dumps (`verify --dut` of every
faulty dump in `faulty_dumps.jsonl`: one for each guess that a diagnosis can make), certificates, claims (all but their
seconds). Only public functions and commands are used, so that it runs on both sides of a move.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DUMPS = Path(__file__).parent / "faulty_dumps.jsonl"
SETS = {"smoke": ("--suite", "smoke"), "standard": ("--suite", "standard"), "resnet20": ("--network", "resnet20")}
TIMES = ("seconds", "machines")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _plain(value: Any) -> Any:
    """A report without what differs from run to run."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if key not in TIMES}
    return [_plain(part) for part in value] if isinstance(value, list) else value


def _report(path: Path) -> Any:
    return _plain(json.loads(path.read_text()))


def sets(folder: Path) -> Iterator[tuple[str, Any]]:
    for name, chosen in SETS.items():
        out = folder / name
        command = [sys.executable, "-m", "bitrow", "generate", "--seed", "1", "--out", str(out), "--quiet", *chosen]
        subprocess.run(command, check=True)
        for path in sorted(path for path in out.rglob("*") if path.is_file()):
            yield f"{name}/{path.relative_to(out)}", digest(path.read_bytes())


def pipeline(folder: Path) -> Iterator[tuple[str, Any]]:
    command, policies = (importlib.import_module(f"bitrow.pipeline.{name}") for name in ("command", "policies"))
    for network in importlib.import_module("bitrow.zoo").NETWORKS:
        for policy in policies.POLICIES:
            for training in (False, True):
                found = command.run_pipeline(command.find_network(network), policy=policy, training=training, images=2)
                text = json.dumps(importlib.import_module("bitrow.pipeline.report").as_dict(found), sort_keys=True)
                yield f"{network} {policy} {'both' if training else 'forward'}", digest(text.encode())


def mutants(folder: Path) -> Iterator[tuple[str, Any]]:
    out = folder / "mutants.json"
    importlib.import_module("bitrow.proofs.mutants.command").mutants(ROOT / "golden/v1", json_file=out, quiet=True)
    for mutant in _report(out)["mutants"]:
        yield mutant["name"], mutant


def dumps(folder: Path) -> Iterator[tuple[str, Any]]:
    """Each dump alone, as a design with one fault would leave it."""
    vectors = importlib.import_module("bitrow.vectors.diagnose.dut")
    golden = ROOT / "golden/v1"
    for number, line in enumerate(DUMPS.read_text().splitlines()):
        fault = json.loads(line)
        lines = (golden / fault["case"] / f"{fault['tensor']}.hex").read_text().split()
        for at, word in zip(fault["at"], fault["words"], strict=True):
            lines[at] = f"{word:0{len(lines[0])}x}"
        out = folder / f"dump{number}"
        out.mkdir()
        (out / f"{fault['case']}.{fault['tensor']}.hex").write_text("\n".join(lines) + "\n")
        name = f"{number} {fault['case']} {fault['tensor']}: {fault['fault']}"
        yield name, vectors.to_json(vectors.compare(golden, out))


def certificates(folder: Path) -> Iterator[tuple[str, Any]]:
    theorems = importlib.import_module("bitrow.proofs.theorems")
    for network in importlib.import_module("bitrow.zoo").NETWORKS:
        for found in theorems.certificates(network):
            yield f"{network} {found.layer} {found.direction}", found.to_json()


def claims(folder: Path) -> Iterator[tuple[str, Any]]:
    out = folder / "claims.json"
    command = importlib.import_module("bitrow.proofs.command")
    command.prove(command.ClaimsRun(folder / "state", fresh=True), command.ClaimFiles(json_file=out), quiet=True)
    for claim in _report(out)["claims"]:
        yield claim["claim"], claim


PARTS = {part.__name__: part for part in (sets, pipeline, mutants, dumps, certificates, claims)}


def record(names: list[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = dict(PARTS[name](Path(folder)))
        print(f"{name}: {len(found[name])} results", flush=True)
    return found


def compare(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What differs, a line each; parts that only one side recorded are not compared."""
    wrong = []
    for name in before.keys() & after.keys():
        for key in before[name].keys() | after[name].keys():
            if before[name].get(key) != after[name].get(key):
                wrong.append(f"{name} {key}: found {after[name].get(key)}, expected {before[name].get(key)}")
        print(f"{name}: {len(before[name])} results compared")
    return sorted(wrong)


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["record"] and len(arguments) > 1:
        found = record(arguments[2:] or list(PARTS))
        Path(arguments[1]).write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        return 0
    if arguments[:1] == ["compare"] and len(arguments) == 3:
        wrong = compare(*(json.loads(Path(name).read_text()) for name in arguments[1:]))
        print("\n".join(wrong) or "nothing changed")
        return int(bool(wrong))
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
