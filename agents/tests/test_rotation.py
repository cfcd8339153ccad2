"""manage.py rotate_encryption_keys: as operators run it, again, and beside running traffic."""

import subprocess
import sys
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.test import override_settings

from agents import provider_keys
from agents.models import ProviderKey
from lunaos.infra import encryption
from testing.client import Api, answer
from testing.commands import run_command
from testing.loopback.upstream import Upstream
from testing.servers import ROOT, daphne, environment

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture
def keys(settings: Any) -> Any:
    """Give this process the old key alone."""
    settings.ENCRYPTION_KEYS = [OLD]
    return settings


def rotate(*keys: str) -> tuple[int, str]:
    """Exit code and all output, where these are the keys."""
    with override_settings(ENCRYPTION_KEYS=list(keys)):
        code, output, complaint = run_command("rotate_encryption_keys")
    return code, output + complaint


def give(*users: Any) -> None:
    for user in users:
        provider_keys.set_key(user=user, provider="deepseek", key=f"sk-own-{user.pk}")


def key_of(user: Any) -> str:
    sealed = provider_keys.keyring(user.pk).sealed["deepseek"]
    return encryption.unseal(sealed, context=f"{user.pk} deepseek")


def test_it_works(keys: Any, alice: Any, bob: Any) -> None:
    give(alice, bob)
    command = [sys.executable, "manage.py", "rotate_encryption_keys"]
    known = environment(LUNAOS_ENCRYPTION_KEYS=f"{NEW},{OLD}")
    done = subprocess.run(command, env=known, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "2 re-encrypted, 0 were up to date.\n"), done.stderr
    keys.ENCRYPTION_KEYS = [NEW]
    assert [key_of(alice), key_of(bob)] == [f"sk-own-{alice.pk}", f"sk-own-{bob.pk}"]


def test_a_second_rotation_changes_nothing(keys: Any, alice: Any) -> None:
    give(alice)
    rotate(NEW, OLD)
    before = ProviderKey.objects.get().sealed
    assert rotate(NEW, OLD) == (0, "0 re-encrypted, 1 were up to date.\n")
    assert ProviderKey.objects.get().sealed == before


def test_nothing_to_do(database: None) -> None:
    assert rotate(NEW) == (0, "0 re-encrypted, 0 were up to date.\n")


def test_from_derived_keys_to_ones_own(keys: Any, alice: Any) -> None:
    keys.ENCRYPTION_KEYS = []
    give(alice)
    assert rotate(NEW)[0] == 0
    keys.ENCRYPTION_KEYS, keys.SECRET_KEY = [NEW], "another" * 10
    assert key_of(alice) == f"sk-own-{alice.pk}"


def test_undecryptable_keys_are_reported_and_unchanged(keys: Any, alice: Any, bob: Any) -> None:
    give(alice)
    lost = ProviderKey.objects.get().sealed
    keys.ENCRYPTION_KEYS = [NEW]
    give(bob)
    code, output = rotate(NEW)
    assert code == 1 and "1 cannot be decrypted with any key" in output
    assert "gAAAA" not in output and OLD not in output and NEW not in output
    assert ProviderKey.objects.get(user=alice).sealed == lost


def test_a_key_replaced_during_the_rotation_stays(keys: Any, alice: Any, monkeypatch: Any) -> None:
    give(alice)
    keys.ENCRYPTION_KEYS = [NEW, OLD]
    reseal = encryption.reseal

    def slowly(sealed: str) -> str:
        provider_keys.set_key(user=alice, provider="deepseek", key="sk-newer-0123")
        return reseal(sealed)

    monkeypatch.setattr(encryption, "reseal", slowly)
    assert provider_keys.rotate() == provider_keys.RotationResult(resealed=0, current=1)
    assert key_of(alice) == "sk-newer-0123"


def test_a_key_removed_during_the_rotation_stays_removed(keys: Any, alice: Any, monkeypatch: Any) -> None:
    give(alice)
    keys.ENCRYPTION_KEYS = [NEW, OLD]
    reseal = encryption.reseal

    def slowly(sealed: str) -> str:
        provider_keys.remove_key(user=alice, provider="deepseek")
        return reseal(sealed)

    monkeypatch.setattr(encryption, "reseal", slowly)
    provider_keys.rotate()
    assert not ProviderKey.objects.exists()


def test_a_whole_rotation_of_a_running_platform(
    keys: Any, alice: Any, upstream: Upstream, tmp_path: Any, provider_environment: dict[str, str]
) -> None:
    """New key behind, then in front, then alone; the user notices nothing at any point."""
    give(alice)
    for known in ([OLD], [NEW, OLD]):
        with (
            daphne(
                tmp_path / "web.log", "/ready", **provider_environment, LUNAOS_ENCRYPTION_KEYS=",".join(known)
            ) as url,
            Api(base_url=url, timeout=30) as api,
        ):
            assert answer(api.execute(alice)) == "Hello world"
            assert rotate(*known)[0] == 0
            assert answer(api.execute(alice)) == "Hello world"
    with (
        daphne(tmp_path / "web.log", "/ready", **provider_environment, LUNAOS_ENCRYPTION_KEYS=NEW) as url,
        Api(base_url=url, timeout=30) as api,
    ):
        assert answer(api.execute(alice)) == "Hello world"
    assert {headers["Authorization"] for headers in upstream.headers} == {f"Bearer sk-own-{alice.pk}"}
