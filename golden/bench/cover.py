"""Which cases of a vector set the sample design runs, and how: a plan for each, and why the others have none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bitrow.vectors.files import emit, schema, store
from bitrow.vectors.files.schema import CaseEntry

MOST_WORDS = 1 << 16  # what the parameter port addresses
# Its kinds, as conv_rows.sv and norm_rows.sv have them.
WEIGHT, SCALE, BIAS, FACTOR, SEED, FOLD, MASK, NORM_A, NORM_B = range(9)
BESIDE, OUT = "mid", "out"


@dataclass(frozen=True)
class Part:
    """A tensor in a plan: its case, its name, its number of words and bits of each."""

    case: str
    tensor: str
    count: int
    bits: int

    def package(self, constant: str) -> str:
        """One of the package's constants of the tensor: BITS, DEPTH, HEX, DIM_H and so on."""
        return f"{self.case}_pkg::{self.tensor.upper()}_{constant}"


@dataclass(frozen=True)
class Tap:
    """A tensor that a design gives: beside an accepted input or at its output, at which place of the bus."""

    part: Part
    side: str
    slot: int
    dumped: bool = True


@dataclass(frozen=True)
class Plan:
    """A case's design, its parameters as expressions of the package, what it is given and what it gives.

    `row`: how many words of the map are a row, behind which a source may rest; 0: there are no rows.
    """

    case: str
    module: str
    parameters: dict[str, str]
    loads: tuple[tuple[int, Part], ...]
    operands: tuple[Part, ...]
    taps: tuple[Tap, ...]
    others: tuple[str, ...] = ()  # cases whose design is behind this one
    row: int = 0

    @property
    def count(self) -> Part:
        """What is streamed: every word of it once."""
        return self.operands[0]


class Uncovered(Exception):
    """Why there is no design for a case."""


@dataclass
class Cover:
    """The plans of a set, why cases have none, and the taps that designs do not give, as `CASE TENSOR`."""

    plans: list[Plan] = field(default_factory=list)
    uncovered: dict[str, list[str]] = field(default_factory=dict)
    untapped: list[str] = field(default_factory=list)

    @property
    def cases(self) -> list[str]:
        """The names of the covered cases."""
        return [name for plan in self.plans for name in (plan.case, *plan.others)]


class Entry:
    """A case as its `case.json` and package declare it."""

    def __init__(self, entry: CaseEntry) -> None:
        self.name, self.operation, self.config = entry.name, entry.operation, entry.config
        self.tensors = {tensor.name: tensor for tensor in entry.tensors}
        self.declared = {constant.name.upper() for constant in emit.constants(entry, {})}

    def part(self, name: str) -> Part:
        """One of the tensors.

        Raises:
            Uncovered: the case has none of that name.
        """
        if name not in self.tensors:
            raise Uncovered(f"no {name}")
        tensor = self.tensors[name]
        return Part(self.name, name, tensor.count, tensor.encoding.word_bits)

    def constant(self, *names: str, default: str | None = None) -> str:
        """The first of the package's constants that is declared.

        Raises:
            Uncovered: none is, and there is no default.
        """
        for name in names:
            if name in self.declared:
                return f"{self.name}_pkg::{name}"
        if default is None:
            raise Uncovered(f"no constant {names[0]}")
        return default

    def mode(self) -> dict[str, str]:
        """The parameters of FP16 arithmetic (SPEC.md F3, F5, F6)."""
        return {
            part: self.constant(f"CONFIG_MODE_{part}", f"CONFIG_{part}", default="0")
            for part in ("ROUNDING", "OVERFLOW", "FLUSH")
        }

    def taps(self, side: str, names: tuple[str, ...]) -> list[Tap]:
        """Those of the tensors that the case has, at their places on a bus."""
        return [Tap(self.part(name), side, slot) for slot, name in enumerate(names) if name in self.tensors]


