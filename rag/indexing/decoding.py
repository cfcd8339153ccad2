"""Text of source files, whatever their encoding and line ends."""

import codecs
import re
from collections.abc import Callable
from contextlib import suppress

from charset_normalizer import from_bytes

BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark is the beginning of this one
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
DECLARATION = re.compile(rb"^[^\n]{0,200}?coding[:=][ \t]{0,8}([-\w.]{1,40})", re.MULTILINE)  # PEP 263, Emacs, Vim
DECLARATION_LINES = 2
# What source files of before UTF-8 are written in. With more to choose from, guesses on a few words are worse.
LEGACY_ENCODINGS = ["cp1252", "cp1251", "cp932", "euc_jp", "gb18030"]
ADJACENT = re.compile(rb"[\x80-\xff]{2}")
GUESSED_BYTES = 64_000  # the rest of a file is in the same encoding
MIN_NUL_SHARE = 0.3  # of a file in UTF-16: Latin letters have a NUL each


def decode(raw: bytes) -> str:
    """Return the text of a file; bytes of no known encoding become replacement characters."""
    for bom, marked in BOMS.items():
        if raw.startswith(bom):
            return normalize(raw.decode(marked, errors="replace"))
    finders: tuple[Callable[[bytes], str | None], ...] = (lambda _: "utf-8", _declared, _utf_16, _guessed)
    for find in finders:
        with suppress(UnicodeError, LookupError):  # the codec `undefined` raises the former
            if encoding := find(raw):
                return normalize(raw.decode(encoding))
    return normalize(raw.decode("utf-8", errors="replace"))


def normalize(text: str) -> str:
    """Return a text without byte order mark, with LF where CR alone ends the lines."""
    text = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    return text.replace("\r", "\n") if "\r" in text and "\n" not in text else text


def _declared(raw: bytes) -> str | None:
    head = b"\n".join(raw[:500].splitlines()[:DECLARATION_LINES])
    found = DECLARATION.search(head)
    return found[1].decode() if found else None


def _utf_16(raw: bytes) -> str | None:
    # Without a mark: of Latin text every second byte is NUL, on one side only.
    sample = raw[:GUESSED_BYTES]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if len(raw) % 2 or max(even, odd) < MIN_NUL_SHARE * len(sample) / 2 or min(even, odd) > 0:
        return None
    return "utf-16-be" if even > odd else "utf-16-le"


def _guessed(raw: bytes) -> str | None:
    if b"\0" in raw:
        return None
    if not ADJACENT.search(raw):  # single letters with accents; Cyrillic and Japanese words have several in a row
        return "cp1252"
    best = from_bytes(raw[:GUESSED_BYTES], cp_isolation=LEGACY_ENCODINGS, preemptive_behaviour=False).best()
    return best.encoding if best else None
