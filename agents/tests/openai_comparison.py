"""The yardstick: what the installed `openai` client makes of the bytes that our decoder is given.

`python -m agents.tests.openai_comparison` prints where the two differ, and why.
"""

import sys
from dataclasses import dataclass

import httpx2
import openai

from agents.tests.raw_answers import CASES
from agents.tests.raw_answers.chunks import ANSWER_DONE, RawAnswer


@dataclass(frozen=True, slots=True)
class Outcome:
    """Text that a client yields, and whether it then ends without an exception."""

    text: str
    success: bool


def openais(body: bytes) -> Outcome:
    """Ask `openai` for a streamed chat completion, answer with this body, and join the text of the first choices."""
    text = ""
    try:
        with _client(body) as client:
            stream = client.chat.completions.create(model="m-1", messages=[], stream=True)
            for chunk in stream:
                text += _text(chunk)
    except (openai.OpenAIError, ValueError, RecursionError):
        return Outcome(_repaired(text), success=False)
    return Outcome(_repaired(text), success=True)


def _client(body: bytes) -> openai.OpenAI:
    headers = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, headers=headers, content=body))
    return openai.OpenAI(
        api_key="none", base_url="http://provider/v1", max_retries=0, http_client=httpx2.Client(transport=transport)
    )


def _text(chunk: object) -> str:
    """Read a chunk as forgivingly as a careful user of the client does, who takes text where the type says text."""
    choices = getattr(chunk, "choices", None)
    first = choices[0] if isinstance(choices, list) and choices else None
    content = getattr(getattr(first, "delta", None), "content", None)
    return content if isinstance(content, str) else ""


def _repaired(text: str) -> str:
    """Join surrogates that deltas have split; those without a partner cannot be stored and count as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def ours(case: RawAnswer) -> Outcome:
    return Outcome(case.text, case.outcome == ANSWER_DONE)


def differences() -> list[tuple[RawAnswer, Outcome]]:
    """Return the cases whose expected text or success is not that of `openai`, with what `openai` makes of them."""
    return [(case, theirs) for case in CASES if ours(case) != (theirs := openais(case.body))]


def table_of_differences() -> str:
    """Return the differences as a table in Markdown, by reason: name, our outcome, that of `openai`, reason."""
    rows = [
        f"| `{case.name}` | {_cell(case.outcome, case.text)} | {_cell(_word(theirs), theirs.text)} | {case.differs} |"
        for case, theirs in sorted(differences(), key=lambda difference: difference[0].differs)
    ]
    return "\n".join(["| case | ours | openai's | reason |", "|---|---|---|---|", *rows])


def print_differences() -> None:
    sys.stdout.write(table_of_differences() + "\n")


def _word(outcome: Outcome) -> str:
    return ANSWER_DONE if outcome.success else "exception"


def _cell(word: str, text: str) -> str:
    return f"{word}, {text[:24]!r}" if text else f"{word}, no text"


if __name__ == "__main__":
    print_differences()
