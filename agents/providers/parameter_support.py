"""Parameters that models reject, remembered per process for a day."""

import time

REMEMBERED_S = 24 * 3600
MAX_TOKENS, MAX_COMPLETION_TOKENS = "max_tokens", "max_completion_tokens"
OPTIONAL = ("temperature", "stream_options")

_known: dict[
    tuple[str, str], tuple[float, frozenset[str]]
] = {}  # by base URL and model, so the catalogue bounds its size


def unsupported_parameters(base_url: str, model: str) -> frozenset[str]:
    """Return the parameters that the model is known to reject."""
    until, names = _known.get((base_url, model), (0.0, frozenset[str]()))
    return names if time.monotonic() < until else frozenset()


def remember(base_url: str, model: str, names: frozenset[str]) -> None:
    """Store that the model accepted a request without these parameters."""
    names -= {MAX_COMPLETION_TOKENS}  # max_tokens was rejected first and stays the default of requests
    if names != unsupported_parameters(base_url, model):
        _known[base_url, model] = time.monotonic() + REMEMBERED_S, names


def drop_parameter(names: frozenset[str], refused: str) -> frozenset[str] | None:
    """Return the parameters to omit from the next request; None if the refused one must stay."""
    # Each request keeps a limit of the output.
    if refused in names or refused not in (MAX_TOKENS, MAX_COMPLETION_TOKENS, *OPTIONAL):
        return None
    if refused == MAX_TOKENS and MAX_COMPLETION_TOKENS in names:
        return None
    return (names - {MAX_TOKENS} if refused == MAX_COMPLETION_TOKENS else names) | {refused}


def output_limit_parameter(names: frozenset[str]) -> str:
    """Return the name of the supported parameter that limits the output."""
    return MAX_COMPLETION_TOKENS if MAX_TOKENS in names else MAX_TOKENS
