"""Where words differ, before what it may be: in a column, a row modulo a ring, a channel, among saturated words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bitrow.contract.encoding import Kind
from bitrow.vectors.diagnose.scene import Scene
from bitrow.vectors.files.decode import float_of
from bitrow.vectors.files.hexfile import from_file_words

_LARGEST_RING = 16
_LISTED = 4  # places that are named one by one
_AXES = {"n": "image", "h": "row h", "oh": "row oh", "w": "column", "ow": "column", "row": "row", "kh": "kernel row",
         "kw": "kernel column"}  # fmt: skip


def _name(axis: str) -> str:
    if axis in ("c", "c_in", "c_out"):
        return "channel"
    return _AXES.get(axis, axis)


def _place(axis: str, hit: np.ndarray, size: int) -> str | None:
    """Which places of an axis of `size` have words that differ; None where all do, or no rule says which."""
    name, number = _name(axis), len(hit)
    if number == size:
        return None
    if number == 1:
        return f"{name} {hit[0]} of {size}"
    if set(hit) == {0, size - 1}:
        return f"the first and last {name}"
    for ring in range(2, min(_LARGEST_RING, size // 2) + 1):
        rest = int(hit[0]) % ring
        if (hit % ring == rest).all() and number == len(range(rest, size, ring)):
            return f"{name} modulo {ring} = {rest}"
    if hit[-1] - hit[0] == number - 1 and 4 * number <= 3 * size:
        return f"{name} {hit[0]} to {hit[-1]} of {size}"
    return f"{name} {', '.join(map(str, hit))} of {size}" if number <= _LISTED else None


def _places(scene: Scene, wrong: np.ndarray) -> Iterator[str]:
    """The part of the tensor that all differing words lie in."""
    found, box = [], []
    for axis, (letter, size) in enumerate(zip(scene.tensor.layout.split(), wrong.shape, strict=True)):
        hit = np.flatnonzero(wrong.any(tuple(other for other in range(wrong.ndim) if other != axis)))
        text = _place(letter, hit, size) if size > 1 else None
        if text is not None:
            found.append(text)
        box.append(hit if text is not None else np.arange(size))
    if found:
        inside = wrong[np.ix_(*box)]
        share = "every word there" if inside.all() else f"{int(inside.sum())} of {inside.size} words there"
        yield f"only in {', '.join(found)}: {share}"
    elif wrong.all() and wrong.size > 1:
        yield "every word"


def _kinds(scene: Scene, words: np.ndarray) -> dict[str, np.ndarray]:
    """What words are, by name, each a mask."""
    encoding = scene.tensor.encoding
    fmt = float_of(encoding)
    if fmt is not None:
        magnitude = words & (fmt.sign_mask - 1)
        return {
            "a NaN": magnitude > fmt.infinity_bits,
            "an infinity": magnitude == fmt.infinity_bits,
            "an infinity or the largest number": (magnitude >= fmt.max_finite_bits) & (magnitude <= fmt.infinity_bits),
            "subnormal": (magnitude > 0) & (magnitude < 1 << fmt.fraction_bits),
            "a zero": magnitude == 0,
            "zero or subnormal": magnitude < 1 << fmt.fraction_bits,
            "negative": (words & fmt.sign_mask != 0) & (magnitude <= fmt.infinity_bits),
        }
    if encoding.kind not in (Kind.CODE, Kind.INTEGER):
        return {}
    values = from_file_words(words.astype(np.uint32), encoding).astype(np.int64)
    low, high = _range(scene)
    return {
        "saturated at the top": values == high,
        "saturated at the bottom": values == low,
        "saturated": (values == high) | (values == low),
        "zero": values == 0,
        "negative": values < 0,
    }


def _range(scene: Scene) -> tuple[int, int]:
    """The smallest and largest value of a code or register."""
    config: Any = scene.config
    name, encoding = scene.tap, scene.tensor.encoding
    if encoding.kind is Kind.INTEGER:
        register = getattr(config, "accumulator", None)
        if register is not None and hasattr(register, "min"):
            return register.min, register.max
    for field in ("x_format", "dy_format", "weight_format"):
        fmt = getattr(config, field, None)
        if fmt is not None and name.removesuffix("_code") == field.removesuffix("_format"):
            return fmt.min, fmt.max
    low = -(1 << (encoding.bits - 1)) if encoding.signed else 0
    return low, (1 << (encoding.bits - int(encoding.signed))) - 1


def _classes(scene: Scene, wrong: np.ndarray) -> Iterator[str]:
    """What the contract's words are where words differ, and what the design's are."""
    for name, kind in _kinds(scene, scene.expected).items():
        kind = kind & scene.driven
        if kind[wrong].all() and not kind.all():
            number, all_ = int(wrong.sum()), int(kind.sum())
            yield f"only where the contract's word is {name}: {number} of {all_} such words"
            break
    for name, kind in _kinds(scene, scene.found).items():
        if kind[wrong].all() and not kind[~wrong & scene.driven].all():
            yield f"the design's word is {name} in each of them"
            break


def _steps(scene: Scene, wrong: np.ndarray) -> Iterator[str]:
    """How far apart the words are, where that is one and the same."""
    fmt = float_of(scene.tensor.encoding)
    if fmt is None:
        return
    found, expected = scene.found[wrong], scene.expected[wrong]
    sign = fmt.sign_mask
    if (((found ^ expected) & sign) != 0).any() or ((found & (sign - 1)) > fmt.infinity_bits).any():
        return
    step = (found & (sign - 1)) - (expected & (sign - 1))
    if (step == -1).all():
        yield "each of them is one ulp nearer to zero"
    elif (step == 1).all():
        yield "each of them is one ulp farther from zero"
    elif (np.abs(step) == 1).all():
        yield "each of them is one ulp off"


def where(scene: Scene) -> tuple[str, ...]:
    """Where a tap's driven words differ, in sentences; none for one word, or where nothing is seen."""
    wrong = scene.driven & (scene.found != scene.expected)
    if int(wrong.sum()) < 2:
        return ()
    shaped = wrong.reshape(scene.data.shape)
    places = _places(scene, shaped) if shaped.ndim else iter(())
    return (*places, *_classes(scene, wrong), *_steps(scene, wrong))


def all_out_of_range(scene: Scene) -> bool:
    """Whether words differ only where the contract overflows or gives the largest number."""
    wrong = scene.driven & (scene.found != scene.expected)
    kind = _kinds(scene, scene.expected).get("an infinity or the largest number")
    return kind is not None and bool(wrong.any()) and bool(kind[wrong].all())
