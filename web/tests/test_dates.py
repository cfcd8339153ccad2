"""The drill-down by date of the admin's lists."""

import re
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.test import Client

from runs.tests.test_stats import add_run
from web.templatetags.dates import next_choices
from web.tests.test_admin_queries import staff_client

__all__ = ["staff_client"]

FIRST, LAST = date(2025, 11, 29), date(2026, 2, 2)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ((), [(2025,), (2026,)]),
        ((2025,), [(2025, 11), (2025, 12)]),
        ((2026,), [(2026, 1), (2026, 2)]),
        ((2025, 11), [(2025, 11, 29), (2025, 11, 30)]),
        ((2026, 2), [(2026, 2, 1), (2026, 2, 2)]),
        ((2026, 1, 5), [(2026, 1, 5)]),
        ((1999,), []),
    ],
)
def test_what_can_be_chosen(chosen: tuple[int, ...], expected: list[tuple[int, ...]]) -> None:
    assert next_choices(chosen, FIRST, LAST) == expected


def links(client: Client, query: str = "") -> dict[str, str]:
    page = client.get(f"/admin/runs/run/?{query}").content.decode()
    bar = page[page.index('class="toplinks') :]
    found = re.findall(r'<a href="(\?[^"]*)"[^>]*>(.*?)</a>', bar[: bar.index("</ul>")], re.DOTALL)
    return {re.sub(r"<span.*?</span>|\s+", " ", text).strip(): link.replace("&amp;", "&")[1:] for link, text in found}


def test_it_works(staff_client: Client, alice: Any) -> None:
    for moment in (datetime(2025, 12, 31, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)):
        add_run(alice, moment)
    years = links(staff_client, "status__exact=succeeded")
    assert list(years) == ["2025", "2026"]
    days = links(staff_client, years["2026"])  # it has one month
    assert list(days) == ["All dates", "January 1", "January 2"]
    assert list(links(staff_client, days["January 2"])) == ["January 2026"]
    assert "status__exact=succeeded" in days["January 2"]
    assert b"1 Jan" not in staff_client.get(f"/admin/runs/run/?{days['January 1']}").content
