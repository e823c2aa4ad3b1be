"""Flags: rationals, kernels, exact integers, the C model and this processor raise the same (SPEC.md F11 to F14, Q6)."""

from __future__ import annotations

import re
from pathlib import Path

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from jax.interpreters import partial_eval

import bitrow
from bitrow import cli
from bitrow.contract.exceptions import FLAGGED
from bitrow.errors import BitrowError
from bitrow.export.c_model import CModel
from bitrow.formats import FP16, FP32, FXP4, UFXP4, Flag, FlagMode, FloatMode, Fxp, Overflow, Rounding, Tininess
from bitrow.ops import flags, fp16, softfloat
from bitrow.oracle import flags as judge
from bitrow.oracle import fp16 as oracle16
from bitrow.oracle import softfloat as exact
from bitrow.oracle.arrays import map_words
from bitrow.testing import flag_modes, problem_for
from bitrow.vectors.coverage import flag_bins
from bitrow.vectors.files import store
from bitrow.vectors.files.decode import word_text
from bitrow.vectors.generate import run_kernel
from bitrow.vectors.network_pass import Pass
from bitrow.vectors.operations import split
from bitrow.vectors.stimulus import stream as stimulus
from bitrow.vectors.stimulus.stream import SPECIAL_WORDS, Stream
from c_library import needs_compiler
from draws import examples
from kernel_judges import expect, same
from processor_flags import ProcessorFlags, needs_processor

GOLDEN = Path(__file__).parents[1] / "golden" / "v4"
EVERY = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
MODES = [FlagMode(rounding, Overflow.INFINITY, flush, tininess)
         for rounding in Rounding for flush in (False, True) for tininess in Tininess]  # fmt: skip
_IDS = {"ids": lambda mode: f"{mode.rounding.value}-{mode.flush}-{mode.tininess.value}"}
CODES = ("to_code", "to_drawn_code")
NV, DZ, OF, UF, NX = Flag.INVALID, Flag.DIVIDE_BY_ZERO, Flag.OVERFLOW, Flag.UNDERFLOW, Flag.INEXACT


@pytest.mark.parametrize("kind", FLAGGED)
@examples(1, shrink=False)
@given(data=st.data())
def test_drawn_words_by_kernels_and_by_exact_integers(kind: str, data: st.DataObject) -> None:
    """SPEC.md F11, F12, F13, F14, Q6: results and flags of the kernel are the oracle's; so are the bins' own."""
    problem = data.draw(problem_for(f"flags.{kind}", size=512))
    operation, config, words = problem.operation, problem.config, problem.given
    expected = expect(problem)
    same("eager", problem, run_kernel(operation, config, words, compiled=False), expected)
    if isinstance(config, Fxp):
        found = flag_bins.of_code(words["t"], words.get("word"), config)
    else:
        step = {"add_fp32": "add", "mul_fp32": "mul", "dequantize": "mul"}.get(kind, kind)
        found = flag_bins.of_step(step, list(words.values()), config)
    np.testing.assert_array_equal(flag_bins.flags(found), expected["flags"])


@pytest.mark.parametrize("kind", ["fma", "from_float32"])
@examples(1, shrink=False)
@given(data=st.data(), mode=flag_modes())
def test_compiled(kind: str, data: st.DataObject, mode: FlagMode) -> None:
    """SPEC.md F11: compiled whole, and under vmap, in drawn modes."""
    problem = data.draw(problem_for(f"flags.{kind}", mode, size=512))
    expected = expect(problem)
    same("compiled", problem, run_kernel(problem.operation, mode, problem.given, compiled=True), expected)


