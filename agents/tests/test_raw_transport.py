"""Every raw answer of the table over a socket, and what the connections to providers send and keep."""

import asyncio
from collections.abc import Iterator

import pytest

from agents import answer_validation
from agents.providers import Provider, Target, connections, openai_compatible
from agents.providers.openai_compatible import Prompt
from agents.providers.reply import Attempt
from agents.tests.raw_answers import CASES
from agents.tests.raw_answers.chunks import ANSWER_DONE, RawAnswer
from lunaos.errors import LunaError
from testing.loopback.upstream import Answer, Upstream, completion

PROMPT = Prompt([{"role": "user", "content": "x"}], 0.2, 100)


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(autouse=True)
def _fresh(server: Upstream) -> None:
    server.reset()


async def read(server: Upstream, key: str = "key") -> tuple[str, str]:
    """Return the text of one answer, and the outcome as the runner judges it."""
    provider = Provider("deepseek", server.base_url, key)
    attempt, texts = Attempt(Target(provider, "deepseek-chat")), list[str]()
    try:
        async for block in openai_compatible.stream(attempt, PROMPT, queue_s=30):
            texts += block.texts
        answer_validation.require_text(attempt.reply, provider)
    except LunaError as e:
        return "".join(texts), e.code
    return "".join(texts), ANSWER_DONE


async def read_in_turn(server: Upstream, *keys: str) -> list[tuple[str, str]]:
    found = []
    try:
        for key in keys:
            found.append(await read(server, key))
            # The end of an answer is read in the background; before that its connection cannot be used again.
            await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        return found
    finally:
        await connections.close_all()


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_an_answer_over_a_socket(server: Upstream, case: RawAnswer) -> None:
    server.respond_with(Answer(pieces=[case.body]))
    assert asyncio.run(read_in_turn(server, "key")) == [(case.text, case.outcome)]


def test_a_kept_connection_carries_each_requests_own_key_and_no_cookie(server: Upstream) -> None:
    server.script = lambda _: Answer(pieces=completion("Hello").pieces, headers={"Set-Cookie": "who=first"})
    assert asyncio.run(read_in_turn(server, "first", "second")) == [("Hello", "done")] * 2
    assert [headers["Authorization"] for headers in server.headers] == ["Bearer first", "Bearer second"]
    assert not any("Cookie" in headers for headers in server.headers)
    assert len(set(server.peers)) == 1


def test_a_redirect_is_an_error_and_not_followed(server: Upstream) -> None:
    elsewhere = Answer(status=307, headers={"Location": f"{server.base_url}/chat/completions"})
    server.respond_with(elsewhere, completion("Hello"))
    ((_, outcome),) = asyncio.run(read_in_turn(server, "key"))
    assert outcome == "provider_error"
    assert len(server.requests) == 1


def test_proxies_and_passwords_of_the_environment_are_ignored(
    server: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # where no server listens
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert asyncio.run(read_in_turn(server, "key")) == [("Hello world", "done")]


def test_more_streams_than_aiohttps_own_limit_are_open_at_once(server: Upstream) -> None:
    server.script = lambda _: Answer(pieces=["wait", *completion("Hello").pieces])

    async def all_at_once(count: int) -> set[tuple[str, str]]:
        reading = [asyncio.ensure_future(read(server)) for _ in range(count)]
        while len(server.requests) < count:
            await asyncio.sleep(0.01)
        server.resume.set()
        try:
            return set(await asyncio.gather(*reading))
        finally:
            await connections.close_all()

    assert asyncio.run(all_at_once(120)) == {("Hello", "done")}


def test_a_server_that_accepts_no_connection_is_unavailable_in_time(
    settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time-out of connecting is not the time-out of an answer, so a fallback may answer."""
    monkeypatch.setattr("django.conf.settings.LLM_CONNECT_TIMEOUT_S", 0.05)
    silent = Upstream()
    silent.port = 9

    async def hang(*_: object, **__: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", hang)
    assert asyncio.run(read_in_turn(silent, "key")) == [("", "provider_unavailable")]
