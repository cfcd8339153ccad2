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
BYTES_PER_TOKEN = 2
LONG_WORD = re.compile(r"([^\W_]{99})(?=[^\W_])")


def text_splitter(max_tokens: int) -> TextSplitter:
    """Cuts any text at paragraphs, sentences and words.

    Args:
        max_tokens: the longest piece, in tokens.
    """
    return _splitter(TextSplitter, (), max_tokens)


def code_splitter(language: str, max_tokens: int) -> CodeSplitter:
    """Cuts code at the largest parts of its syntax that fit."""
    return _splitter(CodeSplitter, (grammars.load_grammar(language),), max_tokens)


def truncate(text: str, max_tokens: int) -> str:
    """The beginning of a text, as much as the model takes; endless words are broken.

    BERT's own tokenizer takes a word of more than 100 characters for one unknown token, llama.cpp for its many pieces.
    """
    text = LONG_WORD.sub(r"\1 ", text)
    if len(text.encode()) <= max_tokens:  # a token is a byte at least
        return text
    return next(iter(_cached_text_splitter(max_tokens).chunks(text)), "")


@cache
def _cached_text_splitter(max_tokens: int) -> TextSplitter:
    return text_splitter(max_tokens)


def _splitter(kind: Any, grammar: tuple[object, ...], max_tokens: int) -> Any:
    if tokenizer := _load_tokenizer(settings.EMBEDDINGS_TOKENIZER):
        return kind.from_huggingface_tokenizer_str(*grammar, tokenizer, max_tokens)
    return kind.from_callback(*grammar, _estimate_tokens, max_tokens)


@cache
def _load_tokenizer(path: str) -> str:
    """A `tokenizer.json` of Hugging Face; its own truncation would hide what is too long."""
    if not path:
        return ""
    return json.dumps(json.loads(Path(path).read_text(encoding="utf-8")) | {"truncation": None, "padding": None})


def _estimate_tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)
