"""`pytest --record FILE`: what the tests of the kernels find, as records of `bitrow.vectors.found` (SPEC.md V4)."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest

PROPERTY = "record"


class Differs(AssertionError):
    """A kernel's word that is not the judge's; `record` is its problem as a line of the corpus."""

    def __init__(self, text: str, record: str) -> None:
        super().__init__(text)
        self.record = record


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", metavar="FILE", type=Path, help="add what tests of the kernels find to these records")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.record and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(config.option.record))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The record travels with the report from its worker to the one process that writes."""
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, Differs):
        report.user_properties.append((PROPERTY, call.excinfo.value.record))
    return report


class Recorder:
    """Adds each report's record to a file, and says so at the end."""

    def __init__(self, path: Path) -> None:
        self.path, self.said = path, list[str]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        from bitrow.vectors import found

        for name, line in report.user_properties:
            if name == PROPERTY:
                found.add([line], self.path)
                self.said.append(f"{report.nodeid}: recorded in {self.path} as {json.loads(line)['name']}")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for text in self.said:
            terminalreporter.write_line(text)
