"""Embedding models on any server with OpenAI's `/v1/embeddings`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

import httpx2
from django.conf import settings

from lunaos.infra import lazy_imports
from rag import stopping
from rag.chunking import tokens
from rag.errors import EmbeddingsBusy, EmbeddingsFailed, EmbeddingsNotConfigured, EmbeddingsUnavailable

if TYPE_CHECKING:
    import openai
else:
    openai = lazy_imports.LazyModule("openai")

BACKGROUND_RETRIES = 6  # of jobs; bridges half a minute of a restarting server
RETRY_AFTER_S = 5
MAX_RETRY_AFTER_S = 3_600  # cap of the server's Retry-After
OVERLOAD_STATUSES = {408, 409, 429, 502, 503, 504, 529}
# Added to each text by the model, such as BERT's [CLS] and [SEP].
SPECIAL_TOKENS = 2
# The messages of llama.cpp and of OpenAI.
TOO_LONG_MESSAGE = re.compile(r"too (large|long)|maximum (context|input) length", re.IGNORECASE)
# At most half of a web process's threads wait for the model: if the model hangs, the others serve other requests.
REQUEST_SLOTS = BoundedSemaphore(max(1, settings.THREADS // 2))
SLOT_TIMEOUT_S = 2.0


class TextTooLong(Exception):
    """The server refused a text for its length."""


@dataclass(frozen=True, slots=True)
class Embedder:
    """A client of one model on one server."""

    # `base_url`: URL of the server's API, such as `http://localhost:8080/v1`. `model`: name of the model in the API;
    # stored with each vector. `dimension`: expected length of vectors; None accepts any. `window`: maximum length of
    # a text, in the model's tokens. `retries`: attempts after the first one; more than one marks background work.

    base_url: str
    api_key: str
    model: str
    dimension: int | None
    window: int
    retries: int = 1

    def __repr__(self) -> str:
        return f"Embedder({self.model})"

    @property
    def is_background(self) -> bool:
        """Return whether a job uses the model, so that no thread of a web request waits."""
        return self.retries > 1

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of texts, in order; a text beyond the window is truncated.

        Raises:
            EmbeddingsUnavailable: the server cannot be reached or is overloaded.
            EmbeddingsFailed: the server refuses the request, or its vectors have another dimension than configured.
            WorkerStops: this process is a worker that shuts down.
        """
        truncated = [tokens.truncate(text, self.window - SPECIAL_TOKENS) or "-" for text in texts]
        try:
            return self._request(truncated)
        except TextTooLong:
            return [self._embed_shortened(text) for text in truncated]

    def _embed_shortened(self, text: str) -> list[float]:
        # Embed the longest half, quarter and so on of a text that the server accepts.
        # The server may count other tokens than the configured tokenizer.
        while text:
            try:
                return self._request([text])[0]
            except TextTooLong:
                text = text[: len(text) // 2]
        raise EmbeddingsFailed("The embedding model refuses every text as too long.")

    def _request(self, truncated: list[str]) -> list[list[float]]:
        try:
            with self._request_slot():
                answer = self._send(truncated)
        except openai.APIStatusError as e:
            if TOO_LONG_MESSAGE.search(e.message):
                raise TextTooLong from e
            raise _error_of_status(e) from e
        except openai.APIConnectionError as e:  # includes timeouts
            raise EmbeddingsUnavailable(retry_after=RETRY_AFTER_S) from e
        except (openai.OpenAIError, ValueError) as e:
            raise EmbeddingsFailed("The embedding model's response holds no embeddings.") from e
        return self._validated(answer, len(truncated))

    def _send(self, truncated: list[str]) -> openai.types.CreateEmbeddingResponse:
        # A job's request must not delay the shutdown of its worker.
        request = partial(_client(self).embeddings.create, model=self.model, input=truncated, encoding_format="float")
        return stopping.call_interruptibly(request) if self.is_background else request()

    @contextmanager
    def _request_slot(self) -> Iterator[None]:
        if self.is_background:
            yield
        elif REQUEST_SLOTS.acquire(timeout=SLOT_TIMEOUT_S):
            try:
                yield
            finally:
                REQUEST_SLOTS.release()
        else:
            raise EmbeddingsBusy(retry_after=RETRY_AFTER_S)

    def _validated(self, answer: openai.types.CreateEmbeddingResponse, expected: int) -> list[list[float]]:
        vectors = [each.embedding for each in sorted(answer.data or (), key=lambda each: each.index)]
        if len(vectors) != expected or len({len(vector) for vector in vectors}) > 1:
            raise EmbeddingsFailed(
                f"The embedding model sent {len(vectors)} vectors for {expected} texts, or vectors of several lengths."
            )
        if self.dimension and any(len(vector) != self.dimension for vector in vectors):
            raise EmbeddingsFailed(
                f"The embedding model's vectors have {len(vectors[0])} dimensions, not {self.dimension}."
            )
        return vectors


def current_embedder(*, retries: int = 1) -> Embedder:
    """Return the embedder of the configured model, which embeds new chunks.

    Raises:
        EmbeddingsNotConfigured: the setting EMBEDDINGS_BASE_URL is empty.
    """
    model, dimension = settings.EMBEDDINGS_MODEL, settings.EMBEDDINGS_DIMENSION
    return _embedder(settings.EMBEDDINGS_BASE_URL, settings.EMBEDDINGS_API_KEY, model, dimension, retries)


def embedder_for(model: str, *, retries: int = 1) -> Embedder:
    """Return the embedder of a stored model: the configured one, or the previous one.

    Raises:
        EmbeddingsNotConfigured: the setting EMBEDDINGS_BASE_URL is empty.
    """
    # Repositories have the previous model until they are reindexed.
    if model == settings.EMBEDDINGS_MODEL:
        return current_embedder(retries=retries)
    base_url = settings.EMBEDDINGS_PREVIOUS_BASE_URL or settings.EMBEDDINGS_BASE_URL
    return _embedder(
        base_url, settings.EMBEDDINGS_PREVIOUS_API_KEY or settings.EMBEDDINGS_API_KEY, model, None, retries
    )


def _embedder(base_url: str, api_key: str, model: str, dimension: int | None, retries: int) -> Embedder:
    if not base_url:
        raise EmbeddingsNotConfigured()
    return Embedder(base_url, api_key, model, dimension, settings.EMBEDDINGS_WINDOW, retries)


@cache
def _client(embedder: Embedder) -> openai.OpenAI:
    # One client, and so one connection pool, a process. A redirect would send texts and key to another host.
    timeout_s = settings.EMBEDDINGS_TIMEOUT_S if embedder.is_background else settings.EMBEDDINGS_QUICK_TIMEOUT_S
    timeout = httpx2.Timeout(timeout_s, connect=min(timeout_s, settings.LLM_CONNECT_TIMEOUT_S))
    return openai.OpenAI(
        base_url=embedder.base_url,
        api_key=embedder.api_key or "none",
        max_retries=embedder.retries,
        http_client=openai.DefaultHttpxClient(timeout=timeout, follow_redirects=False),
    )


def _error_of_status(error: openai.APIStatusError) -> EmbeddingsFailed | EmbeddingsUnavailable:
    if error.status_code in OVERLOAD_STATUSES:
        wait = error.response.headers.get("retry-after", "")[
            :9
        ]  # parsing a number of unbounded length takes unbounded time
        return EmbeddingsUnavailable(
            retry_after=min(int(wait), MAX_RETRY_AFTER_S) if wait.isdecimal() else RETRY_AFTER_S
        )
    return EmbeddingsFailed(f"The embedding model refused the request with status {error.status_code}.")
