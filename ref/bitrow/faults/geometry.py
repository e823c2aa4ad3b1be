"""Faults of where windows lie: sides, axes, dilation, what a mean counts (SPEC.md C1, C2, A2, A3).

`golden/v3` holds the windows that show them.
"""

from __future__ import annotations

from bitrow.faults.mutant import Edit, FaultFamily, Mutant

_GATHER, _WINDOWS = "oracle.gather:", "contract.windows:"
_COLUMNS = "forward_sources(x_hw[1], windows[1])"


def _fault(family: FaultFamily, name: str, does: str, clause: str, *edit: str) -> Mutant:
    return Mutant(name, does, family, clause, (Edit(*edit),))


_SWAPPED = ("kernel, stride, before, _, dilation", "kernel, stride, _, before, dilation")

FORWARD = (
    ("padding_sides_swapped", "a map is padded at its beginning by what belongs to its end", "C1",
     f"{_GATHER}forward_sources", *_SWAPPED),
    ("kernel_dilation_ignored", "a dilated window reads positions side by side", "C1",
     f"{_GATHER}forward_sources", "k * dilation", "k"),
    ("columns_step_as_rows", "windows step along a row by the rows' stride", "C1",
     f"{_GATHER}forward_gather", _COLUMNS,
     "[[at if 0 <= at < x_hw[1] else None for k in range(kw)"
     " for at in [j * windows[0].stride - windows[1].before + k * windows[1].dilation]]"
     " for j in range(windows[1].results(x_hw[1]))]"),
    ("columns_padded_as_rows", "the left side is padded as the top is", "C1",
     f"{_GATHER}forward_gather", _COLUMNS,
     "forward_sources(x_hw[1], windows[1]._replace(before=windows[0].before,"
     " after=windows[1].before + windows[1].after - windows[0].before))"),
    ("columns_dilated_as_rows", "a window's columns are as far apart as its rows", "C1",
     f"{_GATHER}forward_gather", _COLUMNS,
     "[[at if 0 <= at < x_hw[1] else None for k in range(kw)"
     " for at in [j * windows[1].stride - windows[1].before + k * windows[0].dilation]]"
     " for j in range(windows[1].results(x_hw[1]))]"),
)  # fmt: skip

BACKWARD = (
    ("gradient_sides_swapped", "the gradient's windows begin by the padding of the other side", "C2",
     f"{_GATHER}gradient_sources", *_SWAPPED),
    ("gradient_dilation_ignored", "the gradient's kernel is not dilated", "C2",
     f"{_GATHER}gradient_sources", "(kernel - 1 - rotated) * dilation", "(kernel - 1 - rotated)"),
    ("gradient_axes_alike", "the gradient's columns lie as its rows do", "C2",
     f"{_GATHER}gradient_gather", "gradient_sources(size, window.results(size), window)",
     "gradient_sources(size, window.results(size), windows[0]._replace(kernel=window.kernel))"),
)  # fmt: skip

POOLS = (
    ("pool_place_by_columns", "a winner's place counts the window's columns first", "A2",
     f"{_WINDOWS}_search", "kh * window.kernel + kw", "kw * config.windows[0].kernel + kh"),
    ("pool_place_read_by_columns", "a winner's place is read as if it counted the window's columns first", "A2",
     f"{_WINDOWS}_won", "(kh_last - kh) * (kw_last + 1) + kw_last - kw",
     "(kw_last - kw) * (kh_last + 1) + kh_last - kh"),
    ("average_counts_padding", "a mean counts its elements outside the map, asked or not", "A3",
     "contract.pool:_count", "at is not None or config.count_padding", "True"),
    ("average_never_counts_padding", "a mean counts what lies inside the map, asked or not", "A3",
     "contract.pool:_count", "at is not None or config.count_padding", "at is not None"),
    ("average_of_one_window", "an input in several windows of an average takes the first one's gradient", "A3",
     f"{_WINDOWS}_spread", "for cell in met]", "for cell in met[:1]]"),
    ("average_repeats_the_edge", "an average's elements outside the map read its edge", "A3",
     f"{_WINDOWS}_windows", "np.pad(x.words, ((0, 1), (0, 1), (0, 0)))",
     'np.pad(x.words, ((0, 1), (0, 1), (0, 0)), mode="edge")'),
)  # fmt: skip

GEOMETRY = (
    *(_fault(FaultFamily.CONVOLUTION, *fault) for fault in FORWARD),
    *(_fault(FaultFamily.GRADIENT, *fault) for fault in BACKWARD),
    *(_fault(FaultFamily.LAYERS, *fault) for fault in POOLS),
)
