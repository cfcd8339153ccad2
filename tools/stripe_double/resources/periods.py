import calendar
from datetime import UTC, datetime, timedelta
from typing import Any

MONTHS = {"month": 1, "year": 12}
DAYS = {"day": 1, "week": 7}


def period_end(start: int, recurring: dict[str, Any], times: int = 1) -> int:
    """Return the end of a period that starts at `start`, in Unix seconds."""
    count = recurring["interval_count"] * times
    begins = datetime.fromtimestamp(start, UTC)
    if recurring["interval"] in DAYS:
        return int((begins + timedelta(days=DAYS[recurring["interval"]] * count)).timestamp())
    years, month = divmod(begins.month - 1 + MONTHS[recurring["interval"]] * count, 12)
    year = begins.year + years
    # A month after the 31st ends on the next month's last day.
    day = min(begins.day, calendar.monthrange(year, month + 1)[1])
    return int(begins.replace(year=year, month=month + 1, day=day).timestamp())


def current_period(subscription: dict[str, Any]) -> tuple[int, int]:
    """Return start and end of the current period of a subscription's items."""
    items = subscription["items"]["data"]
    return min(item["current_period_start"] for item in items), max(item["current_period_end"] for item in items)
