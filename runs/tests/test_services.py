"""The statement that reserves an execution and writes its run."""

from typing import Any

import pytest

from billing.models import MonthlyUsage
from runs import services
from runs.metering import start_limits
from runs.models import Run

FIELDS: dict[str, Any] = {"agent": "run", "provider": "deepseek", "model": "m", "text": "in", "request_id": "r"}


def test_it_works(alice: Any) -> None:
    started_run = services.create(user=alice, **FIELDS)
    stored = Run.objects.get(pk=started_run.run.pk)
    assert (stored.user_id, stored.charged_month, started_run.usage.used) == (alice.pk, started_run.usage.month, 1)


@pytest.mark.parametrize("name", ["month", "model", "input", "user_id"])
def test_a_parameter_of_two_modules_is_refused(alice: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    parameters = start_limits.sql_parameters
    monkeypatch.setattr(start_limits, "sql_parameters", lambda user: {**parameters(user), name: "other"})
    with pytest.raises(ValueError, match=name):
        services.create(user=alice, **FIELDS)
    assert not Run.objects.exists() and not MonthlyUsage.objects.exists()
