"""Benchmark of search quality: find the right function for a question in plain words.

Questions are the first sentences of docstrings, answers the functions, which are indexed without their docstrings. An
answer is right when it holds the function's first line. The functions are those of whole modules, among their siblings,
or drawn one by one from all that is in the folder.

usage: python -m lunaos.embedded run --llm -- python benchmarks/retrieval.py
    [--source FOLDER] [--questions 2200] [--words 4] [--whole | --drawn]
"""

import argparse
import ast
import io
import os
import random
import re
import sys
import sysconfig
import textwrap
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lunaos.settings")
import django

django.setup()
import numpy as np
from django.core.management import call_command

from accounts.models import User
from rag import services
from rag.chunking.chunker import SourceChunk
from rag.indexing import indexer, jobs, runner, store
from rag.indexing.indexer import SourceFile
from rag.models import Chunk, Repository
from rag.search import embeddings, search, terms, vectors

LEFT_OUT = {
    "test",
    "tests",
    "idlelib",
    "site-packages",
    "lib2to3",
    "turtledemo",
    "__pycache__",
    "ensurepip",
    "migrations",
}
MOST_WORDS = 40  # of a sentence that is a question
LEAST_LINES = 5  # of a function: shorter ones delegate to others, which answer the question as well
DEEP = 10


@dataclass(frozen=True)
class Question:
    text: str
    path: str
    line: int


Found = tuple[SourceChunk, Question]


def functions(path: str, source: str, least_words: int) -> list[Found]:
    """Return a module's documented functions without docstring, and the first sentences as questions.

    Args:
        path: of the module.
        source: text of the module.
        least_words: of a question; functions with a shorter one are left out.
    """
    tree, lines = ast.parse(source), source.split("\n")
    found = []
    for symbol, node in named(tree, ""):
        text, body = ast.get_docstring(node), node.body
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        kept = lines[first - 1 : body[0].lineno - 1] + lines[body[0].end_lineno or 0 : node.end_lineno]
        sentence = " ".join(re.split(r"(?<=[.!?])\s|\n\n", (text or "").strip())[0].split())
        if least_words <= len(sentence.split()) <= MOST_WORDS and len(body) > 1 and len(kept) >= LEAST_LINES:
            signature = " ".join(lines[node.lineno - 1 : body[0].lineno - 1])
            chunk = SourceChunk(textwrap.dedent("\n".join(kept)), symbol, signature, first, node.end_lineno or first)
            found.append((chunk, Question(sentence, path, node.lineno)))
    return found


