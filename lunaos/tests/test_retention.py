"""The retention table in docs/operate/retention.md names tasks that beat starts."""

import re
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.contrib.sessions.models import Session

from lunaos.celery import app
from testing.servers import ROOT
from web import tasks

SECTION = (ROOT / "docs/operate/retention.md").read_text()
NAMED = set(re.findall(r"`((?:accounts|billing|rag|refusals|runs|web)\.[a-z_.]+)`", SECTION))


def test_it_works() -> None:
    scheduled = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert len(NAMED) > 5
    assert scheduled >= NAMED


def test_all_that_beat_starts_is_there() -> None:
    app.loader.import_default_modules()
    assert {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()} <= set(app.tasks)


def test_sessions_of_staff_end(database: None) -> None:
    now = datetime.now(UTC)
    for key, end in (("old", now - timedelta(seconds=1)), ("new", now + timedelta(hours=1))):
        Session.objects.create(session_key=key, session_data="", expire_date=end)
    tasks.forget_expired()
    made = Session.objects.filter(session_key__in=("old", "new"))
    assert [session.session_key for session in made] == ["new"]
    made.delete()


def test_variables_in_it_exist() -> None:
    listed = (ROOT / ".env.example").read_text()
    assert [name for name in re.findall(r"`(LUNAOS_[A-Z_]+)`", SECTION) if f"{name}=" not in listed] == []
