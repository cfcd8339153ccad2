"""Parameters that a model does not support, learnt from its refusals and remembered for a day by this process."""

import time

KEPT_S = 24 * 3600
LIMIT, NEWER_LIMIT = "max_tokens", "max_completion_tokens"
OPTIONAL = ("temperature", "stream_options")

_known: dict[tuple[str, str], tuple[float, frozenset[str]]] = {}  # by base URL and model, which the catalogue bounds


def unsupported(base_url: str, model: str) -> frozenset[str]:
    """Return the parameters that are known not to be supported."""
    until, names = _known.get((base_url, model), (0.0, frozenset[str]()))
    return names if time.monotonic() < until else frozenset()


def learn(base_url: str, model: str, parameter: str) -> bool:
    """Note that a parameter is not supported.

    Returns:
        Whether it is worth asking again, without it: never without any limit of the output, and not for what was left
        out already.
    """
    names = unsupported(base_url, model)
    if parameter == NEWER_LIMIT:  # the server speaks the older dialect after all, or none
        _known.pop((base_url, model), None)
    if parameter in names or parameter not in (LIMIT, *OPTIONAL):
        return False
    _known[base_url, model] = time.monotonic() + KEPT_S, names | {parameter}
    return True


def limit_name(names: frozenset[str]) -> str:
    """Return the name of the parameter that limits the output.

    Args:
        names: parameters that are not supported.
    """
    return NEWER_LIMIT if LIMIT in names else LIMIT
