"""Augmentation: a pure function of (seed, epoch, index), the same bits in numpy, JAX and jit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitrow.errors import BitrowError
from bitrow.transfer.augment import Augmentation, augment, usual


def _mixed(z: int) -> int:
    z = (z ^ z >> 16) * 0x7FEB352D % 2**32
    z = (z ^ z >> 15) * 0x846CA68B % 2**32
    return z ^ z >> 16


def _by_hand(image: np.ndarray, seed: int, epoch: int, index: int, how: Augmentation) -> np.ndarray:
    """One image by padding, cropping and reversing, its draws in Python integers."""
    word = _mixed((index * 0x9E3779B9 + _mixed(epoch ^ _mixed(seed))) % 2**32)
    draws = [_mixed((word + k * 0x9E3779B9) % 2**32) >> 16 for k in (1, 2, 3)]
    span = 2 * how.shift + 1
    down, right = (draw * span // 2**16 for draw in draws[:2])
    padded = np.pad(image, ((how.shift, how.shift), (how.shift, how.shift), (0, 0)))
    h, w, _ = image.shape
    if how.flip and draws[2] % 2:
        # the shift is applied to the mirrored picture's own coordinates
        mirrored = np.pad(image[:, ::-1], ((how.shift, how.shift), (how.shift, how.shift), (0, 0)))
        return mirrored[down : down + h, right : right + w]
    return padded[down : down + h, right : right + w]


def _images(n: int = 40, shape: tuple[int, int, int] = (6, 5, 3)) -> np.ndarray:
    return np.random.default_rng(7).standard_normal((n, *shape)).astype(np.float32)


def _bits(x: object) -> np.ndarray:
    return np.asarray(x).view(np.uint32)


@pytest.mark.parametrize("how", [Augmentation(0), Augmentation(1), Augmentation(2, True), Augmentation(9, True)])
def test_equals_padding_and_cropping(how: Augmentation) -> None:
    x = _images()
    expected = np.stack([_by_hand(image, 3, 5, place, how) for place, image in enumerate(x)])
    np.testing.assert_array_equal(_bits(augment(x, 3, 5, how=how)), _bits(expected))


def test_numpy_jax_and_jit_agree() -> None:
    x = _images()
    expected = _bits(augment(x, 11, 2))
    compiled = jax.jit(lambda x, seed, epoch: augment(x, seed, epoch))
    np.testing.assert_array_equal(_bits(augment(jnp.asarray(x), 11, 2)), expected)
    np.testing.assert_array_equal(_bits(compiled(x, jnp.uint32(11), jnp.uint32(2))), expected)


def test_does_not_depend_on_the_batch() -> None:
    x = _images()
    whole = augment(x, 1, 9)
    order = np.random.default_rng(1).permutation(len(x))
    for batch in np.array_split(order, 7):
        np.testing.assert_array_equal(_bits(augment(x[batch], 1, 9, index=batch)), _bits(whole[batch]))


def test_epoch_seed_and_index_matter() -> None:
    x = np.broadcast_to(_images(1), (500, 6, 5, 3))
    first = augment(x, 1, 0)
    assert len(np.unique(first.reshape(500, -1), axis=0)) == 3 * 3 * 2  # every shift, mirrored and not
    for other in (augment(x, 1, 1), augment(x, 2, 0), augment(x, 0, 1)):
        same = (other == first).all((1, 2, 3)).mean()
        assert same < 0.15  # by chance 1 in 18


def test_every_shift_is_as_likely() -> None:
    """Chi-squared with 8 degrees of freedom: above 26.1 once in a thousand."""
    n = 9000
    x = np.zeros((n, 3, 3, 1), np.float32)
    x[:, 1, 1] = 1
    places = augment(x, 5, 5, how=Augmentation(1)).reshape(n, 9).argmax(1)
    counts = np.bincount(places, minlength=9)
    assert ((counts - n / 9) ** 2 / (n / 9)).sum() < 26.1


def test_usual() -> None:
    assert usual((8, 8, 1)) == Augmentation(1, False)
    assert usual((32, 32, 3)) == Augmentation(4, True)
    assert usual((4, 4, 1)) == Augmentation(1, False)


def test_refusals() -> None:
    with pytest.raises(BitrowError, match="expected 0 or more"):
        Augmentation(-1)
    with pytest.raises(BitrowError, match="found shape \\[2, 3\\]"):
        augment(np.zeros((2, 3), np.float32), 0, 0)
    with pytest.raises(BitrowError, match="expected \\[4\\]"):
        augment(np.zeros((4, 3, 3, 1), np.float32), 0, 0, index=np.arange(3))
