"""What `bitrow import` prints and writes; no parsing of arguments here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitrow import terminal
from bitrow.errors import BitrowError
from bitrow.files import check_outputs, write_report


def check_places(file: Path, out: Path, report: Path | None, images: Path | None, force: bool) -> None:
    """Refuse places to write to before anything is computed.

    Raises:
        BitrowError: files to write that are read, or each other; a model that is there, without `force`.
    """
    check_outputs({"--out": out, "--report": report}, [file, images])
    if out.exists() and not force:
        raise BitrowError(f"{out}: found a file there, expected none; --force replaces it")


def options(given: Mapping[str, Any]) -> Any:
    """The import's options from those of the command line."""
    from bitrow.importers.command import ImportOptions
    from bitrow.importers.images import PixelScaling
    from bitrow.importers.layers import CodeBits

    activations, weights, gradients = given["bits"]
    return ImportOptions(
        images=given["images"], count=given["limit_images"], scaling=PixelScaling(given["mean"], given["std"]),
        bits=CodeBits(activations, weights, gradients, given["per_channel"]), round_scales=given["round_scales"],
        input_size=given["input_size"], outputs=given["outputs"], check=given["check"],
    )  # fmt: skip


def run(file: Path, out: Path, force: bool, report: Path | None, quiet: bool, options: Any) -> None:
    """Import, print the report's lines, write the model and the report.

    Raises:
        BitrowError: as `command.import_network`; the report of what was refused is written and printed all the same.
    """
    from bitrow import model_file
    from bitrow.importers.command import ImportRefused, import_network

    try:
        made = import_network(file, options)
    except ImportRefused as error:
        write_report(report, error.report.to_json())
        if len(error.report.refusals) > 1 and str(report) != "-":
            terminal.put(error.report.lines())
        raise
    assert made.imported is not None
    model_file.save(out, made.imported.model, force=force)
    write_report(report, made.to_json())
    if not quiet and str(report) != "-":
        terminal.put(made.lines())
        network = made.imported.model.network
        terminal.put([f"{out}: {network.name}, {len(network.nodes)} layers of {len(made.nodes)} nodes"])
