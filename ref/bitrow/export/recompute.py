"""Cases recomputed by the compiled C model (SPEC.md V5)."""

from __future__ import annotations

from bitrow import models
from bitrow.contract.operation import Config, Given, Operation
from bitrow.export.c_model import CModel
from bitrow.oracle.arrays import Words
from bitrow.vectors.case import Case
from bitrow.vectors.generate import JudgeMismatch, first_difference
from bitrow.vectors.network_pass import Pass, WholePass
from bitrow.vectors.operations import split

_JUDGE = "C model"


def run(model: CModel, operation: Operation, config: Config, given: Given) -> Words:
    """Every tap and output of an operation, or of the pass of a shipped model, layer by layer.

    Raises:
        BitrowError: what the C model refuses.
    """
    if not isinstance(operation, WholePass):
        return model.run(operation, config, given)
    walk = Pass(models.load(operation.model), "whole", lambda one: model.run(one.operation, one.config, one.given))
    for steps in (walk.forward(given["x"]), walk.backward(given["dlogits"])):
        for _ in steps:
            pass
    return {"logits": walk.logits, "dx": walk.dx}


def recompute(model: CModel, case: Case) -> list[JudgeMismatch]:
    """Recompute every tap and output of a loaded case by the C model.

    Returns:
        For each tensor that differs its first element, with the stored word and the model's; empty when all agree.

    Raises:
        BitrowError: what the C model refuses.
    """
    given, stored = split(case)
    found = run(model, case.operation, case.config, given)
    mismatches = []
    for tap in case.operation.ordered({*stored, *found}):
        if tap not in stored or tap not in found:
            who = "stored" if tap not in stored else _JUDGE
            mismatches.append(JudgeMismatch(case.name, tap, (), {who: "no such tap"}))
            continue
        digits = case.operation.encoding(tap, case.config).hex_digits
        difference = first_difference(case.name, tap, {"stored": stored[tap], _JUDGE: found[tap]}, digits)
        mismatches += [difference] if difference else []
    return mismatches
