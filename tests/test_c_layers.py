"""The C model's operations: drawn problems against the oracle, rows, golden sets, a whole network, what is refused."""

from __future__ import annotations

import ctypes
import dataclasses
import subprocess
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from bitrow import outputs
from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConcatConfig,
    ConvConfig,
    MaxPoolConfig,
    MultiplyConfig,
    ReluConfig,
    SiluConfig,
    Statistics,
)
from bitrow.config.conv import ConvSize
from bitrow.config.linear import LinearConfig, LinearSize
from bitrow.contract import elementwise, interpreter, operation
from bitrow.contract.conv import FORWARD
from bitrow.contract.program import Program
from bitrow.errors import BitrowError
from bitrow.export import arithmetic, configs, recompute, structures
from bitrow.export import operations as c_operations
from bitrow.export.c_model import CModel, find_compiler
from bitrow.export.files import export
from bitrow.formats import Gradient, QuantRounding
from bitrow.graph import INPUT, Network, Node
from bitrow.model_file import Model
from bitrow.synthetic import synthetic
from bitrow.testing import problems_for
from bitrow.vectors import catalog, conv_suite, operations
from bitrow.vectors.files import store
from bitrow.vectors.network_pass import Pass
from c_library import needs_compiler
from draws import examples
from kernel_judges import drawn, first_difference
from test_outputs import two

pytestmark = needs_compiler
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", operations.NAMES)
@examples(6, shrink=False)
@given(data=st.data())
def test_drawn_problems(c_model: CModel, name: str, data: st.DataObject) -> None:
    """SPEC.md C1 to C3, B1 to B4, A1 to A7, Q, M, D, T1, T2: every operation, tap and configuration, by the oracle."""
    for problem in data.draw(problems_for(name, 2)):
        expected = problem.operation.oracle(problem.config, problem.given)
        found = c_model.run(problem.operation, problem.config, problem.given)
        assert first_difference(found, expected) is None, (problem.config, first_difference(found, expected))
        assert list(found) == list(expected)


@pytest.mark.parametrize("name", [each.name for each in operations.OPERATIONS if each.by_rows])
@examples(3, shrink=False)
@given(data=st.data())
def test_some_rows(c_model: CModel, name: str, data: st.DataObject) -> None:
    """SPEC.md V5: rows of a result, of every operation that works by rows; others' words stay zeros."""
    problem = data.draw(drawn(name, 1))[0]
    work, config, given = problem.operation, problem.config, problem.given
    if not work.by_rows:
        return
    images, height = work.rows(config, given)
    first = data.draw(st.integers(0, images * height - 1))
    count = data.draw(st.integers(1, images * height - first))
    whole, part = c_model.run(work, config, given), c_model.run(work, config, given, (first, count))
    for name_, words in whole.items():
        axes = work.line(name_).axes
        if work.target.split()[1] not in axes or axes.index("n") or name_ not in work.outputs:
            continue
        rows = (images * height, *words.shape[2:])
        expected = words.reshape(rows)[first : first + count]
        found = part[name_].reshape(rows)
        assert np.array_equal(found[first : first + count], expected), name_
        assert not found[:first].any() and not found[first + count :].any(), name_


@pytest.mark.parametrize("version", ["v1", "v2", "v3", "v4"])
def test_golden_words(c_model: CModel, version: str) -> None:
    """SPEC.md V5: every word of the golden sets, the pass of a whole network included."""
    for name in store.case_names(GOLDEN / version):
        assert recompute.recompute(c_model, store.read_case(GOLDEN / version, name)) == []


@pytest.mark.parametrize("entry", conv_suite.transposed(), ids=lambda entry: entry.name)
def test_transposed_convolutions(c_model: CModel, entry: catalog.Entry) -> None:
    """SPEC.md C5: every tap by C; sizes that the output padding does not make are refused."""
    problem = catalog.build(entry, 1)
    words = problem.operation.oracle(problem.config, problem.given)
    found = c_model.run(problem.operation, problem.config, problem.given)
    for name, expected in words.items():
        np.testing.assert_array_equal(found[name], expected, err_msg=name)
    if problem.config.output_padding and problem.operation.name == "conv.backward":
        with pytest.raises(BitrowError, match=r"C conv\.backward: found"):
            c_model.run(problem.operation, dataclasses.replace(problem.config, output_padding=0), problem.given)


def test_a_wrong_word_is_named(c_model: CModel) -> None:
    """SPEC.md V5: case, tap, element, both words."""
    case = store.read_case(GOLDEN / "v2", "hard_swish_forward")
    wrong = np.array(case.tensor("gated").data)
    wrong.reshape(-1)[3] ^= 1
    tensors = tuple(dataclasses.replace(each, data=wrong) if each.name == "gated" else each for each in case.tensors)
    (found,) = recompute.recompute(c_model, dataclasses.replace(case, tensors=tensors))
    assert (found.tap, found.element) == ("gated", tuple(int(i) for i in np.unravel_index(3, wrong.shape)))
    assert set(found.words) == {"stored", "C model"}


