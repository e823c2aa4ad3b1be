"""The C model's two files, bitrow.h and bitrow.c, and the array functions beside the single words."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

from bitrow import __version__
from bitrow.config import LayerConfig
from bitrow.config.sigmoid import MOST_BITS
from bitrow.contract.operations import OPERATIONS
from bitrow.export import configs, raised, scalars
from bitrow.export.operations import declaration, definition
from bitrow.formats import LFSR_PERIOD
from bitrow.layers import sigmoid
from bitrow.ops import lfsr
from bitrow.reading import SOURCE, read_text

_PARTS = Path(__file__).parent / "c"
MOST_AXES, _MOST_HELD = 8, 96

# What callers have of single words; each has an array function, too.
WORDS = """
uint16_t fp16_add(bw_mode mode, uint16_t a, uint16_t b)
uint16_t fp16_sub(bw_mode mode, uint16_t a, uint16_t b)
uint16_t fp16_mul(bw_mode mode, uint16_t a, uint16_t b)
uint16_t fp16_fma(bw_mode mode, uint16_t a, uint16_t b, uint16_t c)
uint16_t fp16_div(bw_mode mode, uint16_t a, uint16_t b)
uint16_t fp16_sqrt(bw_mode mode, uint16_t a)
uint16_t fp16_from_int32(bw_mode mode, int32_t a)
uint16_t fp16_from_fp32(bw_mode mode, uint32_t a)
uint32_t fp16_to_fp32(bw_mode mode, uint16_t a)
uint16_t fp16_add_fp32(bw_mode mode, uint32_t a, uint32_t b)
uint16_t fp16_mul_fp32(bw_mode mode, uint32_t a, uint32_t b)
uint32_t fp32_add(uint32_t a, uint32_t b)
uint32_t fp32_sub(uint32_t a, uint32_t b)
uint32_t fp32_mul(uint32_t a, uint32_t b)
uint32_t fp32_div(uint32_t a, uint32_t b)
uint32_t fp32_sqrt(uint32_t a)
uint8_t fp16_add_flags(bw_mode mode, uint16_t a, uint16_t b)
uint8_t fp16_sub_flags(bw_mode mode, uint16_t a, uint16_t b)
uint8_t fp16_mul_flags(bw_mode mode, uint16_t a, uint16_t b)
uint8_t fp16_fma_flags(bw_mode mode, uint16_t a, uint16_t b, uint16_t c)
uint8_t fp16_div_flags(bw_mode mode, uint16_t a, uint16_t b)
uint8_t fp16_sqrt_flags(bw_mode mode, uint16_t a)
uint8_t fp16_from_int32_flags(bw_mode mode, int32_t a)
uint8_t fp16_from_fp32_flags(bw_mode mode, uint32_t a)
uint8_t fp16_to_fp32_flags(uint16_t a)
uint8_t fp16_add_fp32_flags(bw_mode mode, uint32_t a, uint32_t b)
uint8_t fp16_mul_fp32_flags(bw_mode mode, uint32_t a, uint32_t b)
uint8_t fp16_mul_int32_flags(bw_mode mode, int32_t acc, uint16_t scale)
uint16_t relu(uint16_t a)
uint16_t relu6(uint16_t a)
uint16_t canonical(uint16_t a)
uint16_t lfsr_step(uint16_t state)
"""
# Under the default mode arrays take what compilers make vectors of.
_NEAREST = {"fp16_add": "bw_word_fp16_add_nearest(a[i], b[i])", "fp16_mul": "bw_word_fp16_mul_nearest(a[i], b[i])",
            "fp16_sub": "bw_word_fp16_add_nearest(a[i], b[i] ^ 0x8000u)"}  # fmt: skip
_WORD = re.compile(r"(?P<type>\w+) (?P<name>\w+)\((?P<arguments>.*)\)")


class Prototype:
    """A public function of single words: its result's type, its name, its arguments with their types."""

    def __init__(self, text: str) -> None:
        match = _WORD.fullmatch(text)
        assert match is not None, text
        self.type, self.name = match["type"], match["name"]
        self.arguments = [tuple(each.rsplit(" ", 1)) for each in match["arguments"].split(", ")]

    @property
    def words(self) -> list[tuple[str, str]]:
        """The arguments but for the mode, type and name."""
        return [(kind, name) for kind, name in self.arguments if kind != "bw_mode"]

    @property
    def moded(self) -> bool:
        return len(self.words) < len(self.arguments)

    @property
    def head(self) -> str:
        return f"{self.type} bw_{self.name}({', '.join(' '.join(each) for each in self.arguments)})"

    @property
    def array_head(self) -> str:
        """The function on arrays: y[i] of `count` elements each; y may be one of the operands."""
        listed = [*(["bw_mode mode"] if self.moded else []), "size_t count",
                  *(f"const {kind} *{name}" for kind, name in self.words), f"{self.type} *y"]  # fmt: skip
        return f"void bw_{self.name}_array({', '.join(listed)})"

    def definitions(self) -> Iterator[str]:
        """Both functions."""
        called = ", ".join(name for _, name in self.arguments)
        yield f"{self.head} {{\n    return ({self.type})bw_word_{self.name}({called});\n}}\n"
        mode = "mode, " if self.moded else ""
        each = f"bw_word_{self.name}({mode}{', '.join(f'{name}[i]' for _, name in self.words)})"
        first = ""
        if self.name in _NEAREST:
            loop = f"bw_{self.name}_nearest"
            yield f"BW_NEAREST({loop}, {_NEAREST[self.name]})\n"
            first = f"    if (mode == BW_NEAREST_EVEN) {{\n        {loop}(count, a, b, y);\n        return;\n    }}\n"
        yield f"{self.array_head} {{\n{first}    for (size_t i = 0; i < count; i++) {{\n" \
              f"        y[i] = ({self.type}){each};\n    }}\n}}\n"  # fmt: skip


