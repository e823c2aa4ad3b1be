"""Row traces (SPEC.md V6): what the files say, an engine that consumes them, checks, a design's dumps."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from bitrow import cli, model_file
from bitrow.config import AddConfig, AvgPoolConfig, BatchNormConfig, ConvConfig, LinearConfig, MaxPoolConfig, ReluConfig
from bitrow.graph import INPUT, ConvSize, LinearSize, Network, Node
from bitrow.pipeline.machine import Machine, to_toml
from bitrow.synthetic import synthetic
from bitrow.vectors.network_pass import Pass
from bitrow.vectors.trace.compare import compare_trace
from bitrow.vectors.trace.verify import check_trace, recompute_trace
from row_engine import RowEngine, read_image, read_stream, read_table

NETWORK = Network("tiny", (8, 6, 2), (
    Node("stem", ConvConfig(padding=1), (INPUT,), ConvSize(3, 3, 4)),
    Node("stem_bn", BatchNormConfig(), ("stem",)),
    Node("stem_relu", ReluConfig(), ("stem_bn",)),
    Node("main", ConvConfig(stride=2, padding=1), ("stem_relu",), ConvSize(3, 3, 5)),
    Node("main_bn", BatchNormConfig(), ("main",)),
    Node("side", ConvConfig(stride=2), ("stem_relu",), ConvSize(1, 1, 5)),
    Node("join", AddConfig(), ("side", "main_bn")),
    Node("join_relu", ReluConfig(), ("join",)),
    Node("top", MaxPoolConfig(), ("join_relu",)),
    Node("pool", AvgPoolConfig(), ("top",)),
    Node("head", LinearConfig(), ("pool",), LinearSize(3)),
), "head")  # fmt: skip
MACHINE = Machine(name="small", fxp_lanes=64, banks=6, ports=2, bank_width=32, loss_latency=40)


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two images, by the command, with the banks at the end of every task."""
    folder = tmp_path_factory.mktemp("trace")
    model_file.save(folder / "tiny.safetensors", synthetic(NETWORK, 1, 2))
    (folder / "small.toml").write_text(to_toml(MACHINE))
    assert cli.run(["pipeline", str(folder / "tiny.safetensors"), "--images", "2", "--freeze", "prompt",
                    "--machine", str(folder / "small.toml"), "--json", "-", "--vectors", str(folder / "set"), "--at", "ends"]) == 0  # fmt: skip
    return folder / "set"


@pytest.fixture(scope="module")
def case(trace: Path) -> dict:
    return json.loads((trace / "case.json").read_text())


def test_an_engine_of_rows_consumes_the_files_and_matches(trace: Path, case: dict) -> None:
    """SPEC.md V6: every row of every ring, and the banks at the end of every task."""
    engine = RowEngine(trace)
    engine.run()
    rings = [stream for stream in case["streams"] if not stream["name"].startswith("host.")]
    rows = sum(stream["rows"] * stream["images"] for stream in rings if stream["name"] != "pool.sum")
    assert engine.checked_rows == rows and engine.checked_words > 10_000
