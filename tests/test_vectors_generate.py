"""Vectors by three judges: determinism, what a disagreement does, recomputation, sampling (SPEC.md V4, V5)."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitrow.config import AvgPoolConfig, BatchNormConfig, ConvConfig, LinearConfig, MaxPoolConfig
from bitrow.contract import conv, elementwise, interpreter, linear
from bitrow.contract.encoding import Role
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode
from bitrow.vectors import catalog, generate, operations, passes
from bitrow.vectors.coverage.bins import BINS
from bitrow.vectors.files import store
from bitrow.vectors.judge import kernels, stepwise
from bitrow.vectors.passes import PassChoice
from bitrow.vectors.problem import Problem
from bitrow.vectors.stimulus import layer_problems, problems
from bitrow.vectors.stimulus import stream as stimulus
from bitrow.vectors.stimulus.problems import ConvShapes
from bitrow.vectors.stimulus.stream import Stream

SMALL = ("fp16_add_nearest_even", "add", "fxp_pack_fxp4", "batch_norm_frozen_forward")


@pytest.fixture
def fresh() -> Iterator[None]:
    """No kernel compiled before or during the test outlives it: the tests below change kernels."""
    generate._compiled.clear_cache()
    yield
    generate._compiled.clear_cache()


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def make(out: Path, *names: str, seed: int = 1) -> generate.Generated:
    return generate.generate(out, catalog.problems(names, None, seed), seed, " ".join(names))


def conv_problem(name: str = "conv", **changes: object) -> Problem:
    return problems.conv_forward(Stream(name), name, ConvConfig(padding=1, **changes), ConvShapes(2, 5, 5))


def test_the_stream_is_fixed() -> None:
    """SPEC.md V4: the generator is SHA-256 in counter mode, little-endian, and keyed by name."""
    digest = hashlib.sha256(b"1/name/0").digest()
    found = Stream(1, "name").words(16, 20)
    np.testing.assert_array_equal(found[:16], np.frombuffer(digest, "<u2"))
    second = hashlib.sha256(b"1/name/1").digest()
    np.testing.assert_array_equal(found[16:], np.frombuffer(second, "<u2")[:4])
    assert Stream(1, "name").child("more").words(64) == Stream(1, "name", "more").words(64)
    assert Stream(1, "a").words(64) != Stream(1, "b").words(64)


@pytest.mark.parametrize("draw", [stimulus.pairs, stimulus.triples, stimulus.int32s, stimulus.float32s])
def test_draws_are_reproducible(draw) -> None:
    first, again = (np.asarray(draw(Stream("draw"), 400)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, np.asarray(draw(Stream("other"), 400)))


def test_a_set_is_fixed_by_its_seed(tmp_path: Path) -> None:
    """SPEC.md V4: the same seed gives the same bytes; another gives other words."""
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        make(tmp_path / name, *SMALL, seed=seed)
    one, again, two = (files(tmp_path / name) for name in ("one", "again", "two"))
    assert one == again
    assert one["add/x.hex"] != two["add/x.hex"]


def test_the_summary(tmp_path: Path) -> None:
    """The rows count what the set holds, in its order; progress hears of each case."""
    heard: list[str] = []
    made = generate.generate(
        tmp_path / "set", catalog.problems(SMALL, None, 1), 1, "small", progress=lambda row: heard.append(row.case)
    )
    assert heard == [row.case for row in made.rows] == list(SMALL) == store.case_names(tmp_path / "set")
    for row, case in zip(made.rows, store.read_set(tmp_path / "set"), strict=True):
        assert row.tensors == len(case.tensors) and row.bins == len(case.bins) and row.rows_checked == "all"
        assert row.words == sum(t.data.size for t in case.tensors) and row.seconds > 0
        assert set(case.bins) <= set(BINS) and all(count > 0 for count in case.bins.values())
    assert made.coverage["cases"] == made.summary.cases == 4


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("tap", ["acc", "y", "x_code", "mask"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_flipped_bit_stops_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tap: str, whole: bool) -> None:
    """SPEC.md V5: one wrong bit of a kernel, and nothing is written; the message names case, tap, element, words."""
    honest, at = kernels.KERNELS[conv.FORWARD], (1, 4, 3, 1)
    monkeypatch.setattr(generate, "ORACLE_BUDGET", 4000)
    problem = conv_problem(f"flip_{tap}")._replace(whole=whole)
    assert (generate.choose_rows(problem) is None) == whole
    right = conv.FORWARD.oracle(problem.config, problem.given)[tap]

    def flip(value):
        if value.dtype == bool:
            return value.at[at].set(~value[at])
        if value.dtype == np.float16:
            import jax

            word = jax.lax.bitcast_convert_type(value, np.uint16)
            return jax.lax.bitcast_convert_type(word.at[at].set(word[at] ^ np.uint16(1)), np.float16)
        return value.at[at].set(value[at] ^ np.array(1, value.dtype))

    def flipped(config, arrays, record):
        outputs = honest(config, arrays, lambda name, value: record(name, flip(value) if name == tap else value))
        return {name: flip(value) if name == tap else value for name, value in outputs.items()}

    monkeypatch.setitem(kernels.KERNELS, conv.FORWARD, flipped)
    with pytest.raises(BitrowError) as caught:
        generate.generate(tmp_path / "set", [problem], 1, "flip")
    message = str(caught.value)
    digits = conv.FORWARD.encoding(tap, problem.config).hex_digits
    word = int(right[at]) & (1 << 4 * digits) - 1
    assert f"{problem.name} {tap}{list(at)}: found oracle {word:0{digits}x}" in message
    assert f"kernel {word ^ 1:0{digits}x}" in message and "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_an_oracle_that_disagrees_stops_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md V5: cases made before the disagreement vanish with it, and an old set stays."""
    make(tmp_path / "set", "fxp_pack_fxp4")
    before = files(tmp_path / "set")
    honest = interpreter.run

    def wrong(operation, *given):
        taps = honest(operation, *given)
        return {"y": taps["y"] ^ np.uint16(0x8000)} if operation is elementwise.ADD_FORWARD else taps

    monkeypatch.setattr(interpreter, "run", wrong)
    names = ("fxp_pack_ufxp4", "add", "fxp_pack_fxp3")
    with pytest.raises(BitrowError, match=r"^add y\[0, 0, 0, 0\]: found oracle"):
        generate.generate(tmp_path / "set", catalog.problems(names, None, 1), 1, "wrong", force=True)
    assert files(tmp_path / "set") == before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_missing_tap_is_a_disagreement(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md T1: a tap that one judge leaves out is not exported."""
    honest = interpreter.run
    monkeypatch.setattr(interpreter, "run", lambda *given: {"z": honest(*given)["z"]})
    with pytest.raises(BitrowError, match=r"ay\[\]: found oracle no such tap"):
        make(Path("nowhere"), "batch_norm_frozen_forward")


def test_eager_and_compiled_are_two_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md V5: a kernel that is right only when compiled whole is caught."""
    problem = catalog.build(next(e for e in catalog.smoke() if e.name == "relu6_forward"), 1)
    run = stepwise.run

    def wrong(function, arrays):
        taps = run(function, arrays)
        taps["y"] = taps["y"].copy()
        taps["y"].reshape(-1)[5] = np.float16(3)
        return taps

    generate.compute(problem)
    monkeypatch.setattr(stepwise, "run", wrong)
    with pytest.raises(BitrowError, match=r"y\[0, 0, 1, 1\]: .*eager kernel 4200"):
        generate.compute(problem)


@pytest.mark.parametrize("name", ["conv_3x3_saturate_forward", "max_pool_3x3_backward", "lfsr_words", "linear_forward"])
def test_recompute_finds_a_changed_word(tmp_path: Path, name: str) -> None:
    """A stored case recomputes; a changed word of any tap or output is found, and named."""
    make(tmp_path / "set", name)
    case = store.read_case(tmp_path / "set", name)
    assert generate.recompute(case) == []
    for tensor in case.tensors:
        if tensor.role in (Role.INPUT, Role.PARAMETER):
            continue
        data = tensor.data.copy()
        data.reshape(-1)[-1] ^= 1
        tensors = tuple(replace(t, data=data) if t is tensor else t for t in case.tensors)
        found = generate.recompute(replace(case, tensors=tensors))
        last = tuple(size - 1 for size in data.shape)
        assert [(m.tap, m.element) for m in found] == [(tensor.name, last)]
        words = found[0].words
        assert words["oracle"] == words["compiled kernel"] != words["stored"]
        assert str(found[0]).startswith(f"{name} {tensor.name}{list(last)}: found oracle ")


def smoke_problem(name: str) -> Problem:
    return catalog.build(next(entry for entry in catalog.smoke() if entry.name == name), 1)


@pytest.mark.parametrize(
    ("problem", "budget"),
    [
        (conv_problem(), 3000),
        (problems.conv_backward(Stream("s"), "back", ConvConfig(stride=2, padding=1), ConvShapes(2, 6, 5)), 2500),
        (layer_problems.norm_frozen(Stream("n"), "norm", BatchNormConfig(), False), 70),
        (smoke_problem("max_pool_3x3_backward"), 40),
        (layer_problems.avg_pool(Stream("p"), "pool", AvgPoolConfig(2), False), 300),
    ],
    ids=lambda given: getattr(given, "name", None),
)
def test_the_oracle_samples_rows_of_large_cases(problem: Problem, budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC.md V5: first and last row and some between; they, and the taps that they read, are compared."""
    monkeypatch.setattr(generate, "ORACLE_BUDGET", budget)
    assert generate.choose_rows(problem) is None
    large = problem._replace(whole=False)
    rows = generate.choose_rows(large)
    images, height = problem.operation.rows(problem.config, problem.given)
    assert rows is not None and rows[0] == (0, 0) and 1 < len(set(rows)) == len(rows) < images * height
    assert rows[-1] == (images - 1, height - 1)
    case = generate.compute(large)
    assert case.rows_checked.startswith("rows (n, h) (0, 0)")
    assert generate.recompute(case) == []
    honest = problem.operation
    whole = honest.oracle(problem.config, problem.given)
    for name, words in honest.oracle(problem.config, problem.given, rows).items():
        part = problem.operation.sampled(problem.config, problem.given, name, whole[name], rows)
        np.testing.assert_array_equal(words, part)


def test_rows_are_refused_where_there_are_none() -> None:
    operation = linear.FORWARD
    with pytest.raises(BitrowError, match="found rows"):
        operation.oracle(LinearConfig(), {}, [(0, 0)])


def test_names_and_counts() -> None:
    """The catalog's names are those of the problems that it yields; a name may be asked for alone."""
    entries = catalog.smoke()
    assert len({entry.name for entry in entries}) == len(entries)
    assert {entry.name for entry in entries} < {entry.name for entry in catalog.standard()}
    assert catalog.names(SMALL) == list(SMALL)
    alone = [problem.name for problem in catalog.problems(("digit0_stem_bn_forward",), None, 1)]
    assert alone == ["digit0_stem_bn_forward"]
    twice = [problem.name for problem in catalog.problems(("add", "fxp_pack_fxp4", "add"), None, 1)]
    assert twice == ["add", "fxp_pack_fxp4"]
    golden = Path(__file__).parents[1] / "golden" / "v1"
    assert catalog.names(("smoke",)) == store.case_names(golden)
    digits = [name for name in store.case_names(golden) if "digit0" in name]
    assert catalog.names((), PassChoice(passes.MODEL)) == digits
    assert len(catalog.names(("smoke", "add"))) == len(store.case_names(golden))


@pytest.mark.parametrize(
    ("suites", "network", "message"),
    [
        (("nonsense",), None, "suite: found 'nonsense', expected smoke, layers, blocks, geometry, flags, corners, "),
        (("digit9_head_forward",), None, "suite: found 'digit9_head_forward'"),
        ((), "nonsense", "network: found 'nonsense', expected one of resnet8, "),
    ],
)
def test_unknown_names_are_refused(tmp_path: Path, suites: tuple, network: str | None, message: str) -> None:
    with pytest.raises(BitrowError) as caught:
        generate.generate(tmp_path / "set", catalog.problems(suites, network and PassChoice(network), 1), 1, "unknown")
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_unknown_operations_are_refused() -> None:
    for name in ("conv.sideways", "network.none", "network.../models"):
        with pytest.raises(BitrowError, match="operation: found"):
            operations.find(name, FloatMode())


def test_the_registry_reads_without_jax() -> None:
    """Operations, oracle side, coverage and the listing of the catalog take numpy alone."""
    code = (
        "import sys\n"
        "from bitrow.vectors import catalog, operations\nfrom bitrow.vectors.coverage import measure as coverage\n"
        "entry = catalog.smoke()[0]\n"
        "problem = catalog.build(entry, 1)\n"
        "operation = problem.operation\n"
        "taps = operation.oracle(problem.config, problem.given)\n"
        "assert coverage.measure(problem.operation, problem.config, problem.given | taps)\n"
        "assert 'jax' not in sys.modules, 'JAX was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_ports_and_order() -> None:
    """Every tensor of a case has its port and comes in the registry's order, levels by number (SPEC.md T2, V3)."""
    operation = linear.FORWARD
    names = [f"sum_level{i}" for i in (10, 2, 1)] + ["y", "bias", "x", "sum", "weight"]
    assert operation.ordered(names) == ["x", "weight", "bias", "sum_level1", "sum_level2", "sum_level10", "sum", "y"]
    with pytest.raises(BitrowError, match=r"linear\.forward: found the tensor 'nonsense'"):
        operation.line("nonsense")
    assert operations.find("batch_norm.forward", BatchNormConfig()).parameters.keys() == {"a", "b"}
    alone = {operation.name for operation in set(operations.OPERATIONS) - set(kernels.KERNELS)}  # their layers' passes
    assert alone == {"relu.forward", "relu.backward", "add.forward", "avg_pool.forward", "hard_swish.forward",
                     "hard_swish.backward", "concat.forward", "multiply.forward", "multiply.backward",
                     "hard_sigmoid.forward", "sigmoid.forward", "silu.forward", "silu.backward", "upsample.forward",
                     "upsample.backward", "depth_to_space.forward", "depth_to_space.backward"}  # fmt: skip
    without = {operation: kernel for operation, kernel in kernels.KERNELS.items() if operation is not linear.BACKWARD}
    with pytest.raises(BitrowError, match=r"kernels: found none for linear\.backward \(A4 backward\), expected one"):
        kernels.registered(without)


def test_primitives_run_one_by_one_give_what_jax_gives() -> None:
    """The eager judge's own moves and padded elementwise runs change no bit."""
    import jax
    import jax.numpy as jnp

    def function(arrays):
        x, y = arrays["x"], arrays["y"]
        padded = jax.lax.pad(x, jnp.float32(7), ((-1, 2, 1), (1, -1, 0)))
        total, history = jax.lax.scan(lambda s, r: (s + r, s * r), jnp.zeros(5, jnp.float32), x, reverse=True)
        picked = jnp.where(x > y, x, y)[::2, ::-1]
        return {
            "padded": padded, "total": total, "history": history, "picked": picked,
            "bits": jax.lax.bitcast_convert_type(x, jnp.uint16), "stacked": jnp.stack([x, y], axis=1),
            "dot": x @ y.T, "narrow": x.astype(jnp.float16), "scalar": jnp.sum(y[0, :1]),
        }  # fmt: skip

    values = stimulus.spread(Stream("jax"), (2, 4, 5)).view(np.float16).astype(np.float32)
    arrays = {"x": values[0], "y": values[1]}
    expected = jax.jit(function)(arrays)
    for name, found in stepwise.run(function, arrays).items():
        np.testing.assert_array_equal(found, np.asarray(expected[name]))
        assert found.dtype == expected[name].dtype


def test_pool_problems_keep_their_shapes() -> None:
    """A problem's index belongs to its own map: the kernel would refuse another."""
    entry = next(e for e in catalog.smoke() if e.name == "max_pool_3x3_backward")
    problem = catalog.build(entry, 3)
    assert isinstance(problem.config, MaxPoolConfig)
    assert problem.given["index"].shape == problem.given["dy"].shape
    assert problem.given["index"].max() < problem.config.kernel**2
