"""Split files at their functions, classes and sections into chunks."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from semantic_text_splitter import CodeSplitter, TextSplitter
from tree_sitter import Node

from rag.chunking import grammars, tokens
from rag.chunking.grammars import GRAMMARS

# A definition with more of its bytes in nested definitions is a class or module, else a function with helpers.
MIN_NESTED_SHARE = 0.5
MAX_BYTES_PER_TOKEN = 16  # mean of a chunk; more means one endless word instead of text
MAX_SIGNATURE_BYTES = 500
MAX_INDENTATION_BYTES = 200  # longer indentation is dropped
MAX_SEARCH_DEPTH = 200  # people nest ten levels; a generated file may have any number
MAX_DEFINITION_DEPTH = 50  # deeper definitions are not split further
NAME_FIELDS = ("name", "declarator", "type")  # fields that hold a node's name, in order of precedence
NAME_NODES = ("type_spec", "object_reference", "atx_heading")  # children that hold the name if no field does
FUNCTION_NODES = ("arrow_function", "function_expression", "generator_function", "class", "function")
MIN_TOKENS = re.compile(r"[^\W_]+|[^\w\s]|_")  # a word or a punctuation mark is at least one token
ATTACHED_NODES = ("comment", "attribute", "decorator")  # nodes directly above a definition that belong to it


@dataclass(frozen=True, slots=True)
class SourceChunk:
    """A part of a file, as it is embedded and stored."""

    # `symbol`: qualified name, such as `Server.run`; empty outside of functions and classes. `start_line`: counted
    # from 1. `end_line`: last line, included.

    content: str
    symbol: str
    signature: str
    start_line: int
    end_line: int


@dataclass(frozen=True, slots=True)
class Definition:
    """A named node of the syntax tree, with its comments and decorators."""

    # `start`: offset in the source, in bytes.

    symbol: str
    signature: str
    start: int
    end: int
    node: Node
    depth: int


@dataclass(frozen=True, slots=True)
class Span:
    """The byte range of a chunk, and the definition that contains it."""

    start: int
    end: int
    owner: Definition | None

    @property
    def symbol(self) -> str:
        return self.owner.symbol if self.owner else ""


class Chunker:
    """Split files of one language."""

    # `window`: maximum length of a chunk, in the embedding model's tokens.

    def __init__(self, language: str, window: int) -> None:
        self._language, self._window = language, window
        self._max_chunk_bytes = MAX_BYTES_PER_TOKEN * window
        grammar = GRAMMARS.get(language)
        self._definitions = frozenset(grammar.definitions.split()) if grammar else frozenset()
        self._wrappers = frozenset(grammar.wrappers.split()) if grammar else frozenset()

    @cached_property
    def _text_splitter(self) -> TextSplitter:
        return tokens.text_splitter(self._window)

    @cached_property
    def _splitter(self) -> TextSplitter | CodeSplitter:
        if grammars.has_grammar(self._language):
            return tokens.code_splitter(self._language, self._window)
        return self._text_splitter

    def chunk(self, content: str) -> list[SourceChunk]:
        """Split a file; white space between chunks and chunks without a word are dropped."""
        source = content.encode()
        line_starts = [0, *(match.end() for match in re.finditer(b"\n", source))]
        found = (_make_chunk(source, line_starts, span) for span in self._spans(source))
        return [chunk for chunk in found if any(map(str.isalnum, chunk.content))]

    def _spans(self, source: bytes) -> Iterator[Span]:
        if self._definitions:
            root = grammars.parse(self._language, source)
            yield from self._split_around(source, 0, len(source), None, self._find_definitions(source, root))
        else:
            yield from self._split_span(source, Span(0, len(source), None))

    def _split_around(
        self, source: bytes, start: int, end: int, owner: Definition | None, definitions: list[Definition]
    ) -> Iterator[Span]:
        # Split the text between definitions, and each definition, in order.
        for each in definitions:
            yield from self._split_span(source, Span(start, each.start, owner))
            yield from self._split_definition(source, each)
            start = each.end
        yield from self._split_span(source, Span(start, end, owner))

    def _split_definition(self, source: bytes, each: Definition) -> Iterator[Span]:
        # Split a definition at its nested definitions, or at its blocks, unless it fits.
        fits = self._fits(source[each.start : each.end])
        inner = [] if fits or each.depth >= MAX_DEFINITION_DEPTH else self._find_definitions(source, each.node, each)
        if sum(child.end - child.start for child in inner) > MIN_NESTED_SHARE * (each.end - each.start):
            yield from self._split_around(source, each.start, each.end, each, inner)
        else:
            yield from self._split_span(source, Span(each.start, each.end, each))

    def _split_span(self, source: bytes, span: Span) -> Iterator[Span]:
        # Split at the largest syntax nodes that fit, and join neighbours that fit together.
        raw = source[span.start : span.end]
        if self._fits(raw):
            yield span
            return
        first = last = span.start
        for start, end in self._split_ranges(raw.decode(errors="replace"), span.start):
            if last > first and not self._fits(source[first:end]):
                yield Span(first, last, span.owner)
                first = start
            last = end
        yield Span(first, last, span.owner)

    def _split_ranges(self, text: str, offset: int) -> Iterator[tuple[int, int]]:
        # Yield byte ranges of the splitter's parts; an endless word is split by length.
        position = 0
        for character, part in self._splitter.chunk_indices(text):
            offset += len(text[position:character].encode())
            position, size = character, len(part.encode())
            for start in range(offset, offset + size, self._max_chunk_bytes):
                yield start, min(start + self._max_chunk_bytes, offset + size)

    def _fits(self, raw: bytes) -> bool:
        if len(raw) <= self._window:  # a token has at least one byte
            return True
        text = raw.decode(errors="replace")
        if len(raw) > self._max_chunk_bytes or sum(1 for _ in MIN_TOKENS.finditer(text)) > self._window:
            return False
        return len(self._text_splitter.chunks(text)) <= 1

    def _find_definitions(self, source: bytes, parent: Node, owner: Definition | None = None) -> list[Definition]:
        # Without recursion: the outermost definitions below a node, in order.
        prefix, within = (owner.symbol, owner.depth + 1) if owner else ("", 0)
        found, waiting = list[Definition](), [(child, child, 0) for child in reversed(parent.named_children)]
        while waiting:
            node, outer, depth = waiting.pop()
            if self._is_definition(node):
                start = _line_start(source, _attached_start(outer))
                start = max(start, found[-1].end) if found else max(start, parent.start_byte)
                symbol = f"{prefix}.{_name(node)}".strip(".")
                found.append(Definition(symbol, _signature(source, node), start, outer.end_byte, node, within))
            elif depth < MAX_SEARCH_DEPTH:
                keeps = node.type in self._wrappers
                children = reversed(node.named_children)
                waiting += [(child, outer if keeps else child, depth + 1) for child in children]
        return found

    def _is_definition(self, node: Node) -> bool:
        if node.type == "variable_declarator":
            value = node.child_by_field_name("value")
            return value is not None and value.type in FUNCTION_NODES
        return node.type in self._definitions


def _make_chunk(source: bytes, line_starts: list[int], span: Span) -> SourceChunk:
    # Return the chunk of a span, from the start of its first line that is not blank.
    # Chunks start at a line's start, so that a quotation can number the lines.
    raw = source[span.start : span.end]
    first, end = span.start + len(raw) - len(raw.lstrip()), span.start + len(raw.rstrip())
    start = _line_start(source, first)
    return SourceChunk(
        content=source[start if first - start <= MAX_INDENTATION_BYTES else first : end].decode(errors="replace"),
        symbol=span.symbol,
        signature=span.owner.signature if span.owner else "",
        start_line=bisect_right(line_starts, first),
        end_line=bisect_right(line_starts, end - 1),
    )


def _signature(source: bytes, node: Node) -> str:
    # Return the text before a definition's body; its first line if the grammar has no body.
    body = node.child_by_field_name("body")
    end = body.start_byte if body else source.find(b"\n", node.start_byte)
    return source[node.start_byte : end if end >= 0 else node.end_byte][:MAX_SIGNATURE_BYTES].decode(errors="replace")


def _attached_start(node: Node) -> int:
    # Return the start of a definition with the comments and decorators directly above.
    previous = node.prev_named_sibling
    while previous and _is_attached(previous, node):
        node, previous = previous, previous.prev_named_sibling
    return node.start_byte


def _is_attached(previous: Node, node: Node) -> bool:
    return any(kind in previous.type for kind in ATTACHED_NODES) and previous.end_point.row >= node.start_point.row - 1


def _line_start(source: bytes, position: int) -> int:
    # Return the start of the line if only white space comes before the position.
    start = source.rfind(b"\n", 0, position) + 1
    return position if source[start:position].strip() else start


def _name(node: Node) -> str:
    for field in NAME_FIELDS:
        if child := node.child_by_field_name(field):
            return _name(child) if field == "declarator" and child.named_child_count else _text(child)
    holder = next((child for child in node.named_children if child.type in NAME_NODES), None)
    if holder is None:
        return _text(node) if node.type.endswith("identifier") else ""
    heading = holder.child_by_field_name("heading_content")
    return _text(heading) if heading else _name(holder)


def _text(node: Node) -> str:
    return " ".join((node.text or b"").decode(errors="replace").split())[:200]
