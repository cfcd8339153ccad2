"""Text lengths in the embedding model's tokens, and splitting by them."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from semantic_text_splitter import CodeSplitter, TextSplitter

from rag.chunking import grammars

# Estimate without the model's tokenizer. Code has about 3 bytes a token; a lower figure is safe, since the model
# refuses a text with too many tokens.
BYTES_PER_TOKEN = 2
LONG_WORD = re.compile(r"([^\W_]{99})(?=[^\W_])")


def text_splitter(max_tokens: int) -> TextSplitter:
    """Return a splitter of text at paragraphs, sentences and words."""
    return _splitter(TextSplitter, (), max_tokens)


def code_splitter(language: str, max_tokens: int) -> CodeSplitter:
    """Return a splitter of code at the largest syntax nodes that fit."""
    return _splitter(CodeSplitter, (grammars.load_grammar(language),), max_tokens)


def truncate(text: str, max_tokens: int) -> str:
    """Return the longest beginning of a text that has at most `max_tokens` tokens."""
    # BERT's own tokenizer counts a word of more than 100 characters as one unknown token, llama.cpp as many tokens.
    text = LONG_WORD.sub(r"\1 ", text)
    if len(text.encode()) <= max_tokens:  # a token has at least one byte
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
    # Return a Hugging Face `tokenizer.json` without its truncation and padding.
    if not path:
        return ""
    # Truncation would hide that a text is too long.
    return json.dumps(json.loads(Path(path).read_text(encoding="utf-8")) | {"truncation": None, "padding": None})


def _estimate_tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)
