"""The report of an import: what became of each node of the file, and what is refused, as lines and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from bitrow.graph import Network, describe
from bitrow.importers.calibration import ImportedModel
from bitrow.importers.check import CheckReport
from bitrow.importers.float_graph import FileNode, Refusal

SCHEMA = "bitrow-import-1"


class NodeReport(NamedTuple):
    """A node of the file: its name, operator, the layers that it went into, or a note where it went into none."""

    node: str
    operator: str
    layers: tuple[str, ...]
    note: str


class ImportReport(NamedTuple):
    """All nodes, all refusals, what was rounded and chosen, and the check's figures."""

    file: str
    nodes: tuple[NodeReport, ...]
    refusals: tuple[Refusal, ...] = ()
    imported: ImportedModel | None = None
    chosen: tuple[str, ...] = ()
    checked: CheckReport | None = None

    def lines(self) -> Iterator[str]:
        """Refusals where there are any, else a line for each node that became a layer, and what was chosen."""
        if self.refusals:
            yield from map(str, self.refusals)
            return
        kinds = _kinds(self.imported)
        for one in self.nodes:
            if one.note != "a constant":
                became = ", ".join(f"{name} ({kinds.get(name, '')})" for name in one.layers) or one.note
                yield f"{one.node} ({one.operator}): {became}"
        yield from self.chosen
        if self.imported is not None:
            yield from map(str, self.imported.rounded)
            if self.imported.too_small:
                few = ", ".join(self.imported.too_small[:3])
                count = len(self.imported.too_small)
                yield f"gradients too small for codes under every loss scale: {count} convolutions ({few}, ...)"
        if self.checked is not None:
            yield from self.checked.lines()

    def to_json(self) -> dict[str, Any]:
        """The report's values: strings, numbers, lists."""
        found: dict[str, Any] = {
            "schema": SCHEMA,
            "file": self.file,
            "nodes": [{"node": n.node, "operator": n.operator, "layers": list(n.layers), "note": n.note}
                      for n in self.nodes],
            "refused": [one._asdict() for one in self.refusals],
        }  # fmt: skip
        if self.imported is not None:
            network = self.imported.model.network
            found["network"] = {"name": network.name, "input": list(network.input_shape), "output": network.output,
                                "more_outputs": list(network.more_outputs),
                                "layers": [_layer(network, name) for name in _kinds(self.imported)]}  # fmt: skip
            found["rounded_scales"] = [one._asdict() for one in self.imported.rounded]
            found["gradients_too_small"] = list(self.imported.too_small)
            found["loss_scale"] = self.imported.model.loss_scale
        found["chosen"] = list(self.chosen)
        return found | ({} if self.checked is None else {"check": self.checked.to_json()})


def _kinds(imported: ImportedModel | None) -> dict[str, str]:
    return {} if imported is None else {one.name: one.kind for one in describe(imported.model.network)}


def _layer(network: Network, name: str) -> dict[str, Any]:
    one = next(row for row in describe(network) if row.name == name)
    return {"name": name, "kind": one.kind, "shape": list(one.shape), "weights": one.weights, "macs": one.macs}


def node_reports(
    nodes: tuple[FileNode, ...], layers: dict[str, tuple[str, ...]], left: list[str]
) -> tuple[NodeReport, ...]:
    """Each node with what it became; `left` are the host's."""
    found = []
    for one in nodes:
        note = one.note
        if not note and one.name not in layers:
            note = "left to the host, behind the output" if one.name in left else "nothing: the output does not need it"
        found.append(NodeReport(one.name, one.operator, layers.get(one.name, ()), "" if one.name in layers else note))
    return tuple(found)
