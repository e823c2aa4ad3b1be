"""Machines: checked fields, TOML files, one clear line for each mistake."""

from __future__ import annotations

import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given

from bitrow.errors import BitrowError
from bitrow.pipeline.machine import (
    DEFAULT_MACHINE,
    Mac,
    Machine,
    RingRule,
    as_table,
    load_machine,
    machine_from,
    to_toml,
)
from pipeline_samples import machines


@given(machines())
def test_a_machine_survives_toml(tmp_path_factory, machine):
    path = tmp_path_factory.mktemp("machines") / "one.toml"
    path.write_text(to_toml(machine))
    assert load_machine(path) == machine
    assert machine_from(as_table(machine)) == machine


def test_left_out_fields_keep_their_default_and_the_file_names_the_machine(tmp_path):
    path = tmp_path / "wide.toml"
    path.write_text('fxp_lanes = 4096\nmac = "fp16"\nring_rule = "K+1"\nclock_mhz = 800\n')
    found = load_machine(path)
    assert found == Machine(name="wide", fxp_lanes=4096, mac=Mac.FP16, ring_rule=RingRule.K_PLUS_1, clock_mhz=800)


def test_machines_are_values():
    assert Machine() == DEFAULT_MACHINE and hash(Machine()) == hash(DEFAULT_MACHINE)
    assert replace(DEFAULT_MACHINE, banks=8) != DEFAULT_MACHINE


@pytest.mark.parametrize(
    "text, message",
    [
        ("fxp_lane = 4", "found field 'fxp_lane', expected one of name, clock_mhz"),
        ("fxp_lanes = 0", "fxp_lanes: found 0, expected a whole number from 1"),
        ("fxp_lanes = -3", "fxp_lanes: found -3, expected a whole number from 1"),
        ("fxp_lanes = 1.5", "fxp_lanes: found 1.5, expected a whole number from 1"),
        ("fxp_lanes = true", "fxp_lanes: found True, expected a whole number from 1"),
        ("fxp_lanes = 99999999999999", "fxp_lanes: found 99999999999999, expected a whole number from 1"),
        ("bank_depth = -1", "bank_depth: found -1, expected a whole number from 0"),
        ("clock_mhz = nan", "clock_mhz: found nan, expected a positive number"),
        ("clock_mhz = inf", "clock_mhz: found inf, expected a positive number"),
        ('clock_mhz = "fast"', "clock_mhz: found 'fast', expected a positive number"),
        ("shared = 1", "shared: found 1, expected a bool"),
        ('name = ""', "name: found '', expected a str"),
        ('ring_rule = "K+2"', "ring_rule: found 'K+2', expected one of 'K', 'K+1', 'K+S', 'unbounded'"),
        ('mac = "int8"', "mac: found 'int8', expected one of 'fxp', 'fp16'"),
        ("fxp_lanes = ", "found no valid TOML"),
        ("[machine]\nfxp_lanes = 1", "found field 'machine'"),
    ],
)
def test_bad_files_are_refused_in_one_line_that_names_the_field(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(BitrowError) as error:
        load_machine(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_and_unreadable_files_are_refused(tmp_path):
    with pytest.raises(BitrowError, match="found no such file"):
        load_machine(tmp_path / "none.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BitrowError, match="found bytes at 0 that are no UTF-8"):
        load_machine(binary)


def test_every_field_is_described():
    """The docstring says what each field is."""
    text = Machine.__doc__ or ""
    latencies = {"fxp_latency", "dequantizer_latency", "fp_latency"}
    for field in fields(Machine):
        if field.name not in latencies | {"name", "clock_mhz", "mac"}:
            assert f"`{field.name}`" in text, field.name


def test_the_machine_in_the_docs_is_the_default():
    text = (Path(__file__).parents[1] / "docs" / "pipeline.md").read_text()
    table = tomllib.loads(text.split("```toml")[1].split("```")[0])
    assert set(table) == {field.name for field in fields(Machine)} - {"name"}
    assert replace(machine_from(table), name=DEFAULT_MACHINE.name) == DEFAULT_MACHINE