@pytest.mark.parametrize("mode", (MODES[0], MODES[11]), **_IDS)
def test_every_word(mode: FlagMode) -> None:
    """SPEC.md F11 to F14, Q6: roots, conversions, codes of all 65,536 words, by exact integers; some by rationals."""
    half = jnp.asarray(EVERY.view(np.float16))
    some = slice(mode.rounding is Rounding.UP, None, 97)
    for kind in ("sqrt", "to_float32"):
        found = np.asarray(getattr(flags, kind)(half, mode).flags)
        np.testing.assert_array_equal(found, flag_bins.flags(flag_bins.of_step(kind, [EVERY], mode)), kind)
        rational = FLAGGED[kind].oracle(mode, {"a": EVERY[some]})["flags"]
        np.testing.assert_array_equal(found[some], rational, kind)
    word = Stream("flags", mode.rounding.value).words(16, EVERY.shape)
    for fmt in (FXP4, UFXP4, Fxp(2), Fxp(8), Fxp(8, signed=False)):
        found = np.asarray(flags.to_code(half, fmt).flags)
        np.testing.assert_array_equal(found, flag_bins.flags(flag_bins.of_code(EVERY, None, fmt)))
        drawn = np.asarray(flags.to_drawn_code(half, jnp.asarray(word), fmt).flags)
        np.testing.assert_array_equal(drawn, flag_bins.flags(flag_bins.of_code(EVERY, word, fmt)))
        assert drawn[some].tolist() == [judge.to_drawn_code(int(t), int(w), fmt)
                                        for t, w in zip(EVERY[some], word[some], strict=True)]  # fmt: skip


@pytest.mark.parametrize(("kind", "words", "config", "raised"), [
    ("add", (0x7BFF, 0x7BFF), FlagMode(), OF | NX),
    ("add", (0x7BFF, 0x7BFF), FlagMode(overflow=Overflow.SATURATE), OF | NX),  # the largest number, and an overflow
    ("mul", (0x7800, 0x4000), FlagMode(Rounding.TOWARD_ZERO), OF | NX),  # 65536, which has few bits
    ("add", (0x7BFF, 0x0001), FlagMode(), NX),
    ("add", (0x0401, 0x8400), FlagMode(), Flag(0)),  # subnormal and exact
    ("add", (0x0401, 0x8400), FlagMode(flush=True), UF | NX),  # the same, flushed
    ("mul", (0x0001, 0x3C00), FlagMode(flush=True), Flag(0)),  # the operand is flushed, the zero is exact
    ("div", (0x3C00, 0x0001), FlagMode(flush=True), DZ),
    ("div", (0x3C00, 0x8000), FlagMode(), DZ),
    ("div", (0x7C00, 0x0000), FlagMode(), Flag(0)),
    ("div", (0x0000, 0x0000), FlagMode(), NV),
    ("sqrt", (0x8001,), FlagMode(), NV),
    ("sqrt", (0x8001,), FlagMode(flush=True), Flag(0)),
    ("fma", (0x7C00, 0x0000, 0x7E00), FlagMode(), NV),
    ("fma", (0x7E00, 0x0000, 0x7C00), FlagMode(), Flag(0)),
    ("from_float32", (0x387FF800,), FlagMode(), NX),  # rounds to 2^-14 with 11 bits, too: no underflow
    ("from_float32", (0x387FF800,), FlagMode(tininess=Tininess.BEFORE_ROUNDING), UF | NX),
    ("from_float32", (0x387FEFFF,), FlagMode(), UF | NX),  # delivered as 2^-14, but tiny
    ("from_float32", (0x7F800001,), FlagMode(), NV),
    ("from_float32", (0xFFC12345,), FlagMode(), Flag(0)),
    ("from_int32", (65520,), FlagMode(), OF | NX),
    ("from_int32", (65519,), FlagMode(), NX),
    ("to_float32", (0x7D00,), FlagMode(), NV),
    ("to_code", (0x4800,), FXP4, NV),  # 8 is clipped
    ("to_code", (0x4780,), FXP4, NV),  # 7.5 rounds to 8
    ("to_code", (0x477F,), FXP4, NX),
    ("to_code", (0xC800,), FXP4, Flag(0)),
    ("to_code", (0x7E00,), FXP4, NV),
    ("to_drawn_code", (0x477F, 0xFFFF), FXP4, NV),
    ("to_drawn_code", (0x4700, 0xFFFF), FXP4, Flag(0)),
])  # fmt: skip
def test_what_each_raises(kind: str, words: tuple[int, ...], config: FlagMode | Fxp, raised: Flag) -> None:
    """SPEC.md F12, F13, F14, Q6: one example of each rule, by hand."""
    operation = FLAGGED[kind]
    given = {name: np.array([word]).astype(operation.encoding(name, config).dtype)
             for name, word in zip((*operation.inputs, *operation.parameters), words, strict=True)}  # fmt: skip
    for found in (operation.oracle(config, given), run_kernel(operation, config, given, compiled=False)):
        assert Flag(int(found["flags"][0])) == raised, hex(int(found["y"][0]))