# Operations of single words: what is given, what comes out.
_UNITS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "fp16.add": (("a", "b"), ("y",)),
    "fp16.sub": (("a", "b"), ("y",)),
    "fp16.mul": (("a", "b"), ("y",)),
    "fp16.fma": (("a", "b", "c"), ("y",)),
    "fp16.from_int32": (("i",), ("y",)),
    "fp16.from_float32": (("x",), ("y",)),
    "fp16.to_float32": (("a",), ("y",)),
    "fxp.quantize": (("x", "x_inv_scale"), ("t", "x_code", "mask")),
    "fxp.quantize_stochastic": (("x", "x_inv_scale", "words"), ("t", "x_code", "mask")),
    "fxp.dequantize": (("acc", "scale"), ("acc_fp16", "deq")),
    "add.forward": (("x", "shortcut"), ("y",)),
    "multiply.forward": (("x", "other"), ("y",)),
    "multiply.backward": (("dy", "other", "x"), ("dx", "dother")),
    "relu.forward": (("x",), ("y",)),
    "relu.backward": (("x", "dy"), ("dx",)),
    "hard_swish.forward": (("x",), ("shifted", "gate", "gated", "y")),
    "hard_swish.backward": (("x", "dy"), ("x_third", "slope", "factor", "dx")),
    "hard_sigmoid.forward": (("x",), ("scaled", "shifted", "y")),
    "hard_sigmoid.backward": (("y", "dy"), ("slope", "dx")),
    "batch_norm.backward": (("dz", "a"), ("dy",)),
}


def _unit(entry: Entry) -> Plan:
    given, results = _UNITS[entry.operation]
    if entry.operation.startswith("multiply") and "gate" in entry.tensors:
        raise Uncovered("a gate over a map")
    if entry.operation == "batch_norm.backward" and "mean" in entry.tensors:
        raise Uncovered("batch statistics")
    if entry.operation == "fxp.quantize" and entry.tensors["x_inv_scale"].count != 1:
        raise Uncovered("several scales of a map")
    parameters = {"OPERATION": f"{entry.name}_pkg::OPERATION", **entry.mode()}
    for parameter, constant in (
        ("SIX", "CONFIG_SIX"), ("ALPHA", "CONFIG_ALPHA"), ("BETA", "CONFIG_BETA"), ("TWO_STEP", "CONFIG_DEQUANTIZE"),
        ("BITS", "CONFIG_X_FORMAT_BITS"), ("SIGNED", "CONFIG_X_FORMAT_SIGNED"), ("NARROW", "CONFIG_X_FORMAT_NARROW"),
        ("ACC_BITS", "ACC_BITS"),
    ):  # fmt: skip
        if constant in entry.declared:
            parameters[parameter] = f"{entry.name}_pkg::{constant}"
    operands = tuple(entry.part(name) for name in given)
    return Plan(entry.name, "unit_case", parameters, (), operands, tuple(entry.taps(OUT, results)))


def _pack(entry: Entry) -> Plan:
    code = entry.part("code")
    parameters = {
        "BITS": entry.constant("CONFIG_BITS"),
        "SIGNED": entry.constant("CONFIG_SIGNED"),
        "ROW": f"{code.package('DIM_W')} * {code.package('DIM_C')}",
    }
    return Plan(entry.name, "pack_case", parameters, (), (code,), tuple(entry.taps(OUT, ("packed",))))


def _lfsr(entry: Entry) -> Plan:
    parameters = {"COUNT": entry.part("words").package("DIM_ELEMENT")}
    operands = (entry.part("start"), entry.part("seed"))
    return Plan(entry.name, "lfsr_case", parameters, (), operands, tuple(entry.taps(OUT, ("words",))))


