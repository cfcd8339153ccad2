SINGULAR_VERBS = {"are": "is", "have": "has", "were": "was"}


def counted(count: int, noun: str, predicate: str = "") -> str:
    """Return a count with its singular noun and its plural predicate, made to agree."""
    words = [f"{count:,}", noun if count == 1 else _plural(noun)]
    verb, _, rest = predicate.partition(" ")
    if predicate:
        words += [SINGULAR_VERBS.get(verb, verb) if count == 1 else verb, rest]
    return " ".join(filter(None, words))


def _plural(noun: str) -> str:
    is_ies = noun.endswith("y") and noun[-2] not in "aeiou"
    return f"{noun[:-1]}ies" if is_ies else f"{noun}s"
