"""The oracle's ReLU, adds, pools and classifier head, judged by numpy and by written-out definitions."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from bitrow.config import AddConfig, AvgPoolConfig, LinearConfig, MaxPoolConfig, ReluConfig
from bitrow.contract import elementwise, linear, pool
from bitrow.errors import BitrowError
from bitrow.formats import FloatMode, Overflow, Rounding
from bitrow.oracle import fp16, fp32, softfloat
from bitrow.oracle.reduce import Arithmetic, running, tree
from oracle_rows import sample

WORDS = np.arange(1 << 16, dtype=np.uint16).reshape(1, 256, 16, 16)
NAN = 0x7E00
UP = FloatMode(Rounding.UP, Overflow.SATURATE, True)


def words16(values) -> np.ndarray:
    return np.asarray(values, np.float16).view(np.uint16)


def canonical(words: np.ndarray) -> np.ndarray:
    return np.where(words & 0x7FFF > 0x7C00, np.uint16(NAN), words)


def draw(shape, seed, specials: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    drawn = words16(np.ldexp(rng.normal(0, 1, shape), rng.integers(-12, 9, shape)))
    if specials:
        special = np.array([0, 0x8000, 0x7C00, 0xFC00, NAN, 0xFE01, 1, 0x8001, 0x7BFF], np.uint16)
        drawn = np.where(rng.random(shape) < 0.3, rng.choice(special, shape), drawn)
    return drawn

def accumulated(*dys: np.ndarray) -> np.ndarray:
    """A5's sum of several gradients."""
    return elementwise.ACCUMULATE.oracle(FloatMode(), {"dys": np.stack(dys)})["dx"]


@pytest.mark.parametrize("six", [False, True], ids=["relu", "relu6"])
def test_relu_over_every_word(six):
    """SPEC.md A1, F4, F5: forward and backward over all 65,536 words; subnormals are not flushed."""
    x, dy = WORDS.view(np.float16), draw(WORDS.shape, 1, specials=True)
    found = elementwise.RELU_FORWARD.oracle(ReluConfig(six), {"x": WORDS})["y"]
    expected = np.where(np.isnan(x), np.uint16(NAN), np.where(x > 0, WORDS, np.uint16(0)))
    passes = x > 0
    if six:
        expected = np.where(x > 6, np.uint16(0x4600), expected)
        passes &= x < 6
    assert np.array_equal(found, expected)
    dx = elementwise.RELU_BACKWARD.oracle(ReluConfig(six), {"x": WORDS, "dy": dy})["dx"]
    assert np.array_equal(dx, np.where(passes, canonical(dy), np.uint16(0)))


def test_add_and_accumulate():
    """SPEC.md A2, A5: fp16_add element by element; several gradients left to right, one as it is."""
    x, y, z = (draw((2, 3, 4, 5), seed, specials=True) for seed in (2, 3, 4))
    for mode in (FloatMode(), UP):
        found = elementwise.ADD_FORWARD.oracle(AddConfig(mode), {"x": x, "shortcut": y})["y"]
        pairs = zip(x.ravel().tolist(), y.ravel().tolist(), strict=True)
        assert found.ravel().tolist() == [fp16.add(a, b, mode) for a, b in pairs]
    both = elementwise.ADD_FORWARD.oracle(AddConfig(), {"x": accumulated(x, y), "shortcut": z})["y"]
    assert np.array_equal(accumulated(x, y, z), both)
    assert not np.array_equal(accumulated(z, y, x), both)
    assert np.array_equal(accumulated(x), x)
    with pytest.raises(BitrowError, match="no gradient"):
        elementwise.ACCUMULATE.oracle(FloatMode(), {"dys": np.zeros((0, 1, 1, 1, 1), np.uint16)})


MAX_POOLS = [
    (MaxPoolConfig(2, 2), (2, 4, 6, 3)),
    (MaxPoolConfig(3, 2, 1), (1, 7, 6, 2)),
    (MaxPoolConfig(3, 1, 1), (1, 4, 5, 2)),
    (MaxPoolConfig(2, 3), (1, 7, 7, 1)),
    (MaxPoolConfig(2, 2, 1, UP), (1, 5, 4, 2)),
    (MaxPoolConfig(3, 1, 0, UP), (1, 5, 5, 2)),
]


def beats(a: int, b: int) -> bool:
    """Whether word a is greater than word b in A2's order, by comparing float values."""
    x, y = (float(np.uint16(word).view(np.float16)) for word in (a, b))
    return y == y and (x != x or x > y)


