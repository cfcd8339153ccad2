"""Embedding models, reached in one place: any server with OpenAI's `/v1/embeddings`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

import httpx2
from django.conf import settings

from lunaos.infra import lazy_imports
from rag.chunking import tokens
from rag.errors import EmbeddingsBusy, EmbeddingsFailed, EmbeddingsNotConfigured, EmbeddingsUnavailable

if TYPE_CHECKING:
    import openai
else:
    openai = lazy_imports.Module("openai")

RETRY_AFTER_S = 5
MAX_RETRY_AFTER_S = 3_600  # whatever the server says
OVERLOAD_STATUSES = {408, 409, 429, 502, 503, 504, 529}
# What the model adds to a text of its own, such as BERT's [CLS] and [SEP].
SPECIAL_TOKENS = 2
TOO_LONG_MESSAGE = re.compile(
    r"too (large|long)|maximum (context|input) length", re.IGNORECASE
)  # llama.cpp's words, OpenAI's


# Of a web process's threads only so many wait for the model at once: where it hangs, the others serve what needs none.
REQUEST_SLOTS = BoundedSemaphore(max(1, settings.THREADS // 2))
SLOT_TIMEOUT_S = 2.0


class TextTooLong(Exception):
    """The server refuses a text for its length."""


@dataclass(frozen=True, slots=True)
class Embedder:
    """One model of one server.

    Args:
        model: as the server's API calls it; stored with each vector.
        window: the longest input, in the model's tokens.
        retries: attempts after the first one; a job is more patient than a search.
    """

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
        """Whether no request waits for it, and with it a thread of the web process."""
        return self.retries > 1

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """The vectors of some texts, in order; a text that is too long counts with its beginning.

        Raises:
            EmbeddingsUnavailable: the server cannot be reached, or says it is overloaded.
            EmbeddingsFailed: it refuses, or its vectors are not of the dimension that the settings name.
        """
        truncated = [tokens.truncate(text, self.window - SPECIAL_TOKENS) or "-" for text in texts]
        try:
            return self._request(truncated)
        except TextTooLong:
            return [self._embed_shortened(text) for text in truncated]

    def _embed_shortened(self, text: str) -> list[float]:
        """Half of a text, and half of that: a server may count in other tokens than we do."""
        while text:
            try:
                return self._request([text])[0]
            except TextTooLong:
                text = text[: len(text) // 2]
        raise EmbeddingsFailed("The embedding model finds every text too long.")

    def _request(self, truncated: list[str]) -> list[list[float]]:
        try:
            with self._request_slot():
                answer = _client(self).embeddings.create(model=self.model, input=truncated, encoding_format="float")
        except openai.APIStatusError as e:
            if TOO_LONG_MESSAGE.search(e.message):
                raise TextTooLong from e
            raise _error_of_status(e) from e
        except openai.APIConnectionError as e:  # a time-out is one too
            raise EmbeddingsUnavailable(retry_after=RETRY_AFTER_S) from e
        except (openai.OpenAIError, ValueError) as e:
            raise EmbeddingsFailed("The embedding model sent something that is no embeddings.") from e
        return self._validated(answer, len(truncated))

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
            raise EmbeddingsFailed("The embedding model sent another number of vectors than it was asked for.")
        if self.dimension and any(len(vector) != self.dimension for vector in vectors):
            raise EmbeddingsFailed(
                f"The embedding model's vectors have {len(vectors[0])} dimensions, not {self.dimension}."
            )
        return vectors


def current_embedder(*, retries: int = 1) -> Embedder:
    """The model that new vectors are made with.

    Raises:
        EmbeddingsNotConfigured: the settings name none.
    """
    model, dimension = settings.EMBEDDINGS_MODEL, settings.EMBEDDINGS_DIMENSION
    return _embedder(settings.EMBEDDINGS_BASE_URL, settings.EMBEDDINGS_API_KEY, model, dimension, retries)


def embedder_for(model: str, *, retries: int = 1) -> Embedder:
    """The model that some stored vectors were made with: today's, or the one before it until all is indexed anew.

    Raises:
        EmbeddingsNotConfigured: the settings name no server.
    """
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
    """One client, and so one connection pool, a process; it follows nobody to another host."""
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
        wait = error.response.headers.get("retry-after", "")[:9]  # a number of any length takes any time to read
        return EmbeddingsUnavailable(
            retry_after=min(int(wait), MAX_RETRY_AFTER_S) if wait.isdecimal() else RETRY_AFTER_S
        )
    return EmbeddingsFailed(f"The embedding model refused the request with status {error.status_code}.")
