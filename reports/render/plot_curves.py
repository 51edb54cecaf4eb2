"""Numbers over steps as SVG: lines or bars on a linear or a logarithmic scale, where zero has a place of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from .pages.picture import Curves, Point, Series
from .svg import COLOURS, element, fitted, text, width_of

_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")

_FEW = 40
"""Of at most so many points each is drawn, and not only the line through them."""


class _Frame(NamedTuple):
    """Where the axes are, and where a number has its place on them."""

    left: float
    top: float
    right: float
    bottom: float
    zero: float
    x: Callable[[float], float]
    y: Callable[[float], float]


def curves(picture: Curves, width: float) -> tuple[str, float]:
    """The elements of a plot, and its height."""
    legend, top = _legend(picture.series, width)
    height = top + (250 if width < 600 else 300)
    points = [point for series in picture.series for point in series.points]
    known = [point.y for point in points if point.y is not None]
    has_zero = picture.log and bool(picture.zero) and any(value <= 0 for value in known)
    bottom = height - 42
    frame_bottom = bottom - (24 if has_zero else 0)
    y, ticks = _log_scale(known, top, frame_bottom) if picture.log else _scale(known, top, frame_bottom)
    left = max([width_of(shown, 12) + 12 for shown in [*map(_tick, ticks), picture.zero if has_zero else ""]])
    right = width - 12
    bar = min(40.0, max(1.2, (right - left) / max(1, len(points)) * 0.7))
    inset = bar / 2 + 4 if picture.bars else 8
    x, columns = _across([point.x for point in points], left + inset, right - inset, picture.log_x)
    frame = _Frame(
        left, top, right, frame_bottom, bottom, x, lambda value: bottom if picture.log and value <= 0 else y(value)
    )
    parts = [legend, *_axes(picture, frame, ticks, [] if picture.bars else columns, has_zero, height)]
    parts += _mark(picture, frame)
    for n, series in enumerate(picture.series):
        colour = n % COLOURS + 1
        parts += _bars(series, colour, frame, bar) if picture.bars else _line(series, colour, frame, len(points))
    return "".join(parts), height


def _legend(series: tuple[Series, ...], width: float) -> tuple[str, float]:
    """One entry a series, in as many lines as it takes; where there is one series its name stands at the axis."""
    if len(series) < 2:
        return "", 30.0
    parts, x, y = [], 2.0, 12.0
    for n, one in enumerate(series):
        name = fitted(one.name, min(300, width - 30), 12)
        if x > 2 and x + 20 + width_of(name, 12) > width:
            x, y = 2.0, y + 19
        parts.append(_shape(n % COLOURS + 1, x + 6, y - 4, ""))
        parts.append(text(x + 17, y, name))
        x += 34 + width_of(name, 12)
    return "".join(parts), y + 38


def _axes(
    picture: Curves, frame: _Frame, ticks: list[float], columns: list[float], has_zero: bool, height: float
) -> list[str]:
    parts = [text(2, frame.top - 15, picture.y, "soft")]
    for value in ticks:
        y = frame.y(value)
        parts.append(element("path", d=f"M{frame.left:.1f} {y:.1f}H{frame.right:.1f}", class_="rule"))
        parts.append(text(frame.left - 7, y + 4, _tick(value), "soft", "end"))
    if has_zero or not picture.log:
        parts.append(element("path", d=f"M{frame.left:.1f} {frame.zero:.1f}H{frame.right:.1f}", class_="rule"))
    if has_zero:
        parts.append(text(frame.left - 7, frame.zero + 4, picture.zero, "soft", "end"))
    last = -math.inf
    for value in columns:
        at, shown = frame.x(value), _tick(value)
        if at - last > width_of(shown, 12) + 6:
            parts.append(element("path", d=f"M{at:.1f} {frame.zero:.1f}v5", class_="rule"))
            parts.append(text(at, frame.zero + 18, shown, "soft", "middle"))
            last = at
    return [*parts, text((frame.left + frame.right) / 2, height - 6, picture.x, "soft", "middle")]


def _mark(picture: Curves, frame: _Frame) -> list[str]:
    if picture.mark is None:
        return []
    at, said = picture.mark
    x = frame.x(at)
    if not frame.left <= x <= frame.right:
        return []
    end = x > (frame.left + frame.right) / 2
    shown = fitted(said, (x - frame.left if end else frame.right - x) - 6, 12)
    return [
        element("path", d=f"M{x:.1f} {frame.top - 4:.1f}V{frame.zero:.1f}", class_="mark"),
        text(x + (-6 if end else 6), frame.top + 6, shown, "strong", "end" if end else None),
    ]


def _line(series: Series, colour: int, frame: _Frame, points: int) -> list[str]:
    path, pen = "", "M"
    for point in series.points:
        if point.y is None:
            pen = "M"
            continue
        path += f"{pen}{frame.x(point.x):.1f} {frame.y(point.y):.1f}"
        pen = "L"
    hidden = " dashed" if points > _FEW and colour % 2 == 0 else ""  # so that what lies below a line is seen too
    parts = [element("path", d=path, class_=f"line s{colour}{hidden}")] if path else []
    for point in series.points:
        if point.y is not None:
            x, y = frame.x(point.x), frame.y(point.y)
            said = _said(series, point)
            parts.append(
                _shape(colour, x, y, said)
                if points <= _FEW
                else element("circle", cx=x, cy=y, r=6, class_="hit", data_said=said)
            )
    return parts


def _bars(series: Series, colour: int, frame: _Frame, width: float) -> list[str]:
    parts = []
    for point in series.points:
        if point.y is None:
            continue
        x, y = frame.x(point.x) - width / 2, frame.y(point.y)
        bar: dict[str, str | float | None] = {"x": x, "width": width, "data_said": _said(series, point)}
        height = max(1.5, frame.zero - y)
        parts.append(element("rect", y=frame.zero - height, height=height, class_=f"t{colour}", **bar))
    return parts


def _said(series: Series, point: Point) -> str:
    return f"{series.name}, {point.said}"


def _shape(colour: int, x: float, y: float, said: str) -> str:
    """A mark of a series: each of the first has a shape of its own."""
    given = {"class_": f"t{colour}", "data_said": said or None}
    if colour % 4 == 1:
        return element("circle", cx=x, cy=y, r=4, **given)
    if colour % 4 == 2:
        return element("rect", x=x - 3.8, y=y - 3.8, width=7.6, height=7.6, **given)
    sides = "l4.8 8.4h-9.6z" if colour % 4 == 3 else "l4.8 4.8l-4.8 4.8l-4.8 -4.8z"
    return element("path", d=f"M{x:.1f} {y - 4.8:.1f}{sides}", **given)


def _across(values: list[float], left: float, right: float, log: bool) -> tuple[Callable[[float], float], list[float]]:
    """Where a number stands between left and right, and the numbers that are written below."""

    def bent(value: float) -> float:
        return math.log2(1 + max(0.0, value)) if log else float(value)

    low, high = bent(min(values, default=0)), bent(max(values, default=1))
    span = (high - low) or 1.0
    rounded = _round_numbers(min(values, default=0), max(values, default=1))
    written = sorted(set(values)) if log else [value for value in rounded if value == int(value)]  # steps are whole
    return lambda value: left + (right - left) * (bent(value) - low) / span, written


def _scale(known: list[float], top: float, bottom: float) -> tuple[Callable[[float], float], list[float]]:
    low, high = min(known, default=0.0), max(known, default=1.0)
    half = (high / 2 - low / 2) or 0.5  # the largest numbers lie further apart than a number can be
    return lambda value: bottom - (bottom - top) * ((value / 2 - low / 2) / half), _round_numbers(low, high)


def _log_scale(known: list[float], top: float, bottom: float) -> tuple[Callable[[float], float], list[float]]:
    """Whole decades, of which at most seven are written."""
    logs = [math.log10(value) for value in known if value > 0]
    low, high = math.floor(min(logs, default=0.0)), math.ceil(max(logs, default=1.0))
    high = max(high, low + 1)
    every = -(-(high - low) // 6)

    def place(value: float) -> float:
        return bottom - (bottom - top) * (math.log10(max(value, 1e-320)) - low) / (high - low)

    return place, [10.0**power for power in range(low, high + 1, every) if -308 <= power <= 308]


def _round_numbers(low: float, high: float) -> list[float]:
    """At most seven round numbers between the two."""
    span = high - low
    if not 0 < span < math.inf:
        return [low]
    size = 10.0 ** math.floor(math.log10(span / 5))
    step = next((size * factor for factor in (1, 2, 5, 10) if span / (size * factor) <= 6), size * 10)
    first = math.ceil(low / step)
    return [(first + n) * step for n in range(int(span / step) + 2) if (first + n) * step <= high]


def _tick(value: float) -> str:
    """ "1,000", "10⁶", "0.5"."""
    if value > 0:
        power = math.log10(value)
        if power == int(power) and not -4 < power < 6:
            return "10" + str(int(power)).translate(_SUPERSCRIPT)
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e6 else f"{value:g}"
