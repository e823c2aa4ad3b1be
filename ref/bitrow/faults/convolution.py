"""Faults of the convolution's addressing, of its input gradient, and of the orders of sums (SPEC.md M1, C, B2, T2)."""

from __future__ import annotations

from bitrow.faults.mutant import Edit, FaultFamily, Mutant, neighbours

_GATHER, _WINDOWS, _BACKWARD = "oracle.gather:", "contract.windows:", "contract.conv:BACKWARD"


def _forward(name: str, does: str, clause: str, target: str, old: str, new: str) -> Mutant:
    return Mutant(name, does, FaultFamily.CONVOLUTION, clause, (Edit(target, old, new),))


WINDOWS = (
    _forward("kernel_rows_and_columns_swapped", "kh and kw are swapped", "M1",
             f"{_GATHER}forward_gather", "weight.transpose(3, 0, 1, 2)", "weight.transpose(3, 1, 0, 2)"),
    _forward("kernel_rotated_forward", "the forward kernel is rotated by 180 degrees", "M1",
             f"{_GATHER}forward_gather", "weight.transpose(3, 0, 1, 2)", "weight[::-1, ::-1].transpose(3, 0, 1, 2)"),
    _forward("stride_phase", "a strided window starts on the last row and column of its step", "M1",
             f"{_GATHER}forward_sources", "i * stride - before + k", "i * stride + stride - 1 - before + k"),
    _forward("padding_one_less", "a padded map starts one row and column too late", "M1",
             f"{_GATHER}forward_sources", "i * stride - before + k", "i * stride - max(before - 1, 0) + k"),
    _forward("padding_repeats_the_edge", "positions outside the map read its edge", "M1",
             f"{_GATHER}forward_sources", "at if at in inside else None", "min(max(at, 0), size - 1)"),
    _forward("groups_interleaved", "a group takes every G-th channel", "M1",
             f"{_GATHER}patches", "cell[g * width : (g + 1) * width]", "cell[g::groups]"),
    _forward("group_of_the_first", "every group reads the channels of the first", "M1",
             f"{_GATHER}patches", "cell[g * width : (g + 1) * width]", "cell[:width]"),
)  # fmt: skip


_MASKED = "out dx : 16, n h w c_in = select dx_deq mask"
_FOLDED = "dy_folded : 16, n oh ow c_out = mul dy w_scale if folded"
_SUM = (("1", "folded and float"), ("w_scale", "not folded and float"))  # the scale of dx_sum, and when


def _gradient(name: str, does: str, clause: str, *edits: Edit) -> Mutant:
    return Mutant(name, does, FaultFamily.GRADIENT, clause, edits)


def _one(name: str, does: str, clause: str, target: str, old: str, new: str) -> Mutant:
    return _gradient(name, does, clause, Edit(target, old, new))


def _scaled(*new: str) -> tuple[Edit, ...]:
    """Other lines for dx_deq of an FP16 gradient."""
    line = "dx_deq : 16, n h w c_in = mul dx_sum {0} if {1}"
    return tuple(Edit(_BACKWARD, line.format(*case), "\n".join(new).format(*case)) for case in _SUM)


GRADIENTS = (
    _one("kernel_not_rotated", "the gradient's kernel is not rotated", "C2",
         f"{_GATHER}gradient_gather", "weight[::-1, ::-1]", "weight"),
    _one("kernel_rows_not_rotated", "the gradient's kernel is rotated in its columns only", "C2",
         f"{_GATHER}gradient_gather", "weight[::-1, ::-1]", "weight[:, ::-1]"),
    _one("channels_not_swapped", "the gradient's kernel keeps input and output channels", "C2",
         f"{_GATHER}gradient_gather", "split.transpose(3, 2, 0, 1, 4)", "split.transpose(3, 4, 0, 1, 2)"),
    _one("dilation_phase", "dy is dilated one row and column too late", "C2",
         f"{_GATHER}gradient_sources", "h + before - (kernel", "h + before + stride - 1 - (kernel"),
    _one("dilation_repeats", "dilation repeats dy in place of holes", "C2",
         f"{_GATHER}gradient_sources", "not hole and ", ""),
    _one("mask_missing", "the gradient of clipped inputs passes", "C2",
         _BACKWARD, _MASKED, "out dx : 16, n h w c_in = copy dx_deq"),
    _one("masked_keeps_sign", "a masked gradient is a zero of its sign", "C2",
         "contract.arithmetic:settled", "return select",
         'return select if line.operands[0] != "dx_deq" else lambda deq, mask: deq if mask else deq & 0x8000'),
    _one("fold_missing", "the weight scales are not folded into dy", "C2",
         _BACKWARD, _FOLDED, "dy_folded : 16, n oh ow c_out = mul dy 1 if folded"),
    _gradient("fold_of_the_neighbour", "dy is folded with the neighbour's weight scale", "C2",
              neighbours("C2", "w_scale")),
    _one("gradient_sum_exact", "the FP32 sum of FP16 gradients is rounded once, at its end", "C3",
         "oracle.float_sum:_fp32_of_units", "return bits, -rounded if number.sign else rounded",
         "return bits, units"),
    _one("gradient_sum_skips_zero_codes", "an infinite dy is skipped where its weight code is 0", "C3",
         "oracle.float_sum:_special_sum", "if word is not None:", "if word is not None and code:"),
    _gradient("gradient_sum_to_fp16", "the FP32 sum is rounded to FP16 before it is scaled", "C3",
              *_scaled("let dx_sum_16 : 16, n h w c_in = convert dx_sum if {1}",
                       "dx_deq : 16, n h w c_in = mul dx_sum_16 {0} if {1}")),
    _gradient("gradient_scale_through_float32", "the product of FP32 sum and scale is rounded to FP32 first", "C3",
              *_scaled("let dx_deq_32 : 32, n h w c_in = mul dx_sum {0} if {1}",
                       "dx_deq : 16, n h w c_in = convert dx_deq_32 if {1}")),
)  # fmt: skip


