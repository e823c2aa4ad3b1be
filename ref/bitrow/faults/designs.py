"""Faults that designs have and the catalogue does not: guesses of a diagnosis, which no vector set answers for.

Each is one of many ways to build a unit wrongly; the catalogue has the fault that stands for them.
"""

from __future__ import annotations

from bitrow.faults.mutant import Edit, FaultFamily, Mutant

_SOFT, _FXP, _WINDOWS = "oracle.softfloat:", "oracle.fxp:", "contract.windows:"
_REST = "rest = significand & ((1 << shift) - 1)"


def _one(family: FaultFamily, name: str, does: str, clause: str, edit: Edit) -> Mutant:
    return Mutant(name, does, family, clause, (edit,))


def _sticky(kept: int, text: str) -> Mutant:
    new = f"{_REST} & -(1 << max(shift - {kept}, 0))"
    does = f"no sticky bit: of what is discarded only {text} is looked at"
    return _one(FaultFamily.ROUNDING, f"sticky_after_{kept}", does, "F2", Edit(f"{_SOFT}round_to", _REST, new))


def _alignment(places: int) -> Mutant:
    """An adder that shifts the smaller operand out, `places` bits below the last one of the larger."""
    new = (
        "    top = (x.exponent if total >= other else y.exponent) - exponent\n"
        "    top = min(top, max(total, other).bit_length() - 11)\n"  # a number of few bits is a word of 11
        f"    lost = max(top - {places}, 0)\n"
        "    if total >= other:\n"
        "        other = other >> lost << lost\n"
        "    else:\n"
        "        total = total >> lost << lost\n"
        "    if x.sign == y.sign:\n"
    )
    does = f"no sticky bit in an adder's alignment: it keeps {places} places below the larger operand's last bit"
    edit = Edit(f"{_SOFT}add", "    if x.sign == y.sign:\n", new)
    return _one(FaultFamily.ROUNDING, f"alignment_keeps_{places}", does, "F2", edit)


def _word(bits: int) -> Mutant:
    does = f"the last {bits} bits of the stochastic word are ignored" if bits > 1 else "the last bit of the stochastic "
    does = does if bits > 1 else f"{does}word is ignored"
    edit = Edit(f"{_FXP}drawn_code", "(word << 8)", f"((word >> {bits} << {bits}) << 8)")
    return _one(FaultFamily.STOCHASTIC, f"word_without_{bits}", does, "Q3", edit)


_CELLS = """cells = [(row[at], kh * window.kernel + kw)
                     for kh, row in kept.items() for kw, at in enumerate(sources) if at is not None]"""
_PADDED = """zeros = [0] * x.words.shape[2]
            cells = [(zeros if kh not in kept or at is None else kept[kh][at], kh * window.kernel + kw)
                     for kh in range(config.windows[0].kernel) for kw, at in enumerate(sources)]"""
_NAN = "    if fp16.is_nan(a):\n"
_LATE = (
    "[[at if 0 <= (at := j * window.stride - window.before + kw * window.dilation + 1) < x.words.shape[1] else None\n"
    "                for kw in range(window.kernel)] for j in range(len(across))]"
)


def _pool(name: str, does: str, edit: Edit) -> Mutant:
    return _one(FaultFamily.LAYERS, name, does, "A2", edit)


POOLS = (
    _pool("pool_padding_is_zero", "padding takes part in the maximum as +0",
          Edit(f"{_WINDOWS}_search", _CELLS, _PADDED)),
    _pool("pool_last_maximum", "the last of equal maxima wins",
          Edit(f"{_WINDOWS}_winner", "max(candidates,", "max(candidates[::-1],")),
    _pool("pool_nan_loses", "a NaN never wins a window",
          Edit(f"{_WINDOWS}_order", "return FP16.infinity_bits + 1", "return -FP16.infinity_bits - 1")),
    _pool("pool_words_as_integers", "the maximum compares words as signed integers",
          Edit(f"{_WINDOWS}_order", _NAN, f"    return a - 0x10000 if a & FP16.sign_mask else a\n{_NAN}")),
    _pool("pool_words_unsigned", "the maximum compares words as unsigned integers",
          Edit(f"{_WINDOWS}_order", _NAN, f"    return a\n{_NAN}")),
    _pool("pool_magnitudes", "the maximum compares magnitudes",
          Edit(f"{_WINDOWS}_order", "return -magnitude if a & FP16.sign_mask else magnitude", "return magnitude")),
    _pool("pool_column_late", "a window starts one column late",
          Edit(f"{_WINDOWS}_search", "for sources in across:", f"for sources in {_LATE}:")),
    _pool("pool_first_gradient_only", "an input that wins several windows takes the first one's gradient alone",
          Edit(f"{_WINDOWS}_gathered", "won[1:]", "won[:0]")),
    _pool("pool_last_gradient_only", "an input that wins several windows keeps the last one's gradient alone",
          Edit(f"{_WINDOWS}_gathered", "won[1:], fp16.canonical(won[0])", "won[:0], fp16.canonical(won[-1])")),
)  # fmt: skip

MASKS = (
    _one(FaultFamily.GRADIENT, "mask_inverted", "the mask passes what it should stop, and stops the rest", "Q4",
         Edit("contract.arithmetic:select", "if passes", "if not passes")),
    _one(FaultFamily.GRADIENT, "mask_stuck_at_0", "the mask is stuck at 0: every gradient is +0", "Q4",
         Edit("contract.arithmetic:select", "if passes", "if False")),
    _one(FaultFamily.GRADIENT, "mask_stuck_at_1", "the mask is stuck at 1, or not applied: every gradient passes", "Q4",
         Edit("contract.arithmetic:select", "if passes", "if True")),
)  # fmt: skip

_OWN = "self.given[name]"
_BEFORE = 'self.operation.program.name == "B1 forward" and name in ("a", "b")'
NORMS = (
    _one(FaultFamily.BATCH_NORM, "norm_of_the_neighbour", "a channel is normed by its neighbour's a and b", "B1",
         Edit("contract.frame:Frame._given", _OWN, f"np.roll({_OWN}, 1) if {_BEFORE} else {_OWN}")),
)  # fmt: skip

DESIGNS: tuple[Mutant, ...] = (
    _sticky(1, "the first bit"), _sticky(2, "the first two bits"), _sticky(3, "the first three bits"),
    *(_alignment(places) for places in range(5)), *(_word(bits) for bits in range(1, 9)), *MASKS, *POOLS, *NORMS,
)  # fmt: skip