# Judges that know nothing of this


@needs_processor
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode.rounding is not Rounding.NEAREST_AWAY
                                  and mode.tininess is Tininess.AFTER_ROUNDING], **_IDS)  # fmt: skip
def test_as_this_processor_raises(mode: FlagMode, tmp_path: Path) -> None:
    """SPEC.md F12, F13, F14: the oracle's rules on FP32, its own flush and a narrowing to FP16, by the status register.

    Two things are x86's own: an invalid product hides behind a quiet NaN addend, and FTZ takes what is tiny before it
    is rounded to its places, where F5 looks at what that gives.
    """
    processor = ProcessorFlags(tmp_path)
    stream = Stream("processor", mode.rounding.value)
    a, b = _singles(stream), _singles(stream.child("b"))
    near = stream.below(3, a.shape) == 0  # products about the smallest normal number
    field = (128 - (a >> 23 & 0xFF).astype(np.int64)) % 254 + 1
    b = np.where(near, (b & 0x807FFFFF) | field << 23, b).astype(np.uint32)
    c = _singles(stream.child("c"))
    for op, operands in (("add", (a, b)), ("sub", (a, b)), ("mul", (a, b)), ("div", (a, b)), ("sqrt", (a,)),
                         ("fma", (a, b, c))):  # fmt: skip
        y, found = processor(op, mode.rounding, mode.flush, *operands)
        for at, words in enumerate(zip(*(each.tolist() for each in operands), strict=True)):
            numbers = [exact.unpack(FP32, word, mode.flush) for word in words]
            if any(judge.signalling(FP32, word) for word in words):
                expected = int(NV)
            else:
                expected = judge.OF[op](FP32, *numbers, mode)
            quiet_addend = op == "fma" and numbers[2].kind is exact.NumberKind.NAN and not found[at]
            lifted = mode.flush and y[at] & 0x7FFFFFFF == 0 and found[at] & UF
            if not quiet_addend and not lifted:
                assert found[at] == expected, (op, [hex(word) for word in words], hex(int(y[at])))


@needs_processor
@pytest.mark.parametrize("rounding", [each for each in Rounding if each is not Rounding.NEAREST_AWAY])
def test_narrowed_as_this_processor_does(rounding: Rounding, tmp_path: Path) -> None:
    """SPEC.md F10, F12, F13: F16C's conversions, and through them products of drawn FP16 words, which FP32 holds."""
    processor, mode = ProcessorFlags(tmp_path), FlagMode(rounding)
    stream = Stream("narrow", rounding.value)
    low = (0x387F0000 + stream.below(1 << 16, 1 << 12)).astype(np.uint32)
    x = np.concatenate([stimulus.float32s(stream, 1 << 15), low])
    y, found = processor("narrow", rounding, False, x)
    np.testing.assert_array_equal(flag_bins.flags(flag_bins.of_step("from_float32", [x], mode)), found)
    some = slice(None, None, 31)
    numbers = {at: exact.unpack(FP32, word) for at, word in enumerate(x[some].tolist())}
    numbers = {at: number for at, number in numbers.items() if number.kind is not exact.NumberKind.NAN}
    assert {at: exact.round_number(FP16, number, mode) for at, number in numbers.items()} == {
        at: int(y[some][at]) for at in numbers}  # fmt: skip

    a, b = (words.view(np.float16) for words in stimulus.pairs(stream, 1 << 14))
    finite = np.isfinite(a) & np.isfinite(b)
    products = a[finite].astype(np.float32) * b[finite].astype(np.float32)
    _, found = processor("narrow", rounding, False, products.view(np.uint32))
    factors = [words.view(np.uint16)[finite] for words in (a, b)]
    np.testing.assert_array_equal(flag_bins.flags(flag_bins.of_step("mul", factors, mode)), found)


