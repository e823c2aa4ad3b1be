"""Row traces (SPEC.md V6): what the files say, an engine that consumes them, checks, a design's dumps."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bitrow import cli, model_file
from bitrow.errors import BitrowError
from bitrow.pipeline.machine import to_toml
from bitrow.synthetic import synthetic
from bitrow.vectors.bit_views import to_words
from bitrow.vectors.files.check import check
from bitrow.vectors.files.schema import to_json
from bitrow.vectors.files.store import case_names, check_target
from bitrow.vectors.network_pass import Pass
from bitrow.vectors.trace.compare import compare_trace
from bitrow.vectors.trace.verify import ReadTrace, check_trace, recompute_trace
from bitrow.vectors.trace.write import TraceChoice, laid_out, write_words
from row_engine import RowEngine, read_stream, read_table
from row_trace_samples import MACHINE, NETWORK


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two images, by the command, with the banks at the end of every task."""
    folder = tmp_path_factory.mktemp("trace")
    model_file.save(folder / "tiny.safetensors", synthetic(NETWORK, 1, 2))
    (folder / "small.toml").write_text(to_toml(MACHINE))
    asked = ["--images", "2", "--freeze", "prompt", "--machine", str(folder / "small.toml"), "--at", "ends"]
    written = ["--vectors", str(folder / "set"), "--json", str(folder / "run.json")]
    assert cli.run(["pipeline", str(folder / "tiny.safetensors"), *asked, *written]) == 0
    return folder / "set"


@pytest.fixture(scope="module")
def case(trace: Path) -> dict:
    return json.loads((trace / "case.json").read_text())


def test_an_engine_of_rows_consumes_the_files_and_matches(trace: Path, case: dict) -> None:
    """SPEC.md V6: every row of every ring, and the banks at the end of every task."""
    engine = RowEngine(trace)
    engine.run()
    rings = [stream for stream in case["streams"] if not stream["name"].startswith("host.")]
    rows = sum(stream["rows"] * stream["images"] for stream in rings if stream["name"] != "pool.sum")
    assert engine.checked_rows == rows and engine.checked_words > 10_000


@pytest.fixture(scope="module")
def sound(trace: Path) -> ReadTrace:
    found, findings = check_trace(trace)
    assert found is not None and not findings
    return found


