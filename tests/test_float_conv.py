"""The host's float32 convolution against lax's and its gradients: on small integers every sum is exact."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from jax import lax

from bitrow.config import ConvConfig
from bitrow.float_conv import float_conv


@pytest.mark.parametrize(
    ("config", "kernel", "hw"),
    [
        (ConvConfig(padding=1), (3, 3), (6, 5)),
        (ConvConfig(stride=2, padding=1), (3, 3), (7, 6)),
        (ConvConfig(stride=2), (1, 1), (5, 4)),
        (ConvConfig(padding=2, groups=2), (5, 3), (6, 6)),
        (ConvConfig(stride=2, padding=1, groups=4), (3, 3), (8, 7)),
        (ConvConfig(stride=3), (2, 2), (9, 7)),
        (ConvConfig(stride=(2, 1), padding=(0, 1, 2, 0), dilation=(1, 2), groups=2), (3, 2), (6, 5)),
        (ConvConfig(stride=(2, 3), padding=(3, 1, 0, 2), dilation=(3, 2)), (2, 3), (8, 7)),
    ],
)
def test_values_and_gradients(config: ConvConfig, kernel: tuple[int, int], hw: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-8, 8, (2, *hw, 4)).astype(np.float32)
    weight = rng.integers(-8, 8, (*kernel, 4 // config.groups, 8)).astype(np.float32)

    down, across = config.windows(kernel)

    def plain(x: jax.Array, weight: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(
            x, weight, (down.stride, across.stride), [(down.before, down.after), (across.before, across.after)],
            rhs_dilation=(down.dilation, across.dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=config.groups,
        )  # fmt: skip

    expected, pull = jax.vjp(plain, x, weight)
    found, found_pull = jax.vjp(lambda x, weight: float_conv(config, x, weight), x, weight)
    np.testing.assert_array_equal(found, expected)
    dy = rng.integers(-8, 8, expected.shape).astype(np.float32)
    for mine, its in zip(found_pull(dy), pull(dy), strict=True):
        np.testing.assert_array_equal(mine, its)
