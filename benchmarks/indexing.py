"""Benchmark of indexing folders with the embedded model: speed, speed without changes, and memory.

Before and after, the model alone is given chunks of 1 200 characters, of which a quiet machine does 38 a second: the
speed of a machine changes, the ratio of the two hardly does.

usage: python -m lunaos.embedded run --llm -- python benchmarks/indexing.py [--source FOLDER] [--files 150]
"""

import argparse
import io
import os
import random
import resource
import shutil
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lunaos.settings")
import django

django.setup()
from django.core.management import call_command

from accounts.models import User
from rag import services
from rag.indexing import folders
from rag.models import File
from rag.search import embeddings

UNCHANGED = 2_000  # files of the repository that is indexed a second time
ALONE, ALONE_CHARACTERS, ALONE_AT_ONCE = 240, 1_200, 16  # chunks that the model alone is given


def timed(user: User, root: Path, name: str) -> tuple[float, int]:
    """Return a folder's seconds and chunks."""
    started = time.perf_counter()
    found = list(folders.walk(root))
    job, _ = services.index_folder(
        user=user, repository=name, root=root, found=found, on_progress=lambda progress: None
    )
    return time.perf_counter() - started, job.chunks


def model_alone(sources: list[Path]) -> float:
    """Return the chunks per second of the embedding model alone."""
    text = "".join(path.read_text(errors="replace") for path in sources[:ALONE])
    starts = range(0, ALONE * ALONE_CHARACTERS, ALONE_CHARACTERS)
    chunks = [text[start : start + ALONE_CHARACTERS] for start in starts]
    embedder, started = embeddings.current_embedder(retries=3), time.perf_counter()
    for start in range(0, ALONE, ALONE_AT_ONCE):
        embedder.embed(chunks[start : start + ALONE_AT_ONCE])
    return ALONE / (time.perf_counter() - started)


def memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=Path(sysconfig.get_paths()["stdlib"]))
    parser.add_argument("--files", type=int, default=150)
    options = parser.parse_args()
    call_command("prepare", verbosity=0, stdout=io.StringIO())
    user = User.objects.create_user(f"indexing-{os.getpid()}@example.com", "no sign-in", tier="team")
    sources = [path for path in sorted(options.source.rglob("*.py")) if "site-packages" not in path.parts]
    random.Random(7).shuffle(sources)
    with tempfile.TemporaryDirectory() as folder:
        for n, path in enumerate(sources[: options.files]):
            shutil.copy(path, f"{folder}/{n}_{path.name}")
        before, (seconds, chunks), after = model_alone(sources), timed(user, Path(folder), "new"), model_alone(sources)
        characters = sum(path.stat().st_size for path in sources[: options.files])
        print(
            f"new: {options.files} files, {chunks} chunks of {characters / chunks:.0f} characters in {seconds:.1f} s: "
            f"{chunks / seconds:.1f} chunks a second; {memory_mb():.0f} MB\n"
            f"the model alone: {before:.1f} chunks of {ALONE_CHARACTERS} characters a second before, {after:.1f} after",
            flush=True,
        )
    with tempfile.TemporaryDirectory() as folder:
        for n in range(UNCHANGED):
            (Path(folder) / f"module_{n}.txt").write_text(sources[n % len(sources)].read_text(errors="replace"))
        opened = services.open_repository(user, "unchanged")
        File.objects.bulk_create(as_indexed(opened, Path(folder)))
        seconds, _ = timed(user, Path(folder), "unchanged")
        print(f"unchanged: {UNCHANGED} files in {seconds:.2f} s; {memory_mb():.0f} MB")


def as_indexed(repository: services.Repository, root: Path) -> list[File]:
    """Insert rows as the first indexing would."""
    read = folders.read_files(root, list(folders.walk(root)))
    return [
        File(repository=repository, path=file.path, digest=digest(file), language="text", chunks=1) for file in read
    ]


def digest(file: services.SourceFile) -> str:
    return services.runner.indexer.digest(file.content or "")


if __name__ == "__main__":
    main()
