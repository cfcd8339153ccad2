"""Embedding models, reached in one place: any server with OpenAI's `/v1/embeddings`."""

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

RETRY_S = 5
LONGEST_RETRY_S = 3_600  # whatever the server says
OVERLOADED = {408, 409, 429, 502, 503, 504, 529}
# What the model adds to a text of its own, such as BERT's [CLS] and [SEP].
FRAME_TOKENS = 2
TOO_LONG = re.compile(r"too (large|long)|maximum (context|input) length", re.IGNORECASE)  # llama.cpp's words, OpenAI's


# Of a web process's threads only so many wait for the model at once: where it hangs, the others serve what needs none.
TURNS = BoundedSemaphore(max(1, settings.THREADS // 2))
TURN_WITHIN_S = 2.0


class TooLong(Exception):
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
    def patient(self) -> bool:
        """Whether no request waits for it, and with it a thread of the web process."""
        return self.retries > 1

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """The vectors of some texts, in order; a text that is too long counts with its beginning.

        Raises:
            EmbeddingsUnavailable: the server cannot be reached, or says it is overloaded.
            EmbeddingsFailed: it refuses, or its vectors are not of the dimension that the settings name.
            WorkerStops: this process is a worker that has been asked to stop.
        """
        cut = [tokens.cut(text, self.window - FRAME_TOKENS) or "-" for text in texts]
        try:
            return self._ask(cut)
        except TooLong:
            return [self._shortened(text) for text in cut]

    def _shortened(self, text: str) -> list[float]:
        """Half of a text, and half of that: a server may count in other tokens than we do."""
        while text:
            try:
                return self._ask([text])[0]
            except TooLong:
                text = text[: len(text) // 2]
        raise EmbeddingsFailed("The embedding model finds every text too long.")

    def _ask(self, cut: list[str]) -> list[list[float]]:
        try:
            with self._turn():
                answer = self._send(cut)
        except openai.APIStatusError as e:
            if TOO_LONG.search(e.message):
                raise TooLong from e
            raise _of_status(e) from e
        except openai.APIConnectionError as e:  # a time-out is one too
            raise EmbeddingsUnavailable(retry_after=RETRY_S) from e
        except (openai.OpenAIError, ValueError) as e:
            raise EmbeddingsFailed("The embedding model sent something that is no embeddings.") from e
        return self._checked(answer, len(cut))

    def _send(self, cut: list[str]) -> openai.types.CreateEmbeddingResponse:
        """Ask once, and as often as the client retries; a job's request does not hold up the end of its worker."""
        request = partial(_client(self).embeddings.create, model=self.model, input=cut, encoding_format="float")
        return stopping.unless_asked(request) if self.patient else request()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self.patient:
            yield
        elif TURNS.acquire(timeout=TURN_WITHIN_S):
            try:
                yield
            finally:
                TURNS.release()
        else:
            raise EmbeddingsBusy(retry_after=RETRY_S)

    def _checked(self, answer: openai.types.CreateEmbeddingResponse, wanted: int) -> list[list[float]]:
        vectors = [each.embedding for each in sorted(answer.data or (), key=lambda each: each.index)]
        if len(vectors) != wanted or len({len(vector) for vector in vectors}) > 1:
            raise EmbeddingsFailed("The embedding model sent another number of vectors than it was asked for.")
        if self.dimension and any(len(vector) != self.dimension for vector in vectors):
            raise EmbeddingsFailed(
                f"The embedding model's vectors have {len(vectors[0])} dimensions, not {self.dimension}."
            )
        return vectors


def current(*, retries: int = 1) -> Embedder:
    """The model that new vectors are made with.

    Raises:
        EmbeddingsNotConfigured: the settings name none.
    """
    model, dimension = settings.EMBEDDINGS_MODEL, settings.EMBEDDINGS_DIMENSION
    return _embedder(settings.EMBEDDINGS_BASE_URL, settings.EMBEDDINGS_API_KEY, model, dimension, retries)


def of(model: str, *, retries: int = 1) -> Embedder:
    """The model that some stored vectors were made with: today's, or the one before it until all is indexed anew.

    Raises:
        EmbeddingsNotConfigured: the settings name no server.
    """
    if model == settings.EMBEDDINGS_MODEL:
        return current(retries=retries)
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
    timeout_s = settings.EMBEDDINGS_TIMEOUT_S if embedder.patient else settings.EMBEDDINGS_QUICK_TIMEOUT_S
    timeout = httpx2.Timeout(timeout_s, connect=min(timeout_s, settings.LLM_CONNECT_TIMEOUT_S))
    return openai.OpenAI(
        base_url=embedder.base_url,
        api_key=embedder.api_key or "none",
        max_retries=embedder.retries,
        http_client=openai.DefaultHttpxClient(timeout=timeout, follow_redirects=False),
    )


def _of_status(error: openai.APIStatusError) -> EmbeddingsFailed | EmbeddingsUnavailable:
    if error.status_code in OVERLOADED:
        wait = error.response.headers.get("retry-after", "")[:9]  # a number of any length takes any time to read
        return EmbeddingsUnavailable(retry_after=min(int(wait), LONGEST_RETRY_S) if wait.isdecimal() else RETRY_S)
    return EmbeddingsFailed(f"The embedding model refused the request with status {error.status_code}.")
