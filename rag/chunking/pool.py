"""Chunk files in a worker process, so that a bad file cannot end this process (ADR 28)."""

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
# CPU seconds a file may take: several times the need of the slowest files measured.
MIN_CPU_S, CHARACTERS_PER_CPU_S = 2, 30_000
WALL_CLOCK_FACTOR = 10  # wall clock seconds for each CPU second, on a busy machine
logger = logging.getLogger(__name__)


def chunk_file(language: str, window: int, content: str) -> list[SourceChunk]:
    """Split a file at its functions, classes and sections; as text if its grammar fails.

    Raises:
        RuntimeError, OSError: the worker process does not start.
    """
    chunks = _pool_of_process().chunk_file(language, window, content) if grammars.has_grammar(language) else None
    return _text_chunker(window).chunk(content) if chunks is None else chunks


class Pool:
    """One worker process, started on demand and after its death; threads take turns."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._worker: WorkerProcess | None = None

    def chunk_file(self, language: str, window: int, content: str) -> list[SourceChunk] | None:
        """Return the chunks of a file; None if the worker process failed or died.

        Raises:
            RuntimeError, OSError: the worker process does not start.
        """
        cpu_s = MIN_CPU_S + len(content) / CHARACTERS_PER_CPU_S
        request = json.dumps([language, window, content, cpu_s]).encode()
        with self._lock:
            if self._worker is None or not self._worker.is_alive():  # an idle worker's death is not the file's fault
                self._worker = WorkerProcess()
            answer = self._worker.request(request, WALL_CLOCK_FACTOR * cpu_s)
            if answer is None:
                logger.warning("Chunking %s ended with %s; the file is split as text", language, self._worker.kill())
        rows = json.loads(answer or b"null")
        return None if rows is None else [SourceChunk(*row) for row in rows]

    def stop(self) -> None:
        """Kill the worker process, if there is one."""
        if self._worker:
            self._worker.kill()


class WorkerProcess:
    """A running `python -m rag.chunking.worker`, or raise RuntimeError or OSError."""

    def __init__(self) -> None:
        self._connection, worker_end = Pipe()
        command = [sys.executable, "-m", "rag.chunking.worker", str(worker_end.fileno()), settings.EMBEDDINGS_TOKENIZER]
        with worker_end:
            # No environment: variables hold secrets. A session of its own: Ctrl-C at a terminal must not reach it.
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
            raise RuntimeError(f"The chunking worker ended with {self.kill()} before it was ready.")

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def request(self, request: bytes, within_s: float) -> bytes | None:
        """Return the answer; None if none came in time, and the process must be killed."""
        try:
            self._connection.send_bytes(request)
        except OSError:
            return None
        return self._receive(within_s)

    def kill(self) -> int:
        """Kill the process and return its exit code, negative for a signal."""
        self._connection.close()
        self._process.kill()
        return self._process.wait()

    def _receive(self, within_s: float) -> bytes | None:
        try:
            return self._connection.recv_bytes() if self._connection.poll(within_s) else None
        except (EOFError, OSError):
            return None


_POOLS: dict[int, Pool] = {}  # by process id: a fork must not use its parent's worker


def _pool_of_process() -> Pool:
    return _POOLS.setdefault(os.getpid(), Pool())


@atexit.register
def _stop() -> None:
    if pool := _POOLS.get(os.getpid()):
        pool.stop()


@cache
def _text_chunker(window: int) -> Chunker:
    return Chunker(grammars.TEXT, window)
