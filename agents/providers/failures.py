"""Mapping of providers' errors to the API's errors: by HTTP status, or inside an answer."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents.providers import Provider
from agents.providers.contents import replace_lone_surrogates
from agents.providers.errors import (
    ContentFiltered,
    ProviderFailed,
    ProviderKeyRejected,
    ProviderQuotaExhausted,
    ProviderTimeout,
    ProviderUnavailable,
)
from agents.providers.redaction import redact
from agents.providers.retry_after import DEFAULT_WAIT_S, stated_s, wait_s

MAX_ERROR_CHARACTERS = 2_048
MESSAGE_FIELDS = ("message", "msg", "status_msg", "error_msg", "error_message", "detail")
SUCCESS_CODES = (None, "", 0, "0", 200, "200", "ok", "success")
OVERLOADED_STATUSES = frozenset((429, 502, 503, 504, *range(520, 528), 529))  # 52x: Cloudflare cannot reach the server
INSUFFICIENT_RESOURCES = "insufficient_system_resource"  # DeepSeek's finish reason for an answer aborted by overload
RETRYABLE_STATUSES = frozenset((408, 409, 425))
KEY_REJECTED_STATUSES = frozenset((401, 403))
# Errors inside an answer have a type or a message, and no status.
SEPARATORS = re.compile(r"[\s\-]")
OVERLOAD_STATUS_BY_PHRASE = {"rate_limit": 429, "ratelimit": 429, "too_many_requests": 429, "overloaded": 529}
STATUS_BY_PHRASE = {
    **OVERLOAD_STATUS_BY_PHRASE,
    "unavailable": 503,
    "capacity": 503,
    "insufficient_quota": 429,
    "authentication": 401,
    "permission": 403,
    "badrequest": 400,
    "bad_request": 400,
    "invalid_request": 400,
    "not_found": 404,
}


class Reason(enum.Enum):
    """Reason of a refusal, as far as the provider's error shows it."""

    QUOTA = "the account has no credit left"
    POLICY = "the content is against its policy"
    TOO_LONG = "the context is too long for the model"
    UNKNOWN_MODEL = "it has no such model"
    PARAMETER = "a parameter is not supported"
    OTHER = "anything else"


