"""Layers of one's own, from a file in TOML and from Python: what is generated, what is refused (SPEC.md V1, V4, V5)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitrow import cli
from bitrow.config import (
    AddConfig,
    AvgPoolConfig,
    BatchNormConfig,
    ConcatConfig,
    ConvConfig,
    ConvSize,
    DepthToSpaceConfig,
    HardSigmoidConfig,
    HardSwishConfig,
    LinearConfig,
    LinearSize,
    MaxPoolConfig,
    MultiplyConfig,
    ReluConfig,
    SigmoidConfig,
    SiluConfig,
    Statistics,
    UpsampleConfig,
)
from bitrow.contract.operations import LAYERS
from bitrow.errors import BitrowError
from bitrow.formats import AccOverflow, Accumulator, Fxp, QuantRounding
from bitrow.host import Scales
from bitrow.vectors import generate
from bitrow.vectors.coverage.measure import measure
from bitrow.vectors.files import store
from bitrow.vectors.files.check import check
from bitrow.vectors.layer_file import load
from bitrow.vectors.own_layer import LayerCase

CONV = """
layer = "convolution"
inputs = [[1, 11, 17, 13]]

[config]
stride = 2
padding = 2
x_format = { bits = 6, signed = false }
accumulator = { bits = 20, overflow = "wrap" }

[size]
kh = 5
kw = 5
c_out = 3
"""


def _file(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_convolution_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md V5: 5x5, stride 2, unsigned 6-bit codes, a wrapping register of 20 bits; both directions, recomputed."""
    path, out = _file(tmp_path, CONV), tmp_path / "set"
    assert cli.run(["generate", "--layer-file", str(path), "--list"]) == 0 and not out.exists()
    assert capsys.readouterr().out.splitlines() == ["mine_forward", "mine_backward"]
    assert cli.run(["generate", "--layer-file", str(path), "--out", str(out), "--quiet"]) == 0
    assert cli.run(["verify", str(out)]) == 0
    forward, backward = store.read_set(out)
    assert forward.config == backward.config == ConvConfig(
        stride=2, padding=2, x_format=Fxp(6, signed=False), accumulator=Accumulator(20, AccOverflow.WRAP)
    )
    assert forward.tensor("x").data.shape == (1, 11, 17, 13) and forward.tensor("y").data.shape == (1, 6, 9, 3)
    assert backward.tensor("dx").data.shape == (1, 11, 17, 13)
    assert forward.tensor("x_code").data.max() == 63 and {"clip_high", "mask_edge_outside"} & set(forward.bins)


def _layer(config: Any, *shapes: tuple[int, int, int, int], **given: Any) -> LayerCase:
    return LayerCase("mine", config, shapes, **given)


MAP = (2, 6, 5, 4)
KINDS = {
    "conv": _layer(ConvConfig(padding=1), MAP, size=ConvSize(3, 3, 4, bias=True)),
    "conv with scales": _layer(ConvConfig(fold=True, dy_rounding=QuantRounding.STOCHASTIC), MAP, direction="forward",
                               size=ConvSize(3, 3, 2, per_channel=True), scales=Scales(0.25, (0.5, 0.125), 0.25)),
    "batch norm": _layer(BatchNormConfig(), MAP),
    "batch statistics": _layer(BatchNormConfig(Statistics.BATCH), MAP),
    "ReLU": _layer(ReluConfig(six=True), MAP),
    "max pool": _layer(MaxPoolConfig(3, 2, 1), MAP),
    "average pool": _layer(AvgPoolConfig(), MAP),
    "add": _layer(AddConfig(), MAP, MAP),
    "concat": _layer(ConcatConfig(), MAP, (2, 6, 5, 3)),
    "hard swish": _layer(HardSwishConfig(), MAP),
    "product": _layer(MultiplyConfig(), MAP, MAP),
    "gate": _layer(MultiplyConfig(gate=True), MAP, (2, 1, 1, 4)),
    "hard sigmoid": _layer(HardSigmoidConfig(), MAP),
    "sigmoid": _layer(SigmoidConfig(), MAP),
    "SiLU": _layer(SiluConfig(), MAP),
    "upsampling": _layer(UpsampleConfig(2, 3), MAP),
    "depth to space": _layer(DepthToSpaceConfig(2), MAP),
    "head": _layer(LinearConfig(), MAP, size=LinearSize(5)),
}  # fmt: skip


def test_every_kind_of_layer_is_here() -> None:
    assert {type(case.config) for case in KINDS.values()} >= set(LAYERS)


@pytest.mark.parametrize("kind", KINDS)
def test_any_layer_by_the_oracle(kind: str) -> None:
    """SPEC.md V4, V5: the oracle takes the forward case; directed words reach more bins than random ones."""
    bins = {}
    for stimulus in ("directed", "random"):
        given = {name: getattr(KINDS[kind], name) for name in ("name", "config", "inputs", "size", "scales")}
        (problem,) = LayerCase(**given, direction="forward", stimulus=stimulus, seed=3).problems()
        words = problem.given | problem.operation.oracle(problem.config, problem.given)
        bins[stimulus] = len(measure(problem.operation, problem.config, words))
        assert problem.name == "mine_forward"
    assert bins["directed"] > bins["random"]


@pytest.mark.parametrize("kind", ["max pool", pytest.param("batch statistics", marks=pytest.mark.slow)])
def test_the_backward_case_reads_what_the_forward_pass_kept(kind: str, tmp_path: Path) -> None:
    """SPEC.md V1, V5: what three judges agree on, in a sound set."""
    made = generate.generate(tmp_path / "set", KINDS[kind].problems(), 0, "mine")
    forward, backward = store.read_set(tmp_path / "set")
    assert [row.case for row in made.rows] == KINDS[kind].names() and check(tmp_path / "set") == []
    kept = [name for name in backward.operation.kept if name in {tensor.name for tensor in forward.tensors}]
    assert kept
    for name in kept:
        assert np.array_equal(forward.tensor(name).data, backward.tensor(name).data)