def _norm(entry: Entry) -> Plan:
    if "gamma" in entry.tensors:
        raise Uncovered("batch statistics")
    parameters = {"C": entry.part("y").package("DIM_C"), "FMA": entry.constant("CONFIG_FMA"), **entry.mode()}
    loads = ((NORM_A, entry.part("a")), (NORM_B, entry.part("b")))
    taps = tuple(entry.taps(OUT, ("ay", "z")))
    return Plan(entry.name, "norm_case", parameters, loads, (entry.part("y"),), taps)


_FORWARD = {
    "map": "x", "result": "y", "beside": ("", "", "t", "x_code", "mask"), "out": ("acc", "acc_fp16", "deq", "y"),
}  # fmt: skip
_BACKWARD = {
    "map": "dy", "result": "dx", "beside": ("dy_folded", "dy_words", "dy_t", "dy_code"),
    "out": ("dx_acc", "dx_acc_fp16", "dx_deq", "dx"),
}  # fmt: skip


def _conv(entry: Entry) -> Plan:
    forward = entry.operation == "conv.forward"
    names = _FORWARD if forward else _BACKWARD
    if "dx_sum" in entry.tensors:
        raise Uncovered("FP16 gradients")
    source, result, weight = (entry.part(name) for name in (names["map"], names["result"], "weight_code"))
    channels = ("C_IN", "C_OUT") if forward else ("C_OUT", "C_IN")
    places = (("H", "W"), ("OH", "OW")) if forward else (("OH", "OW"), ("H", "W"))
    scale = entry.part("scale" if forward else "dx_scale")
    folded = not forward and "dy_folded" in entry.tensors
    masked = not forward
    flag = {True: "1", False: "0"}
    transposed = entry.constant("CONFIG_TRANSPOSED", default="0")
    prefix = "X" if forward else "DY"
    parameters = {
        "N": source.package("DIM_N"),
        "H": source.package(f"DIM_{places[0][0]}"), "W": source.package(f"DIM_{places[0][1]}"),
        "C": source.package(f"DIM_{channels[0]}"),
        "OH": result.package(f"DIM_{places[1][0]}"), "OW": result.package(f"DIM_{places[1][1]}"),
        "OC": result.package(f"DIM_{channels[1]}"),
        "KH": weight.package("DIM_KH"), "KW": weight.package("DIM_KW"), "GROUPS": entry.constant("CONFIG_GROUPS"),
        "STRIDE_H": entry.constant("CONFIG_STRIDE_H", "CONFIG_STRIDE"),
        "STRIDE_W": entry.constant("CONFIG_STRIDE_W", "CONFIG_STRIDE"),
        "DILATION_H": entry.constant("CONFIG_DILATION_H", "CONFIG_DILATION", default="1"),
        "DILATION_W": entry.constant("CONFIG_DILATION_W", "CONFIG_DILATION", default="1"),
        "TOP": entry.constant("CONFIG_PADDING_TOP", "CONFIG_PADDING"),
        "LEFT": entry.constant("CONFIG_PADDING_LEFT", "CONFIG_PADDING"),
        "SPREAD": transposed if forward else f"1 - {transposed}", "SWAPPED": flag[not forward],
        "X_BITS": entry.constant(f"CONFIG_{prefix}_FORMAT_BITS"),
        "X_SIGNED": entry.constant(f"CONFIG_{prefix}_FORMAT_SIGNED"),
        "X_NARROW": entry.constant(f"CONFIG_{prefix}_FORMAT_NARROW"),
        "W_BITS": entry.constant("CONFIG_WEIGHT_FORMAT_BITS"),
        "W_SIGNED": entry.constant("CONFIG_WEIGHT_FORMAT_SIGNED"),
        "ACC_BITS": entry.constant("CONFIG_ACCUMULATOR_BITS"),
        "ACC_OVERFLOW": entry.constant("CONFIG_ACCUMULATOR_OVERFLOW"),
        "TWO_STEP": entry.constant("CONFIG_DEQUANTIZE"), "SCALES": scale.package("DEPTH"),
        "FOLDS": entry.part("w_scale").package("DEPTH") if folded else "1",
        "BIASED": flag["bias" in entry.tensors], "FOLDED": flag[folded],
        "DRAWN": "0" if forward else entry.constant("CONFIG_DY_ROUNDING"), "MASKED": flag[masked],
        **entry.mode(),
    }  # fmt: skip
    kinds = {"weight_code": WEIGHT, scale.tensor: SCALE, "bias": BIAS, "seed": SEED}
    kinds |= {"x_inv_scale" if forward else "dy_inv_scale": FACTOR}
    if not forward:
        kinds |= {"mask": MASK, **({"w_scale": FOLD} if folded else {})}
    loads = tuple((kind, entry.part(name)) for name, kind in kinds.items() if name in entry.tensors)
    taps = (*entry.taps(BESIDE, names["beside"]), *entry.taps(OUT, names["out"]))
    row = math.prod(entry.tensors[source.tensor].shape[2:])
    return Plan(entry.name, "conv_case", parameters, loads, (source,), taps, row=row)


