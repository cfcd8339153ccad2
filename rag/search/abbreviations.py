"""Programmers' abbreviations: a question says `directory` where the code says `dir`."""

from pathlib import Path

LINES = Path(__file__).with_suffix(".txt").read_text().splitlines()
EXPANSIONS = {short: long for short, _, long in (line.partition(" ") for line in LINES)}


def expand(words: list[str]) -> list[str]:
    """Return the words with every abbreviation replaced by the words that it stands for."""
    return [each for word in words for each in EXPANSIONS.get(word, word).split()]
