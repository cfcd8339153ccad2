"""`python -m tools.ci.openapi [BASE]`: find breaking changes of the API since a commit.

BASE is the last commit if there are uncommitted changes, else the commit before it. Part of CI. No maintained Python
package does this, so the check is ours: it knows the parts of OpenAPI 3.1 that our document uses, and ignores others.
Requests that were accepted must stay accepted; members of answers must stay. A new value in an answer's enumeration is
no break.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from testing.servers import ROOT

# Intended breaks, as printed, each with its reason. Remove them with the next commit.
STREAMS = ("POST /agents/execute", "POST /chains/execute", "POST /runs/{id}/resume")
FOLLOWED = ("GET /runs/{id}/events", "GET /rag/jobs/{id}/events")
INTENDED: dict[str, str] = {
    f"{stream}: 200{change}": "generators read a stream as text; x-event-schema describes the events"
    for stream in (*STREAMS, *FOLLOWED)
    for change in (" is string, and was object", ".data is gone", ".id is gone")
} | {
    f"GET /auth/activity: limit has the {bound}": "a limit that was kept and not documented"
    for bound in ("minimum 1", "maximum 100")
}
Schema = dict[str, Any]
NARROWER = (("maxLength", -1), ("maximum", -1), ("maxItems", -1), ("minLength", 1), ("minimum", 1), ("minItems", 1))
PLACEHOLDERS = {"DJANGO_DEBUG": "true", "DJANGO_SECRET_KEY": "openapi"}
SERVERS = {"DATABASE_URL": "postgres://openapi", "REDIS_URL": "redis://openapi"}  # never contacted


class Document:
    """One OpenAPI document; `at` follows references."""

    def __init__(self, content: Schema) -> None:
        self.content = content

    def at(self, schema: Schema) -> Schema:
        """Return the schema behind a reference."""
        while "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            schema = self.content["components"]["schemas"][name]
        return schema

    def operations(self) -> dict[str, Schema]:
        """Return all operations by method and path, such as `GET /runs`."""
        paths = self.content["paths"].items()
        return {f"{method.upper()} {path}": each for path, methods in paths for method, each in methods.items()}


def breaks(old: Schema, new: Schema) -> list[str]:
    """Return the breaking changes for clients of the old document, one line each."""
    comparison = Comparison(Document(old), Document(new))
    return sorted(set(comparison.find()))


class Comparison:
    """Comparison of two documents."""

    def __init__(self, old: Document, new: Document) -> None:
        self.old, self.new = old, new

    def find(self) -> Iterator[str]:
        now = self.new.operations()
        for name, old in self.old.operations().items():
            if name not in now:
                yield f"{name} is gone"
                continue
            new = now[name]
            if not old.get("security") and new.get("security"):
                yield f"{name} needs credentials"
            yield from self._parameters(name, old, new)
            yield from self._bodies(name, old.get("requestBody", {}), new.get("requestBody", {}))
            yield from self._responses(name, old["responses"], new["responses"])

    def _parameters(self, name: str, old: Schema, new: Schema) -> Iterator[str]:
        before, now = ({(p["in"], p["name"]): p for p in each.get("parameters", ())} for each in (old, new))
        for key, parameter in now.items():
            if parameter.get("required") and not before.get(key, {}).get("required"):
                yield f"{name}: the parameter {key[1]} is required"
        for key, parameter in before.items():
            if key not in now:
                yield f"{name}: the parameter {key[1]} is gone"
            else:
                yield from self._schemas(f"{name}: {key[1]}", parameter["schema"], now[key]["schema"], sent=True)

    def _bodies(self, name: str, old: Schema, new: Schema) -> Iterator[str]:
        if new.get("required") and not old.get("required"):
            yield f"{name}: a body is required"
        yield from self._contents(f"{name}: body", old, new, sent=True)

    def _responses(self, name: str, old: Schema, new: Schema) -> Iterator[str]:
        for status, response in old.items():
            if status in new:
                yield from self._contents(f"{name}: {status}", response, new[status], sent=False)
            elif status.startswith("2"):
                yield f"{name}: no {status} any more"

    def _contents(self, where: str, old: Schema, new: Schema, *, sent: bool) -> Iterator[str]:
        now = new.get("content", {})
        for media, content in old.get("content", {}).items():
            if media not in now:
                yield f"{where}: no {media} any more"
            elif "schema" in content and "schema" in now[media]:
                yield from self._schemas(where, content["schema"], now[media]["schema"], sent=sent)

    def _schemas(
        self, where: str, old: Schema, new: Schema, *, sent: bool, above: tuple[Schema, ...] = ()
    ) -> Iterator[str]:
        old, new = self.old.at(old), self.new.at(new)
        if old in above or (old == new and self.old.content == self.new.content):
            return
        above = (*above, old)
        yield from _types(where, old, new, sent=sent)
        yield from _values(where, old, new) if sent else ()
        yield from self._properties(where, old, new, sent=sent, above=above)
        for keyword in ("items", "contentSchema", "additionalProperties"):
            if isinstance(old.get(keyword), dict) and isinstance(new.get(keyword), dict):
                yield from self._schemas(f"{where}[]", old[keyword], new[keyword], sent=sent, above=above)
        yield from self._variants(where, old, new, sent=sent, above=above)

    def _properties(
        self, where: str, old: Schema, new: Schema, *, sent: bool, above: tuple[Schema, ...]
    ) -> Iterator[str]:
        before, now = old.get("properties", {}), new.get("properties", {})
        for name in sorted(before.keys() - now.keys()):
            yield f"{where}.{name} is gone"
        for name in sorted(before.keys() & now.keys()):
            yield from self._schemas(f"{where}.{name}", before[name], now[name], sent=sent, above=above)
        was, is_now = set(old.get("required", ())), set(new.get("required", ()))
        for name in sorted(is_now - was if sent else (was - is_now) & now.keys()):
            yield f"{where}.{name} is required" if sent else f"{where}.{name} may be missing"

    def _variants(
        self, where: str, old: Schema, new: Schema, *, sent: bool, above: tuple[Schema, ...]
    ) -> Iterator[str]:
        before, now = (_named(schema) for schema in (old, new))
        for name, variant in before.items():
            if name not in now:
                yield f"{where}: {name} is gone"
            else:
                yield from self._schemas(f"{where}({name})", variant, now[name], sent=sent, above=above)


def _named(schema: Schema) -> dict[str, Schema]:
    """Return the variants of a schema by name, or by position without a name."""
    variants = [each for keyword in ("oneOf", "anyOf", "allOf") for each in schema.get(keyword, ())]
    return {each.get("$ref", str(place)).rpartition("/")[2]: each for place, each in enumerate(variants)}


def _types(where: str, old: Schema, new: Schema, *, sent: bool) -> Iterator[str]:
    before, now = (_type_set(schema) for schema in (old, new))
    narrow, wide = (before, now) if sent else (now, before)
    if narrow and wide and not narrow <= wide | ({"integer"} if "number" in wide else set()):
        yield f"{where} is {' or '.join(sorted(now))}, and was {' or '.join(sorted(before))}"


def _type_set(schema: Schema) -> set[str]:
    found = schema.get("type", [])
    return {found} if isinstance(found, str) else set(found)


def _values(where: str, old: Schema, new: Schema) -> Iterator[str]:
    """Find values that clients may not send any more."""
    if "enum" in new:
        for value in [each for each in old.get("enum", ()) if each not in new["enum"]]:
            yield f"{where} may not be {value!r} any more"
        if "enum" not in old:
            yield f"{where} is one of few values"
    for keyword, sign in NARROWER:
        if keyword in new and (keyword not in old or sign * new[keyword] > sign * old[keyword]):
            yield f"{where} has the {keyword} {new[keyword]}"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"{where} has another pattern"


def main(words: Sequence[str]) -> int:
    """Compare, print the breaks, and return the exit code: 1 if a break is not intended."""
    base = words[0] if words else _base()
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", base], cwd=ROOT, capture_output=True)
        if archive.returncode:
            _say(f"NOT COMPARED: git knows no commit {base}.")
            return 0
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        try:
            before = document(Path(folder))
        except subprocess.CalledProcessError as e:
            _say(f"NOT COMPARED: the OpenAPI document of {base} cannot be generated ({e.stderr.strip()[-120:]}).")
            return 0
    return judge(breaks(before, document(ROOT)), base)


def judge(found: list[str], base: str) -> int:
    """Print the breaks, and return the exit code."""
    for line in found:
        _say(f"{line} (intended: {INTENDED[line]})" if line in INTENDED else line)
    unintended = [line for line in found if line not in INTENDED]
    _say(f"{len(unintended)} breaking changes since {base}.")
    return 1 if unintended else 0


def _base() -> str:
    """Return the commit to compare with: HEAD with uncommitted changes, else the pushed one or the one before."""
    if _git("status", "--porcelain"):
        return "HEAD"
    pushed = _git("merge-base", "HEAD", "origin/HEAD")
    return pushed if pushed not in ("", _git("rev-parse", "HEAD")) else "HEAD~1"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def document(checkout: Path) -> Schema:
    """Return the OpenAPI document of a checkout."""
    command = [sys.executable, "manage.py", "spectacular", "--format", "openapi-json"]
    environment = {**os.environ, **PLACEHOLDERS, **SERVERS, "DJANGO_SETTINGS_MODULE": "lunaos.settings"}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)
    content: Schema = json.loads(done.stdout)
    return content


def _say(line: str) -> None:
    sys.stdout.write(f"openapi: {line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
