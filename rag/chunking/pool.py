"""Cuts files without trusting their grammars: in a process of its own, which a bad file may end (ADR 28)."""

import atexit
import json
import logging
import os
import subprocess
import sys
from functools import cache
from multiprocessing import Pipe
from pathlib import Path
from threading import Lock

from django.conf import settings

from rag.chunking import grammars, worker
from rag.chunking.chunker import Chunker, SourceChunk

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60
# Seconds of computing that a file may take: several times what the slowest honest ones do.
MIN_CPU_S, CHARACTERS_PER_CPU_S = 2, 30_000
WALL_CLOCK_FACTOR = 10  # times as long by the clock, on a machine that has other things to do
logger = logging.getLogger(__name__)


def chunk_file(language: str, window: int, content: str) -> list[SourceChunk]:
    """Cut a file at its functions, classes and sections; as text where its grammar fails at it.

    Args:
        language: a name of `GRAMMARS`, or TEXT.
        window: the longest piece, in the embedding model's tokens.

    Raises:
        RuntimeError, OSError: the process that cuts cannot be started.
    """
    chunks = _pool_of_process().chunk_file(language, window, content) if grammars.has_grammar(language) else None
    return _text_chunker(window).chunk(content) if chunks is None else chunks


class Pool:
    """A child that is started when it is needed, and again after its death; threads take turns."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._worker: WorkerProcess | None = None

    def chunk_file(self, language: str, window: int, content: str) -> list[SourceChunk] | None:
        """The chunks of a file; None where the child did not live to tell them, or failed.

        Raises:
            RuntimeError, OSError: the child cannot be started.
        """
        cpu_s = MIN_CPU_S + len(content) / CHARACTERS_PER_CPU_S
        request = json.dumps([language, window, content, cpu_s]).encode()
        with self._lock:
            if self._worker is None or not self._worker.is_alive():  # who died while nobody asked is no file's fault
                self._worker = WorkerProcess()
            answer = self._worker.request(request, WALL_CLOCK_FACTOR * cpu_s)
            if answer is None:
                logger.warning("Cutting %s ended with %s; the file is cut as text", language, self._worker.kill())
        rows = json.loads(answer or b"null")
        return None if rows is None else [SourceChunk(*row) for row in rows]

    def stop(self) -> None:
        """End the child, where nobody cuts any more."""
        if self._worker:
            self._worker.kill()


class WorkerProcess:
    """A running `rag.chunking.worker`.

    Raises:
        RuntimeError, OSError: it does not start.
    """

    def __init__(self) -> None:
        self._connection, worker_end = Pipe()
        command = [sys.executable, "-m", "rag.chunking.worker", str(worker_end.fileno()), settings.EMBEDDINGS_TOKENIZER]
        with worker_end:
            # No variables: they hold secrets. A session of its own: what is typed at a terminal is not for it.
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={},
                pass_fds=[worker_end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        if self._receive(START_TIMEOUT_S) != worker.READY:
            raise RuntimeError(f"The process that cuts files ended with {self.kill()} before it was ready.")

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def request(self, request: bytes, within_s: float) -> bytes | None:
        """Its answer; None where it has none in time, and must be ended."""
        try:
            self._connection.send_bytes(request)
        except OSError:
            return None
        return self._receive(within_s)

    def kill(self) -> int:
        """Its exit code, negative where a signal ended it."""
        self._connection.close()
        self._process.kill()
        return self._process.wait()

    def _receive(self, within_s: float) -> bytes | None:
        try:
            return self._connection.recv_bytes() if self._connection.poll(within_s) else None
        except (EOFError, OSError):
            return None


_POOLS: dict[int, Pool] = {}  # by process, since a fork must not speak with its parent's child


def _pool_of_process() -> Pool:
    return _POOLS.setdefault(os.getpid(), Pool())


@atexit.register
def _stop() -> None:
    if pool := _POOLS.get(os.getpid()):
        pool.stop()


@cache
def _text_chunker(window: int) -> Chunker:
    return Chunker(grammars.TEXT, window)
