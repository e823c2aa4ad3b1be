"""Figures in one style, whatever the user's own: the same bytes for the same numbers. Drawn by matplotlib, loaded here
and nowhere else.

Without pyplot and without a display. Colours are told apart without colour vision (Okabe and Ito's).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from bitrow.errors import BitrowError
from bitrow.extras import extra
from bitrow.files import whole

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8B6F47")
DARK, LIGHT = "#555555", "#d0d0d0"  # beside them, for what is no series of its own
_RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "svg.hashsalt": "bitrow",
    "svg.fonttype": "path",
}
_HOVER = "_: "  # matplotlib keeps what begins with _ out of legends
_METADATA: dict[str, dict[str, Any]] = {
    ".svg": {"Date": None, "Creator": "bitrow"},
    ".png": {"Software": "bitrow"},
    ".pdf": {"CreationDate": None, "Creator": "bitrow"},
}


def loaded(module: str) -> Any:
    """matplotlib or a module of it. Raises: BitrowError: it is not installed."""
    return extra("plots", module, "matplotlib")


@contextlib.contextmanager
def _style(**more: Any) -> Iterator[None]:
    matplotlib = loaded("matplotlib")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_RC, **more})
        yield


@contextlib.contextmanager
def new(width: float, height: float, title: str = "") -> Iterator[Any]:
    """A matplotlib Figure of that many inches, to be drawn on inside the `with`.

    Raises:
        BitrowError: matplotlib is not installed.
    """
    with _style():
        figure = loaded("matplotlib.figure").Figure(figsize=(width, height), layout="constrained", dpi=144)
        loaded("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        yield figure


def ticks(axis: Any, form: str) -> None:
    """Label an axis' ticks, at round numbers: `form` is the format of a number `x`, or "k" for 20k and 1.5M."""
    ticker = loaded("matplotlib.ticker")
    if isinstance(axis.get_major_locator(), ticker.MaxNLocator):
        axis.get_major_locator().set_params(steps=[1, 2, 5, 10])
    axis.set_major_formatter(ticker.EngFormatter(sep="") if form == "k" else ticker.StrMethodFormatter(form))


def save(figure: Any, path: str | Path) -> None:
    """Write a figure as .svg, .png or .pdf, with no date in it; the file appears whole or not at all.

    Raises:
        BitrowError: another suffix, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix not in _METADATA:
        raise BitrowError(f"plot {path}: found suffix {path.suffix!r}, expected .svg, .png or .pdf")
    with whole(path) as aside, _style():
        figure.savefig(aside, format=path.suffix[1:], metadata=_METADATA[path.suffix])


def hover(text: str) -> str:
    """The label of an artist with a gid that says `text` under the pointer, and stands in no legend."""
    return f"{_HOVER}{text}"


def inline(figure: Any, name: str, label: str) -> str:
    """A figure as an SVG element to stand in an HTML page beside others: its ids begin with `name`.

    Its text stays text; `label` says what it shows to who cannot see it. Links lead to ids of the page; what has a gid
    and a label of `hover` says it under the pointer.
    """
    with io.StringIO() as written, _style(**{"svg.fonttype": "none"}):
        figure.savefig(written, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        root = ElementTree.fromstring(written.getvalue())
    own = {element.get("id") for element in root.iter()}
    titles = {artist.get_gid(): str(artist.get_label()) for artist in figure.findobj(lambda artist: artist.get_gid())}
    for element in list(root.iter()):
        said = titles.get(element.get("id"), "")
        if said.startswith(_HOVER):
            ElementTree.SubElement(element, "title").text = said.removeprefix(_HOVER)
        element.tag = _local(element.tag)  # HTML knows the names of SVG without their namespaces
        attributes = {_local(key): value for key, value in element.attrib.items() if key != "target"}
        element.attrib = {key: _own(name, key, value, own) for key, value in attributes.items()}
    root.attrib |= {"role": "img", "aria-label": label}
    return ElementTree.tostring(root, "unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _own(name: str, key: str, value: str, own: Collection[str | None]) -> str:
    """An attribute's value with the ids in it made the figure's own."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href" and value.startswith("#") and value[1:] in own:
        return f"#{name}-{value[1:]}"
    return value.replace("url(#", f"url(#{name}-")
