"""Tests of rag.search.embeddings, with the embedded all-MiniLM-L6-v2 and a scripted model."""

from concurrent.futures import ThreadPoolExecutor
from math import sqrt
from typing import Any

import httpx2
import openai
import pytest

from rag.chunking import tokens
from rag.errors import EmbeddingsFailed, EmbeddingsUnavailable
from rag.search import embeddings as embedding_clients
from rag.search.embeddings import Embedder
from testing.loopback.embeddings import EmbeddingsServer


def cosine(one: list[float], other: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / sqrt(sum(a * a for a in one)) / sqrt(sum(b * b for b in other))


@pytest.mark.local_model
def test_similarities_match_the_published_ones() -> None:
    """Published similarities of the model's page; quantization to 8 bits costs less than 0.01."""
    person, *others = embedding_clients.current_embedder().embed(
        ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    )
    assert [cosine(person, other) for other in others] == pytest.approx([0.695, 0.943, 0.257], abs=0.01)
    assert len(person) == 384


@pytest.mark.parametrize(
    "text",
    [
        "word " * 5_000,
        "x" * 100_000,
        "größe_ändern(日本語) " * 1_000,
        "\U0001f600" * 3_000,
        "a.b->c[d]{e}(f)+g-h*i/j;" * 500,
        "",
        " \n\t",
        "\x01\x02\u202e\ufffd",
        "a\r\nb\x0cc\u2028d = 1\n" * 500,
        "[CLS] [SEP] [MASK] [PAD]" * 400,
    ],
)
@pytest.mark.local_model
def test_texts_of_any_length_are_embedded(text: str) -> None:
    """The server refuses texts beyond the model's window, so a wrong token count would fail."""
    [vector] = embedding_clients.current_embedder().embed([text])
    assert len(vector) == 384


def test_a_text_that_the_server_refuses_as_too_long_is_shortened(embeddings: EmbeddingsServer) -> None:
    answer = embeddings._answer

    def limited(request: dict[str, Any]) -> tuple[int, bytes]:
        if any(len(text) > 100 for text in request["input"]):
            return 500, b'{"error": {"message": "input (603 tokens) is too large to process."}}'
        return answer(request)

    embeddings._answer = limited  # type: ignore[method-assign]
    try:
        vectors = Embedder(embeddings.base_url, "", "any", 384, 512, retries=0).embed(["short", "long " * 60])
    finally:
        del embeddings._answer
    assert len(vectors) == 2
    assert [len(text) for text in embeddings.texts] == [5, 75]


@pytest.mark.local_model
def test_vectors_are_in_the_order_of_the_texts() -> None:
    texts = [f"the number {n} of many" for n in range(40)]
    embedder = embedding_clients.current_embedder()
    together, alone = embedder.embed(texts), embedder.embed(texts[17:18])
    assert cosine(together[17], alone[0]) > 0.999
    assert cosine(together[16], alone[0]) < 0.999


@pytest.mark.parametrize(
    ("status", "kind", "retry_s"),
    [
        (429, EmbeddingsUnavailable, 5),
        (503, EmbeddingsUnavailable, 5),
        (400, EmbeddingsFailed, None),
        (401, EmbeddingsFailed, None),
        (404, EmbeddingsFailed, None),
        (500, EmbeddingsFailed, None),
    ],
)
def test_retry_after_is_set_for_temporary_errors_only(
    embeddings: EmbeddingsServer, status: int, kind: type[Exception], retry_s: int | None
) -> None:
    embeddings.respond_with(status)
    embedder = Embedder(embeddings.base_url, "", "any", 384, 512, retries=0)
    with pytest.raises(kind) as caught:
        embedder.embed(["text"])
    assert caught.value.retry_after == retry_s  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("said", "retry_s"), [("7", 7), ("0", 0), ("9" * 100, 3_600), ("9" * 5_000, 3_600), ("-1", 5), ("soon", 5), ("", 5)]
)
def test_retry_after_is_at_most_an_hour(said: str, retry_s: int) -> None:
    request = httpx2.Request("POST", "http://127.0.0.1/v1/embeddings")
    response = httpx2.Response(429, headers={"Retry-After": said}, request=request)
    error = openai.APIStatusError("overloaded", response=response, body=None)
    assert embedding_clients._error_of_status(error).retry_after == retry_s


def test_a_short_outage_is_retried(embeddings: EmbeddingsServer) -> None:
    answers = iter([503, 200])
    answer = embeddings._answer
    embeddings._answer = lambda request: (next(answers), answer(request)[1])  # type: ignore[method-assign]
    try:
        assert len(Embedder(embeddings.base_url, "", "any", 384, 512, retries=1).embed(["text"])) == 1
    finally:
        del embeddings._answer
    assert len(embeddings.requests) == 2


def test_requests_have_a_short_timeout(embeddings: EmbeddingsServer, settings: Any) -> None:
    settings.EMBEDDINGS_QUICK_TIMEOUT_S = 0.2
    settings.EMBEDDINGS_TIMEOUT_S = 60.0
    embedding_clients._client.cache_clear()
    try:
        with embeddings.blocked(), pytest.raises(EmbeddingsUnavailable):
            embedding_clients.current_embedder().embed(["text"])  # the timeout of jobs would exceed the test's
    finally:
        embedding_clients._client.cache_clear()
    assert len(embeddings.requests) == 2


def test_a_hanging_server_blocks_half_of_the_threads_only(
    embeddings: EmbeddingsServer, settings: Any, monkeypatch: Any
) -> None:
    """A request beyond the slots is refused; a job holds no web thread and waits."""
    monkeypatch.setattr("rag.search.embeddings.SLOT_TIMEOUT_S", 0.1)
    half = settings.THREADS // 2
    with ThreadPoolExecutor(half + 1) as threads:
        with embeddings.blocked():
            holding = [threads.submit(embedding_clients.current_embedder().embed, ["text"]) for _ in range(half)]
            assert all(embeddings.received.acquire(timeout=10) for _ in holding)
            with pytest.raises(EmbeddingsUnavailable) as caught:
                embedding_clients.current_embedder().embed(["one too many"])
            patient = threads.submit(embedding_clients.current_embedder(retries=6).embed, ["a job's"])
            assert embeddings.received.acquire(timeout=10)
        assert all(len(future.result(10)) == 1 for future in [*holding, patient])
    assert caught.value.retry_after == 5
    assert len(embedding_clients.current_embedder().embed(["afterwards"])) == 1


def test_repr_does_not_contain_the_key() -> None:
    assert repr(Embedder("http://127.0.0.1/v1", "sk-planted", "any", 384, 512)) == "Embedder(any)"


@pytest.mark.parametrize("capacity", [8, 60, 400])
def test_a_truncated_text_is_the_beginning_of_the_text(capacity: int) -> None:
    text = "def f(a):\n    return a + 1\n\n" * 100
    cut = tokens.truncate(text, capacity)
    assert text.startswith(cut)
    assert 0 < len(cut) < len(text)


def test_tokens_are_estimated_without_a_tokenizer(settings: Any) -> None:
    settings.EMBEDDINGS_TOKENIZER = ""
    assert len(tokens.truncate("word " * 1_000, 77)) <= 77 * tokens.BYTES_PER_TOKEN
