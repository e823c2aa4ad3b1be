"""Windows of any stride, padding and dilation: configurations, files, kernels, rows, the float twin, diagnosis."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from bitrow import cli, model_file
from bitrow.config import AvgPoolConfig, ConvConfig, MaxPoolConfig, Window
from bitrow.contract import conv, pool
from bitrow.exactness import GRADIENT, sum_of_magnitudes
from bitrow.graph import INPUT, ConvSize, Network, Node
from bitrow.layers.pool import AVG_LAYER, MAX_LAYER
from bitrow.layers.twin import FloatLayer
from bitrow.reading import records
from bitrow.synthetic import synthetic
from bitrow.transfer import compare_cause
from bitrow.vectors import catalog
from bitrow.vectors.files import emit
from bitrow.vectors.generate import run_kernel
from bitrow.vectors.judge import kernels
from kernel_judges import expect, same

SIDES = (0, 1, 2, 0)
ONE_FORM = [
    (ConvConfig(stride=(2, 2), padding=(1, 1, 1, 1), dilation=[1, 1]), ConvConfig(2, 1)),
    (MaxPoolConfig((3, 3), (2, 2), [1, 1, 1, 1]), MaxPoolConfig(3, 2, 1)),
    (AvgPoolConfig((2, 2), stride=2, padding=(0, 0, 0, 0)), AvgPoolConfig(2)),
    (AvgPoolConfig((2, 3), stride=(2, 3)), AvgPoolConfig((2, 3))),
]


@pytest.mark.parametrize(("made", "plain"), ONE_FORM, ids=lambda config: str(config.label))
def test_a_configuration_has_one_form(made: object, plain: object) -> None:
    """SPEC.md C1, A2, A3: where rows and columns, or all sides, are alike, they are one number."""
    assert made == plain and hash(made) == hash(plain) and records.write(made) == records.write(plain)


NEW = [
    (ConvConfig(stride=(2, 1), padding=SIDES, dilation=(1, 3)), {"dilation": [1, 3], "padding": [0, 1, 2, 0]}),
    (AvgPoolConfig((2, 3), stride=1, padding=SIDES, count_padding=True), {"stride": 1, "count_padding": True}),
    (MaxPoolConfig((2, 3), (1, 2), SIDES), {"kernel": [2, 3], "stride": [1, 2]}),
]


@pytest.mark.parametrize(("config", "part"), NEW, ids=lambda value: getattr(value, "label", ""))
def test_records_hold_what_is_new_and_nothing_at_its_default(config: object, part: dict[str, object]) -> None:
    """SPEC.md V3: files of before read as they did, and are written as they were."""
    text = json.loads(json.dumps(records.write(config)))
    assert part.items() <= text.items()
    assert records.read(type(config), text, "config") == config
    plain = records.write(type(config)())
    assert not {"dilation", "count_padding"} & set(plain)
    assert records.read(type(config), plain, "config") == type(config)()


def test_headers_name_rows_columns_and_sides() -> None:
    """SPEC.md V1: a constant for each number; none for a field at its later default."""
    def names(config: ConvConfig) -> dict[str, object]:
        parts = emit._config_parts("config", config)
        return {part.name: getattr(part, "value", None) for part in parts if not part.name.startswith("config_mode")}

    found = names(ConvConfig(stride=(2, 1), padding=SIDES))
    assert (found["config_stride_h"], found["config_stride_w"]) == (2, 1)
    assert [found[f"config_padding_{side}"] for side in ("top", "bottom", "left", "right")] == [*SIDES]
    assert "config_stride" in names(ConvConfig()) and not any("dilation" in name for name in found)


CASES = [*catalog.geometry(), *catalog.windows()]


@pytest.mark.parametrize("entry", CASES, ids=lambda entry: entry.name)
def test_the_suite_by_oracle_and_kernels(entry: catalog.Entry) -> None:
    """SPEC.md C1, C2, C3, A2, A3: every tap of every case, and of the last row alone."""
    problem = catalog.build(entry, 1)
    words = expect(problem)
    same("compiled", problem, run_kernel(problem.operation, problem.config, problem.given, compiled=True), words)
    images, height = problem.operation.rows(problem.config, problem.given)
    rows = [(images - 1, height - 1)]
    for name, part in problem.operation.oracle(problem.config, problem.given, rows).items():
        whole = problem.operation.sampled(problem.config, problem.given, name, words[name], rows)
        np.testing.assert_array_equal(part, whole, err_msg=name)


SHAPES = [((6, 6), 2, (0, 1, 0, 1), 1), ((7, 5), (2, 1), (1, 1, 1, 1), 1), ((6, 9), (1, 2), (2, 2, 2, 2), 2)]


@pytest.mark.parametrize(("hw", "stride", "padding", "dilation"), SHAPES)
def test_same_padding_of_tensorflow(hw: tuple[int, int], stride: object, padding: object, dilation: int) -> None:
    """SPEC.md C1: lax's SAME, which is TensorFlow's, on integers; at stride 2 of an even map it is no symmetric one."""
    rng = np.random.default_rng(7)
    config = ConvConfig(stride, padding, dilation=dilation)  # type: ignore[arg-type]
    x, weight = rng.integers(-8, 8, (2, *hw, 3)), rng.integers(-8, 8, (3, 3, 3, 4))
    windows = config.windows((3, 3))
    expected = lax.conv_general_dilated(
        jnp.asarray(x, jnp.int32), jnp.asarray(weight, jnp.int32), tuple(one.stride for one in windows), "SAME",
        rhs_dilation=(dilation, dilation), dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip
    words = {"x": x.astype(np.float16).view(np.uint16), "weight_code": weight.astype(np.int8)}
    one = np.float16(1).view(np.uint16)
    found = conv.FORWARD.oracle(config, {**words, "x_inv_scale": np.asarray(one), "scale": np.asarray(one)})
    np.testing.assert_array_equal(found["acc"], expected)


@pytest.mark.parametrize("counted", [False, True])
def test_a_mean_is_that_of_its_window(counted: bool) -> None:
    """SPEC.md A3: small integers, whose sums are exact: fp16(sum * fp32(1/n)), n inside the map or of the window."""
    config = AvgPoolConfig((2, 3), stride=1, padding=(1, 0, 0, 2), count_padding=counted)
    x = np.random.default_rng(3).integers(-9, 9, (1, 3, 4, 2))
    found = pool.AVG_FORWARD.oracle(config, {"x": x.astype(np.float16).view(np.uint16)})["y"].view(np.float16)
    assert found.shape == (1, 3, 4, 2)
    for _, i, j, c in np.ndindex(found.shape):
        part = x[0, max(0, i - 1) : i + 1, j : j + 3, c]
        inverse = Fraction(float(np.float32(1) / np.float32(6 if counted else part.size)))
        assert found[0, i, j, c] == np.float16(float(int(part.sum()) * inverse))


@given(st.builds(Window, *(st.integers(low, high) for low, high in ((1, 6), (1, 4), (0, 6), (0, 6), (1, 3)))),
       st.integers(1, 12))  # fmt: skip
def test_what_windows_say_of_a_map(window: Window, size: int) -> None:
    """SPEC.md C1, A3: by listing every position that each window reads."""
    read = [[i * window.stride - window.before + k * window.dilation for k in range(window.kernel)] for i in range(30)]
    fit = [one for one in read if one[-1] < size + window.after]
    assert max(0, window.results(size)) == len(fit)
    assert window.inside(size) == [sum(0 <= at < size for at in one) for one in fit]
    assert window.holding(size) == [sum(at in one for one in fit) for at in range(size)]
    assert window.sharing >= max(sum(at in one for one in read) for at in range(40))
    if fit:
        assert window.unused(size) == size + window.after - 1 - fit[-1][-1]


def test_every_window_of_a_dx_is_certified() -> None:
    """SPEC.md M2, C2: a stride of 4 and a dilation of 2 let every second element of a kernel meet one dx."""
    weight = np.arange(1, 6).reshape(5, 1, 1, 1)
    assert sum_of_magnitudes(ConvConfig(stride=(4, 1), dilation=(2, 1)), GRADIENT, weight) == 1 + 3 + 5
    assert Window(5, 4, dilation=2).sharing == 3 and Window(5, 4).sharing == 2


def test_float_twins_of_pools_are_their_means_and_maxima() -> None:
    """The host's pools see the same windows (SPEC.md A2, A3)."""
    x = np.random.default_rng(5).integers(-9, 9, (2, 5, 6, 3)).astype(np.float32)
    words = x.astype(np.float16).view(np.uint16)
    largest = MaxPoolConfig((2, 3), (1, 2), (0, 1, 1, 2))
    found, _ = MAX_LAYER.twin.forward(largest, FloatLayer(), [jnp.asarray(x)])
    np.testing.assert_array_equal(found, pool.MAX_FORWARD.oracle(largest, {"x": words})["y"].view(np.float16))
    for counted in (False, True):
        mean = AvgPoolConfig((3, 2), stride=(2, 1), padding=(1, 2, 0, 1), count_padding=counted)
        found, _ = AVG_LAYER.twin.forward(mean, FloatLayer(), [jnp.asarray(x)])
        expected = pool.AVG_FORWARD.oracle(mean, {"x": words})["y"].view(np.float16)
        np.testing.assert_allclose(found, expected, rtol=2.0**-11)
        jax.grad(lambda x: AVG_LAYER.twin.forward(mean, FloatLayer(), [x])[0].sum())(jnp.asarray(x))  # noqa: B023


