"""lunaos.infra.encryption: text opens with any configured key, and with no other."""

from typing import Any

import pytest
from cryptography.fernet import Fernet

from lunaos.infra import encryption
from lunaos.infra.encryption import Unreadable

ONE, TWO = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SECRET = "sk-planted-0123456789"


def test_it_works(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [ONE]
    sealed = encryption.seal(SECRET, context="alice")
    assert SECRET not in sealed
    assert encryption.unseal(sealed, context="alice") == SECRET
    assert encryption.seal(SECRET, context="alice") != sealed  # equal secrets do not look equal


@pytest.mark.parametrize("text", ["", "\0", "a\0b", "größe 🙂", "x" * 10_000])
def test_any_text(settings: Any, text: str) -> None:
    settings.ENCRYPTION_KEYS = [ONE]
    assert encryption.unseal(encryption.seal(text, context="alice"), context="alice") == text


def test_an_older_key_still_opens(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [ONE]
    sealed = encryption.seal(SECRET, context="alice")
    settings.ENCRYPTION_KEYS = [TWO, ONE]
    assert encryption.unseal(sealed, context="alice") == SECRET
    assert not encryption.is_current(sealed)


def test_resealing_lets_the_older_key_go(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [ONE]
    sealed = encryption.seal(SECRET, context="alice")
    settings.ENCRYPTION_KEYS = [TWO, ONE]
    sealed = encryption.reseal(sealed)
    assert encryption.is_current(sealed)
    settings.ENCRYPTION_KEYS = [TWO]
    assert encryption.unseal(sealed, context="alice") == SECRET


def test_without_the_setting_keys_are_derived(settings: Any) -> None:
    settings.ENCRYPTION_KEYS, settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = [], "a" * 50, []
    sealed = encryption.seal(SECRET, context="alice")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "b" * 50, ["a" * 50]
    assert encryption.unseal(sealed, context="alice") == SECRET
    assert not encryption.is_current(sealed)
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(Unreadable):
        encryption.unseal(sealed, context="alice")


def test_a_platform_that_ran_without_the_setting_can_still_read(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = []
    sealed = encryption.seal(SECRET, context="alice")
    settings.ENCRYPTION_KEYS = [ONE]
    assert encryption.unseal(sealed, context="alice") == SECRET
    assert not encryption.is_current(sealed)


def test_a_key_that_is_gone(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [ONE]
    sealed = encryption.seal(SECRET, context="alice")
    settings.ENCRYPTION_KEYS = [TWO]
    assert not encryption.is_current(sealed)
    with pytest.raises(Unreadable, match=r"^$"):
        encryption.unseal(sealed, context="alice")
    with pytest.raises(Unreadable, match=r"^$"):
        encryption.reseal(sealed)


@pytest.mark.parametrize(
    "change", [lambda s: s[:-4], lambda s: "A" + s[1:], lambda s: s[:40] + "AAAA" + s[44:], lambda s: ""]
)
def test_what_was_changed_opens_nothing(settings: Any, change: Any) -> None:
    settings.ENCRYPTION_KEYS = [ONE]
    with pytest.raises(Unreadable):
        encryption.unseal(change(encryption.seal(SECRET, context="alice")), context="alice")


@pytest.mark.parametrize("context", ["bob", "", "alice ", "alice\0"])
def test_another_context_opens_nothing(settings: Any, context: str) -> None:
    settings.ENCRYPTION_KEYS = [ONE]
    with pytest.raises(Unreadable):
        encryption.unseal(encryption.seal(SECRET, context="alice"), context=context)
