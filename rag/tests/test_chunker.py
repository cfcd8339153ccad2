"""Tests of rag.chunking.chunker: chunks that are understandable alone."""

import random

import pytest

from rag.chunking import grammars, tokens
from rag.chunking.chunker import Chunker, SourceChunk
from rag.chunking.grammars import GRAMMARS

WINDOW = 60  # tokens; small, so that short examples are split

PYTHON = '''"""Greets people."""

import sys


# Says hello.
@decorated
def greet(name):
    return f"hello {name}"


class Small:
    def one(self):
        return 1


class Large:
    """Has more to say than fits."""

    def first(self, value):
        return [value + number for number in range(10) if number % 2]

    def second(self, value):
        return {value: number for number in range(10) if number % 3}
'''
SAMPLES = {
    "bash": ("run.sh", "#!/bin/bash\ngreet() {\n  echo hello\n}\n", ["greet"]),
    "c": ("a.c", "/* Adds. */\nint *add(int a, int b) {\n  return 0;\n}\nstruct point { int x; };\n", ["add", "point"]),
    "cpp": (
        "a.cpp",
        "template <typename T>\nT add(T a, T b) { return a + b; }\nclass Box { int x; };\n",
        ["add", "Box"],
    ),
    "csharp": ("A.cs", "public class A { void Run() { } }\n", ["A"]),
    "css": ("a.css", "body { color: red; }\n", [""]),
    "go": ("a.go", "package main\n\nfunc (s *Server) Run() {}\n\ntype Box struct{ x int }\n", ["", "Run", "Box"]),
    "html": ("a.html", "<html><body><p>Hello</p></body></html>\n", [""]),
    "java": ("A.java", "/** Doc. */\nclass A { void run() { } }\n", ["A"]),
    "javascript": (
        "a.js",
        "export const add = (a, b) => {\n  return a + b;\n};\nconst one = 1;\nclass Box { }\n",
        ["add", "", "Box"],
    ),
    "json": ("a.json", '{"a": [1, 2, 3]}\n', [""]),
    "markdown": ("a.md", "# Title\n\nWords.\n\n## Part\n\nMore.\n", ["Title"]),
    "php": ("a.php", "<?php\nfunction add($a) { return $a; }\n", ["", "add"]),
    "python": ("a.py", "async def run(): pass\n", ["run"]),
    "ruby": ("a.rb", "module M\n  def run\n    1\n  end\nend\n", ["M"]),
    "rust": ("a.rs", "/// Doc.\nfn add() {}\nimpl Box { fn run(&self) {} }\n", ["add", "Box"]),
    "sql": ("a.sql", "CREATE TABLE box (x int);\nSELECT 1;\n", ["box", ""]),
    "tsx": ("a.tsx", "export function View() { return <p>hello</p>; }\n", ["View"]),
    "typescript": ("a.ts", "interface Box { x: number }\nenum Kind { A }\n", ["Box", "Kind"]),
    "yaml": ("a.yaml", "a:\n  b: 1\n", [""]),
}


def chunk_text(content: str, path: str = "a.py", window: int = WINDOW) -> list[SourceChunk]:
    return Chunker(grammars.language_of(path), window).chunk(content)


def test_it_works() -> None:
    chunks = chunk_text(PYTHON)

    assert [(chunk.symbol, chunk.start_line, chunk.end_line) for chunk in chunks] == [
        ("", 1, 3),
        ("greet", 6, 9),
        ("Small", 12, 14),
        ("Large", 17, 18),
        ("Large.first", 20, 21),
        ("Large.second", 23, 24),
    ]
    assert chunks[1].content.startswith("# Says hello.\n@decorated\ndef greet")
    assert chunks[1].signature.strip() == "def greet(name):"


@pytest.mark.parametrize("language", GRAMMARS)
def test_every_language_is_split_at_its_definitions(language: str) -> None:
    path, content, symbols = SAMPLES[language]
    assert grammars.language_of(path) == language
    assert [chunk.symbol for chunk in chunk_text(content, path)] == symbols


@pytest.mark.parametrize("path", ["a.py", "a.md", "a.js", "notes.txt", "Makefile"])
def test_every_chunk_fits_and_no_text_is_lost(path: str) -> None:
    content = "\n\n".join(f"def f{n}(a):\n    return {{'key {n}': [a, {n}]}} if a > {n} else None" for n in range(40))
    chunks = chunk_text(content, path)

    assert len(chunks) > 5
    for chunk in chunks:
        assert len(tokens.text_splitter(WINDOW).chunks(chunk.content)) == 1
        lines = content.split("\n")[chunk.start_line - 1 : chunk.end_line]
        assert chunk.content.strip() in "\n".join(lines)
    assert "".join("".join(chunk.content.split()) for chunk in chunks) == "".join(content.split())


