"""A comparison of dumps as JUnit's XML, which CI servers show: a test for each case, and for each file that is none."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from bitrow.terminal import plain
from bitrow.vectors.diagnose.report import DutReport

_SUITE = "bitrow verify --dut"


def junit(report: DutReport, vectors: Path) -> str:
    """The report as XML: a failure where words differ or a required case is not dumped, an error for a file that
    cannot be compared, skipped where a case is not dumped.
    """
    suite = ElementTree.Element("testsuite", name=_SUITE, tests="0", failures="0", errors="0", skipped="0")
    for case in report.cases:
        test = _test(suite, vectors.name, case.case)
        if not case.matches:
            *_, last = lines = list(case.lines())
            _add(test, "failure", last, lines)
    for name in report.missing:
        test = _test(suite, vectors.name, name)
        if name in report.required:
            _add(test, "failure", "required, but not dumped", [])
        else:
            ElementTree.SubElement(test, "skipped", message="not dumped")
    for one in report.unread:
        _add(_test(suite, vectors.name, str(one.path)), "error", one.message, [])
    kinds = {"tests": "testcase", "failures": "testcase/failure", "errors": "testcase/error",
             "skipped": "testcase/skipped"}  # fmt: skip
    for attribute, path in kinds.items():
        suite.set(attribute, str(len(suite.findall(path))))
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _test(suite: ElementTree.Element, group: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=plain(group), name=plain(name))


def _add(test: ElementTree.Element, kind: str, message: str, lines: list[str]) -> None:
    found = ElementTree.SubElement(test, kind, message=plain(message))
    found.text = "\n".join(plain(line) for line in lines)