def test_given_arrays_are_the_words(tmp_path: Path) -> None:
    """SPEC.md V2: maps as float16 or words, parameters by name; the rest is drawn."""
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(1, 4, 4, 2)).astype(np.float16), rng.normal(size=(1, 2, 2, 3)).astype(np.float16)
    codes = rng.integers(-8, 8, (3, 3, 2, 3))
    np.savez(tmp_path / "given.npz", x=x, dy=dy.view(np.uint16), weight_code=codes)
    text = 'layer = "convolution"\ninputs = [[1, 4, 4, 2]]\nname = "given"\n[size]\nkh = 3\nkw = 3\nc_out = 3\n'
    text += "[scales]\nx = 0.25\nw = 0.125\ndy = 1\n[stimulus]\nkind = 'given'\narrays = 'given.npz'\n"
    forward, backward = load(_file(tmp_path, text)).problems()
    assert np.array_equal(forward.given["x"], x.view(np.uint16)) and forward.given["x_inv_scale"] == 0x4400
    assert np.array_equal(forward.given["weight_code"], codes) and np.array_equal(backward.given["weight_code"], codes)
    assert np.array_equal(backward.given["dy"], dy.view(np.uint16)) and backward.given["dx_scale"] == 0x3000


def _changed(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


MISTAKES = {
    "layer": (_changed("convolution", "conv"), "layer: found 'conv', expected one of convolution, batch norm, ReLU"),
    "no layer": (_changed('layer = "convolution"', ""), ": found no field 'layer', expected one"),
    "unknown key": (_changed("[size]", "[sizes]"), ": found field 'sizes', expected one of layer, inputs"),
    "unknown value": (_changed("stride", "strides"), "config: found field 'strides', expected one of"),
    "enumeration": (_changed("wrap", "modulo"), "config.accumulator.overflow: found 'modulo', expected one of"),
    "format": (_changed("bits = 6", "bits = 9"), "config.x_format: "),
    "text": (_changed("padding = 2", 'padding = "2"'), "config: convolution padding: found '2', expected an int"),
    "no size": (_changed("c_out = 3", ""), "size: found no field 'c_out', expected one"),
    "axes": (_changed("[[1, 11, 17, 13]]", "[[11, 17, 13]]"), "inputs: found "),
    "two inputs": (_changed("[[1, 11, 17, 13]]", "[[1, 2, 2, 1], [1, 2, 2, 1]]"), "inputs: found 2, expected 1"),
    "window": (_changed("11, 17", "11, 0"), "inputs: found [1, 11, 0, 13], expected n, h, w, c from 1"),
    "large": (_changed("11, 17", "60000, 60000"), "found a map"),
    "accumulator": (_changed('bits = 20, overflow = "wrap"', 'bits = 8, overflow = "error"'), "accumulator of 8 bits"),
    "scale": (lambda text: text + "[scales]\nx = 0.1\nw = 1\ndy = 1", "x_scale: found 0.1, expected an FP16 number"),
    "scales": (lambda text: text + "[scales]\nx = 1\nw = 'a'\ndy = 1", "scales: scales w: found 'a', expected"),
    "direction": (lambda text: 'direction = "up"' + text, "direction: found 'up', expected one of"),
    "name": (lambda text: 'name = "My Conv"' + text, "layer name: found 'My Conv_backward'"),
    "no arrays": (lambda text: text + "[stimulus]\nkind = 'given'", "arrays: found no 'x', expected all of x, dy"),
    "no file": (lambda text: text + "[stimulus]\narrays = 'no.npz'", "no.npz: found no such file"),
    "C2": (_changed("c_out = 3", "c_out = 3\nper_channel = true"), "expected forward for a scale of each channel"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_name_file_and_key(mistake: str, tmp_path: Path) -> None:
    """SPEC.md V5: one line."""
    change, words = MISTAKES[mistake]
    path = _file(tmp_path, change(CONV))
    with pytest.raises(BitrowError) as error:
        load(path)
    assert str(error.value).startswith(str(tmp_path)) and words in str(error.value) and "\n" not in str(error.value)
    assert mistake == "no file" or "mine.toml" in str(error.value)


X, CODES = np.zeros((1, 4, 4, 2), np.float16), np.zeros((3, 3, 2, 3), np.int8)
ARRAYS: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "unknown": ({"z": X}, "arrays: found 'z', expected some of x, dy, weight_code"),
    "float32": ({"x": X.astype(np.float32)}, "x: found float32[1, 4, 4, 2], expected float16 or its words uint16"),
    "shape": ({"x": X[:, :3]}, "x: found float16[1, 3, 4, 2]"),
    "code": ({"weight_code": CODES + 8}, "weight_code: found 8 to 8"),
    "half a code": ({"weight_code": CODES + 0.5}, "weight_code: found float64[3, 3, 2, 3], expected values of int8"),
    "bias": ({"bias": np.zeros(3, np.float16)}, "bias: found an array, expected none"),
    "scale": ({"w_scale": np.float16(0)}, "w_scale"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_that_do_not_fit_are_refused(kind: str) -> None:
    """SPEC.md F7, F8, V2: one line, before anything is computed."""
    arrays, words = ARRAYS[kind]
    with pytest.raises(BitrowError) as error:
        LayerCase("mine", ConvConfig(), ((1, 4, 4, 2),), ConvSize(3, 3, 3), arrays=arrays)
    assert words in str(error.value) and "\n" not in str(error.value)
