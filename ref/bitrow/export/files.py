"""The files of `bitrow export c`: the model, and of a network its functions, a program and packages that call them;
and of `bitrow export sv`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from bitrow.errors import BitrowError
from bitrow.export import hardware, hardware_modules, model
from bitrow.export.folder import check_folder, write_folder
from bitrow.export.network import NetworkStages, constants, results
from bitrow.export.systemverilog import example, network_package, package
from bitrow.export.whole_pass import PassText
from bitrow.lookup import InputSize, find_model
from bitrow.model_file import Model
from bitrow.outputs import words


def model_files() -> dict[str, str]:
    """The C model and the package that imports its single words, by file name."""
    return {
        "bitrow.h": model.header(),
        "bitrow.c": model.source(),
        "bitrow_pkg.sv": package(),
        "bitrow_example.sv": example(),
    }


def hardware_files() -> dict[str, str]:
    """The functions of single words in SystemVerilog itself, a module for each, and an example, by file name."""
    command = "iverilog -g2012 -o bitrow_example bitrow_pkg.sv bitrow_example.sv && ./bitrow_example"
    return {
        "bitrow_pkg.sv": hardware.package(),
        "bitrow_modules.sv": hardware_modules.modules(),
        "bitrow_example.sv": example(command),
    }


def export_hardware(out: Path) -> list[str]:
    """Write `hardware_files` into a new folder, which appears whole or not at all; the files' names.

    Raises:
        BitrowError: a folder that is there or cannot be written.
    """
    check_folder(out)
    texts = hardware_files()
    write_folder(out, texts)
    return list(texts)


def network_files(found: Model) -> dict[str, str]:
    """A network's functions, the program that runs them, and the package that imports them, by file name.

    Raises:
        BitrowError: a layer that has no C, a network called bitrow.
    """
    stages = NetworkStages(found)
    name = stages.name
    if name == "bitrow":
        raise BitrowError("C network: found the name 'bitrow', expected another: its files would be the model's")
    return {f"{name}.h": _header(stages), f"{name}.c": _source(stages), f"{name}_main.c": _main(stages),
            f"{name}_pkg.sv": network_package(stages)}  # fmt: skip


def export(out: Path, network: str | None = None, size: InputSize | None = None) -> list[str]:
    """Write the C model, and a network's functions (`lookup.find_model`), into a new folder; the files' names.

    The folder appears whole or not at all.

    Raises:
        BitrowError: a folder that is there or cannot be written, a network that there is not or that has no C.
    """
    check_folder(out)
    texts = network_files(find_model(network, size)) if network else {}
    texts = model_files() | texts
    write_folder(out, texts)
    return list(texts)


def _sizes(stages: NetworkStages) -> tuple[int, int]:
    """Words of an image and of its results."""
    network = stages.model.network
    return math.prod(network.input_shape), words(network)


def _header(stages: NetworkStages) -> str:
    image, result = _sizes(stages)
    gradients = " and ".join(one.gradient for one in results(stages.model.network).values())
    heads = "\n".join(f"{stage.head};" for stage in (*stages.forward.values(), *stages.backward.values()))
    singles = "\n".join(f"{head};" for head, _ in single_images(stages))
    guard = f"{stages.name.upper()}_H"
    return f"""/* {stages.name}: {image} words in, {result} out for each of n images; results are BW_OK and so on. */
#ifndef {guard}
#define {guard}

#include "bitrow.h"

#ifdef __cplusplus
extern "C" {{
#endif

/* One function a layer and direction. */
{heads}

/* Forward, and with {gradients} also backward; the layers' taps are called after "LAYER/forward" and so on. */
{PassText(stages).head};

/* The same for one image and without taps, as SystemVerilog calls them. */
{singles}

#ifdef __cplusplus
}}
#endif

#endif
"""


def single_images(stages: NetworkStages) -> Iterator[tuple[str, str]]:
    """Heads and bodies of the functions that take one image."""
    for stage in (*stages.forward.values(), *stages.backward.values()):
        head = f"int32_t {stage.name}_one({', '.join(port.text for port in stage.ports)})"
        yield head, f"return {stage.name}(1, {', '.join(port.name for port in stage.ports)}, NULL);"
    name = stages.name
    text = PassText(stages)
    yield f"int32_t {name}_pass_one({text.arguments})", f"return {name}_pass(1, {text.names}, NULL);"


def _source(stages: NetworkStages) -> str:
    parts = [f'#include "{stages.name}.h"\n\n#include <stdlib.h>\n#include <string.h>\n', *constants(stages)]
    parts += [stage.definition() for stage in (*stages.forward.values(), *stages.backward.values())]
    parts += [model.part("pass.c"), "\n".join(PassText(stages).definition())]
    parts += [f"{head} {{\n    {text}\n}}\n" for head, text in single_images(stages)]
    return "\n".join(parts)


def _main(stages: NetworkStages) -> str:
    image, result = _sizes(stages)
    given, made, at = [], [], 0
    for one in results(stages.model.network).values():
        behind = f" + {at}" if at else ""
        given.append(f"dlogits == NULL ? NULL : dlogits{behind}" if at else "dlogits")
        made.append(f"logits{behind}")
        at += one.size
    beside = "several outputs side by side; " if len(made) > 1 else ""
    listed = ", ".join(["1", "x", *given, *made, "dx", "NULL"])
    return f"""/* Prints the result of an image, or with the result's gradient that of the image, a word in hex a line:
   {beside}{stages.name} X.hex [DLOGITS.hex]
   Built by: cc -std=c99 -O2 -o {stages.name} {stages.name}_main.c {stages.name}.c bitrow.c */
#include "{stages.name}.h"

#include <stdio.h>
#include <stdlib.h>

{model.part("main.c")}
int main(int argc, char **argv) {{
    if (argc < 2) {{
        fprintf(stderr, "usage: {stages.name} X.hex [DLOGITS.hex]\\n");
        return 2;
    }}
    static uint16_t logits[{result}], dx[{image}];
    uint16_t *x = words_of(argv[1], {image}u), *dlogits = argc > 2 ? words_of(argv[2], {result}u) : NULL;
    const int32_t status = {stages.name}_pass({listed});
    if (status == BW_OK) {{
        print_words(argc > 2 ? dx : logits, argc > 2 ? {image}u : {result}u);
    }}
    free(x);
    free(dlogits);
    return status;
}}
"""
