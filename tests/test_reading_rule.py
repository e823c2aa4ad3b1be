"""All code of the package reads files by `bitrow.reading` and prints by `bitrow.terminal`, and by nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bitrow

ROOT = Path(bitrow.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
READERS, WRITER = ROOT / "reading", ROOT / "terminal.py"

METHODS = {"read_text", "read_bytes", "open", "fdopen", "readlink", "ZipFile", "GzipFile", "fromfile", "loadtxt",
           "genfromtxt", "memmap", "safe_open", "load_file", "deserialize"}  # fmt: skip
PARSERS = {("json", "load"), ("json", "loads"), ("np", "load"), ("numpy", "load"), ("tomllib", "load"),
           ("tomllib", "loads"), ("pickle", "load"), ("pickle", "loads"), ("jnp", "load")}  # fmt: skip
PRINTERS = {"print", "echo", "secho", "Console", "Table"}
READS = {"open", "safe_open", "load_file", "deserialize", "ZipFile", "GzipFile"}

# What is no reading of what others wrote, or no line of text; how often each stands where.
ALLOWED = {
    ("cli/streams.py", "open"): 2,  # /dev/null, for streams that are closed or whose reader has gone
    ("cli/streams.py", "fdopen"): 1,  # the same
    ("asides.py", "open"): 5,  # descriptors of folders and locks
    ("cli/process.py", "echo"): 1,  # click's own help
    ("vectors/files/atomic.py", "open"): 2,  # folders, to lock and to put on disk
    ("vectors/files/store.py", "open"): 1,  # to take the checksum of what was just written
    ("images/decode.py", "open"): 2,  # bytes that the reader gave
    ("images/idx.py", "GzipFile"): 1,  # a stream that the reader opened
}


def _writes(call: ast.Call) -> bool:
    """The mode says that the file is made: w, x or a."""
    given = [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
    modes = [part.value for part in given if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return any(set(mode) <= set("wxab+t") and set(mode) & set("wxa") for mode in modes)


def _found(source: Path, tree: ast.Module) -> Iterator[tuple[str, int]]:
    """What a module does that only reader and writer may: the name of the function, the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("safetensors", "safetensors.numpy", "tomllib", "json"):
            for alias in node.names:
                if alias.name in READS | {"load", "loads"}:
                    yield alias.name, node.lineno
        if isinstance(node, ast.Import):
            yield from (("tomllib", node.lineno) for alias in node.names if alias.name == "tomllib")
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name):
            if function.id in PRINTERS or (function.id in READS and not _writes(node)):
                yield function.id, node.lineno
        elif isinstance(function, ast.Attribute):
            owner = function.value.id if isinstance(function.value, ast.Name) else ""
            if (owner, function.attr) in PARSERS:
                yield f"{owner}.{function.attr}", node.lineno
            elif function.attr in PRINTERS or (function.attr in METHODS and not _writes(node)):
                yield function.attr, node.lineno
            elif function.attr in ("write", "writelines") and ast.unparse(function.value).startswith("sys.std"):
                yield "sys.stdout.write", node.lineno


def test_files_are_read_and_lines_printed_in_one_place() -> None:
    counts: dict[tuple[str, str], int] = {}
    for source in SOURCES:
        if READERS in source.parents or source == WRITER:
            continue
        for name, _ in _found(source, ast.parse(source.read_text())):
            key = (source.relative_to(ROOT).as_posix(), name)
            counts[key] = counts.get(key, 0) + 1
    assert counts == ALLOWED


def test_no_pattern_takes_digits_of_other_scripts() -> None:
    for source in SOURCES:
        if source.parent.name == "backend":  # patterns of the compiler's own listings
            continue
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                text = node.value if isinstance(node.value, str) else node.value.decode("latin1")
                assert "\\d" not in text, (source, node.lineno)


@pytest.mark.parametrize(
    "text",
    [
        "open(path)",
        "open(path, 'rb')",
        "path.open()",
        "path.open('r+')",
        "path.read_text()",
        "json.load(stream)",
        "json.loads(text)",
        "np.load(path)",
        "import tomllib",
        "from json import loads",
        "from safetensors import safe_open",
        "zipfile.ZipFile(path)",
        "gzip.GzipFile(path)",
        "print('x')",
        "click.echo('x')",
        "Console()",
        "rich.table.Table()",
        "sys.stdout.write('x')",
    ],
)
def test_the_rule_sees_each_way_around_it(text: str) -> None:
    assert list(_found(ROOT / "x.py", ast.parse(text)))


@pytest.mark.parametrize(
    "text", ["open(path, 'w')", "path.open('xb')", "zipfile.ZipFile(sink, 'w')", "terminal.put(x)"]
)
def test_the_rule_leaves_writing_alone(text: str) -> None:
    assert not list(_found(ROOT / "x.py", ast.parse(text)))