def _with_norm(conv: Plan, norm: Plan) -> Plan:
    """A convolution and the frozen norm that reads it, as one design; the norm's input is compared, too."""
    parameters = {**conv.parameters, "NORMED": "1", "FMA": norm.parameters["FMA"]}
    behind = [Tap(tap.part, OUT, tap.slot + 4) for tap in norm.taps]
    taps = (*conv.taps, *behind, Tap(norm.operands[0], OUT, 3, dumped=False))
    loads = (*conv.loads, *norm.loads)
    return Plan(conv.case, conv.module, parameters, loads, conv.operands, taps, (norm.case,), conv.row)


def _chained(plans: dict[str, Plan]) -> list[Plan]:
    for name, plan in list(plans.items()):
        other = name.removesuffix("_conv_forward") + "_bn_forward"
        norm = plans.get(other) if name.endswith("_conv_forward") else None
        results = [tap.part.count for tap in plan.taps if tap.part.tensor == "y"]
        if norm is not None and results == [norm.operands[0].count] and _mode(plan) == _mode(norm):
            plans[name] = _with_norm(plan, plans.pop(other))
    return list(plans.values())


def _mode(plan: Plan) -> tuple[str, ...]:
    return tuple(plan.parameters[part].partition("::")[2] for part in ("ROUNDING", "OVERFLOW", "FLUSH"))


_MAKERS: dict[str, Callable[[Entry], Plan]] = {
    **dict.fromkeys(_UNITS, _unit), "fxp.pack": _pack, "lfsr.words": _lfsr, "batch_norm.forward": _norm,
    "conv.forward": _conv, "conv.backward": _conv,
}  # fmt: skip


def _plan(entry: Entry) -> Plan:
    if entry.operation not in _MAKERS:
        raise Uncovered("no unit for it")
    plan = _MAKERS[entry.operation](entry)
    if any(part.count > MOST_WORDS for _, part in plan.loads):
        raise Uncovered(f"a parameter of more than {MOST_WORDS:,} words")
    return plan


def cover(folder: Path, only: tuple[str, ...] = ()) -> Cover:
    """The plans of a set's cases, of all or only those named.

    Raises:
        BitrowError: no set, or a case that cannot be read.
    """
    found, plans = Cover(), {}
    for name in store.case_names(folder):
        if only and name not in only:
            continue
        entry = Entry(schema.read_case_json(folder, name))
        try:
            plans[name] = _plan(entry)
        except Uncovered as reason:
            found.uncovered.setdefault(f"{entry.operation}: {reason}", []).append(name)
            continue
        given = {tap.part.tensor for tap in plans[name].taps}
        found.untapped += [
            f"{name} {tensor.name}" for tensor in entry.tensors.values()
            if tensor.role.value in ("tap", "output") and tensor.name not in given
        ]  # fmt: skip
    found.plans = _chained(plans)
    return found
