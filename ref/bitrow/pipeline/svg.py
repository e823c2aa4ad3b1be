"""Small charts as SVG text: lines, bars and ranges. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

COLORS = ("#2f6db5", "#d1752b", "#3b8f5a", "#9a4fb0", "#b53a4a", "#6c7a89", "#b59a2f", "#3aa0b0", "#1c1c1c", "#c98bb5")
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 28, 44


class Series(NamedTuple):
    """A named line: points (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]


class Bar(NamedTuple):
    """A bar, or with `low` a range from `low` to `value`."""

    label: str
    value: float
    low: float = 0.0
    note: str = ""


def line_chart(
    title: str,
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    width: int = 720,
    height: int = 280,
    top: float | None = None,
    log_x: bool = False,
) -> str:
    """Lines over a common x axis; y starts at 0."""
    xs = [x for one in series for x, _ in one.points] or [0.0, 1.0]
    most = top if top is not None else max((y for one in series for _, y in one.points), default=1.0)
    frame = _Frame(width, height, min(xs), max(xs), most or 1.0, log_x)
    parts = [_open(width, height, title), frame.grid(x_label, y_label)]
    for number, one in enumerate(series):
        color = COLORS[number % len(COLORS)]
        path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in one.points)
        parts.append(f'<polyline fill="none" stroke="{color}" stroke-width="1.6" points="{path}"/>')
        if len(one.points) <= 16:
            for x, y in one.points:
                hint = f"<title>{escape(one.name)}: {x:,.6g}, {y:,.4g}</title>"
                dot = f'cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3" fill="{color}"'
                parts.append(f"<circle {dot}>{hint}</circle>")
    parts.append(_legend([one.name for one in series]))
    return "".join(parts) + "</svg>"


def bar_chart(title: str, bars: Sequence[Bar], unit: str, *, width: int = 720) -> str:
    """Horizontal bars with their values; a range has a light part from its lower bound."""
    label_width = 12 + 7 * max((len(bar.label) for bar in bars), default=1)
    height = _TOP + 26 * len(bars) + 12
    room = width - label_width - 12 - 7 * max((len(_note(bar, unit)) for bar in bars), default=1)
    most = max((bar.value for bar in bars), default=1.0) or 1.0
    parts = [_open(width, height, title)]
    for number, bar in enumerate(bars):
        y = _TOP + 26 * number
        full = room * bar.value / most
        solid = room * bar.low / most if bar.low else full
        color = COLORS[number % len(COLORS)]
        text = _note(bar, unit)
        parts.append(
            f'<text x="{label_width - 8}" y="{y + 14}" text-anchor="end">{escape(bar.label)}</text>'
            f'<g fill="{color}"><rect x="{label_width}" y="{y + 2}" width="{full:.1f}" height="16" '
            f'opacity="0.4"/><rect x="{label_width}" y="{y + 2}" width="{solid:.1f}" height="16"/></g>'
            f'<text x="{label_width + full + 6:.1f}" y="{y + 14}">{escape(text)}</text>'
        )
    return "".join(parts) + "</svg>"


def _note(bar: Bar, unit: str) -> str:
    return bar.note or f"{bar.value:,.4g} {unit}"


