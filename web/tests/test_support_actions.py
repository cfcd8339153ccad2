"""What support does on a user's page besides answering questions: notes, and another confirmation mail."""

from typing import Any

import pytest

from accounts.auditlog.trail import Action
from accounts.models import AuditEvent, UserNote
from accounts.privacy import account_data
from web.tests.test_staff_roles import SIGNED_IN, act, signed_in

__all__ = ["signed_in"]
NOTE = "Asked for a refund by mail; promised an answer by Friday."


def page(client: Any, user: Any) -> str:
    return str(client.get(f"/admin/accounts/user/{user.pk}/change/").content.decode())


def add_note(client: Any, user: Any, text: str = NOTE) -> Any:
    form = {"action": "add_note", "_selected_action": str(user.pk), "confirmed": "yes", "text": text}
    return client.post("/admin/accounts/user/", form, follow=True)


def test_it_works(signed_in: SIGNED_IN, alice: Any) -> None:
    client = signed_in("Support")
    add_note(client, alice)
    note = UserNote.objects.get(user=alice)
    assert note.author and note.author.email.startswith("staff-")
    shown = page(client, alice)
    assert NOTE in shown and note.author.email in shown


def test_the_user_gets_the_notes_and_not_their_authors(signed_in: SIGNED_IN, alice: Any) -> None:
    add_note(signed_in("Support"), alice)
    exported: Any = dict(account_data.export(alice))
    (row,) = exported["notes"]
    assert (row["text"], set(row)) == (NOTE, {"text", "createdAt"})


def test_a_note_outlives_its_author_and_goes_with_its_user(signed_in: SIGNED_IN, alice: Any) -> None:
    client = signed_in("Support")
    add_note(client, alice)
    author = UserNote.objects.get().author
    assert author
    author.delete()
    assert UserNote.objects.get().author is None
    assert "a former colleague" in page(signed_in("Admin"), alice)
    alice.delete()
    assert not UserNote.objects.exists()


def test_a_note_without_text_or_too_long_is_not_stored(signed_in: SIGNED_IN, alice: Any) -> None:
    client = signed_in("Support")
    for text in (" ", "x" * 2_001):
        add_note(client, alice, text)
    assert not UserNote.objects.exists()


@pytest.mark.parametrize("role", ["Billing", "Catalogue editor"])
def test_other_roles_neither_write_nor_read(signed_in: SIGNED_IN, alice: Any, role: str) -> None:
    UserNote.objects.create(user=alice, text=NOTE)
    client = signed_in(role)
    add_note(client, alice, "another")
    assert UserNote.objects.count() == 1 and NOTE not in page(client, alice)


def test_another_confirmation_is_mailed(signed_in: SIGNED_IN, alice: Any, settings: Any) -> None:
    settings.CELERY_TASK_ALWAYS_EAGER = True
    client = signed_in("Support")
    assert "Resend the confirmation" in page(client, alice)
    act(client, "resend_verification", alice)
    event = AuditEvent.objects.get(action=Action.VERIFICATION_REQUESTED, subject_id=alice.pk)
    assert event.actor_id != alice.pk


def test_a_confirmed_address_gets_no_mail(signed_in: SIGNED_IN, make_user: Any) -> None:
    from django.utils import timezone

    confirmed = make_user("clara", email_verified_at=timezone.now())
    client = signed_in("Support")
    assert "Resend the confirmation" not in page(client, confirmed)
    act(client, "resend_verification", confirmed)
    assert not AuditEvent.objects.filter(action=Action.VERIFICATION_REQUESTED, subject_id=confirmed.pk).exists()


def test_the_hash_and_the_pickers_are_for_superusers(signed_in: SIGNED_IN, alice: Any, make_user: Any) -> None:
    shown = page(signed_in("Admin"), alice)
    assert "argon2" not in shown and "User permissions" not in shown
    client = signed_in("Admin")
    client.force_login(
        make_user("chief", is_staff=True, is_superuser=True), backend="django.contrib.auth.backends.ModelBackend"
    )
    assert "argon2" in page(client, alice) and "ser permissions" in page(client, alice)