DRAWN = ConvConfig(padding=1, dy_rounding=QuantRounding.STOCHASTIC)
FOLDED = ConvConfig(padding=1, gradient=Gradient.FP16, fold=True)
# a network of every kind of edge: branches, a value read twice, channels joined, a pool, both statistics, a head
BRANCHES = Network(
    "branches", (5, 4, 3),
    (
        Node("conv", DRAWN, (INPUT,), ConvSize(3, 3, 4, bias=True)),
        Node("norm", BatchNormConfig(Statistics.BATCH), ("conv",)),
        Node("relu", ReluConfig(), ("norm",)),
        Node("wide", FOLDED, ("relu",), ConvSize(3, 3, 4, per_channel=True)),
        Node("sum", AddConfig(), ("wide", "relu")),
        Node("both", ConcatConfig(), ("sum", "relu")),
        Node("mean", AvgPoolConfig(), ("both",)),
        Node("gated", MultiplyConfig(gate=True), ("both", "mean")),
        Node("square", MultiplyConfig(), ("gated", "gated")),
        Node("bent", SiluConfig(), ("square",)),
        Node("pool", MaxPoolConfig(), ("bent",)),
        Node("head", LinearConfig(), ("pool",), LinearSize(3)),
    ),
    "head",
)  # fmt: skip


def built(folder: Path, model: Model) -> Path:
    """The network's library, compiled from its exported files with every warning an error."""
    name, texts = model.network.name, sorted(folder.glob("*.c"))
    sources = [str(each) for each in texts if not each.name.endswith("_main.c")]
    out = folder / "whole.so"
    flags = ["-std=c99", "-pedantic", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    done = subprocess.run(
        [find_compiler(), *flags, "-o", str(out), *sources], capture_output=True, text=True, check=False
    )
    assert not done.returncode, (name, done.stderr[:2000])
    return out


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ctypes.CDLL]:
    """The folder and the library of both networks, beside the model."""
    from bitrow.export import files, folder

    out, model = tmp_path_factory.mktemp("c") / "out", synthetic(BRANCHES, seed=3, count=2)
    texts = files.model_files() | files.network_files(model) | files.network_files(synthetic(two(), seed=3, count=2))
    folder.write_folder(out, texts)
    return out, ctypes.CDLL(str(built(out, model)))


def judged(model: Model) -> tuple[Pass, list[np.ndarray]]:
    """The pass by the oracle, and the words of images and dlogits."""
    assert model.samples is not None
    x, dlogits = (np.ascontiguousarray(each).view(np.uint16) for each in (model.samples.images, model.samples.dlogits))
    walk = Pass(model, "net", lambda one: one.operation.oracle(one.config, one.given))
    for steps in (walk.forward(x), walk.backward(dlogits)):
        for _ in steps:
            pass
    return walk, [x, dlogits]


def pointers(*arrays: np.ndarray) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(each.ctypes.data) for each in arrays]


def test_a_network_of_branches(networks: tuple[Path, ctypes.CDLL]) -> None:
    """SPEC.md A5, A7, B3, C3, Q3: the exported pass of two images is the layers' one by one, forward and backward."""
    from bitrow.export import files

    (_, library), model = networks, synthetic(BRANCHES, seed=3, count=2)
    walk, (x, dlogits) = judged(model)
    logits, dx = np.empty((2, 3), np.uint16), np.empty(x.shape, np.uint16)
    arrays = pointers(x, dlogits, logits, dx)
    assert library.branches_pass(ctypes.c_int32(2), *arrays, None) == 0
    assert np.array_equal(logits, walk.logits) and np.array_equal(dx, walk.dx.reshape(dx.shape))
    assert library.branches_pass(ctypes.c_int32(0), *arrays, None) == 2
    with pytest.raises(BitrowError, match="C network: found the name 'bitrow'"):
        files.network_files(model._replace(network=dataclasses.replace(model.network, name="bitrow")))


def test_several_outputs(networks: tuple[Path, ctypes.CDLL]) -> None:
    """SPEC.md A5: a result and a gradient for each output, by name; one gradient without the other is refused."""
    _, library = networks
    walk, (x, dlogits) = judged(synthetic(two(), seed=3, count=2))
    parts = [np.ascontiguousarray(part) for part in outputs.split(two(), dlogits).values()]
    found = [np.empty(walk.results[name].shape, np.uint16) for name in two().outputs]
    dx = np.empty(x.shape, np.uint16)
    assert library.two_pass(ctypes.c_int32(2), *pointers(x, *parts, *found, dx), None) == 0
    for name, words in zip(two().outputs, found, strict=True):
        np.testing.assert_array_equal(words, walk.results[name], err_msg=name)
    np.testing.assert_array_equal(dx, walk.dx.reshape(dx.shape))
    (boxes, head), made = pointers(*parts), pointers(*found, dx)
    for some in ((boxes, None), (None, head)):
        assert library.two_pass(ctypes.c_int32(2), *pointers(x), *some, *made, None) == 2
    assert library.two_pass(ctypes.c_int32(2), *pointers(x), None, None, *made, None) == 0