def _singles(stream: Stream) -> np.ndarray:
    """FP32 words: any, special, and near both ends of the range."""
    words = stream.words(32, 300)
    ends = stream.choice(np.array([0, 1, 0x7FFFFF, 0x800000, 0x800001, 0x3F800000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000,
                                   0x7FA00000]), words.shape)  # fmt: skip
    sign = words & np.uint32(1 << 31)
    return np.where(stream.below(4, words.shape) == 0, ends.astype(np.uint32) | sign, words).astype(np.uint32)


def test_numpy_complains_of_the_same() -> None:
    """SPEC.md F12, F13: numpy's float16 raises overflow, invalid and divide by zero, on pairs of special words."""
    seen: list[str] = []
    named = {"overflow": OF, "invalid value": NV, "divide by zero": DZ}
    quiet = SPECIAL_WORDS[((SPECIAL_WORDS & 0x7FFF) <= 0x7C00) | ((SPECIAL_WORDS & 0x200) != 0)]
    pairs = [(int(a), int(b)) for a in quiet[::2] for b in quiet[1::3]]
    functions = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
    with np.errstate(over="call", invalid="call", divide="call", call=lambda kind, bits: seen.append(kind)):
        for kind, function in functions.items():
            for a, b in pairs:
                seen.clear()
                function(np.array([a], np.uint16).view(np.float16), np.array([b], np.uint16).view(np.float16))
                found = judge.raised(kind, FP16, [(a, FP16), (b, FP16)], FlagMode()) & (OF | NV | DZ)
                assert sum({named[each] for each in seen}) == found, (kind, hex(a), hex(b), seen)


# Nothing where nothing is asked


@pytest.mark.parametrize("mode", [FlagMode(), FlagMode(Rounding.UP, Overflow.SATURATE, flush=True)], **_IDS)
@pytest.mark.parametrize("kind", [kind for kind in FLAGGED if kind not in (*CODES, "dequantize")])
def test_results_are_traced_as_without_flags(kind: str, mode: FlagMode) -> None:
    """SPEC.md F11: without its flags a program is, equation by equation, the one that never had any."""
    dtype = {"a": np.float32 if "fp32" in kind else np.float16, "b": np.float32 if "fp32" in kind else np.float16,
             "c": np.float16, "x": np.float32, "i": np.int32}  # fmt: skip
    shapes = [jax.ShapeDtypeStruct((3,), dtype[name]) for name in FLAGGED[kind].inputs]
    with_flags = jax.make_jaxpr(lambda *given: getattr(flags, kind)(*given, mode))(*shapes)
    dropped, _ = partial_eval.dce_jaxpr(with_flags.jaxpr, [True, False])
    assert len(dropped.eqns) < len(with_flags.jaxpr.eqns)
    plain = jax.make_jaxpr(lambda *given: _plain(kind, mode.plain, *given))(*shapes)
    assert str(dropped) == str(partial_eval.dce_jaxpr(plain.jaxpr, [True])[0])


def _plain(kind: str, mode: FloatMode, *given: jax.Array) -> jax.Array:
    if kind.endswith("_fp32"):
        words = (softfloat.float32_bits(x) for x in given)
        function = softfloat.add if kind == "add_fp32" else softfloat.mul
        return softfloat.bits_float16(function(*words, FP32, mode, FP16))
    return getattr(fp16, kind)(*given, mode)


def test_a_register_of_flags() -> None:
    """SPEC.md F11: `sticky` is the bitwise or; of nothing it is 0."""
    assert int(bitrow.flags.sticky(jnp.asarray([[1, 0], [5, 16]], jnp.uint8))) == OF | NX | NV
    assert int(bitrow.flags.sticky(jnp.zeros((2, 0), jnp.uint8))) == 0