# Regular expressions over code, type and message; the first matching reason counts.
REASON_PHRASES: dict[Reason, tuple[str, ...]] = {
    Reason.QUOTA: (
        *("insufficient_quota", "insufficient[ _]?(balance|credit|funds)", "credit balance is too low"),
        *("exceeded your current quota", "billing_(hard_limit|not_active)", "quota_exceeded", "arrearage"),
        *("payment required", "out of credits"),
    ),
    Reason.POLICY: (
        *("content_filter", "content_policy", "content management policy", "responsibleaipolicy", "safety system"),
        *(
            "data_inspection_failed",
            "inappropriate content",
            r"\bflagged\b",
            "requires moderation",
            "content exists risk",
        ),
        r"violat\w{1,8} (our|the|openai's) [\w ]{0,20}polic",
    ),
    Reason.TOO_LONG: (
        *("context_length", "context length", "context window", "maximum context", "string_above_max_length"),
        *("exceed_context_size", "available context size", "too many (input )?tokens", "reduce the length"),
        r"maximum[\w ]{0,24} tokens",
        r"(prompt|input|request|messages?)( \w{1,12})? (is|are) too (long|large)",
        *("request too large", "max_new_tokens", "input length should be"),
        r"exceeds? the (model's )?max\w{0,8}( \w{1,12})? (tokens|length)",
    ),
    Reason.PARAMETER: (
        *("unsupported_(parameter|value)", "unsupported (parameter|value)", "unknown_parameter"),
        *("unrecognized request argument", "unknown (parameter|field|argument)", "unexpected (keyword )?argument"),
        *("extra (inputs|fields) (are )?not permitted", "(is|are) not supported (with|by|for) this model"),
        "(does|do) not support",
    ),
    Reason.UNKNOWN_MODEL: (
        *("model_not_found", "model_not_exist", "model not exist", "unknown model", "no such model", "invalid_model"),
        r"model[^.]{0,100}(does not exist|not found|is not supported|not available|decommissioned|deprecated)",
    ),
}
REASON_PATTERNS = {reason: re.compile("|".join(phrases), re.IGNORECASE) for reason, phrases in REASON_PHRASES.items()}
KNOWN_PARAMETERS = ("max_tokens", "max_completion_tokens", "temperature", "stream_options", "stream")
PARAMETER_NAME = re.compile(r"[A-Za-z_][\w.\[\]]{0,63}")
PARAMETER_IN_MESSAGE = re.compile(  # after a colon or a quotation mark, since other following words are no name
    r"(?:argument|parameter|field|property|value)s?(?: supplied| name)?(?:: ?['\"`]?| ?['\"`])([A-Za-z_][\w.]{1,63})",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """Fields of a provider's error object, never shown without `redact`."""

    # `words` are code, type and message, for the search.

    status: int | None
    words: str
    message: str = ""
    param: str = ""

    @property
    def reason(self) -> Reason:
        if self.status == 402:
            return Reason.QUOTA
        if self.status == 413:
            return Reason.TOO_LONG
        found = next((reason for reason, sign in REASON_PATTERNS.items() if sign.search(self.words)), Reason.OTHER)
        is_page = self.message.lstrip().startswith("<")  # an HTML page of a proxy
        is_model = self.param == "model" or (found is Reason.OTHER and self.status == 404 and not is_page)
        return Reason.UNKNOWN_MODEL if is_model else found

    @property
    def parameter(self) -> str:
        """Return the name of the parameter that the error is about; "" if it is not found."""
        if PARAMETER_NAME.fullmatch(self.param) and redact(self.param) == self.param:
            return self.param
        known = next((name for name in KNOWN_PARAMETERS if re.search(rf"\b{name}\b", self.message)), "")
        named = PARAMETER_IN_MESSAGE.search(self.message)
        return known or (named[1] if named else "")


def find_error(found: Mapping[str, Any], choices: Sequence[Mapping[str, Any]]) -> object | None:
    """Return the error in an object of an answer, in any spelling; None without one."""
    pieces = [
        piece for each in choices for name in ("delta", "message") if isinstance(piece := each.get(name), Mapping)
    ]
    for place in (found, *choices, *pieces):
        if error := place.get("error"):
            return found if error is True else error
    if found.get("object") == "error" or found.get("type") == "error":
        return found
    base = found.get("base_resp")  # MiniMax's
    if isinstance(base, Mapping) and base.get("status_code") not in (0, "0", None):
        return base
    if choices:
        return None
    return found.get("detail") or found.get("errors") or (found if _looks_like_error(found) else None)


def _looks_like_error(found: Mapping[str, Any]) -> bool:
    # Return whether an object has a message, and a code or type of an error.
    if not any(found.get(name) for name in MESSAGE_FIELDS):
        return False
    codes = [found.get(name) for name in ("code", "error_code", "status_code", "status")]
    fails = any(code not in SUCCESS_CODES and not isinstance(code, bool) for code in codes)
    return fails or "error" in str(found.get("type", "")).lower()


def error_in_stream(provider: Provider, error: object, headers: Mapping[str, str]) -> ProviderFailed:
    """Translate an error that arrived inside an answer with status 200."""
    details = parse_error(error)
    if details.status is None and details.reason is not Reason.OTHER:
        details = replace(details, status=400)
    if details.status is not None:
        return translate_refusal(provider, details, headers)
    sentence = f"{provider.name} reported an error in its answer.{_quote(provider, details)}"
    return ProviderFailed(sentence, retryable=True, provider_message=redact(details.words))


def translate_refusal(
    provider: Provider, details: ErrorDetails, headers: Mapping[str, str], *, model: str = "the model"
) -> ProviderFailed:
    """Translate a refusal with a status; the headers may state a waiting time."""
    error = _map_to_error(provider, details, headers, model)
    error.provider_status, error.provider_message = details.status, redact(details.words)
    error.stated_wait_s = stated_s(headers)
    return error


def _map_to_error(provider: Provider, details: ErrorDetails, headers: Mapping[str, str], model: str) -> ProviderFailed:
    name, status, reason, quoted = provider.name, details.status or 0, details.reason, _quote(provider, details)
    if reason is Reason.QUOTA and status < 500:
        return _quota_exhausted(provider, quoted)
    if reason is Reason.POLICY and status < 500:
        return ContentFiltered(f"{name} refused the request under its content policy.{quoted}")
    if reason is Reason.TOO_LONG and status < 500:  # some providers send 429, but waiting does not help
        return _refused(provider, details, model, quoted)
    if status in KEY_REJECTED_STATUSES:
        return _key_rejected(provider, status, quoted)
    if status in OVERLOADED_STATUSES:
        return ProviderUnavailable(f"{name} is overloaded or down.{quoted}", retry_after=wait_s(headers))
    if status == 408:
        return ProviderTimeout(f"{name} did not answer in time.{quoted}", retryable=True)
    if status in RETRYABLE_STATUSES or not 400 <= status < 500:
        return ProviderFailed(f"{name} answered with status {status}.{quoted}", retryable=status >= 400)
    return _refused(provider, details, model, quoted)


def incomplete_answer(provider: Provider, reason: str = "") -> ProviderFailed:
    """Return the error for an answer that broke off, with the finish reason of the abort."""
    if reason.lower() == INSUFFICIENT_RESOURCES:
        sentence = f"{provider.name} is overloaded and broke its answer off."
        return ProviderUnavailable(sentence, retry_after=DEFAULT_WAIT_S, provider_message=reason)
    return ProviderFailed(f"{provider.name} broke its answer off.", retryable=True, provider_message=reason)


def unreachable(provider: Provider) -> ProviderUnavailable:
    """Return the error for a provider that refuses connections."""
    return ProviderUnavailable(f"{provider.name} cannot be reached.", retry_after=DEFAULT_WAIT_S)


def _quota_exhausted(provider: Provider, quoted: str) -> ProviderFailed:
    # Clients learn nothing about the server's own account.
    if not provider.own_key:
        error = f"{provider.name} is not available at the moment."
        return ServerQuotaExhausted(error, retry_after=DEFAULT_WAIT_S, retryable=False)
    cure = "Add credit there, or use another provider."
    return ProviderQuotaExhausted(f"Your account at {provider.name} has no credit or quota left. {cure}{quoted}")


def _key_rejected(provider: Provider, status: int, quoted: str) -> ProviderFailed:
    if not provider.own_key:
        return ProviderFailed(f"{provider.name} answered with status {status}.")
    return ProviderKeyRejected(f"{provider.name} refuses your own key. Send another one, or remove it.{quoted}")


class ServerQuotaExhausted(ProviderUnavailable):
    """The server's own account has no credit: operators get an alert, clients see an outage."""


def _refused(provider: Provider, details: ErrorDetails, model: str, quoted: str) -> ProviderFailed:
    begin = f"{provider.name} refused the request with status {details.status}"
    match details.reason:
        case Reason.TOO_LONG:
            cure = "Shorten it, or choose another model."
            return ProviderFailed(f"{begin}: the context is too long for {model}. {cure}{quoted}", elsewhere=False)
        case Reason.UNKNOWN_MODEL:
            return ProviderFailed(f"{begin}: it has no model {model}.{quoted}")
        case Reason.PARAMETER:
            parameter = f" {details.parameter!r}" if details.parameter else ""
            return ProviderFailed(f"{begin}: {model} does not support the parameter{parameter}.{quoted}")
    return ProviderFailed(f"{begin}.{quoted}", elsewhere=False)


def _quote(provider: Provider, details: ErrorDetails) -> str:
    # Return the provider's own words for runs on a user's key; else "".
    words = redact(details.message or details.words) if provider.own_key else ""
    return f" It says: {words}" if words else ""


def parse_error(error: object, status: int | None = None) -> ErrorDetails:
    """Parse an error object, a string, or the body that holds one."""
    # An error inside an answer has no status of the response: the object may hold one.
    found = _unwrap(error)
    if not isinstance(found, Mapping):
        words = replace_lone_surrogates(found[:MAX_ERROR_CHARACTERS]) if isinstance(found, str) else ""
        return ErrorDetails(status or _status_of(words), words, words)
    parts = [str(found[name]) for name in ("code", "type", "status_code") if found.get(name)]
    message = replace_lone_surrogates(
        str(next((found[name] for name in MESSAGE_FIELDS if found.get(name)), ""))[:MAX_ERROR_CHARACTERS]
    )
    words = replace_lone_surrogates(" ".join([*parts, message])[:MAX_ERROR_CHARACTERS])
    inside = next((number for name in ("code", "status", "status_code") if (number := _http(found.get(name)))), None)
    param, place = found.get("param"), found.get("loc")  # pydantic's, as in FastAPI: ["body", "temperature"]
    param = place[-1] if param is None and isinstance(place, list) and place else param
    param = param if isinstance(param, str) else ""
    inferred = _status_of(" ".join(parts)) or _status_of(message, OVERLOAD_STATUS_BY_PHRASE)
    return ErrorDetails(status or inside or inferred, words, message, param)


def _unwrap(error: object) -> object:
    # Return the innermost error of a body such as `{"error": …}` or `[{"error": …}]`.
    for _ in range(4):
        if isinstance(error, list) and error:
            error = error[0]
        elif isinstance(error, Mapping) and (inner := error.get("error") or error.get("errors") or error.get("detail")):
            if not isinstance(inner, Mapping | list | str) or (isinstance(inner, str) and error.get("message")):
                break
            error = inner
        else:
            break
    return error


def _http(value: object) -> int | None:
    number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) == 3 else value
    return number if isinstance(number, int) and 400 <= number < 600 else None


def _status_of(words: str, signs: Mapping[str, int] = STATUS_BY_PHRASE) -> int | None:
    lowered = SEPARATORS.sub("_", words.lower())
    return next((status for sign, status in signs.items() if sign in lowered), None)
