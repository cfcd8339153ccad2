"""Where bars and lines lie."""

import pytest

from web import charts, dashboard_stats
from web.templatetags import number_format


def test_it_works() -> None:
    chart = charts.bars("Runs", ["a", "b"], {"succeeded": [3, None], "failed": [1, 2]})
    first, second = chart.columns
    assert [(segment.name, segment.value) for segment in first.segments] == [("succeeded", 3), ("failed", 1)]
    assert [segment.name for segment in second.segments] == ["failed"]
    succeeded, failed = first.segments
    assert succeeded.y + succeeded.height == pytest.approx(charts.HEIGHT - charts.BOTTOM, abs=0.2)
    assert failed.y + failed.height == pytest.approx(succeeded.y, abs=0.2)
    assert failed.y == charts.TOP  # four of four
    assert chart.rows == [("a", [3, 1]), ("b", [None, 2])] and not chart.empty


def test_a_line_breaks_where_nothing_is_known() -> None:
    (line,) = charts.lines("Times", list("abcde"), {"median": [1, 2, None, 3, 4]}).lines
    assert len(line.strokes) == 2 and len(line.points) == 4


def test_a_point_alone_is_no_stroke() -> None:
    (line,) = charts.lines("Times", list("abc"), {"median": [None, 2, None]}).lines
    assert line.strokes == [] and len(line.points) == 1


def test_nothing() -> None:
    for draw in (charts.bars, charts.lines):
        assert draw("Nothing", [], {}).empty
        assert draw("Nothing", ["a"], {"x": [0]}).empty


@pytest.mark.parametrize(("largest", "top"), [(0, 1), (1, 1), (3, 4), (7, 8), (9, 10), (0.03, 0.04), (4100, 5000)])
def test_the_scale_ends_at_a_round_number(largest: float, top: float) -> None:
    assert charts.bars("x", ["a"], {"x": [largest]}).ticks[-1][1] == pytest.approx(top)


@pytest.mark.parametrize(
    ("largest", "unit", "labels"),
    [
        (1, "count", ["0", "1"]),
        (3, "count", ["0", "1", "2", "3", "4"]),
        (9, "count", ["0", "2", "4", "6", "8", "10"]),
        (0.0005, "usd", ["$0.00", "$0.0001", "$0.0002", "$0.0003", "$0.0004", "$0.0005"]),
    ],
)
def test_labels_of_the_scale_are_exact(largest: float, unit: str, labels: list[str]) -> None:
    ticks = charts.bars("x", ["a"], {"x": [largest]}, unit=unit).ticks
    assert [number_format.format_figure(value, unit) for _, value in ticks] == labels


def test_there_is_room_for_the_labels() -> None:
    labels = [str(n) for n in range(30)]
    assert len(charts.bars("x", labels, {"x": [1] * 30}).x_labels) <= charts.MAX_LABELS


def test_percentiles() -> None:
    counts = {40: 50, 60: 45, 80: 5}
    assert dashboard_stats.percentile(counts, 0.5) == pytest.approx(99)
    assert dashboard_stats.percentile(counts, 0.95) == pytest.approx(999)
    assert dashboard_stats.percentile(counts, 1) == pytest.approx(9999)
    assert dashboard_stats.percentile({}, 0.5) is None


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "usd", "-"),
        (0, "count", "0"),
        (9_999, "count", "9,999"),
        (12_345, "count", "12.3k"),
        (4.2e6, "count", "4.2M"),
        (1.5e9, "count", "1.5B"),
        (0.9876, "share", "98.8 %"),
        (0.00042, "usd", "$0.0004"),
        (0.000005, "usd", "< $0.0001"),
        (0.5, "usd", "$0.5"),
        (0, "usd", "$0.00"),
        (1234.5, "usd", "$1,234.50"),
        (350, "ms", "350 ms"),
        (2345, "ms", "2.3 s"),
    ],
)
def test_figures_are_written(value: float | None, unit: str, text: str) -> None:
    assert number_format.format_figure(value, unit) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "count", "nothing before"),
        (0.1234, "count", "+12.3 %"),
        (-0.02, "share", "-2.0 points"),
        (0, "usd", "unchanged"),
    ],
)
def test_changes_are_written(value: float | None, unit: str, text: str) -> None:
    assert number_format.format_change(value, unit) == text