@pytest.mark.parametrize(("config", "shape"), MAX_POOLS, ids=str)
def test_max_pool(config, shape):
    """SPEC.md A2: first maximum in row-major order; NaN above all; -0 equals +0; padding never wins."""
    x = draw(shape, 5, specials=True)
    x[0, 0] = 0xFC00  # a row of -inf: a padding that competed would win
    found = pool.MAX_FORWARD.oracle(config, {"x": x})
    n, h, w, c = shape
    oh, ow = found["y"].shape[1:3]
    assert oh == (h + 2 * config.padding - config.kernel) // config.stride + 1
    dx_terms: dict[tuple, list[int]] = {}
    dy = draw(found["y"].shape, 6, specials=True)
    for image, i, j, channel in itertools.product(range(n), range(oh), range(ow), range(c)):
        best = None
        for a, b in itertools.product(range(config.kernel), repeat=2):
            at, across = i * config.stride - config.padding + a, j * config.stride - config.padding + b
            if 0 <= at < h and 0 <= across < w:
                word = int(x[image, at, across, channel])
                if best is None or beats(word, best[0]):
                    best = (word, a * config.kernel + b, (image, at, across, channel))
        assert best is not None
        assert found["y"][image, i, j, channel] == int(canonical(np.uint16(best[0])))
        assert found["index"][image, i, j, channel] == best[1]
        dx_terms.setdefault(best[2], []).append(int(dy[image, i, j, channel]))
    dx = pool.MAX_BACKWARD.oracle(config, {"dy": dy, "index": found["index"], "input_hw": np.array([h, w])})["dx"]
    assert max(len(terms) for terms in dx_terms.values()) > (config.kernel > config.stride)
    for place in np.ndindex(shape):
        terms = dx_terms.get(place, [0])
        expected = int(canonical(np.uint16(terms[0])))
        for term in terms[1:]:
            expected = fp16.add(expected, term, config.mode)
        assert dx[place] == expected


def test_max_pool_gradient_is_moved_or_added():
    """SPEC.md A2, F5: one window's dy is moved as it is, subnormals and -0 included; several are added."""
    config = MaxPoolConfig(2, 1, 0, FloatMode(flush=True))
    index = np.array([[[[1], [0]]]], np.uint8)  # both windows of a 2 x 3 map pick (0, 1)
    for first, second, expected in ((0x8000, 0x8000, 0x8000), (0x8001, 0x3C00, 0x3C00), (0x3C00, 0xBC00, 0)):
        dy = np.array([first, second], np.uint16).reshape(1, 1, 2, 1)
        dx = pool.MAX_BACKWARD.oracle(config, {"dy": dy, "index": index, "input_hw": np.array([2, 3])})["dx"]
        assert dx.ravel().tolist() == [0, expected, 0, 0, 0, 0]
    index[0, 0, 1] = 3
    dy = np.array([0x8001, 0x8000], np.uint16).reshape(1, 1, 2, 1)
    dx = pool.MAX_BACKWARD.oracle(config, {"dy": dy, "index": index, "input_hw": np.array([2, 3])})["dx"]
    assert dx.ravel().tolist() == [0, 0x8001, 0, 0, 0, 0x8000]


def test_max_pool_of_equals():
    """SPEC.md A2: among equals, signed zeros and NaN included, the first wins; its own sign is kept."""
    windows = [
        ([0x8000, 0, 0x8001, 0xBC00], 0x8000, 0),
        ([0xBC00, 0, 0x8000, 0], 0, 1),
        ([0x3C00, 0x4000, 0x4000, 0x3C00], 0x4000, 1),
        ([0x7C00, 0xFE01, NAN, 0x7C00], NAN, 1),
        ([0xFC00, 0xFC00, 0xFC00, 0xFC00], 0xFC00, 0),
    ]
    for window, word, place in windows:
        x = np.array(window, np.uint16).reshape(1, 2, 2, 1)
        found = pool.MAX_FORWARD.oracle(MaxPoolConfig(), {"x": x})
        assert (found["y"].item(), found["index"].item()) == (word, place)