def stacked_chart(
    title: str, rows: Sequence[tuple[str, Sequence[float]]], names: Sequence[str], *, width: int = 720
) -> str:
    """One stacked bar of shares (0 to 1) for each row, its parts in the order of `names`."""
    label_width = 12 + 7 * max((len(label) for label, _ in rows), default=1)
    room = width - label_width - 20
    legend_rows = -(-len(names) // 3)
    height = _TOP + 26 * len(rows) + 18 * legend_rows + 16
    parts = [_open(width, height, title)]
    for place, (label, shares) in enumerate(rows):
        y, x = _TOP + 26 * place, float(label_width)
        parts.append(f'<text x="{label_width - 8}" y="{y + 14}" text-anchor="end">{escape(label)}</text>')
        for number, share in enumerate(shares):
            color = COLORS[number % len(COLORS)]
            hint = f"<title>{escape(names[number])}: {share:.1%}</title>"
            box = f'x="{x:.1f}" y="{y + 2}" width="{room * share:.1f}" height="16" fill="{color}"'
            parts.append(f"<rect {box}>{hint}</rect>")
            x += room * share
    for number, name in enumerate(names):
        x = label_width + number % 3 * room / 3
        y = _TOP + 26 * len(rows) + 18 * (number // 3) + 12
        box = f'x="{x:.1f}" y="{y - 9}" width="10" height="10" fill="{COLORS[number % len(COLORS)]}"'
        parts.append(f'<rect {box}/><text x="{x + 14:.1f}" y="{y}">{escape(name)}</text>')
    return "".join(parts) + "</svg>"


class _Frame:
    """Maps data to the pixels of a plot."""

    def __init__(self, width: int, height: int, x_low: float, x_high: float, y_high: float, log_x: bool) -> None:
        self.log_x = log_x and x_low > 0
        self.x_low, self.x_high = x_low, x_high if x_high > x_low else x_low + 1
        self.ticks = _ticks(0.0, y_high)
        self.y_high = max(y_high, self.ticks[-1])
        self.left, self.right = _LEFT, width - _RIGHT
        self.top, self.bottom = _TOP + 28, height - _BOTTOM

    def x(self, value: float) -> float:
        low, high = self.x_low, self.x_high
        if self.log_x:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.left + (self.right - self.left) * (value - low) / (high - low)

    def y(self, value: float) -> float:
        return self.bottom - (self.bottom - self.top) * value / self.y_high

    def grid(self, x_label: str, y_label: str) -> str:
        parts = []
        for tick in self.ticks:
            y = self.y(tick)
            parts.append(
                f'<line x1="{self.left}" x2="{self.right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
                f'<text x="{self.left - 6}" y="{y + 4:.1f}" text-anchor="end">{short(tick)}</text>'
            )
        count = 5
        for step in range(count + 1):
            share = step / count
            value = self.x_low + (self.x_high - self.x_low) * share
            if self.log_x:
                value = self.x_low * (self.x_high / self.x_low) ** share
            anchor = "end" if step == count else "middle"
            text = f'<text x="{self.x(value):.1f}" y="{self.bottom + 16}" text-anchor="{anchor}">'
            parts.append(f"{text}{short(value)}</text>")
        middle = (self.left + self.right) / 2
        parts.append(
            f'<text x="{middle}" y="{self.bottom + 34}" text-anchor="middle">{escape(x_label)}</text>'
            f'<text x="{self.left}" y="{self.top - 6}">{escape(y_label)}</text>'
        )
        return "".join(parts)


def _ticks(low: float, high: float) -> list[float]:
    """Round values from low to just above high, about five of them."""
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    step = next(unit * many for many in (1, 2, 5, 10) if unit * many >= rough)
    return [low + step * place for place in range(math.ceil((high - low) / step - 1e-9) + 1)]


def _open(width: int, height: int, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="12" fill="#222" '
        f'role="img" aria-label="{escape(title)}"><text x="8" y="16" font-weight="600">{escape(title)}</text>'
    )


def _legend(names: Sequence[str]) -> str:
    parts, x = [], float(_LEFT)
    for number, name in enumerate(names):
        color = COLORS[number % len(COLORS)]
        parts.append(
            f'<rect x="{x:.1f}" y="24" width="10" height="10" fill="{color}"/>'
            f'<text x="{x + 14:.1f}" y="33">{escape(name)}</text>'
        )
        x += 6.2 * len(name) + 26
    return "".join(parts)


def short(value: float) -> str:
    """A number as an axis shows it: 1.5M, 20k, 0.25."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if suffix == 'k' else size):.4g}{suffix}"
    return f"{value:.4g}"
