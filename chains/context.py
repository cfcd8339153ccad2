"""What a step is given: the request's context and the outputs of the steps before, as much as the model can hold."""

from dataclasses import dataclass

# Bytes of UTF-8 that make a token at least: code comes to about 3, prose to 4, Chinese to 3. Careful, since what is too
# long is refused.
BYTES_A_TOKEN = 3
OVERHEAD_TOKENS = 64  # a chat template's own


@dataclass(frozen=True, slots=True)
class Output:
    """What an earlier step said."""

    step: int
    agent: str
    text: str


@dataclass(frozen=True, slots=True)
class Cut:
    """How much of a step's output had to be left out, in characters."""

    step: int
    characters: int


def room(*, window: int, answer: int, prompt: str) -> int:
    """Bytes there are for a step's context.

    Args:
        window: tokens the model holds.
        answer: tokens its answer may take.
        prompt: the agent's own.
    """
    return BYTES_A_TOKEN * (window - answer - OVERHEAD_TOKENS) - len(prompt.encode())


def compose(context: str, outputs: list[Output], room: int) -> tuple[str, list[Cut]]:
    """Join the request's context and the outputs; where they do not fit, the oldest outputs lose their ends first.

    The request's context is never shortened: what is too long by itself is the provider's to refuse.

    Args:
        room: bytes of UTF-8.

    Returns:
        The text, and what had to be left out.
    """
    texts = {output.step: output.text for output in outputs}
    cuts: list[Cut] = []
    for output in outputs:
        excess = len(_joined(context, outputs, texts).encode()) - room
        if excess <= 0:
            break
        texts[output.step], left_out = _shorten(output.text, excess)
        if left_out:
            cuts.append(Cut(output.step, left_out))
    return _joined(context, outputs, texts), cuts


def _joined(context: str, outputs: list[Output], texts: dict[int, str]) -> str:
    parts = [f"--- Output of step {each.step} ({each.agent}) ---\n{texts[each.step]}" for each in outputs]
    return "\n\n".join([context, *parts])


def _shorten(text: str, excess: int) -> tuple[str, int]:
    """Leave out so many bytes and a little more, for the mark that says so."""
    kept = text.encode()[: max(0, len(text.encode()) - excess - len(_mark(len(text))))].decode(errors="ignore")
    left_out = len(text) - len(kept)
    marked = kept + _mark(left_out)
    return (marked, left_out) if len(marked) < len(text) else (text, 0)


def _mark(characters: int) -> str:
    return f"\n[{characters} characters left out]"