def test_the_program_of_several_outputs(networks: tuple[Path, ctypes.CDLL]) -> None:
    """Words of an image in, those of both outputs side by side out; with theirs in, the image's gradient."""
    folder, _ = networks
    model = synthetic(two(), seed=3, count=2)
    assert model.samples is not None
    samples = model.samples._replace(images=model.samples.images[:1], dlogits=model.samples.dlogits[:1])
    walk, words_in = judged(model._replace(samples=samples))
    program = [find_compiler(), "-std=c99", "-Wall", "-Werror", "-o", "two", "two_main.c", "whole.so", "-Wl,-rpath,."]
    assert not subprocess.run(program, cwd=folder, check=False).returncode
    for name, words in zip(("x.hex", "dlogits.hex"), words_in, strict=True):
        (folder / name).write_text("".join(f"{word:04x}\n" for word in words.reshape(-1)))
    results = np.concatenate([walk.results[name].reshape(-1) for name in two().outputs])
    for files, expected in ((["x.hex"], results), (["x.hex", "dlogits.hex"], walk.dx.reshape(-1))):
        done = subprocess.run(["./two", *files], cwd=folder, capture_output=True, text=True, check=True)
        assert [int(line, 16) for line in done.stdout.split()] == expected.tolist()


def test_the_table_of_twins_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that programs may use and C has not, or the other way round, is named before anything is printed."""
    assert arithmetic.KNOWN | set(structures.TWINS) == interpreter.KNOWN
    with pytest.raises(BitrowError, match="C: found no twin of join, expected"):
        structures.complete({name: twin for name, twin in structures.TWINS.items() if name != "join"})
    with pytest.raises(BitrowError, match="C: found no twin of curl, expected"):
        structures.complete(structures.TWINS | {"curl": structures.elementwise})


def test_lines_without_c_are_refused() -> None:
    """One line that names the operation and what it has no C for."""

    def made(name: str, text: str, kind: type = ReluConfig) -> operation.Operation:
        return operation.Operation(name, Program(name, text), kind, lambda config: ())

    with pytest.raises(BitrowError, match=r"C: found y : 32 = fma of 16, 16, 16, expected formats"):
        c_operations.definition(made("own.forward", "in x : 16, n h w c\nout y : 32, n h w c = fma x x x"))
    with pytest.raises(BitrowError, match=r"C own\.forward: found the condition 'odd', expected"):
        c_operations.definition(made("own.forward", "in x : 16, n h w c\nout y : 16, n h w c = copy x if odd"))
    with pytest.raises(BitrowError, match=r"C own\.forward y: found two formats or axes"):
        c_operations.definition(made("own.forward", "in x : 16, n h w c\nout y : 16, n h w c = copy x if six\n"
                                                    "out y : 32, n h w c = widen x if not six"))  # fmt: skip
    with pytest.raises(BitrowError, match=r"C: found the field Odd\.text of <class 'str'>"):
        configs.fields(dataclasses.make_dataclass("Odd", [("text", str)]))


def test_what_c_functions_refuse(c_model: CModel) -> None:
    """Sizes that do not fit, a missing input, a register that cannot be: a status, and nothing is written."""
    case = store.read_case(GOLDEN / "v1", "conv_3x3_forward")
    given, _ = operations.split(case)
    with pytest.raises(BitrowError, match=r"C conv\.forward: found sizes that do not fit, or an input that is missing"):
        c_model.run(FORWARD, case.config, {**given, "scale": np.zeros(3, np.uint16)})
    with pytest.raises(BitrowError, match="an input that is missing"):
        c_model.run(FORWARD, case.config, {name: words for name, words in given.items() if name != "scale"})
    with pytest.raises(BitrowError, match="a configuration that cannot be"):
        config = dataclasses.replace(case.config)
        object.__setattr__(config, "groups", 0)
        c_model.run(FORWARD, config, given)
    with pytest.raises(BitrowError, match=r"C gradient\.accumulate: found rows, expected none"):
        c_model.run(elementwise.ACCUMULATE, BRANCHES.mode, {"dys": np.zeros((1, 1, 1, 1, 1), np.uint16)}, (0, 5))


def test_export_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is there stays as it is; a write that fails leaves nothing."""
    from bitrow.export import folder

    (tmp_path / "there").mkdir()
    with pytest.raises(BitrowError, match="there: found something of this name, expected none"):
        export(tmp_path / "there")
    with pytest.raises(BitrowError, match="expected an existing one to write in"):
        folder.write_folder(tmp_path / "none" / "out", {})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder.os, "rename", full)
    with pytest.raises(BitrowError, match="out: cannot be written: No space left on device"):
        folder.write_folder(tmp_path / "out", {"a": "b"})
    monkeypatch.undo()
    assert [each.name for each in tmp_path.iterdir() if "new" not in each.name] == ["there"]
    folder.write_folder(tmp_path / "out", {"a": "b"})
    assert (tmp_path / "out" / "a").read_text() == "b"
