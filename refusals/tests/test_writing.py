"""The task that writes refusals each second."""

from typing import Any

from lunaos.embedded.servers import until
from refusals import recorder
from refusals.models import Refusal


def refuse(user: Any) -> None:
    recorder.count(user_id=user.pk, key_id=None, key_prefix="", code="quota_exceeded", message="No.")


def test_it_works(alice: Any) -> None:
    refuse(alice)
    assert not Refusal.objects.exists()
    assert until(Refusal.objects.exists, 5)


def test_it_starts_again_after_a_quiet_time(alice: Any) -> None:
    for expected in (1, 2):
        refuse(alice)
        assert until(lambda: Refusal.objects.filter(count=expected).exists(), 5)  # noqa: B023 - called at once
        assert until(lambda: not recorder._is_scheduled, 5)
