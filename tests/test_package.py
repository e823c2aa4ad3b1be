"""What a user gets: a wheel that holds its data and runs elsewhere, a README that runs, names of one meaning."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bitrow import __version__

ROOT = Path(__file__).parents[1]


def run(*command: str, cwd: Path, **environment: str) -> str:
    result = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from an sdist of the tracked files alone, with the build backend that is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("needs a git checkout, to build from tracked files alone")
    for name in filter(None, tracked.stdout.split("\0")):
        if name.startswith(("ref/", "pyproject.toml", "README.md", "LICENSE")) and (ROOT / name).exists():
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), cwd=folder / "source")
    return next(folder.glob("bitrow-*.whl"))


def test_wheel_holds_the_package_and_its_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"bitrow/py.typed", "bitrow/models/resnet8_digits.safetensors", "bitrow/contract/conv.py"} <= names
    assert "bitrow/pipeline/templates/report.html" in names
    assert f"bitrow-{__version__}.dist-info/licenses/LICENSE" in names
    assert not [name for name in names if name.startswith("tests/")]


def test_wheel_runs_where_it_is_installed(wheel: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    run(*pip, "--target", str(tmp_path), str(wheel), cwd=tmp_path)
    where = "import bitrow; from bitrow.models import load; print(bitrow.__file__, load('resnet8_digits').network.name)"
    found = run(sys.executable, "-c", where, cwd=tmp_path, PYTHONPATH=str(tmp_path)).split()
    assert Path(found[0]).is_relative_to(tmp_path) and found[1] == "resnet8"
    version = run(sys.executable, "-m", "bitrow", "--version", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert __version__ in version


def test_what_is_pinned_is_allowed_and_names_no_place() -> None:
    """The lock has every dependency and extra that pyproject.toml names, within its bounds; no URL, folder or index."""
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    pins = dict(line.partition(" ;")[0].split("==") for line in lock if not line.startswith("#"))
    assert all(re.fullmatch(r"#.*|[\w.-]+==[\w.]+( ; [\w.'()<>=! -]+)?", line) for line in lock)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = (project["dependencies"], *project["optional-dependencies"].values())
    for line in map(Requirement, (line for group in groups for line in group)):
        assert line.name == "bitrow" or line.specifier.contains(pins[line.name]), line
        assert line.name == "bitrow" or not any(part.operator == "==" for part in line.specifier), line


def test_the_citation_is_this_version() -> None:
    """CITATION.cff says the version and licence that pyproject.toml says."""
    said = dict(re.findall(r"^(\w+): \"?([^\"\n]+)\"?$", (ROOT / "CITATION.cff").read_text(), re.M))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (said["version"], said["license"]) == (project["version"], project["license"]) == (__version__, "Apache-2.0")


def test_readme_example_runs(tmp_path: Path) -> None:
    match = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert match
    lines = run(sys.executable, "-c", match.group(1), cwd=tmp_path).splitlines()
    assert lines[0].startswith("1.0") and lines[1].startswith("1.001")
    assert re.fullmatch(r"\[(\d)\] \[\1\] \d+ taps", lines[2])


def test_the_layer_of_the_docs(tmp_path: Path) -> None:
    """SPEC.md V4: the file and the lines of Python in docs/vectors.md are one layer, and say its cases."""
    page = (ROOT / "docs/vectors.md").read_text()
    (described,), (lines,) = (re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("toml", "python"))
    (tmp_path / "conv.toml").write_text(described)
    same = "import pathlib\nfrom bitrow.vectors.layer_file import load\n"
    same += "assert load(pathlib.Path('conv.toml')) == layer"
    assert run(sys.executable, "-c", lines + same, cwd=tmp_path) == "['conv_forward', 'conv_backward']\n"


def test_no_function_takes_more_than_seven_parameters() -> None:
    """What belongs together is a record, which has as many fields as it needs; `self` does not count."""
    offenders = []
    for path in sorted((ROOT / "ref/bitrow").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                given = node.args
                names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
                names += [each.arg for each in (given.vararg, given.kwarg) if each]
                if len([name for name in names if name not in ("self", "cls")]) > 7:
                    name = getattr(node, "name", "lambda")
                    offenders.append(f"{path.relative_to(ROOT)}:{node.lineno} {name} takes {len(names)}")
    assert not offenders


def types(tree: ast.Module) -> Iterator[str]:
    """Classes of a module, and names in capitals and small letters that it gives to types."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if isinstance(target, ast.Name) and re.match("[A-Z].*[a-z]", target.id):
                yield target.id


def test_a_name_of_a_type_has_one_meaning() -> None:
    """No two modules name classes, or aliases of types, alike; `Config` is any configuration, in both rooms."""
    places: dict[str, list[str]] = {}
    for path in sorted((ROOT / "ref/bitrow").rglob("*.py")):
        for name in types(ast.parse(path.read_text(encoding="utf-8"))):
            places.setdefault(name, []).append(str(path.relative_to(ROOT / "ref")))
    assert "bitrow/layers/layer.py" in places["Layer"]
    assert {name: where for name, where in places.items() if len(where) > 1} == {
        "Config": ["bitrow/contract/operation.py", "bitrow/layers/rows.py"]
    }
