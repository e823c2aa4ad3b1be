"""Transposed convolutions: files, oracle, kernels, rows, training, certificates, faults (SPEC.md C5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitrow import cli, model_file
from bitrow.config import ConvConfig
from bitrow.contract import conv
from bitrow.errors import BitrowError
from bitrow.exactness import FORWARD, GRADIENT, sum_of_magnitudes
from bitrow.float_conv import float_conv
from bitrow.formats import AccOverflow, Gradient
from bitrow.graph import INPUT, ConvSize, Network, Node, describe, shapes
from bitrow.host import Scales
from bitrow.layers import conv as layer
from bitrow.reading import records
from bitrow.synthetic import synthetic
from bitrow.transfer import compare_cause
from bitrow.transfer.modules import ConvOfParams
from bitrow.transfer.network_module import take_apart
from bitrow.transfer.numerics import Numerics
from bitrow.vectors import catalog, conv_suite
from bitrow.vectors.bit_views import to_words
from bitrow.vectors.coverage import geometry
from bitrow.vectors.coverage.measure import SetCoverage, measure
from bitrow.vectors.generate import run_kernel
from bitrow.vectors.judge import kernels
from kernel_judges import expect, same

UP = ConvConfig(stride=2, padding=1, transposed=True, output_padding=1)
SIDES = ConvConfig(
    stride=(3, 1), padding=(2, 0, 1, 1), dilation=(2, 2), groups=2, transposed=True, output_padding=(2, 0)
)


def test_files_of_other_convolutions_are_what_they_were() -> None:
    """SPEC.md C5, V3: what is new stands in files where it is said, and nowhere else."""
    assert not {"transposed", "output_padding"} & set(records.write(ConvConfig()))
    for config in (UP, SIDES, ConvConfig(transposed=True)):
        assert records.read(ConvConfig, records.write(config), "config") == config
    assert replace(UP, output_padding=(1, 1)) == UP


REFUSED = [
    (lambda: ConvConfig(output_padding=1), "found 1 of a convolution that is not transposed, expected 0"),
    (lambda: replace(UP, output_padding=(0, 2)), "found (0, 2) at stride 2, expected less than the stride"),
    (lambda: replace(UP, output_padding=-1), "output_padding: found -1, expected 0 or more"),
    (lambda: ConvConfig(transposed=1), "convolution transposed: found 1, expected True or False"),
    (lambda: one_layer(replace(UP, padding=4)), "makes 0x2 of a 3x4 map with padding 4, expected a result"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "says"), REFUSED, ids=[says[:24] for _, says in REFUSED])
def test_what_no_convolution_can_be_is_one_line(make: Callable[[], object], says: str) -> None:
    with pytest.raises(BitrowError) as caught:
        make()
    assert says in str(caught.value) and "\n" not in str(caught.value)


def one_layer(config: ConvConfig, kernel: tuple[int, int] = (3, 3)) -> Network:
    return Network("one", (3, 4, 4), (Node("up", config, (INPUT,), ConvSize(*kernel, 4)),), "up")


def placed(config: ConvConfig, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """C5 word by word: each word of x puts its product with every weight where it belongs."""
    (n, h, w, _), (kh, kw, c_in, c_out) = x.shape, weight.shape
    rows, columns = config.output_hw((kh, kw), (h, w))
    (down, across), each = config.windows((kh, kw)), c_out // config.groups
    y = np.zeros((n, rows, columns, c_out), x.dtype)
    for i, j, a, b, out in np.ndindex(h, w, kh, kw, c_out):
        row = i * down.stride - down.before + a * down.dilation
        column = j * across.stride - across.before + b * across.dilation
        if 0 <= row < rows and 0 <= column < columns:
            first = out // each * c_in
            y[:, row, column, out] += x[:, i, j, first : first + c_in] @ weight[a, b, :, out]
    return y


@pytest.mark.parametrize(("config", "kernel"), [(UP, (3, 3)), (SIDES, (3, 2)), (replace(UP, groups=4), (2, 4))])
def test_the_twin_puts_products_where_they_belong(config: ConvConfig, kernel: tuple[int, int]) -> None:
    """SPEC.md C5: the float twin and its three gradients, on small integers, whose sums are exact."""
    rng = np.random.default_rng(3)
    x = rng.integers(-8, 8, (2, 3, 4, 4)).astype(np.float32)
    weight = rng.integers(-8, 8, (*kernel, 4 // config.groups, 8)).astype(np.float32)
    expected = placed(config, x, weight)
    found, pull = jax.vjp(lambda x, weight: float_conv(config, x, weight), x, weight)
    np.testing.assert_array_equal(found, expected)
    dy = rng.integers(-8, 8, expected.shape).astype(np.float32)
    dx, dweight = pull(dy)
    for given, gradient, at in ((x, dx, 0), (weight, dweight, 1)):  # linear in each: <f(e), dy> is the gradient's word
        for place in ((0,) * 4, tuple(size - 1 for size in given.shape), tuple(size // 2 for size in given.shape)):
            one = np.zeros_like(given)
            one[place] = 1
            moved = placed(config, one, weight) if at == 0 else placed(config, x, one)
            assert float((moved * dy).sum()) == gradient[place]


def test_twice_the_size_as_other_frameworks_have_it() -> None:
    """SPEC.md C5: lax's own transposed convolution, SAME at stride 2, is padding (0, 1, 0, 1) of a kernel of 3."""
    rng = np.random.default_rng(5)
    x, weight = rng.integers(-8, 8, (1, 4, 5, 2)), rng.integers(-8, 8, (3, 3, 2, 3))
    theirs = jax.lax.conv_transpose(
        jnp.asarray(x, jnp.float32), jnp.asarray(weight[::-1, ::-1], jnp.float32), (2, 2), "SAME",
    )  # fmt: skip
    config = ConvConfig(stride=2, padding=(0, 1, 0, 1), transposed=True)
    one, words = np.asarray(np.float16(1).view(np.uint16)), x.astype(np.float16).view(np.uint16)
    given = {"x": words, "weight_code": weight.astype(np.int8), "x_inv_scale": one, "scale": one}
    np.testing.assert_array_equal(conv.FORWARD.oracle(config, given)["acc"], theirs)