@pytest.mark.parametrize(("call", "message"), [
    (lambda: FlagMode(tininess="bogus"), "FlagMode tininess: found 'bogus', expected one of after_rounding, before_"),
    (lambda: flags.add(jnp.float16(1), jnp.float16(1), FloatMode()), "flags.add mode: found FloatMode"),
    (lambda: flags.to_code(jnp.float16(1), 4), "flags.to_code fmt: found 4, expected Fxp"),
])  # fmt: skip
def test_what_is_no_setting_is_refused(call, message: str) -> None:
    """SPEC.md F13: in one line, with the argument's name."""
    with pytest.raises(BitrowError) as caught:
        call()
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


# The C model, and sets


def test_the_lines_of_the_docs(capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md F11, F13: the lines of Python in docs/flags.md print what they say."""
    (lines,) = re.findall(r"```python\n(.*?)```", (GOLDEN.parents[1] / "docs/flags.md").read_text(), re.DOTALL)
    exec(lines, {})
    assert capsys.readouterr().out == f"{[OF | NX, UF | NX, Flag(0)]}\n{[OF | UF | NX]}\n"


@needs_compiler
@pytest.mark.parametrize("mode", MODES[1::6], **_IDS)
def test_single_words_in_c(c_model: CModel, mode: FlagMode) -> None:
    """SPEC.md F11 to F14: every public function of flags, on arrays, by exact integers; roots of all words."""
    stream = Stream("c", mode.rounding.value)
    a, b, c = stimulus.triples(stream, 3000)
    x, z = stimulus.float32s(stream, 3000), stimulus.float32s(stream.child("z"), 3000)
    i = stimulus.int32s(stream, 3000)
    scale = (stimulus.spread(stream, i.shape, -14, 15) & 0x7FFF).astype(np.uint16)
    given = {"add": (a, b), "sub": (a, b), "mul": (a, b), "div": (a, b), "fma": (a, b, c), "sqrt": (EVERY,),
             "from_int32": (i,), "from_fp32": (x,), "to_fp32": (EVERY,), "add_fp32": (x, z), "mul_fp32": (x, z),
             "mul_int32": (i, scale)}  # fmt: skip
    kinds = {"from_fp32": "from_float32", "to_fp32": "to_float32", "add_fp32": "add", "mul_fp32": "mul",
             "mul_int32": "mul"}  # fmt: skip
    for name, words in given.items():
        expected = flag_bins.flags(flag_bins.of_step(kinds.get(name, name), list(words), mode))
        assert np.array_equal(c_model.array(f"fp16_{name}_flags", mode, *words), expected), name


def _case(name: str):
    return store.read_case(GOLDEN, name)


def test_the_golden_flags_are_what_the_processor_would_know() -> None:
    """SPEC.md F11: the committed cases hold every flag and every combination that an operation can raise."""
    found = {int(word) for path in GOLDEN.glob("flags_*") for word in _case(path.name).tensor("flags").data.tolist()}
    assert found == {0, NX, NX | UF, NX | OF, DZ, NV}
    assert word_text(5, _case("flags_add_nearest_even").tensor("flags").encoding) == "0x05 (inexact, overflow)"


@pytest.mark.parametrize("kind", ["add", "sub"])
def test_every_sum_of_the_set_sees_its_alignment(kind: str) -> None:
    """SPEC.md F2: each case of sums or differences to nearest has words that a sticky bit of the alignment decides."""
    from bitrow.faults import apply, catalogue
    from bitrow.proofs.mutants.judge import first_difference

    names = [path.name for path in GOLDEN.glob(f"*_{kind}_*") if "fp32" not in path.name]
    assert len(names) >= 2
    with apply.applied(catalogue.find(f"{kind}_alignment_sticky_dropped")):
        for name in names:
            case = _case(name)
            words, expected = split(case)
            kill = first_difference(name, case.operation.oracle(case.config, words), expected)
            assert kill is not None and kill.tap == "y", name


@pytest.mark.parametrize(("fault", "case"), [
    ("word_last_bit_ignored", "fxp_quantize_stochastic_low_bits"),
    ("word_last_bit_ignored", "flags_to_drawn_code_fxp4"),
    ("head_summed_running", "linear_cancelling_forward"),
    ("head_gradient_summed_running", "linear_cancelling_backward"),
    ("average_summed_running", "avg_pool_cancelling_forward"), ("tree_adds_halves", "linear_cancelling_forward"),
    ("mask_missing", "masked_stem_conv_backward"), ("mask_missing", "masked_s2b1_proj_conv_backward"),
])  # fmt: skip
def test_outputs_alone_show_the_fault(fault: str, case: str) -> None:
    """SPEC.md Q3, A3, A4, C2: a bench that compares outputs and no taps finds it in this case."""
    from bitrow.faults import apply, catalogue

    found = _case(case)
    words, expected = split(found)
    outputs = [name for name in found.operation.outputs if name != "mask"]
    with apply.applied(catalogue.find(fault)):
        faulty = found.operation.oracle(found.config, words)
    assert any((faulty[name] != expected[name]).any() for name in outputs)


def test_every_mask_of_the_bright_pass_has_both_values() -> None:
    """SPEC.md Q4, C1: each convolution of the shipped model clips some words of that image, and passes others."""
    from bitrow import models

    walk = Pass(models.load("resnet8_digits"), "bright", lambda one: one.operation.oracle(one.config, one.given))
    steps = list(walk.forward(_case("bright6_whole").tensor("x").data))
    masks = [step.words["mask"] for step in steps if step.problem.operation.name == "conv.forward"]
    assert len(masks) == 9 and all(mask.any() and not mask.all() for mask in masks)
    np.testing.assert_array_equal(walk.logits, _case("bright6_whole").tensor("logits").data)


def test_a_dump_with_a_wrong_flag_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md F11: `verify --dut` compares flags as any output, and says what was raised."""
    name = "flags_mul_nearest_even"
    out = tmp_path / "dut" / name
    out.mkdir(parents=True)
    lines = (GOLDEN / name / "flags.hex").read_text().split()
    at = lines.index("03")
    (out / "y.hex").write_text((GOLDEN / name / "y.hex").read_text())
    (out / "flags.hex").write_text("\n".join([*lines[:at], "01", *lines[at + 1 :]]) + "\n")
    assert cli.run(["verify", str(GOLDEN), "--dut", str(tmp_path / "dut")]) == 1
    said = capsys.readouterr().out
    assert f"{name} flags: 1 of 64 words differ" in said, said
    assert "0x01 (inexact)" in said and "0x03 (inexact, underflow)" in said, said


@examples(40)
@given(words=st.tuples(*[st.integers(0, 0xFFFF)] * 3), mode=flag_modes())
def test_flags_and_results_agree(words: tuple[int, int, int], mode: FlagMode) -> None:
    """SPEC.md F6, F13: an infinite result of finite operands is an overflow or a division by zero; what raises nothing
    and is a number is exact: rounding it otherwise gives the same."""
    numbers = [oracle16.read(word, mode) for word in words]
    found = Flag(judge.raised("fma", FP16, [(word, FP16) for word in words], mode))
    result = oracle16.fma(*words, mode)
    if all(number.kind is exact.NumberKind.FINITE for number in numbers):
        assert (result & 0x7FFF == 0x7C00) <= (OF in found)
        same_up = oracle16.fma(*words, FlagMode(Rounding.UP, mode.overflow, mode.flush))
        same_down = oracle16.fma(*words, FlagMode(Rounding.DOWN, mode.overflow, mode.flush))
        if not found and result & 0x7FFF:
            assert result == same_up == same_down
        assert (UF in found) <= (NX in found) and (OF in found) <= (NX in found)
    else:
        assert found in (Flag(0), NV)


def test_words_are_mapped_once() -> None:
    """SPEC.md F12: a quiet NaN of any payload raises nothing in any operation of two operands."""
    nans = EVERY[((EVERY & 0x7FFF) >= 0x7E00)][::37]
    for kind in ("add", "sub", "mul", "div"):
        raised = map_words(lambda word, kind=kind: judge.raised(kind, FP16, [(word, FP16), (0x3C00, FP16)], MODES[0]),
                           np.uint8, nans)  # fmt: skip
        assert not raised.any(), kind
