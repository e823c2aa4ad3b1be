"""What a bench needs, where JAX is not installed: `python light.py SET PAGE FOLDER`.

A vector set is read and checked, dumps of a design are compared with it, and the model of docs/model_in_the_loop.md
judges transactions beside a simulator of Python; then nothing of JAX may have been loaded.
"""

from __future__ import annotations

import re
import shutil
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

FORBIDDEN = ("jax", "jaxlib", "flax", "optax", "jaxtyping", "safetensors", "hypothesis")
CASE = "digit0_stem_conv_forward"


def blocks(page: Path) -> dict[str, str]:
    """A page's files by name, which their first lines say."""
    found = r"```(?:systemverilog|python)\n(?:// |# )(\w+\.\w+).*?\n(.*?)```"
    return dict(re.findall(found, page.read_text(), re.DOTALL))


def model(page: Path) -> dict[str, Any]:
    """The names of the page's model.py."""
    module = sys.modules["model"] = types.ModuleType("model")  # where dataclasses look for it
    exec(compile(blocks(page)["model.py"], "model.py", "exec"), vars(module))
    return vars(module)


def _clamp(value: int) -> int:
    return max(-128, min(127, value))


def _wrap(value: int) -> int:
    return (value + 128) % 256 - 128


def design(
    dots: Iterable[Any], register: Callable[[int], int] = _clamp, first: int = 0, cleared: bool = True
) -> Iterator[int]:
    """The page's design in plain Python, and what goes wrong in others."""
    held = 0
    for dot in dots:
        held = first if cleared else held
        for x, w in zip(dot.x, dot.w, strict=True):
            held = register(held + x * w)
        yield held


FAULTS: dict[str, dict[str, Any]] = {
    "a register that wraps": {"register": _wrap},
    "a register that starts at 1": {"first": 1},
    "a register that is never cleared": {"cleared": False},
    "no register's end": {"register": int},
}


def judged(names: dict[str, Any], count: int, **fault: Any) -> int:
    """How many transactions the scoreboard has judged; raises AssertionError at the first that differs."""
    board, dots = names["Scoreboard"](), list(names["drawn"](1, count))
    for dot, word in zip(dots, design(dots, **fault), strict=True):
        board.given(dot)
        board.seen(word)
    assert not board.due
    return int(board.judged)


def main(golden: Path, page: Path, folder: Path) -> None:
    """Every check; an AssertionError, or a command's exit status, says which fails."""
    from bitrow import cli

    dumps = folder / "dumps"
    dumps.mkdir()
    shutil.copy(golden / CASE / "y.hex", dumps / f"{CASE}.y.hex")
    assert cli.run(["verify", str(golden), "--no-recompute"]) == 0
    assert cli.run(["verify", str(golden), "--dut", str(dumps), "--require", CASE]) == 0
    words = (golden / CASE / "y.hex").read_text().split()
    (dumps / f"{CASE}.y.hex").write_text("\n".join([f"{int(words[0], 16) ^ 1:04x}", *words[1:]]))
    assert cli.run(["verify", str(golden), "--dut", str(dumps)]) == 1
    print(judged(model(page), 300), "transactions judged")
    loaded = [name for name in FORBIDDEN if name in sys.modules]
    assert not loaded, loaded


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