def named(parent: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.iter_child_nodes(parent):
        name = f"{prefix}.{getattr(node, 'name', '')}".strip(".")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield name, node
        yield from named(node, name if hasattr(node, "name") else prefix)


def bare(path: str, source: str, least_words: int) -> tuple[str, list[Question]]:
    """Return a module without its functions' docstrings, and the same questions; keep line numbers."""
    lines = source.split("\n")
    for _, node in named(ast.parse(source), ""):
        first = node.body[0]
        if ast.get_docstring(node) is not None:
            lines[first.lineno - 1] = lines[first.lineno - 1][: first.col_offset]
            lines[first.lineno : first.end_lineno] = [""] * ((first.end_lineno or first.lineno) - first.lineno)
    return "\n".join(lines), [question for _, question in functions(path, source, least_words)]


def modules(source: Path, question_count: int, least_words: int) -> Iterator[tuple[str, str]]:
    """Return path and source of modules in a fixed random order, until they hold enough questions."""
    found = [path for path in sorted(source.rglob("*.py")) if not LEFT_OUT & set(path.relative_to(source).parts)]
    random.Random(7).shuffle(found)
    for file in found:
        try:
            path, text = str(file.relative_to(source)), file.read_text()
            question_count -= len(functions(path, text, least_words))
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue
        yield path, text
        if question_count <= 0:
            return


def drawn(source: Path, question_count: int, least_words: int) -> list[list[Found]]:
    """Draw functions of all modules, tests and tools included; return them by module."""
    found = list[Found]()
    for file in sorted(source.rglob("*.py")):
        if "site-packages" not in file.parts:
            try:
                found += functions(str(file.relative_to(source)), file.read_text(), least_words)
            except (SyntaxError, UnicodeDecodeError, ValueError):
                continue
    by_path = defaultdict[str, list[Found]](list)
    for chunk, question in random.Random(7).sample(found, min(question_count, len(found))):
        by_path[question.path].append((chunk, question))
    return list(by_path.values())


def index_functions(repository: Repository, found: Iterable[list[Found]]) -> list[Question]:
    """Search among functions, each a chunk of its own."""
    candidates, embedder = list[Question](), embeddings.current_embedder(retries=3)
    for of_module in filter(None, found):
        path, chunks = of_module[0][1].path, [chunk for chunk, _ in of_module]
        candidates += [question for _, question in of_module]
        embedded = indexer.embed_chunks(embedder, [(path, chunk) for chunk in chunks])
        size = sum(len(chunk.content.encode()) for chunk in chunks)
        store.replace_file(repository, store.PreparedFile(path, "", "python", size, chunks, embedded), embedder.model)
    terms.recount_terms(repository)
    return candidates


def index_modules(repository: Repository, sources: list[tuple[str, str]], least_words: int) -> list[Question]:
    """Search among the chunks of whole modules, by the product's chunker."""
    without = [(path, *bare(path, text, least_words)) for path, text in sources]
    job = jobs.create(repository, [SourceFile(path, text) for path, text, _ in without])
    runner.run(job.repository_id)
    return [question for *_, questions in without for question in questions]


def ranks(repository: Repository, questions: list[Question]) -> Iterator[dict[str, int]]:
    """Return the rank of the right answer by similarity, by words and by both; 0 if missing."""
    embedder = embeddings.embedder_for(repository.model, retries=3)
    chunks = list(Chunk.objects.filter(repository=repository).select_related("file"))
    codes = plain(embedder, chunks)
    for question in questions:
        found = search._candidates(repository, embedder, question.text, search.embed_query(embedder, question.text))
        vector = embedder.embed([question.text])[0]
        scored = [(hit.score, hit) for hit in search._fuse(found)]
        nearest = np.argsort(-(codes @ np.array(vector, np.float32)))[:DEEP]
        yield {
            "the code's own vector alone": place(question, [(-n, hit_of(chunks[at])) for n, at in enumerate(nearest)]),
            "blended vector alone": place(question, [(similarity, hit) for hit, similarity, _ in found]),
            "words alone": place(question, [(weight, hit) for hit, _, weight in found]),
            "fused": place(question, scored),
        }


def plain(embedder: embeddings.Embedder, chunks: list[Chunk]) -> np.ndarray:
    """Return the ranks with embeddings of the code alone."""
    parts = (chunks[start : start + 64] for start in range(0, len(chunks), 64))
    return np.array([each for part in parts for each in embedder.embed([c.content for c in part])], np.float32)


def hit_of(chunk: Chunk) -> search.Hit:
    where = (chunk.start_line, chunk.end_line)
    return search.Hit(chunk.position, chunk.file.path, chunk.symbol, "", *where, chunk.content, 0.0)


def place(question: Question, scored: list[tuple[float, search.Hit]]) -> int:
    best = sorted(scored, key=lambda each: -each[0])[:DEEP]
    for rank, (_, hit) in enumerate(best, 1):
        if hit.path == question.path and hit.start_line <= question.line <= hit.end_line:
            return rank
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=Path(sysconfig.get_paths()["stdlib"]))
    parser.add_argument("--questions", type=int, default=2200)
    parser.add_argument("--words", type=int, default=4, help="a question has at least")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--whole", action="store_true", help="index whole modules, not only the functions")
    which.add_argument("--drawn", action="store_true", help="draw the functions one by one from all modules")
    options = parser.parse_args()
    call_command("prepare", verbosity=0, stdout=io.StringIO())
    user = User.objects.create_user(f"retrieval-{os.getpid()}@example.com", "no sign-in", tier="team")
    repository = services.open_repository(user, "library")
    vectors.ensure_index(repository.model, 384)
    sources = [] if options.drawn else list(modules(options.source, options.questions, options.words))
    started = time.perf_counter()
    if options.whole:
        candidates = index_modules(repository, sources, options.words)
    elif options.drawn:
        candidates = index_functions(repository, drawn(options.source, options.questions, options.words))
    else:
        candidates = index_functions(repository, (functions(*source, options.words) for source in sources))
    seconds, chunks = time.perf_counter() - started, Chunk.objects.filter(repository=repository).count()
    repository.refresh_from_db()
    often = Counter(question.text for question in candidates)
    questions = [
        question for question in candidates if often[question.text] == 1
    ]  # of two answers none is the right one
    found_in = {question.path for question in candidates}
    print(f"{len(found_in)} modules, {chunks} chunks in {seconds:.0f} s ({chunks / seconds:.0f} a second)")
    measured = list(ranks(repository, questions))
    print(f"{len(questions)} questions\n\n| | MRR@10 | recall@1 | @5 | @10 |\n|---|---|---|---|---|")
    for name in measured[0]:
        found = [each[name] for each in measured]
        mrr = sum(1 / rank for rank in found if rank) / len(found)
        recalls = " | ".join(f"{sum(0 < rank <= deep for rank in found) / len(found):.3f}" for deep in (1, 5, 10))
        print(f"| {name} | {mrr:.3f} | {recalls} |")


if __name__ == "__main__":
    main()
