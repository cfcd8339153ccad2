"""Load the agents' files into the database and keep edits of staff (docs/adr/0024)."""

# A row is overwritten on deploy only if staff have not edited it since the last load. A row that staff restored to
# the loaded content counts as not edited. CONTRIBUTING.md says how to add an agent.

import hashlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings
from django.db import transaction

from agents import versions
from agents.models import Agent, LanguageModel
from billing import tiers

EXPERTS_FOLDER = Path(__file__).parent / "experts"
MAX_ORDER = 32_767  # as in the column `position`
# For reasoning models: their reasoning counts as output. DeepSeek's own default is 32 768.
MAX_OUTPUT_TOKENS = {"deepseek-reasoner": 32_768}


class InvalidAgentFile(Exception):
    """A file that is no valid agent; the message names file, line and reason."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path.name}, line {line}: {reason}")


@dataclass(frozen=True, slots=True)
class AgentFile:
    """Content of an agent's file."""

    slug: str
    name: str
    role: str
    category: str
    tier: str
    temperature: float
    max_tokens: int
    prompt: str
    order: int

    @property
    def digest(self) -> str:
        """Return the hash of the content, without `order`."""
        return hashlib.sha256(repr(self._content()).encode()).hexdigest()

    def row_values(self) -> dict[str, Any]:
        """Return the values of an Agent row's columns."""
        return {**self._content(), "position": self.order, "loaded_digest": self.digest}

    def _content(self) -> dict[str, Any]:
        # Rows of earlier releases hold digests of exactly these members in this order.
        return {name: value for name, value in asdict(self).items() if name != "order"}


FRONT_MATTER: dict[str, Any] = {field.name: field.type for field in fields(AgentFile) if field.name != "prompt"}


def parse_file(path: Path) -> AgentFile:
    """Parse one file, or raise InvalidAgentFile."""
    opening, _, rest = path.read_text(encoding="utf-8").partition("---\n")
    head, closing, prompt = rest.partition("\n---\n")
    if opening or not closing:
        raise InvalidAgentFile(path, 1, "the file must begin with front matter between two lines of ---")
    lines, values = _front_matter(path, head)
    for key in lines.keys() ^ FRONT_MATTER.keys():
        raise InvalidAgentFile(path, lines.get(key, 1), f"{'unknown' if key in lines else 'missing'} key {key!r}")
    for key, kind in FRONT_MATTER.items():
        if not isinstance(values[key], (int, float) if kind is float else kind) or values[key] == "":
            raise InvalidAgentFile(path, lines[key], f"{key} must be a {kind.__name__}")
    if not 0 <= values["order"] <= MAX_ORDER:
        raise InvalidAgentFile(path, lines["order"], f"order must be between 0 and {MAX_ORDER}")
    if values["slug"] != path.stem:
        raise InvalidAgentFile(path, lines["slug"], f"slug must be {path.stem!r}, as the file is called")
    if values["tier"] not in tiers.names():
        raise InvalidAgentFile(path, lines["tier"], f"tier must be one of {', '.join(tiers.names())}")
    if not prompt.strip():
        raise InvalidAgentFile(path, head.count("\n") + 4, "the prompt is empty")
    return AgentFile(**values, prompt=prompt.strip())


def _front_matter(path: Path, head: str) -> tuple[dict[str, int], dict[str, Any]]:
    try:
        node = yaml.compose(head, Loader=yaml.SafeLoader)
        values = yaml.safe_load(head)
    except yaml.MarkedYAMLError as e:
        line = e.problem_mark.line if e.problem_mark else 0
        raise InvalidAgentFile(path, line + 2, str(e.problem)) from e
    if not isinstance(node, yaml.MappingNode):
        raise InvalidAgentFile(path, 2, "the front matter must be `key: value` lines")
    return {key.value: key.start_mark.line + 2 for key, _ in node.value}, values


def parse_folder(folder: Path) -> list[AgentFile]:
    """Parse all files of a folder; raise InvalidAgentFile for an invalid file or equal orders."""
    files: dict[int, AgentFile] = {}
    for path in sorted(folder.glob("*.md")):
        file = parse_file(path)
        if (other := files.setdefault(file.order, file)) is not file:
            lines = path.read_text(encoding="utf-8").splitlines()
            line = next(n for n, text in enumerate(lines, 1) if text.startswith("order"))
            raise InvalidAgentFile(path, line, f"order {file.order} is taken by {other.slug}.md")
    return list(files.values())


@transaction.atomic
def load(folder: Path | None = None) -> list[str]:
    """Load all files and the settings' models; return a line for each agent changed or kept."""
    # All files before the first write: an InvalidAgentFile changes nothing.
    files = parse_folder(folder or EXPERTS_FOLDER)
    rows = {agent.slug: agent for agent in Agent.objects.select_for_update()}
    lines = [line for file in files if (line := _load_one(file, rows.get(file.slug)))]
    for provider, config in settings.LLM_PROVIDERS.items():
        has_default = LanguageModel.objects.filter(provider=provider, is_default=True).exists()
        for index, name in enumerate(config["models"]):
            is_default = index == 0 and not has_default
            seed = {"is_default": is_default, "max_output_tokens": MAX_OUTPUT_TOKENS.get(name)}
            LanguageModel.objects.get_or_create(provider=provider, name=name, defaults=seed)
    return lines


def _load_one(file: AgentFile, row: Agent | None) -> str | None:
    if row is None:
        row = Agent(**file.row_values())
        versions.save(row, by=None, note="From its file.")
        return f"{file.slug}: new"
    if row.loaded_digest == file.digest:
        return None
    if _file_of_row(row).digest != row.loaded_digest:
        return f"{file.slug}: kept as staff edited it; its file has changed since"
    for name, value in file.row_values().items():
        setattr(row, name, value)
    versions.save(row, by=None, note="From its file, which had changed.")
    return f"{file.slug}: updated"


def _file_of_row(row: Agent) -> AgentFile:
    columns = {field.name: "position" if field.name == "order" else field.name for field in fields(AgentFile)}
    return AgentFile(**{name: getattr(row, column) for name, column in columns.items()})