@pytest.mark.parametrize("mode", [FloatMode(), UP], ids=["nearest", "up"])
@pytest.mark.parametrize(
    ("kernel", "shape"), [(2, (2, 4, 6, 3)), (3, (1, 7, 8, 2)), (None, (2, 3, 5, 2)), (1, (1, 2, 2, 1))]
)
def test_average_pool(kernel, shape, mode):
    """SPEC.md A3, T2, F5: FP32 tree over w, rows in order from +0, one rounding of sum * fp32(1/n)."""
    config, x = AvgPoolConfig(kernel, mode), draw(shape, 7)
    x[0, 0, 0] = 0x8001
    found = pool.AVG_FORWARD.oracle(config, {"x": x})
    n, h, w, c = shape
    kernel_h, kernel_w = (h, w) if kernel is None else (kernel, kernel)
    oh, ow = h // kernel_h, w // kernel_w
    inv_n = np.float32(1) / np.float32(kernel_h * kernel_w)
    wide = (
        np.where((x & 0x7C00 == 0) & mode.flush, x & 0x8000, x)
        .astype(np.uint16)
        .view(np.float16)
        .astype(np.float32)
    )
    for image, i, j, channel in itertools.product(range(n), range(oh), range(ow), range(c)):
        total = np.float32(0)
        for a in range(kernel_h):
            cells = list(wide[image, i * kernel_h + a, j * kernel_w : (j + 1) * kernel_w, channel])
            cells += [np.float32(0)] * ((1 << (kernel_w - 1).bit_length()) - kernel_w)
            level = 0
            while len(cells) > 1:
                cells = [cells[k] + cells[k + 1] for k in range(0, len(cells), 2)]
                level += 1
                tap = found[f"sum_level{level}"][image, i, a, j, :, channel]
                assert tap.tolist() == np.array(cells).view(np.uint32).tolist()
            total = total + cells[0]
            assert found["sum_running"][a, image, i, j, channel] == total.view(np.uint32)
        assert found["sum"][image, i, j, channel] == total.view(np.uint32)
        exact = Fraction(float(total)) * Fraction(float(inv_n))
        assert found["y"][image, i, j, channel] == softfloat.from_fraction(
            fp16.FP16, exact, mode, int(total < 0)
        )
    dy = draw((n, oh, ow, c), 8)
    dx = pool.AVG_BACKWARD.oracle(config, {"dy": dy, "input_hw": np.array([h, w])})["dx"]
    assert dx.shape == shape
    for image, at, across, channel in np.ndindex(shape):
        i, j = at // kernel_h, across // kernel_w
        word = int(dy[image, i, j, channel]) if i < oh and j < ow else 0
        number = fp16.read(word, mode)
        exact = softfloat.exact(number) * Fraction(float(inv_n))
        assert dx[image, at, across, channel] == softfloat.from_fraction(fp16.FP16, exact, mode, number.sign)


def test_average_pool_specials_and_refusals():
    """SPEC.md A3, F4, F6: infinities and NaN pass through; a window larger than the map is refused."""
    x = words16([[[[np.inf, np.nan, np.inf]], [[1, 1, -np.inf]]]])
    assert pool.AVG_FORWARD.oracle(AvgPoolConfig(None, UP), {"x": x})["y"].ravel().tolist() == [0x7C00, NAN, NAN]
    with pytest.raises(BitrowError, match="average pool kernel"):
        pool.AVG_FORWARD.oracle(AvgPoolConfig(2), {"x": x})


@pytest.mark.parametrize("inputs", [1, 5, 8, 13])
def test_linear(inputs):
    """SPEC.md A4, T2: products exact in FP32, a pairwise tree, one rounding of sum + bias; and back."""
    rng = np.random.default_rng(9)
    x, weight, dy = draw((3, inputs), 10), draw((inputs, 6), 11), draw((3, 6), 12)
    bias = np.float32(np.ldexp(rng.normal(0, 1, 6), rng.integers(-30, 12, 6))).view(np.uint32)
    for mode in (FloatMode(), FloatMode(Rounding.DOWN)):
        found = linear.FORWARD.oracle(LinearConfig(mode), {"x": x, "weight": weight, "bias": bias})
        total = judged_tree(found, x[:, :, None], weight[None], axis=1)
        for index in np.ndindex(total.shape):
            exact = Fraction(float(total[index])) + Fraction(float(bias.view(np.float32)[index[1]]))
            assert found["y"][index] == softfloat.from_fraction(fp16.FP16, exact, mode)
        found = linear.BACKWARD.oracle(LinearConfig(mode), {"dy": dy, "weight": weight})
        total = judged_tree(found, dy[:, None, :], weight[None], axis=2)
        dx = [fp16.from_float32(int(word), mode) for word in total.view(np.uint32).ravel()]
        assert found["dx"].ravel().tolist() == dx


