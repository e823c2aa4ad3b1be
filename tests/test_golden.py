"""The committed set regenerates byte for byte (SPEC.md V4), and holds what its README promises."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bitrow import models
from bitrow.contract.operations import NAMES
from bitrow.vectors import catalog, generate, passes
from bitrow.vectors.files import store
from bitrow.vectors.files.check import check

GOLDEN = Path(__file__).parents[1] / "golden" / "v1"
SETS = {"v1": ("smoke",), "v2": ("layers",), "v3": ("geometry", "blocks"), "v4": ("flags", "corners")}  # of suites
SEED = 1
LIMIT = 2_000_000


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.slow] * (name == "v4")) for name in SETS
])
def test_every_byte_regenerates(name: str, tmp_path: Path) -> None:
    """SPEC.md V4, V5: apart from the libraries' versions, the contract fixes everything in a set."""
    suites, out = SETS[name], tmp_path / name
    generate.generate(out, catalog.problems(suites, None, SEED), SEED, " ".join(suites))
    found, expected = files(out), files(GOLDEN.parent / name)
    assert list(found) == list(expected)
    manifests = [json.loads(side.pop("manifest.json")) for side in (found, expected)]
    for manifest in manifests:
        assert set(manifest.pop("versions")) == {"jax", "jaxlib", "numpy"}
    assert manifests[0] == manifests[1]
    assert [name for name in expected if found[name] != expected[name]] == []


@pytest.mark.parametrize("name", SETS)
def test_the_set_is_sound_and_small(name: str) -> None:
    """SPEC.md V1 to V4: schema, checksums, words; at most 2 MB."""
    assert check(GOLDEN.parent / name) == []
    assert sum(len(content) for content in files(GOLDEN.parent / name).values()) <= LIMIT


def test_the_sets_cover_every_operation() -> None:
    """SPEC.md V4: every operation is in one of them, and its coverage says what it hits."""
    covered = [json.loads((GOLDEN.parent / name / "manifest.json").read_text())["coverage"] for name in SETS]
    operations = {name: entry for coverage in covered for name, entry in coverage["operations"].items()}
    assert set(NAMES) <= set(operations)
    assert all(entry["hit"] > 0 or entry["total"] == 0 for entry in operations.values())
    assert all(coverage["bins_hit"] >= 0.8 * coverage["bins_total"] for coverage in covered[:2])  # of whole operations
    missed = {name: set.intersection(*(set(coverage["operations"][name]["missed"]) for coverage in covered
                                       if name in coverage["operations"])) for name in operations}  # fmt: skip
    assert sum(map(len, missed.values())) <= 0.2 * sum(entry["total"] for entry in operations.values())


def test_the_pass_is_chained() -> None:
    """SPEC.md C1, A4: a layer's input is its predecessor's output; the ends are the whole pass's."""
    model = models.load(passes.MODEL)
    produced: dict[str, np.ndarray] = {}
    whole = store.read_case(GOLDEN, "digit0_whole")
    produced["input"] = whole.tensor("x").data
    for node in model.network.nodes:
        case = store.read_case(GOLDEN, f"digit0_{node.name}_forward")
        name = "y" if case.operation.name.startswith("batch_norm") else "x"
        source = produced[node.inputs[0]]
        np.testing.assert_array_equal(case.tensor(name).data, source.reshape(case.tensor(name).data.shape))
        produced[node.name] = case.tensor("z" if name == "y" else "y").data
    np.testing.assert_array_equal(produced[model.network.output], whole.tensor("logits").data)
    last = store.read_case(GOLDEN, f"digit0_{model.network.nodes[0].name}_backward")
    np.testing.assert_array_equal(last.tensor("dx").data, whole.tensor("dx").data)


def test_the_pass_is_a_real_digit() -> None:
    """The image is a sample of the shipped model, which knows what it shows."""
    model = models.load(passes.MODEL)
    assert model.samples is not None
    whole = store.read_case(GOLDEN, "digit0_whole")
    np.testing.assert_array_equal(whole.tensor("x").data, model.samples.images[:1].view(np.uint16))
    logits = whole.tensor("logits").data.view(np.float16)
    assert int(logits.argmax()) == int(model.samples.labels[0])