def _order(name: str, does: str, clause: str, *edits: Edit) -> Mutant:
    return Mutant(name, does, FaultFamily.REDUCTION, clause, edits)


_CONSUMERS = "contract.sums:_partial_sums"
ORDERS = (
    _order("products_reversed", "products are summed last to first where their order counts", "M2",
           Edit(f"{_WINDOWS}_summed", "reduce(patch, kernel)", "reduce(patch[::-1], kernel[::-1])")),
    _order("tree_adds_halves", "a tree adds the two halves of a row, not adjacent pairs", "B2",
           Edit("oracle.reduce:tree", "range(0, level.shape[axis], 2)", "range(0, level.shape[axis] // 2)"),
           Edit("oracle.reduce:tree", "range(1, level.shape[axis], 2)",
                "range(level.shape[axis] // 2, level.shape[axis])")),
    _order("tree_padded_in_front", "a tree is padded before its first element", "B2",
           Edit("oracle.reduce:tree", "[words, np.zeros(shape, words.dtype)]",
                "[np.zeros(shape, words.dtype), words]")),
    _order("tree_padded_with_minus_zero", "a tree is padded with -0", "B2",
           Edit("oracle.reduce:tree", "np.zeros(shape, words.dtype)",
                "np.full(shape, arithmetic.fmt.sign_mask, words.dtype)")),
    _order("row_summed_running", "a row is summed one element after another, not by a tree", "B2",
           Edit("oracle.reduce:tree", "    return levels, np.take(level, 0, axis=axis)",
                "    return levels, running(arithmetic, np.moveaxis(words, axis, 0))[-1]")),
    _order("rows_reversed", "rows are added last to first", "B2",
           Edit("oracle.reduce:running", "for term in words:", "for term in words[::-1]:")),
    _order("sums_start_at_minus_zero", "sums over rows start at -0", "B2",
           Edit("oracle.reduce:running", "np.zeros(words.shape[1:], words.dtype)",
                "np.full(words.shape[1:], arithmetic.fmt.sign_mask, words.dtype)")),
    _order("consumers_reversed", "the gradients of a value are added first consumer first", "A5",
           Edit(_CONSUMERS, "[source.words[0]]", "[source.words[-1]]"),
           Edit(_CONSUMERS, "source.words[1:]", "source.words[-2::-1]")),
    _order("consumers_summed_in_fp32", "the gradients of a value are added in FP32 and rounded once", "A5",
           Edit(_CONSUMERS, "    for term",
                "    wide, to = Arithmetic(FP32), rounder(line, frame.config)\n"
                "    total = wide.widen(source.words[0], wide.mode)\n    for term"),
           Edit(_CONSUMERS, "totals.append(map_words(arithmetic.add, arithmetic.dtype, totals[-1], term))",
                "total = map_words(wide.add, wide.dtype, total, wide.widen(term, wide.mode))\n"
                "        totals.append(map_words(lambda word: to.convert(wide.read(word)), np.uint16, total))")),
    _order("pool_windows_reversed", "the gradients of a shared winner are added last window first", "A2",
           Edit(f"{_WINDOWS}_gathered", "        return 0\n", "        return 0\n    won = won[::-1]\n")),
)  # fmt: skip

CONVOLUTION = (*WINDOWS, *GRADIENTS, *ORDERS)