def test_an_explained_sum_has_the_terms_of_its_window() -> None:
    """SPEC.md M1, C1: what `transfer --compare` says of a sum is of the codes and weights that it adds."""
    entry = next(entry for entry in catalog.geometry() if entry.name == "conv_2x3_dilated_depthwise_forward")
    problem = catalog.build(entry, 1)
    config, words = problem.config, problem.given
    params = kernels._params({name: np.asarray(array) for name, array in words.items()})
    params = params._replace(x_inv_scale=words["x_inv_scale"].view(np.float16))
    acc = problem.operation.oracle(config, words)["acc"]
    for row, column, channel in np.ndindex(acc.shape[1:]):
        codes, weights = compare_cause._terms(config, params, words["x"][0], (row, column, channel))
        assert sum(a * b for a, b in zip(codes, weights, strict=True)) == acc[0, row, column, channel]


def every_window() -> Network:
    """A convolution, a max and an average pool of each new kind, in a row."""
    strided = ConvConfig(stride=(1, 2), padding=(0, 1, 2, 0))
    dilated = ConvConfig(stride=(2, 1), padding=(3, 1, 0, 2), dilation=(3, 2), groups=3)
    nodes = (
        Node("c1", strided, (INPUT,), ConvSize(2, 3, 3)),
        Node("a1", AvgPoolConfig((3, 2), stride=1, padding=(1, 1, 0, 1)), ("c1",)),
        Node("c2", dilated, ("a1",), ConvSize(3, 2, 3)),
        Node("m1", MaxPoolConfig((2, 3), (1, 2), (1, 0, 0, 2)), ("c2",)),
        Node("a2", AvgPoolConfig(2, stride=(3, 1), padding=(0, 1, 1, 0), count_padding=True), ("m1",)),
    )
    return Network("every_window", (9, 7, 2), nodes, "a2")


def test_rows_of_every_window(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """SPEC.md C1, C2, A2, A3: `bitrow pipeline FILE --check`, two images in rings, both directions."""
    model = synthetic(every_window(), 1, 2)
    path = tmp_path / "net.safetensors"
    model_file.save(path, model)
    assert model_file.load(path).network == model.network
    assert cli.run(["pipeline", str(path), "--images", "2", "--check"]) == 0
    assert "equal the whole-tensor model" in capfd.readouterr().out
