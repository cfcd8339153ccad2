"""Lengths in the embedding model's own tokens: what is too long for it is cut, never refused."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from semantic_text_splitter import CodeSplitter, TextSplitter

from rag.chunking import grammars

# Without the model's tokenizer: bytes that make a token at least. Code comes to about 3; more tokens than the model
# takes would be refused, so the guess is careful.
BYTES_A_TOKEN = 2
ENDLESS = re.compile(r"([^\W_]{99})(?=[^\W_])")


def text_splitter(capacity: int) -> TextSplitter:
    """Cuts any text at paragraphs, sentences and words.

    Args:
        capacity: the longest piece, in tokens.
    """
    return _splitter(TextSplitter, (), capacity)


def code_splitter(language: str, capacity: int) -> CodeSplitter:
    """Cuts code at the largest parts of its syntax that fit."""
    return _splitter(CodeSplitter, (grammars.pointer(language),), capacity)


def cut(text: str, capacity: int) -> str:
    """The beginning of a text, as much as the model takes; endless words are broken.

    BERT's own tokenizer takes a word of more than 100 characters for one unknown token, llama.cpp for its many pieces.
    """
    text = ENDLESS.sub(r"\1 ", text)
    if len(text.encode()) <= capacity:  # a token is a byte at least
        return text
    return next(iter(_cutter(capacity).chunks(text)), "")


@cache
def _cutter(capacity: int) -> TextSplitter:
    return text_splitter(capacity)


def _splitter(kind: Any, grammar: tuple[object, ...], capacity: int) -> Any:
    if tokenizer := _tokenizer(settings.EMBEDDINGS_TOKENIZER):
        return kind.from_huggingface_tokenizer_str(*grammar, tokenizer, capacity)
    return kind.from_callback(*grammar, _estimate, capacity)


@cache
def _tokenizer(path: str) -> str:
    """A `tokenizer.json` of Hugging Face; its own truncation would hide what is too long."""
    if not path:
        return ""
    return json.dumps(json.loads(Path(path).read_text(encoding="utf-8")) | {"truncation": None, "padding": None})


def _estimate(text: str) -> int:
    return -(-len(text.encode()) // BYTES_A_TOKEN)
