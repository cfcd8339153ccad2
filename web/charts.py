"""Geometry of the dashboard's SVG charts; templates draw them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 4, 10, 24  # margins for the axes
MAX_LABELS = 8
COLUMN_GAP_SHARE = 0.25  # of a column's width

Series = Mapping[str, Sequence[float | None]]


@dataclass(frozen=True, slots=True)
class Segment:
    name: str
    value: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """Stacked segments above one label, from the bottom up."""

    label: str
    x: float
    segments: list[Segment]


@dataclass(frozen=True, slots=True)
class LineSeries:
    """A series as polylines, one for each stretch without a gap, and its points."""

    name: str
    strokes: list[str]
    points: list[tuple[float, float, str, float]]


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    unit: str
    names: list[str]
    # The y and the value of each grid line; the x and the text of at most MAX_LABELS labels.
    ticks: list[tuple[float, float]]
    x_labels: list[tuple[float, str]]
    # The same figures as a table, for readers without the picture: a label and one value per series.
    rows: list[tuple[str, list[float | None]]]
    bar_width: float
    columns: list[Column]
    lines: list[LineSeries]

    @property
    def empty(self) -> bool:
        return not any(value for _, values in self.rows for value in values)


def bars(title: str, labels: Sequence[str], series: Series, *, unit: str = "") -> Chart:
    """Return a chart of stacked bars; a value of None counts as 0."""
    rows = _rows(labels, series)
    top = _scale_end(max((sum(value or 0 for value in values) for _, values in rows), default=0))
    step, width = _step(len(labels)), _step(len(labels)) * (1 - COLUMN_GAP_SHARE)
    columns = [
        Column(label, LEFT + step * (n + COLUMN_GAP_SHARE / 2), _stack(list(series), values, top))
        for n, (label, values) in enumerate(rows)
    ]
    return Chart(title, unit, list(series), _ticks(top), _x_labels(labels), rows, width, columns, [])


def lines(title: str, labels: Sequence[str], series: Series, *, unit: str = "") -> Chart:
    """Return a chart with one line per series, broken where a value is None."""
    top = _scale_end(max((value or 0 for values in series.values() for value in values), default=0))
    drawn = [_line(name, labels, values, top) for name, values in series.items()]
    rows = _rows(labels, series)
    return Chart(title, unit, list(series), _ticks(top), _x_labels(labels), rows, 0, [], drawn)


def _rows(labels: Sequence[str], series: Series) -> list[tuple[str, list[float | None]]]:
    return [(label, [values[n] for values in series.values()]) for n, label in enumerate(labels)]


def _stack(names: list[str], values: Sequence[float | None], top: float) -> list[Segment]:
    segments, below = [], 0.0
    for name, value in zip(names, values, strict=True):
        if value:
            below += value
            segments.append(Segment(name, value, round(_y(below, top), 1), round(_y(0, top) - _y(value, top), 1)))
    return segments


def _line(name: str, labels: Sequence[str], values: Sequence[float | None], top: float) -> LineSeries:
    points: list[tuple[float, float, str, float]] = []
    strokes: list[list[str]] = [[]]
    for n, value in enumerate(values):
        if value is None:
            strokes.append([])
            continue
        x, y = round(_column_centre(n, len(labels)), 1), round(_y(value, top), 1)
        points.append((x, y, labels[n], value))
        strokes[-1].append(f"{x},{y}")
    return LineSeries(name, [" ".join(stroke) for stroke in strokes if len(stroke) > 1], points)


def _step(count: int) -> float:
    return (WIDTH - LEFT - RIGHT) / max(count, 1)


def _column_centre(n: int, count: int) -> float:
    return LEFT + _step(count) * (n + 0.5)


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)


def _scale_end(largest: float) -> float:
    if largest <= 0:
        return 1
    power = 10.0 ** math.floor(math.log10(largest))
    # Ends with which a scale divides into round steps.
    return next(factor * power for factor in (1, 2, 4, 5, 8, 10) if factor * power >= largest)


def _ticks(top: float) -> list[tuple[float, float]]:
    # Only these steps have exact labels.
    parts = 1 if top == 1 else 4 if f"{top:e}"[0] in "248" else 5
    return [(round(_y(top * n / parts, top), 1), top * n / parts) for n in range(parts + 1)]


def _x_labels(labels: Sequence[str]) -> list[tuple[float, str]]:
    each = math.ceil(len(labels) / MAX_LABELS) or 1
    return [(round(_column_centre(n, len(labels)), 1), label) for n, label in enumerate(labels) if n % each == 0]
