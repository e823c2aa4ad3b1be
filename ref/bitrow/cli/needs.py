"""What a command asks before it computes: JAX, files that may be written, a machine that gives the contract's bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bitrow import jax_switches
from bitrow.files import check_outputs


def jax(kept: bool = True) -> None:
    """JAX and its devices, or one line; `kept`: with the programs that earlier commands compiled."""
    jax_switches.prepare(kept)
    jax_switches.find_devices()


def outputs(options: Mapping[str, Any], inputs: Iterable[Path | None]) -> None:
    """Refuse files to write that are read, before anything is computed."""
    kinds = ("json", "csv", "trace", "rows", "baselines", "html", "vectors")
    check_outputs({f"--{name}": options.get(f"{name}_file") for name in kinds}, inputs)


def run_outputs(options: Mapping[str, Any], network: str) -> None:
    """`outputs` of a run of a network, or file of one, on a machine."""
    from bitrow import lookup

    model = Path(network) if lookup.is_file(network) else None
    outputs(options, [model, options["machine"], options["costs"], options.get("samples")])


def machine(command: str) -> Callable[[], None]:
    """Asks whether this machine gives the contract's bits, when `command` is about to need them."""

    def ask() -> None:
        from bitrow.backend.require import require

        require(command)

    return ask


def trial() -> None:
    """Asked in each worker of a cluster, which finds it by its name: does that machine give the contract's bits?"""
    machine("generate")()


def transfer_trial() -> None:
    """The same before it trains."""
    machine("transfer")()