def test_a_long_function_is_split_at_its_blocks() -> None:
    blocks = "".join(f"    for item in list_{n}:\n        total += item * {n}\n" for n in range(20))
    chunks = chunk_text(f"def total_of_all(lists):\n    total = 0\n{blocks}    return total\n")

    assert len(chunks) > 2
    assert {chunk.symbol for chunk in chunks} == {"total_of_all"}
    assert all(chunk.content.lstrip().startswith(("def", "for", "return", "total")) for chunk in chunks)


def test_tokens_are_estimated_without_a_tokenizer(settings: object) -> None:
    settings.EMBEDDINGS_TOKENIZER = ""  # type: ignore[attr-defined]
    chunks = chunk_text(PYTHON, "estimated.txt", window=50)
    assert all(len(chunk.content.encode()) <= 50 * tokens.BYTES_PER_TOKEN for chunk in chunks)


@pytest.mark.parametrize(
    "content",
    ["", " \n\t\n", "{}();\n", "'" * 999, "def", "def f(:\n  return ]]]\n", "\ufeffdef f(): pass\n", "(" * 5_000],
)
def test_invalid_code_is_split_without_an_error(content: str) -> None:
    for chunk in chunk_text(content):
        assert chunk.content in content


def test_an_endless_word_is_split_by_length() -> None:
    chunks = chunk_text(f'blob = "{"A" * 50_000}"\n', window=100)
    assert max(len(chunk.content) for chunk in chunks) <= 1_600
    assert sum(chunk.content.count("A") for chunk in chunks) == 50_000


def test_line_numbers_with_umlauts_and_crlf() -> None:
    chunks = chunk_text("größe = 1\r\n\r\ndef straße():\r\n    return 'größer'\r\n")
    assert [(chunk.symbol, chunk.start_line, chunk.end_line) for chunk in chunks] == [("", 1, 1), ("straße", 3, 4)]


def test_a_nested_class_has_a_qualified_name() -> None:
    body = "".join(f"            x{n} = compute_something({n})\n" for n in range(12))
    [*_, chunk] = chunk_text(f"class Outer:\n    class Inner:\n        def run(self):\n{body}", window=100)
    assert chunk.symbol == "Outer.Inner.run"


def test_definitions_are_split_to_a_maximum_depth() -> None:
    content = "".join(f"class A{n} {{\n" for n in range(700)) + "".join(f"int f{n};\n" for n in range(60)) + "}" * 700
    chunks = chunk_text(content, "A.java")
    assert chunks[0].symbol == "A0"
    assert chunks[-1].symbol.startswith("A0.A1.A2.") and chunks[-1].symbol.endswith(".A50")
    assert any("f59" in chunk.content for chunk in chunks)


ODD_LINES = [
    "",
    "",
    "    ",
    "\t",
    " \r",
    "\x0c",
    "\u2028\u3000",
    "\xa0",
    "\x1c",
    "x\u2028y = 1",
    "# words",
    "\ufeffz = 2",
]


@pytest.mark.parametrize("path", ["a.py", "a.md", "a.js", "a.go", "a.rb", "a.yaml", "notes.txt"])
@pytest.mark.parametrize("seed", range(15))
def test_line_numbers_of_a_chunk_match_the_file(path: str, seed: int) -> None:
    """Quotations number their lines by them."""
    dice = random.Random(seed)
    lines: list[str] = []
    for n in range(30):
        lines += [
            f"def function_{n}(a):",
            f"    return [a, {n}]",
            f"function run{n}() {{",
            f"  return {n}",
            "}",
            f"# t{n}",
        ]
        lines += dice.choices(ODD_LINES, k=dice.randrange(5))
    for chunk in chunk_text("\n".join(lines), path):
        there = "\n".join(lines[chunk.start_line - 1 : chunk.end_line])
        assert chunk.content in there
        cut_within = not there.lstrip().startswith(chunk.content.lstrip())
        assert cut_within or there.startswith(chunk.content)
        assert chunk.content.count("\n") == there.count("\n") == chunk.end_line - chunk.start_line


def test_leading_blank_lines_are_dropped() -> None:
    content = "def a():\n    return 1\n    \n    \n\nTOTAL = compute_the_total(1)\nRATE = 7\n"
    [_, chunk] = chunk_text(content)
    assert (chunk.content, chunk.start_line, chunk.end_line) == ("TOTAL = compute_the_total(1)\nRATE = 7", 6, 7)


def test_indentation_is_kept_up_to_a_maximum() -> None:
    assert chunk_text("\n\n    x = 1\n")[0].content == "    x = 1"
    assert chunk_text(" " * 400_000 + "x = 1\n")[0].content == "x = 1"
