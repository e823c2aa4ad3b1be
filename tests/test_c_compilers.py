"""The C model under every compiler, level and sanitizer, its packages in a simulator, and its commands."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bitrow import cli
from bitrow.errors import BitrowError
from bitrow.export import body, c_model, configs
from bitrow.export.c_model import CModel, compile_library, find_compiler
from bitrow.export.files import model_files
from bitrow.export.operations import function_name
from bitrow.export.scalars import MODES
from bitrow.export.sizes import sizes
from bitrow.formats import FloatMode, Fxp
from bitrow.proofs import judges
from bitrow.vectors.case import Case
from bitrow.vectors.files import store
from bitrow.vectors.network_pass import WholePass
from bitrow.vectors.operations import split
from c_library import FOUND, needs_compiler

pytestmark = needs_compiler
GOLDEN = Path(__file__).parents[1] / "golden"
LEVELS = [("-O0",), ("-O1",), ("-O2",), ("-O3",), ("-O3", "-DBW_WIDEST=128"), ("-O3", "-DBW_WIDEST=256"),
          ("-O3", "-march=native", "-ffp-contract=fast", "-ffast-math")]  # fmt: skip
BIG = "s390x-linux-gnu-gcc", "qemu-s390x"  # Debian's gcc-s390x-linux-gnu and qemu-user
OPERANDS = {"add": 2, "sub": 2, "mul": 2, "div": 2, "fma": 3, "sqrt": 1}


def drawn(count: int) -> list[np.ndarray]:
    """FP16 words, a quarter of them of exponents near the first operand's."""
    rng = np.random.default_rng(13)
    words = [rng.integers(0, 1 << 16, count).astype(np.uint16) for _ in range(3)]
    near = (words[0].astype(np.int64) + rng.integers(-3000, 3000, count)).astype(np.uint16)
    words[1][: count // 4] = near[: count // 4]
    return words


@pytest.mark.slow
@pytest.mark.parametrize("flags", LEVELS, ids=" ".join)
@pytest.mark.parametrize("compiler", FOUND)
def test_every_level_gives_the_same_words(
    compiler: str, flags: tuple[str, ...], c_model: CModel, tmp_path: Path
) -> None:
    """SPEC.md F2 to F6: 2^16 drawn triples in every mode, and the golden sets."""
    from bitrow.export import recompute

    other = CModel(compile_library(tmp_path, flags, shutil.which(compiler)))
    words = drawn(1 << 16)
    for mode in MODES.values():
        for name, count in OPERANDS.items():
            found, expected = (each.array(f"fp16_{name}", mode, *words[:count]) for each in (other, c_model))
            assert np.array_equal(found, expected), (name, mode)
    for version in ("v1", "v2", "v3", "v4"):
        for name in store.case_names(GOLDEN / version):
            assert recompute.recompute(other, store.read_case(GOLDEN / version, name)) == []


@pytest.mark.parametrize("widest", [128, 256, 512])
def test_arrays_by_every_width_of_vectors(widest: int, tmp_path: Path) -> None:
    """SPEC.md F2 to F6, by numpy's float16: each width that a processor may choose; an odd length, over an operand."""
    model = CModel(compile_library(tmp_path, ("-O0", f"-DBW_WIDEST={widest}")))
    a, b, _ = drawn((1 << 14) + 37)
    for name, judge in {"add": np.add, "sub": np.subtract, "mul": np.multiply}.items():
        with np.errstate(all="ignore"):
            expected = judges.canonical(judge(a.view(np.float16), b.view(np.float16)).view(np.uint16))
        assert np.array_equal(model.array(f"fp16_{name}", FloatMode(), a, b), expected)
        over = a.copy()
        pointers = (over.ctypes.data, b.ctypes.data, over.ctypes.data)
        model.function(f"fp16_{name}_array")(configs.mode_bits(FloatMode()), over.size, *pointers)
        assert np.array_equal(over, expected)


def words_of(name: str, words: np.ndarray) -> str:
    """An array as a C constant; an empty one has one word."""
    listed = ",".join(hex(int(word) & (1 << 8 * words.itemsize) - 1) for word in words.reshape(-1)) or "0"
    return f"static const uint{8 * words.itemsize}_t {name}[] = {{{listed}}};\n"


def case_of(number: int, case: Case) -> str:
    """A function that runs a case in C, its results in memory of their very sizes; it says whether words differ."""
    (given, stored), operation = split(case), case.operation
    settings = configs.literal(_settings(case.config))
    fields = [f".{axis} = {size}" for axis, size in sizes(operation, case.config, given).items()]
    arrays = made = compared = ""
    for name in body.given(operation):
        if name in given:
            words = np.asarray(given[name], operation.encoding(name, case.config).dtype)
            arrays += words_of(f"g{number}_{name}", words)
            fields.append(f".{name} = (const void *)g{number}_{name}")
            fields += [f".{name}_count = {words.size}"] if name in body.shared(operation) else []
    for name in body.results(operation):
        if name in stored:
            arrays += words_of(f"e{number}_{name}", stored[name])
            made += f"    void *{name}_ = malloc({stored[name].nbytes});\n"
            fields.append(f".{name} = {name}_")
            compared += (
                f"    wrong |= memcmp({name}_, e{number}_{name}, {stored[name].nbytes}) != 0;\n    free({name}_);\n"
            )
    run, kind = function_name(operation), configs.struct_of(operation.configured_by)
    return (f"{arrays}static int run{number}(void) {{\n{made}    const {kind} config = {settings};\n"
            f"    const {run}_args args = {{{', '.join(fields)}}};\n"
            f"    int wrong = {run}(&config, &args, &taps) != BW_OK;\n{compared}    return wrong;\n}}\n")  # fmt: skip


def _settings(config: object) -> object:
    if isinstance(config, FloatMode):
        return configs.mode_bits(config)
    return {"low": config.min, "high": config.max} if isinstance(config, Fxp) else configs.values(config)


def golden_program(folder: Path, compiler: str, *flags: str) -> Path:
    """A program of C alone that runs every case of the golden sets and names those whose words differ."""
    every = [store.read_case(GOLDEN / version, name) for version in ("v4", "v3", "v2", "v1")
             for name in store.case_names(GOLDEN / version)]  # fmt: skip
    cases = [case for case in every if not isinstance(case.operation, WholePass)]  # of layers
    text = '#include "bitrow.h"\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n'
    text += "static int64_t seen = 0;\n"
    text += "static void tapped(void *user, const bw_tap *tap) { (void)user; seen += tap->rank; }\n"
    text += "static const bw_taps taps = {tapped, NULL, NULL};\n"
    text += "".join(case_of(number, case) for number, case in enumerate(cases))
    calls = "".join(f'    if (run{number}()) printf("{case.name}\\n");\n' for number, case in enumerate(cases))
    (folder / "golden.c").write_text(
        f'{text}int main(void) {{\n{calls}    puts(seen > 0 ? "sound" : "no taps");\n}}\n'
    )
    for name, source in model_files().items():
        (folder / name).write_text(source)
    command = [compiler, "-std=c99", "-O1", *flags, "-o", "golden", "golden.c", "bitrow.c"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "golden"


@pytest.mark.slow
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    """The golden sets under the sanitizers of addresses, leaks and undefined behaviour."""
    flags = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    program = golden_program(tmp_path, find_compiler(), *flags)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "sound\n"), done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which(BIG[0]) and shutil.which(BIG[1])), reason=f"needs {' and '.join(BIG)}")
