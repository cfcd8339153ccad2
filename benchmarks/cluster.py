"""Two web processes and workers of each kind behind the proxy, with model servers."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks import processes
from testing.loopback.embeddings import EmbeddingsServer
from testing.stack import CommandStack, Stack

NODES = ("web", "web-2")
WORKERS = ("worker", "indexing", "chains-1", "chains-2")


@contextmanager
def cluster() -> Iterator[Stack]:
    with tempfile.TemporaryDirectory() as folder, processes.provider(), EmbeddingsServer() as embeddings:
        variables = {"EMBEDDINGS_BASE_URL": embeddings.base_url, "EMBEDDINGS_MODEL": "bag-of-words"}
        variables |= {"LLM_RUN_TIMEOUT_S": "3600", "LUNAOS_TRUSTED_PROXIES": "1", "LUNAOS_LOG_LEVEL": "WARNING"}
        with CommandStack(Path(folder), **variables) as stack:
            stack.start("web-2", *WORKERS[1:], "proxy")
            yield stack


def family(stack: Stack, name: str) -> list[psutil.Process]:
    """Return a program's process and its children, such as PostgreSQL's connections."""
    process = psutil.Process(stack.pid(name))
    return [process, *process.children(recursive=True)]