CASES = {entry.name: entry for entry in conv_suite.transposed()}
KERNELS = ("3x3_transposed_forward", "3x2_transposed_sides_forward", "3x2_transposed_sides_backward",
           "3x3_transposed_saturate_forward", "3x3_transposed_stochastic_fold_backward",
           "3x3_transposed_fp16_gradient_backward")  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_cases_by_oracle_and_kernels(name: str) -> None:
    """SPEC.md C5, M2, C3: every tap of every case, of the last row alone, and what coverage says of sums."""
    problem = catalog.build(CASES[name], 1)
    operation, config, given = problem.operation, problem.config, problem.given
    words = expect(problem)
    if name.removeprefix("conv_") in KERNELS:
        same("compiled", problem, run_kernel(operation, config, given, compiled=True), words)
    images, height = operation.rows(config, given)
    for tap, part in operation.oracle(config, given, [(images - 1, height - 1)]).items():
        whole = operation.sampled(config, given, tap, words[tap], [(images - 1, height - 1)])
        np.testing.assert_array_equal(part, whole, err_msg=tap)
    assert measure(operation, config, given | words)["transposed"] == 1 and "C5" in operation.clauses(config)
    if config.accumulator.overflow is AccOverflow.ERROR and config.gradient is Gradient.FXP:
        weight = given["weight_code"]
        if operation is conv.FORWARD:
            np.testing.assert_array_equal(geometry.conv_sum(config, words["x_code"], weight), words["acc"])
        else:
            hw = given["mask"].shape[1:3]
            found = geometry.gradient_sum(config, words["dy_code"], weight, hw)
            np.testing.assert_array_equal(found, words["dx_acc"])


def test_no_other_set_is_asked_for_them() -> None:
    """SPEC.md V4: a set without transposed convolutions has none of their bins, hit or missed."""
    assert "transposed" not in SetCoverage().missed("conv.forward")


def test_every_window_is_certified() -> None:
    """SPEC.md M2, C5: at stride 2 a result meets every second element of a kernel, and a gradient all of them."""
    weight, config = np.arange(1, 6).reshape(5, 1, 1, 1), ConvConfig(stride=(2, 1), transposed=True)
    assert sum_of_magnitudes(config, FORWARD, weight) == 1 + 3 + 5
    assert sum_of_magnitudes(config, GRADIENT, weight) == 15


def test_an_explained_sum_has_the_terms_that_it_adds() -> None:
    """SPEC.md M1, C5: what `transfer --compare` says of a sum is of the codes and weights that it adds."""
    problem = catalog.build(CASES["conv_3x2_transposed_sides_forward"], 1)
    params = kernels._params({name: np.asarray(array) for name, array in problem.given.items()})
    params = params._replace(x_inv_scale=problem.given["x_inv_scale"].view(np.float16))
    acc = problem.operation.oracle(problem.config, problem.given)["acc"]
    for row, column, channel in np.ndindex(acc.shape[1:]):
        place = row, column, channel
        codes, weights = compare_cause._terms(problem.config, params, problem.given["x"][0], place)
        assert sum(a * b for a, b in zip(codes, weights, strict=True)) == acc[0, row, column, channel]


