"""The C model compiled once for all tests of a run, whichever process asks first."""

from __future__ import annotations

import fcntl
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bitrow.export.c_model import CModel

FOUND = [name for name in ("gcc", "clang") if shutil.which(name)]
needs_compiler = pytest.mark.skipif(not (FOUND or shutil.which("cc")), reason="needs a C compiler: cc, gcc or clang")


@pytest.fixture(scope="session")
def c_model(tmp_path_factory: pytest.TempPathFactory) -> CModel:
    """The library, compiled quickly, every warning an error; what is undefined ends the process."""
    from bitrow.export.c_model import CModel, compile_library

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "c_model"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        library = folder / "libbitrow.so"
        flags = ("-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
        return CModel(library if library.exists() else compile_library(folder, flags))