@pytest.fixture(scope="module")
def light(trace: Path, sound: ReadTrace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same words with the banks at one cycle, to be copied and spoiled."""
    choice = TraceChoice(tmp_path_factory.mktemp("light") / "set")
    run = laid_out(sound.run.found, choice.at, choice.image_format)
    write_words(run, model_file.load(trace / "model.safetensors"), sound.words, choice)
    return choice.folder


def test_the_layer_cases_of_a_network_have_the_same_words(trace: Path, case: dict) -> None:
    """SPEC.md V6: each tap of `bitrow generate --network` that a ring has, here as the oracle computes it."""
    model = model_file.load(trace / "model.safetensors")
    samples = model.samples
    assert samples is not None
    walk = Pass(model, "tiny", lambda one: one.operation.oracle(one.config, one.given))
    taps: dict[str, np.ndarray] = {}
    for step in (*walk.forward(to_words(samples.images)), *walk.backward(to_words(samples.dlogits))):
        layer, _, way = step.problem.name.removeprefix("tiny_").rpartition("_")
        taps |= {f"{layer}/{way}/{name}": words for name, words in step.words.items()}
    taps |= {"logits": walk.logits, "dx": walk.dx}
    tapped = [stream for stream in case["streams"] if "tap" in stream]
    assert {stream["tap"].split("/")[-1] for stream in tapped} >= {"x_code", "mask", "dy_code", "dx", "y", "logits"}
    for stream in tapped:
        found = read_stream(trace, stream)
        words = taps[stream["tap"]].reshape(*found.shape[:2], -1).astype(np.int64)
        if stream["encoding"] == "packed":
            nibbles = np.concatenate([words & 15, np.zeros((*words.shape[:2], words.shape[2] % 2), np.int64)], axis=2)
            words = nibbles[..., 0::2] | nibbles[..., 1::2] << 4
        assert np.array_equal(found, words), stream["name"]


@pytest.mark.slow
def test_the_committed_cases_of_the_digit_have_the_same_words(tmp_path: Path) -> None:
    """SPEC.md V6: the files of `bitrow generate --network` in golden/v1 beside those of `bitrow pipeline --vectors`."""
    written = ["--vectors", str(tmp_path / "set"), "--json", str(tmp_path / "run.json")]
    assert cli.run(["pipeline", "resnet8_digits", *written]) == 0
    cases, compared = Path(__file__).parents[1] / "golden/v1", 0
    for stream in json.loads((tmp_path / "set" / "case.json").read_text())["streams"]:
        layer, _, rest = stream.get("tap", "").partition("/")
        way, _, tap = rest.partition("/")
        if tap:
            words = (cases / f"digit0_{layer}_{way}" / f"{tap}.hex").read_text().split()
            if stream["encoding"] == "packed":
                words = [high + low for low, high in zip(words[0::2], words[1::2], strict=True)]
            assert (tmp_path / "set" / "rows" / f"{stream['name']}.hex").read_text().split() == words, stream["name"]
            compared += 1
    assert compared > 40


def test_no_port_serves_two_accesses_at_once(trace: Path, case: dict) -> None:
    by_port = defaultdict(list)
    tasks = read_table(trace / "tasks.csv")
    for line in read_table(trace / "accesses.csv"):
        assert int(tasks[int(line["task"])]["start"]) <= int(line["start"]) < int(line["end"])
        by_port[line["bank"], line["port"]].append((int(line["start"]), int(line["end"])))
    assert {port for _, port in by_port} == {"0", "1"} and len({bank for bank, _ in by_port}) == 6
    for times in by_port.values():
        assert all(end <= start for (_, end), (start, _) in pairwise(sorted(times)))


def test_every_access_is_in_its_rings_slot_and_bank(trace: Path, case: dict) -> None:
    streams = {stream["name"]: stream for stream in case["streams"]}
    for line in read_table(trace / "accesses.csv"):
        ring = streams[line["ring"]]
        slot = (int(line["image"]) * ring["rows"] + int(line["row"])) % ring["slots"]
        bank = ring["home"] + (ring["offset"] + slot % ring["span"]) % case["machine"]["banks"]
        assert (int(line["slot"]), int(line["bank"])) == (slot, bank)
        assert int(line["words"]) == -(-ring["words"] * ring["bank_bits"] // case["machine"]["bank_width"])


def test_the_same_run_gives_the_same_words_again(trace: Path, sound: ReadTrace) -> None:
    """SPEC.md V6: a word that is not what the run computes is told; all others agree."""
    stream = sound.run.record.streams[3]
    words = sound.words[stream.name].copy()
    words[1, 2, 3] ^= 1
    changed = sound._replace(words={**sound.words, stream.name: words})
    (line,) = recompute_trace(trace, changed)
    assert re.fullmatch(rf"{stream.file} {stream.name}: image 1 row 2 word 3: .*\(1 words differ\)", line)


def test_a_trace_is_no_set_of_cases(trace: Path) -> None:
    for reads in (case_names, check):
        with pytest.raises(BitrowError, match="found a trace of rows, expected a vector set of cases"):
            reads(trace)


# Spoiled files: a change, the file whose finding it is, words of the finding.


def _edit(name: str, old: bytes, new: bytes) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        content = (folder / name).read_bytes()
        assert old in content
        (folder / name).write_bytes(content.replace(old, new, 1))

    return edit


def _case(**fields: object) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        case = json.loads((folder / "case.json").read_text())
        (folder / "case.json").write_bytes(to_json(case | fields))

    return edit


SPOILED = {
    "a table": ("tasks.csv", _edit("tasks.csv", b"forward head", b"forward tail"), "other content than the run"),
    "an access": ("accesses.csv", _edit("accesses.csv", b",write,", b",wrote,"), "other content than the run"),
    "a row's life": ("rows.csv", _edit("rows.csv", b"\nstem.x,", b"\nstem.y,"), "other content than the run"),
    "a word": ("rows/stem.x.hex", lambda folder: (folder / "rows/stem.x.hex").write_text("zz\n" * 96), "non-hex"),
    "a short stream": ("rows/stem.x.hex", lambda folder: (folder / "rows/stem.x.hex").write_text("00\n"), "1 words"),
    "a missing file": ("rows/top.index.hex", lambda folder: (folder / "rows/top.index.hex").unlink(), "no such file"),
    "a foreign file": ("rows/of.hex", lambda folder: (folder / "rows/of.hex").write_text("0\n"), "does not list"),
    "a later schema": ("case.json", _case(schema=2), "version 2"),
    "another last cycle": ("case.json", _case(last_cycle=1), "last_cycle: found other values"),
    "a cycle after the end": ("case.json", _case(cycles=[10**9]), "at: found 1000000000"),
    "a cycle twice": ("case.json", _case(cycles=[5, 5]), "expected each once"),
    "images for hours": ("case.json", _case(images=10_000), "row tasks, expected no more than tasks.csv"),
    "no streams": ("case.json", _case(streams=[]), "streams: found other values"),
    "an unknown field": ("case.json", _case(more=1), "found field 'more'"),
    "an unknown policy": ("case.json", _case(policy="any"), "policy: found 'any'"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_trace_is_told(light: Path, tmp_path: Path, name: str) -> None:
    """Also where the manifest was made to fit: what follows from the run is not what is there."""
    file, spoil, words = SPOILED[name]
    folder = tmp_path / "set"
    shutil.copytree(light, folder)
    spoil(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    if (folder / file).exists() and file in manifest["files"]:
        manifest["files"][file] = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        (folder / "manifest.json").write_bytes(to_json(manifest))
    sound, findings = check_trace(folder)
    assert sound is None and [one for one in findings if one.file == file and words in str(one)], findings
    assert cli.run(["verify", str(folder), "--no-recompute"]) == 2


def test_a_changed_image_or_word_is_told_by_checksum_and_by_what_follows(light: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(light, folder)
    case = json.loads((folder / "case.json").read_text())
    cycle, rows = case["cycles"][0], read_table(folder / "rows.csv")
    living = [row for row in rows if int(row["written"]) <= cycle < int(row["dies"])]
    stream = next(one for one in case["streams"] if one["name"] == living[0]["ring"])
    name = f"rows/{stream['name']}.hex"
    lines = (folder / name).read_text().split()
    line = (int(living[0]["image"]) * stream["rows"] + int(living[0]["row"])) * stream["words"]
    lines[line] = f"{int(lines[line], 16) ^ 1:0{len(lines[line])}x}"
    (folder / name).write_text("\n".join(lines) + "\n")
    _, (finding,) = check_trace(folder)
    assert finding.file == name and "SHA-256" in finding.message
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_bytes(to_json(manifest))
    _, findings = check_trace(folder)
    assert findings and all(one.file.startswith("banks/") for one in findings)  # which hold the word as it was


# Dumps of a design: the row that went wrong, where and when.


def _dumped(trace: Path, folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(trace / name, folder / name)
    return folder


def test_a_design_that_is_right_matches(trace: Path, sound: ReadTrace, tmp_path: Path) -> None:
    cycle = sound.run.record.cycles[40]
    banks = [f"banks/{cycle}/bank_{bank:02d}.hex" for bank in range(6)]
    folder = _dumped(trace, tmp_path, "rows/stem.x.hex", "rows/head.logits.hex", *banks)
    (folder / "rows/stem.x.hex").rename(folder / "stem.x.hex")
    (folder / banks[0]).rename(folder / banks[0].replace("/", "."))
    report = compare_trace(sound, folder)
    assert report.matches and report.files == 8 and report.rows > 40
    assert [*report.lines()] == [f"8 dumps, {report.rows} rows compared: none differ"]
    assert compare_trace(sound, folder, ["all"]).lacking
    assert cli.run(["verify", str(trace), "--dut", str(folder), "--json", str(tmp_path / "report.json")]) == 0
    assert cli.run(["verify", str(trace), "--dut", str(folder), "--require", "stem.mask"]) == 1


def test_a_stale_row_is_told_with_its_slot_and_cycles(trace: Path, sound: ReadTrace, tmp_path: Path) -> None:
    """A ring's row that was never overwritten: the image's row is the one that had the slot before."""
    lines = read_table(trace / "rows.csv")
    mine = [line for line in lines if line["ring"] == "main.x"]
    slots = next(stream.slots for stream in sound.run.record.streams if stream.name == "main.x")
    assert slots
    old, new = mine[0], mine[slots]
    assert old["slot"] == new["slot"] and old["bank"] == new["bank"]
    cycle = int(new["written"])
    name = f"banks/{cycle}/bank_{int(new['bank']):02d}.hex"
    memory = (trace / name).read_text().split()
    width = MACHINE.bank_width
    words = sound.words["main.x"].reshape(-1, 12)[0]
    value = sum(int(word) << 8 * at for at, word in enumerate(words))
    for at in range(int(new["words"])):
        memory[1 + int(new["address"]) + at] = f"{value >> at * width & (1 << width) - 1:08X}"
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text("// a design's memory\n" + "\n".join(memory))
    (wrong,) = compare_trace(sound, tmp_path).wrong
    assert (wrong.stream.name, wrong.image, wrong.row, wrong.instead) == ("main.x", 0, slots, (0, 0))
    assert f"slot {new['slot']}, bank {new['bank']} from address {int(new['address']):x}" in wrong.line
    assert f"at cycle {cycle}" in wrong.line and f"in cycles {new['born']} to {cycle}" in wrong.line
    assert "forward chain of stem" in wrong.line and "it is image 0 row 0, all of it" in wrong.line


def test_of_several_rows_the_earliest_written_comes_first(trace: Path, sound: ReadTrace, tmp_path: Path) -> None:
    for name, line in (("side.dx", 30), ("stem.deq", 30), ("stem.mask", 40)):
        path = _dumped(trace, tmp_path, f"rows/{name}.hex") / f"rows/{name}.hex"
        lines = path.read_text().split()
        lines[line] = "x" * len(lines[line])
        path.write_text("\n".join(lines))
    report = compare_trace(sound, tmp_path)
    assert [one.stream.name for one in report.wrong] == ["stem.mask", "stem.deq", "side.dx"]
    first = report.wrong[0]
    assert (first.image, first.row, first.word, first.found, first.wrong) == (0, 3, 4, None, 1)
    assert report.to_json()["wrong"][0]["writer"]["kind"] == "forward chain"
    assert cli.run(["verify", str(trace), "--dut", str(tmp_path)]) == 1


def test_dumps_that_cannot_be_compared_hide_no_other(trace: Path, sound: ReadTrace, tmp_path: Path) -> None:
    _dumped(trace, tmp_path, "rows/stem.x.hex")
    (tmp_path / "rows/stem.y.hex").write_text("0\n")
    (tmp_path / "rows/stem.mask.hex").write_text("0\n")
    (tmp_path / "banks.3.bank_99.hex").write_text("0\n")
    (tmp_path / "banks.3.bank_00.hex").write_text("123456789\n")
    (tmp_path / "banks.3.bank_01.hex").write_text("@0 0 @0 0\n")
    (tmp_path / "banks.3.bank_02.hex").write_text("@fff 0\n")
    report = compare_trace(sound, tmp_path)
    assert not report.wrong and report.files == 1 and len(report.unread) == 6
    assert cli.run(["verify", str(trace), "--dut", str(tmp_path)]) == 2
    with pytest.raises(BitrowError, match="expected all or a ring"):
        compare_trace(sound, tmp_path, ["nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BitrowError, match="found no hex file"):
        compare_trace(sound, tmp_path / "empty")


def test_the_command_refuses_before_it_computes(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = str(trace / "model.safetensors")
    for words, arguments in {
        "--at: found no --vectors": ["--at", "3"],
        "found an existing folder": ["--vectors", str(trace)],
        "at: found '1.5'": ["--vectors", str(tmp_path / "new"), "--at", "1.5"],
        "at: found 999999999, expected a cycle": ["--vectors", str(tmp_path / "new"), "--at", "999999999"],
    }.items():
        assert cli.run(["pipeline", model, "--json", str(tmp_path / "report.json"), *arguments]) == 2
        assert words in capsys.readouterr().err
    assert cli.run(["verify", str(trace), "--model", "c"]) == 2
    assert "a trace of rows, expected a vector set" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_trace_gives_way_by_force_unless_it_has_changed(light: Path, tmp_path: Path) -> None:
    """SPEC.md V5, as of every set."""
    folder = tmp_path / "set"
    shutil.copytree(light, folder)
    with pytest.raises(BitrowError, match="use --force"):
        check_target(folder, False)
    assert check_target(folder, True) == folder
    (folder / "banks" / "0").mkdir()
    (folder / "banks" / "0" / "notes").write_text("mine")
    with pytest.raises(BitrowError, match="banks/0/, which is no part"):
        check_target(folder, True)
    shutil.rmtree(folder / "banks" / "0")
    (folder / "tasks.csv").write_text("mine")
    with pytest.raises(BitrowError, match=r"found tasks\.csv changed"):
        check_target(folder, True)