def judged_tree(found, a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
    """The pairwise tree over `axis` of float32 products, each level compared with the taps."""
    level = a.view(np.float16).astype(np.float32) * b.view(np.float16).astype(np.float32)
    level = np.moveaxis(level, axis, 0)
    count = 0
    while level.shape[0] > 1:
        if count == 0:
            width = 1 << (level.shape[0] - 1).bit_length()
            level = np.concatenate([level, np.zeros((width - level.shape[0], *level.shape[1:]), np.float32)])
        level = level[0::2] + level[1::2]
        count += 1
        assert np.array_equal(found[f"sum_level{count}"], np.moveaxis(level, 0, axis).view(np.uint32))
    assert f"sum_level{count + 1}" not in found
    assert np.array_equal(found["sum"], level[0].view(np.uint32))
    return level[0]


def test_linear_specials():
    """SPEC.md A4, F3, F4, F5: signs of zero sums, canonical NaN; operands flush, the FP32 bias does not."""
    one = words16([[1.0]])
    down, flush = LinearConfig(FloatMode(Rounding.DOWN)), LinearConfig(FloatMode(flush=True))

    def y(config, x, weight, bias):
        inputs = {
            "x": words16([[x]]),
            "weight": words16([[weight]]),
            "bias": np.float32([bias]).view(np.uint32),
        }
        return int(linear.FORWARD.oracle(config, inputs)["y"][0, 0])

    assert y(LinearConfig(), 1, 1, -1) == 0
    assert y(down, 1, 1, -1) == 0x8000
    assert y(LinearConfig(), -0.0, 1, -0.0) == 0x8000
    assert y(LinearConfig(), np.inf, 1, -np.inf) == NAN
    assert y(flush, 2.0**-24, 2.0**10, 0) == 0
    assert y(flush, 2.0**-10, 1, 1e-39) == 0x1400
    assert y(LinearConfig(FloatMode(Rounding.UP)), 2.0**-10, 1, 1e-39) == 0x1401
    with pytest.raises(BitrowError, match="linear x"):
        linear.FORWARD.oracle(
            LinearConfig(), {"x": one, "weight": one.repeat(2, 0), "bias": np.zeros(1, np.uint32)}
        )
    with pytest.raises(BitrowError, match="linear dy"):
        linear.BACKWARD.oracle(LinearConfig(), {"dy": one, "weight": one.repeat(2, 1)})


def test_rows_of_every_layer():
    """SPEC.md V5: chosen rows are the rows of the whole result."""
    x, other = draw((2, 6, 5, 3), 13), draw((2, 6, 5, 3), 14)
    rows = [(1, 2), (0, 0)]
    pooled = pool.MAX_FORWARD.oracle(MaxPoolConfig(3, 2, 1), {"x": x})
    dy = draw(pooled["y"].shape, 15)
    calls = [
        lambda rows: elementwise.RELU_FORWARD.oracle(ReluConfig(), {"x": x}, rows),
        lambda rows: elementwise.RELU_BACKWARD.oracle(ReluConfig(True), {"x": x, "dy": other}, rows),
        lambda rows: elementwise.ADD_FORWARD.oracle(AddConfig(), {"x": x, "shortcut": other}, rows),
        lambda rows: pool.MAX_FORWARD.oracle(MaxPoolConfig(3, 2, 1), {"x": x}, rows),
        lambda rows: pool.MAX_BACKWARD.oracle(
            MaxPoolConfig(3, 2, 1), {"dy": dy, "index": pooled["index"], "input_hw": np.array([6, 5])}, rows
        ),
        lambda rows: pool.AVG_FORWARD.oracle(AvgPoolConfig(2), {"x": x}, rows),
        lambda rows: pool.AVG_BACKWARD.oracle(
            AvgPoolConfig(2), {"dy": x[:, :3, :2], "input_hw": np.array([6, 5])}, rows
        ),
    ]
    for call in calls:
        whole, part, none = call(None), call(iter(rows)), call([])
        assert set(whole) == set(part) == set(none)
        for name, tap in part.items():
            assert np.array_equal(tap, sample(name, whole[name], rows)), name
            assert np.array_equal(none[name], sample(name, whole[name], [])), name


def test_tree_and_running_sum():
    """SPEC.md B2, T2: pairs first, padding with +0 (which makes a lone -0 +0), a running sum in order."""
    arithmetic = Arithmetic(fp32.FP32)
    minus_zero = np.array([0x80000000] * 3, np.uint32)
    levels, total = tree(arithmetic, minus_zero, axis=0)
    assert [level.tolist() for level in levels] == [[0x80000000, 0], [0]] and total == 0
    levels, total = tree(arithmetic, minus_zero[:1], axis=0)
    assert levels == [] and total == 0x80000000
    big, small = np.float32(2**24).view(np.uint32), np.float32(1).view(np.uint32)
    sums = running(arithmetic, np.array([big, small, small], np.uint32))
    assert sums.tolist() == [big, big, big]
    _, total = tree(arithmetic, np.array([small, small, big, 0], np.uint32), axis=0)
    assert total == np.float32(2**24 + 2).view(np.uint32)
