"""Lookup of API keys, with their last use and the networks of their use."""

from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db.models import Q

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from apikeys import secret
from apikeys.models import ApiKey, ApiKeyAddress
from lunaos.errors import ApiKeyInvalid
from lunaos.infra import client_info
from refusals import recorder

LAST_USED_PRECISION = timedelta(minutes=1)
MAX_SEEN_NETWORKS = 10_000  # pairs of key and network in this process's memory
MAX_NETWORKS_PER_KEY = 500  # stored; beyond them the oldest are deleted and would be new again
UNKNOWN = "The API key is unknown. Check that it was copied whole."
ACCOUNT_DISABLED = "The account of the key is disabled. The client reads that the key is unknown."  # for staff

_seen_networks: OrderedDict[tuple[UUID, str], None] = OrderedDict()


def authenticate(value: str) -> ApiKey:
    """Return the key with its owner and record its use; record a refusal, too, and raise ApiKeyInvalid."""
    key = _load(value)
    try:
        _require_valid(key)
    except ApiKeyInvalid as e:
        _count_refusal(key, str(e) if key.user.is_active else ACCOUNT_DISABLED)
        raise
    _update_last_used(key)
    if address := client_info.current().address:
        _record_network(key, client_info.customer_network(address))
    return key


def find(value: str) -> ApiKey:
    """Return the key with its owner, without recording a use; may raise ApiKeyInvalid."""
    return _require_valid(_load(value))


def _load(value: str) -> ApiKey:
    # The pattern first: a text that is no key costs no query.
    if not secret.KEY_PATTERN.match(value):
        raise ApiKeyInvalid("This is not an API key: a key is `lnos_live_` and 32 hexadecimal digits.")
    key = ApiKey.objects.load(secret.hash_key(value))
    if key is None:
        raise ApiKeyInvalid(UNKNOWN, reason="unknown")
    return key


def _require_valid(key: ApiKey) -> ApiKey:
    if not key.user.is_active:  # the key of a disabled account is unknown, like the account itself
        raise ApiKeyInvalid(UNKNOWN, reason="unknown")
    if key.revoked_at:
        raise ApiKeyInvalid("The API key was revoked. Create a new one with POST /api-keys.", reason="revoked")
    if not key.active:
        raise ApiKeyInvalid("The API key has expired. Create a new one with POST /api-keys.", reason="expired")
    return key


def _count_refusal(key: ApiKey, message: str) -> None:
    recorder.count(user_id=key.user_id, key_id=key.pk, key_prefix=key.prefix, code=ApiKeyInvalid.code, message=message)


def _update_last_used(key: ApiKey) -> None:
    now = datetime.now(UTC)
    if key.last_used_at is None or key.last_used_at <= now - LAST_USED_PRECISION:
        # The condition again in SQL: of parallel requests with the same key only the first writes.
        stale = Q(last_used_at=None) | Q(last_used_at__lte=now - LAST_USED_PRECISION)
        ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)


def _record_network(key: ApiKey, network: str) -> None:
    # Store a new network of a key, and write an audit row if no process has seen the network before.
    if (key.pk, network) in _seen_networks:
        return
    _, is_new = ApiKeyAddress.objects.get_or_create(key=key, network=network)
    if is_new:
        trail.record_on_commit(Action.KEY_USED_FROM_NEW_ADDRESS, actor=key.user, subject=key.user, key=key.prefix)
        ApiKeyAddress.objects.delete_all_but_newest(key, MAX_NETWORKS_PER_KEY)
    _seen_networks[key.pk, network] = None
    while len(_seen_networks) > MAX_SEEN_NETWORKS:
        _seen_networks.popitem(last=False)