def growing() -> Network:
    """Transposed convolutions of each kind: with a bias, groups and a fold, FP16 gradients, rows that nothing meets."""
    nodes = (
        Node("c1", ConvConfig(stride=2, padding=1), (INPUT,), ConvSize(3, 3, 4)),
        Node("up", UP, ("c1",), ConvSize(3, 3, 4, bias=True)),
        Node("sides", replace(SIDES, fold=True), ("up",), ConvSize(3, 2, 4, per_channel=True)),
        Node("halves", ConvConfig(padding=1, transposed=True, gradient=Gradient.FP16), ("sides",), ConvSize(3, 3, 2)),
        Node("apart", ConvConfig(stride=(3, 1), transposed=True), ("halves",), ConvSize(2, 1, 1)),
    )
    return Network("growing", (4, 4, 2), nodes, "apart")


def test_rows_of_them(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """SPEC.md C5: `bitrow pipeline FILE --check`, two images in rings, both directions."""
    network = growing()
    path = tmp_path / "net.safetensors"
    model_file.save(path, synthetic(network, 1, 2))
    assert model_file.load(path).network == network and shapes(network)["up"] == (4, 4, 4)
    assert next(row for row in describe(network) if row.name == "up").macs == 2 * 2 * 9 * 4 * 4
    assert cli.run(["pipeline", str(path), "--images", "2", "--check"]) == 0
    assert "equal the whole-tensor model" in capfd.readouterr().out


@pytest.mark.parametrize("numerics", [pytest.param(Numerics.BIT_ACCURATE, marks=pytest.mark.slow), Numerics.SIMULATED])
def test_a_module_that_trains(numerics: Numerics) -> None:
    """SPEC.md C5: y and dx by the oracle, and the host's gradient of the weights where no sum rounds."""
    rng, config = np.random.default_rng(9), replace(UP, padding=(0, 1, 1, 0), groups=2)
    params = layer.make_params(config, "up", rng.integers(-7, 8, (3, 3, 2, 2)), Scales(0.5, 0.25, 0.5))
    module = ConvOfParams(config, params)
    module.set_attributes(numerics=numerics)
    split = take_apart(module)
    x = (rng.integers(-12, 12, (1, 3, 4, 4)) / 4).astype(np.float16)

    def run(weight: jax.Array, x: jax.Array) -> jax.Array:
        return split._replace(params=split.params | {"weight": weight}).join()(x)

    y, pull = jax.vjp(run, split.params["weight"], jnp.asarray(x))
    dy = (rng.integers(-12, 12, y.shape) / 4).astype(np.float16)
    words = {name: to_words(value) for name, value in params._asdict().items() if value is not None}
    words |= {"x": x.view(np.uint16), "dy": dy.view(np.uint16)}
    forward = conv.FORWARD.oracle(config, {name: words[name] for name in ("x", "weight_code", "x_inv_scale", "scale")})
    np.testing.assert_array_equal(to_words(y), forward["y"])
    dweight, dx = pull(jnp.asarray(dy))
    given = {name: words[name] for name in ("dy", *conv.BACKWARD.parameters)} | {"mask": forward["mask"]}
    np.testing.assert_array_equal(to_words(dx), conv.BACKWARD.oracle(config, given)["dx"])
    value = forward["x_code"].astype(np.float32) * np.float32(0.5)
    expected = jax.grad(lambda weight: (float_conv(config, jnp.asarray(value), weight) * dy.astype(np.float32)).sum())
    np.testing.assert_array_equal(dweight, expected(split.params["weight"]))


LAYER = """
layer = "convolution"
inputs = [[1, 3, 4, 2]]
[config]
stride = [2, 1]
transposed = true
output_padding = [1, 0]
[size]
kh = 3
kw = 2
c_out = 2
"""


def test_a_layer_of_ones_own(tmp_path: Path) -> None:
    """SPEC.md C5, V5: from TOML, generated and recomputed; its header has what it says of itself."""
    path, out = tmp_path / "mine.toml", tmp_path / "set"
    path.write_text(LAYER)
    assert cli.run(["generate", "--layer-file", str(path), "--out", str(out), "--quiet"]) == 0
    assert cli.run(["verify", str(out)]) == 0
    header = (out / "mine_forward" / "mine_forward.h").read_text()
    assert "CONFIG_TRANSPOSED 1u" in header and "CONFIG_OUTPUT_PADDING_H 1u" in header