@functools.cache
def prototypes() -> tuple[Prototype, ...]:
    """Every public function of single words."""
    return tuple(Prototype(row) for row in WORDS.strip().splitlines())


def part(name: str) -> str:
    """A part that is written by hand, of the folder `c`."""
    return read_text(_PARTS / name, SOURCE)


def _layers() -> tuple[type[LayerConfig], ...]:
    kinds = (operation.configured_by for operation in OPERATIONS)
    return tuple(dict.fromkeys(kind for kind in kinds if issubclass(kind, LayerConfig)))


CONTRACT = f"The arithmetic contract of bitrow {__version__}, SPEC.md version 1"
_TITLE = f"/* {CONTRACT}, as C99: {{}}. */\n"


@functools.cache
def header() -> str:
    """bitrow.h."""
    words = "\n".join(f"{each.head};\n{each.array_head};" for each in prototypes())
    operations = "\n".join(declaration(operation) for operation in OPERATIONS)
    return "\n".join((
        _TITLE.format("what it offers"),
        "#ifndef BITROW_H\n#define BITROW_H\n\n#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n",
        '#ifdef __cplusplus\nextern "C" {\n#endif\n',
        f"enum {{ BW_MOST_AXES = {MOST_AXES} }};",
        *configs.enumerations(_layers()),
        part("head.h"),
        "/* Single words, and arrays of them: y may be one of the operands. */\n" + words + "\n",
        *configs.structs(_layers()),
        "\n" + operations,
        "#ifdef __cplusplus\n}\n#endif\n\n#endif\n",
    ))  # fmt: skip


def _powers() -> str:
    rows = ",\n".join(f"    {{{', '.join(f'{image:#06x}' for image in lfsr.images(power))}}}" for power in range(16))
    return f"/* Images of the unit states after 2^row steps; the period is {LFSR_PERIOD} (Q3). */\n" \
           f"static const uint16_t bw_lfsr_powers[16][16] = {{\n{rows}\n}};\n"  # fmt: skip


def _sigmoid() -> str:
    words = [f"{word:#06x}" for word in sigmoid.table(MOST_BITS).tolist()]
    rows = ",\n".join("    " + ", ".join(words[at : at + 12]) for at in range(0, len(words), 12))
    return f"/* A10's finest table. */\nenum {{ BW_TABLE_BITS = {MOST_BITS} }};\n" \
           f"static const uint16_t bw_sigmoid[] = {{\n{rows}\n}};\n"  # fmt: skip


@functools.cache
def source() -> str:
    """bitrow.c. It takes seconds: every kernel is traced under every mode."""
    return "\n".join((
        _TITLE.format("what it computes"),
        "#include \"bitrow.h\"\n\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n",
        f"enum {{ BW_MOST_HELD = {_MOST_HELD} }};\n",
        "#define BW_ROUNDING(mode) ((mode) & 7u)\n#define BW_SATURATES(mode) (((mode) >> 3) & 1u)\n"
        "#define BW_FLUSHES(mode) (((mode) >> 4) & 1u)\n#define BW_TINY_IS_BEFORE(mode) (((mode) >> 5) & 1u)\n",
        part("bits.c"), scalars.text(), raised.text(), _powers(), _sigmoid(), part("words.c"),
        part("vectors.c"),
        *("\n".join(each.definitions()) for each in prototypes()),
        part("structures.c"),
        *map(definition, OPERATIONS),
    ))  # fmt: skip
