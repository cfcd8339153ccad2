"""Does search find the right function for a question in plain words?

Questions are the first sentences of docstrings; all docstrings are removed from the code before it is indexed, by the
product's own indexer. An answer is right when it holds the function's first line.

usage: python -m lunaos.embedded run --llm -- .venv/bin/python benchmarks/retrieval.py [--source FOLDER] [--questions 2000]
"""

import argparse
import ast
import os
import random
import re
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lunaos.settings")
import django

django.setup()
from django.core.management import call_command

from accounts.models import User
from rag import embedders, runner, search, services
from rag.indexer import SourceFile
from rag.models import Chunk, Repository

LEFT_OUT = {"test", "tests", "idlelib", "site-packages", "lib2to3", "turtledemo", "__pycache__", "ensurepip", "migrations"}
WORDS = range(4, 41)  # of a sentence that is a question
DEEP = 10


@dataclass(frozen=True)
class Question:
    text: str
    path: str
    line: int


def bare(path: str, source: str) -> tuple[str, list[Question]]:
    """A module without its functions' docstrings, and a question for each that had one; lines keep their numbers."""
    lines, questions = source.split("\n"), []
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for node in functions:
        text, first = ast.get_docstring(node), node.body[0]
        if text is None:
            continue
        sentence = " ".join(re.split(r"(?<=[.!?])\s|\n\n", text.strip())[0].split())
        if len(sentence.split()) in WORDS and len(node.body) > 1:
            questions.append(Question(sentence, path, node.lineno))
        lines[first.lineno - 1] = lines[first.lineno - 1][: first.col_offset]
        for number in range(first.lineno, first.end_lineno or first.lineno):
            lines[number] = ""
    return "\n".join(line for line in lines), questions


def modules(source: Path, wanted: int) -> tuple[list[SourceFile], list[Question]]:
    """Modules in a fixed random order, as many as it takes; a sentence that two functions share is no question."""
    found = [path for path in sorted(source.rglob("*.py")) if not LEFT_OUT & set(path.relative_to(source).parts)]
    random.Random(7).shuffle(found)
    files, questions = [], list[Question]()
    for file in found:
        try:
            text, asked = bare(str(file.relative_to(source)), file.read_text())
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue
        files.append(SourceFile(str(file.relative_to(source)), text))
        questions += asked
        if len(questions) >= wanted:
            break
    often = Counter(question.text for question in questions)
    return files, [question for question in questions if often[question.text] == 1]


def ranks(repository: Repository, questions: list[Question]) -> Iterator[dict[str, int]]:
    """The place of the right answer by similarity alone, by words alone and by both; 0 where it is not there."""
    embedder = embedders.of(repository.model)
    for question in questions:
        vector = embedder.embed([question.text])[0]
        found = search._candidates(repository, embedder, question.text, vector)
        fused = {id(old): new for (old, _, _), new in zip(found, search._fused(found), strict=True)}
        orders: dict[str, Callable[[tuple[search.Hit, float, float]], float]] = {
            "dense alone": lambda each: each[1],
            "text alone": lambda each: each[2],
            "fused": lambda each: fused[id(each[0])].score,
        }
        yield {name: place(question, sorted(found, key=order, reverse=True)) for name, order in orders.items()}


def place(question: Question, found: list[tuple[search.Hit, float, float]]) -> int:
    for rank, (hit, _, _) in enumerate(found[:DEEP], 1):
        if hit.path == question.path and hit.start_line <= question.line <= hit.end_line:
            return rank
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=Path(sysconfig.get_paths()["stdlib"]))
    parser.add_argument("--questions", type=int, default=2000)
    options = parser.parse_args()
    call_command("prepare", verbosity=0)
    user = User.objects.create_user(f"retrieval-{os.getpid()}@example.com", "no sign-in", tier="team")
    files, questions = modules(options.source, options.questions)
    started = time.perf_counter()
    for start in range(0, len(files), 20):
        job = services.index(user=user, repository="library", files=files[start : start + 20])
        runner.run(job.repository_id)
    repository = Repository.objects.get(user=user)
    seconds, chunks = time.perf_counter() - started, Chunk.objects.filter(repository=repository).count()
    print(f"{len(files)} modules, {chunks} chunks in {seconds:.0f} s ({chunks / seconds:.0f} a second)", flush=True)
    measured = list(ranks(repository, questions))
    print(f"{len(questions)} questions\n\n| | MRR@10 | recall@1 | @5 | @10 |\n|---|---|---|---|---|")
    for name in measured[0]:
        found = [each[name] for each in measured]
        mrr = sum(1 / rank for rank in found if rank) / len(found)
        recalls = " | ".join(f"{sum(0 < rank <= deep for rank in found) / len(found):.3f}" for deep in (1, 5, 10))
        print(f"| {name} | {mrr:.3f} | {recalls} |")


if __name__ == "__main__":
    main()
