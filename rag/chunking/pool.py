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
from rag.chunking.chunker import Chunker, Piece

ROOT = Path(__file__).resolve().parents[2]
STARTS_WITHIN_S = 60
# Seconds of computing that a file may take: several times what the slowest honest ones do.
LEAST_S, CHARACTERS_A_SECOND = 2, 30_000
PATIENCE = 10  # times as long by the clock, on a machine that has other things to do
logger = logging.getLogger(__name__)


def cut(language: str, window: int, content: str) -> list[Piece]:
    """Cut a file at its functions, classes and sections; as text where its grammar fails at it.

    Args:
        language: a name of `GRAMMARS`, or TEXT.
        window: the longest piece, in the embedding model's tokens.

    Raises:
        RuntimeError, OSError: the process that cuts cannot be started.
    """
    pieces = _mine().cut(language, window, content) if grammars.is_parsed(language) else None
    return _as_text(window).cut(content) if pieces is None else pieces


class Cutter:
    """A child that is started when it is needed, and again after its death; threads take turns."""

    def __init__(self) -> None:
        self._turn = Lock()
        self._child: Child | None = None

    def cut(self, language: str, window: int, content: str) -> list[Piece] | None:
        """The pieces of a file; None where the child did not live to tell them, or failed.

        Raises:
            RuntimeError, OSError: the child cannot be started.
        """
        cpu_s = LEAST_S + len(content) / CHARACTERS_A_SECOND
        request = json.dumps([language, window, content, cpu_s]).encode()
        with self._turn:
            if self._child is None or not self._child.is_alive():  # who died while nobody asked is no file's fault
                self._child = Child()
            answer = self._child.ask(request, PATIENCE * cpu_s)
            if answer is None:
                logger.warning("Cutting %s ended with %s; the file is cut as text", language, self._child.end())
        rows = json.loads(answer or b"null")
        return None if rows is None else [Piece(*row) for row in rows]

    def end(self) -> None:
        """End the child, where nobody cuts any more."""
        if self._child:
            self._child.end()


class Child:
    """A running `rag.chunking.worker`.

    Raises:
        RuntimeError, OSError: it does not start.
    """

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        words = [sys.executable, "-m", "rag.chunking.worker", str(theirs.fileno()), settings.EMBEDDINGS_TOKENIZER]
        with theirs:
            # No variables: they hold secrets. A session of its own: what is typed at a terminal is not for it.
            self._process = subprocess.Popen(
                words,
                cwd=ROOT,
                env={},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        if self._heard(STARTS_WITHIN_S) != worker.READY:
            raise RuntimeError(f"The process that cuts files ended with {self.end()} before it was ready.")

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: bytes, within_s: float) -> bytes | None:
        """Its answer; None where it has none in time, and must be ended."""
        try:
            self._connection.send_bytes(request)
        except OSError:
            return None
        return self._heard(within_s)

    def end(self) -> int:
        """Its exit code, negative where a signal ended it."""
        self._connection.close()
        self._process.kill()
        return self._process.wait()

    def _heard(self, within_s: float) -> bytes | None:
        try:
            return self._connection.recv_bytes() if self._connection.poll(within_s) else None
        except (EOFError, OSError):
            return None


_CUTTERS: dict[int, Cutter] = {}  # by process, since a fork must not speak with its parent's child


def _mine() -> Cutter:
    return _CUTTERS.setdefault(os.getpid(), Cutter())


@atexit.register
def _end() -> None:
    if mine := _CUTTERS.get(os.getpid()):
        mine.end()


@cache
def _as_text(window: int) -> Chunker:
    return Chunker(grammars.TEXT, window)