def test_a_big_endian_processor_gives_the_same_words(tmp_path: Path) -> None:
    """The golden sets on an emulated s390x."""
    program = golden_program(tmp_path, BIG[0], "-static")
    assert program.read_bytes()[5] == 2  # ELF: the highest byte first
    done = subprocess.run([BIG[1], program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "sound\n"), done.stderr[-2000:]


@pytest.mark.slow
def test_the_standard_suite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SPEC.md V5: every word of `standard`, recomputed by the C model."""
    assert cli.run(["generate", "--out", str(tmp_path / "set"), "--quiet"]) == 0
    assert cli.run(["verify", str(tmp_path / "set"), "--model", "c", "--quiet"]) == 0
    assert "every value recomputed by the C model and the same" in capsys.readouterr().out


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """A command: its status, what it printed, the lines of its error."""

    def command(*arguments: str) -> tuple[int, str, list[str]]:
        status = cli.run(arguments)
        done = capsys.readouterr()
        return status, done.out, done.err.splitlines()

    return command


def test_verify_by_the_c_model(run, c_model: CModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every word of golden/v2; a model that computes otherwise is told in one line, by case, tap and element."""
    monkeypatch.setattr(CModel, "build", lambda: c_model)
    status, out, _ = run("verify", str(GOLDEN / "v2"), "--model", "c", "--quiet")
    assert (status, out.strip()) == (0, f"{GOLDEN / 'v2'}: 5 cases, every value recomputed by the C model and the same")
    whole = CModel.run

    def wrong(self: CModel, *given: object, **named: object) -> dict[str, np.ndarray]:
        return {name: words ^ words.dtype.type(name == "gated") for name, words in whole(self, *given, **named).items()}

    monkeypatch.setattr(CModel, "run", wrong)
    status, out, errors = run("verify", str(GOLDEN / "v2"), "--model", "c", "--quiet")
    assert status == 1 and len(errors) == 1 and "hard_swish_forward gated[0, 0, 0, 0]: found stored" in errors[0]
    assert run("verify", str(GOLDEN / "v2"), "--model", "c", "--no-recompute")[2][0].startswith(
        "bitrow: verify: found several"
    )


def test_no_compiler_is_one_line(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which were looked for, and how to name another."""
    monkeypatch.setattr(c_model.shutil, "which", lambda name: None)
    status, _, errors = run("verify", str(GOLDEN / "v2"), "--model", "c", "--quiet")
    assert status == 2
    assert errors == ["bitrow: C compiler: found none of cc, gcc, clang on the path, expected one, or CC=PATH"]
    monkeypatch.undo()
    false = shutil.which("false")
    with pytest.raises(BitrowError, match="false: status 1, expected the C model compiled: nothing said"):
        compile_library(Path(c_model.tempfile.mkdtemp()), compiler=false)


def test_export_writes_what_it_says(run, tmp_path: Path) -> None:
    """The model alone, and with a shipped network; a second run leaves the folder as it is."""
    status, out, errors = run("export", "c", str(tmp_path / "out"), "--network", "resnet8_digits")
    assert (status, errors) == (0, [])
    names = out.split(": ")[1].strip().split(", ")
    assert sorted(names) == sorted(each.name for each in (tmp_path / "out").iterdir())
    source = ["resnet8_main.c", "resnet8.c", "bitrow.c"]
    done = subprocess.run([find_compiler(), "-std=c99", "-O1", "-o", "net", *source], cwd=tmp_path / "out", check=False)
    case = GOLDEN / "v1" / "digit0_whole"
    for given, expected in ((["x.hex"], "logits.hex"), (["x.hex", "dlogits.hex"], "dx.hex")):
        done = subprocess.run(
            [tmp_path / "out" / "net", *(case / name for name in given)], capture_output=True, check=False
        )
        assert done.stdout == (case / expected).read_bytes()
    done = subprocess.run([tmp_path / "out" / "net", case / "logits.hex"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.endswith("logits.hex: found 10 words, expected 64\n")
    assert run("export", "c", str(tmp_path / "out"))[2] == [
        f"bitrow: {tmp_path / 'out'}: found something of this name, expected none"
    ]
    assert run("export", "c", str(tmp_path / "new"), "--network", "nowhere")[0] == 2
    assert run("export", "c", str(tmp_path / "new"), "--input-size", "8")[2] == [
        "bitrow: --input-size: found no --network, expected one"
    ]
    assert not (tmp_path / "new").exists()


def test_the_package_in_a_simulator(tmp_path: Path) -> None:
    """The example calls the C model by DPI-C and finds what the contract says."""
    if shutil.which("verilator") is None:
        pytest.skip("needs verilator on the path")
    for name, text in model_files().items():
        (tmp_path / name).write_text(text)
    subprocess.run([find_compiler(), "-std=c99", "-O1", "-c", "bitrow.c"], cwd=tmp_path, check=True)
    sources = ["bitrow_pkg.sv", "bitrow_example.sv", str(tmp_path / "bitrow.o")]
    subprocess.run(["verilator", "--binary", "--top-module", "bitrow_example", *sources], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "obj_dir" / "Vbitrow_example"], capture_output=True, text=True, check=False)
    assert "bitrow_example: sum 4000 product 0000" in done.stdout


def test_the_page_prints_what_it_says(c_model: CModel, tmp_path: Path) -> None:
    """The example of docs/c-model.md, compiled with every warning an error."""
    page = (GOLDEN.parent / "docs" / "c-model.md").read_text()
    source, printed = page.split("```c\n")[1].split("```")[0], page.split("prints\n\n```\n")[1].split("```")[0]
    (tmp_path / "example.c").write_text(source)
    for name, text in model_files().items():
        (tmp_path / name).write_text(text)
    flags = ["-std=c99", "-pedantic", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([find_compiler(), *flags, "-o", "example", "example.c", "bitrow.c"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "example"], capture_output=True, text=True, check=True).stdout == printed
