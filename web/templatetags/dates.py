"""Date drill-down of lists without a query over all rows (docs/performance.md)."""

from calendar import monthrange
from datetime import date, datetime
from typing import Any

from django import template
from django.contrib.admin.views.main import ChangeList
from django.db.models import Max, Min
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.text import capfirst

register = template.Library()
PARTS = ("year", "month", "day")


@register.inclusion_tag("admin/date_hierarchy.html")
def date_drilldown(shown: ChangeList) -> dict[str, Any]:
    """Offer years, then months, then days between the oldest and the newest row."""
    chosen = _chosen(shown)
    # Django's own reads the day of every row that passes the other filters.
    span = _span(shown)
    if span is None:
        return {"show": False}
    links = [(when, _link(shown, when)) for when in _first_real_choice(chosen, *span)]
    choices = [{"title": _title(when), "link": "" if when == chosen else link} for when, link in links]
    return {"show": True, "back": _back(shown, chosen), "choices": choices}


def next_choices(chosen: tuple[int, ...], first: date, last: date) -> list[tuple[int, ...]]:
    """Return the next choices: `(2026,)` leads to months, `(2026, 11)` to days."""
    begin, end = _numbers(first), _numbers(last)
    if len(chosen) == len(PARTS):
        return [chosen]
    ranges = (range(begin[0], end[0] + 1), range(1, 13), range(1, _days(chosen) + 1))
    next_ones = [(*chosen, n) for n in ranges[len(chosen)]]
    return [each for each in next_ones if begin[: len(each)] <= each <= end[: len(each)]]


def _first_real_choice(chosen: tuple[int, ...], first: date, last: date) -> list[tuple[int, ...]]:
    found = next_choices(chosen, first, last)
    # A level with one choice would cost a click.
    while len(found) == 1 and len(found[0]) < len(PARTS):
        found = next_choices(found[0], first, last)
    return found


def _chosen(shown: ChangeList) -> tuple[int, ...]:
    values = [shown.params.get(f"{shown.date_hierarchy}__{part}") for part in PARTS]
    known = values[: values.index(None)] if None in values else values
    return tuple(int(value) for value in known if value)


def _span(shown: ChangeList) -> tuple[date, date] | None:
    field = str(shown.date_hierarchy)
    # From the index of the column: the filtered rows would have to be read.
    ends = shown.model._default_manager.aggregate(first=Min(field), last=Max(field))
    return (_day(ends["first"]), _day(ends["last"])) if ends["first"] else None


def _day(moment: datetime) -> date:
    return timezone.localtime(moment).date()


def _numbers(day: date) -> tuple[int, ...]:
    return day.year, day.month, day.day


def _days(chosen: tuple[int, ...]) -> int:
    return monthrange(chosen[0], chosen[1])[1] if len(chosen) > 1 else 0


def _back(shown: ChangeList, chosen: tuple[int, ...]) -> dict[str, str] | None:
    if not chosen:
        return None
    return {"title": _title(chosen[:-1]) if chosen[:-1] else "All dates", "link": _link(shown, chosen[:-1])}


def _link(shown: ChangeList, when: tuple[int, ...]) -> str:
    named = {f"{shown.date_hierarchy}__{part}": number for part, number in zip(PARTS, when, strict=False)}
    return shown.get_query_string(named, [f"{shown.date_hierarchy}__"])


def _title(when: tuple[int, ...]) -> str:
    year, month, day = (*when, 1, 1)[:3]
    form = ("Y", "YEAR_MONTH_FORMAT", "MONTH_DAY_FORMAT")[len(when) - 1]
    return capfirst(date_format(date(year, month, day), form))
