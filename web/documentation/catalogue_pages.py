"""Pages of agents and chain presets, written from the rows that the platform runs."""

from collections.abc import Iterator

from django.conf import settings

from agents import catalogue
from agents.models import Agent
from chains import presets
from chains.models import ChainPreset

AGENTS, CHAINS = "agents", "chains"
AGENT_PAGE = """# {agent.name}

{agent.role}

| Property | Value |
|---|---|
| slug | `{agent.slug}` |
| category | {agent.category} |
| tier | {agent.tier} |
| longest answer | {agent.max_tokens} tokens, if the model allows as many |

## Run it

```bash
curl -N {base}/agents/execute -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
  -d '{{"agent": "{agent.slug}", "context": "Your code, question or document"}}'
```

The answer is a stream of [events](../events.md): `start`, `chunk` for each piece of text, then `done` or `error`.

Add `"useRag": true` and a `repository` to give the agent passages of [your own code](../guides/code-search.md). Add
`provider` and `model` to choose [who answers](../guides/provider-keys.md).

## Chains with this agent

{chains}

## Other agents of this category

{others}
"""
CHAIN_PAGE = """# {preset.name}

{preset.description}

| Property | Value |
|---|---|
| id | `{preset.slug}` |
| steps | {steps} |
| tier | {tier} |

Each step receives your context and the outputs of the steps before it. The chain counts as one execution.

## Run it

```bash
curl -N {base}/chains/execute -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
  -d '{{"chain": "{preset.slug}", "context": "Your code, question or document"}}'
```

## The same steps, written out

```bash
curl -N {base}/chains/execute -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
  -d '{{"steps": [{list}], "context": "Your code, question or document"}}'
```

See [chains](../guides/chains.md) for the events, and for how to resume a chain that failed.
"""


def names() -> list[str]:
    agents = [f"{AGENTS}/{slug}" for slug in catalogue.current().agents]
    return agents + [f"{CHAINS}/{preset.slug}" for preset in presets.list_offered()]


def parent(name: str) -> str:
    """Return the page of the navigation to which a page belongs."""
    folder, _, rest = name.partition("/")
    return folder if rest and folder in (AGENTS, CHAINS) else name


def markdown(name: str) -> str | None:
    """Return a generated page; None if the name is not an agent's or a chain's."""
    folder, _, slug = name.partition("/")
    if folder == AGENTS and (agent := catalogue.current().agents.get(slug)):
        return _agent_page(agent)
    offered = {preset.slug: preset for preset in presets.list_offered()} if folder == CHAINS else {}
    return _chain_page(offered[slug]) if slug in offered else None


def appendix(name: str) -> str:
    """Return the list that the pages `agents` and `chains` end with."""
    lines = {AGENTS: _agent_rows, CHAINS: _chain_rows}.get(name)
    return "\n" + "\n".join(lines()) + "\n" if lines else ""


def _agent_rows() -> Iterator[str]:
    yield "| Agent | What it does | Category | Tier |\n|---|---|---|---|"
    for agent in catalogue.current().agents.values():
        yield f"| [`{agent.slug}`]({AGENTS}/{agent.slug}.md) | {_cell(agent.role)} | {agent.category} | {agent.tier} |"


def _chain_rows() -> Iterator[str]:
    yield "| Chain | Steps | Tier |\n|---|---|---|"
    for preset in presets.list_offered():
        steps = " → ".join(preset.steps)
        yield f"| [`{preset.slug}`]({CHAINS}/{preset.slug}.md) | {steps} | {presets.required_tier(preset)} |"


def _agent_page(agent: Agent) -> str:
    using = [preset for preset in presets.list_offered() if agent.slug in preset.steps]
    agents = [each for each in catalogue.current().agents.values() if each.category == agent.category]
    return AGENT_PAGE.format(
        agent=agent,
        base=settings.PUBLIC_URL,
        chains=_bullets([(preset.name, f"../{CHAINS}/{preset.slug}.md") for preset in using]),
        others=_bullets([(each.name, f"{each.slug}.md") for each in agents if each != agent]),
    )


def _chain_page(preset: ChainPreset) -> str:
    return CHAIN_PAGE.format(
        preset=preset,
        base=settings.PUBLIC_URL,
        steps=" → ".join(f"[{slug}](../{AGENTS}/{slug}.md)" for slug in preset.steps),
        tier=presets.required_tier(preset),
        list=", ".join(f'{{"agent": "{slug}"}}' for slug in preset.steps),
    )


def _bullets(links: list[tuple[str, str]]) -> str:
    return "\n".join(f"- [{text}]({target})" for text, target in links) or "None."


def _cell(text: str) -> str:
    # A bar would end the cell of the table.
    return text.replace("|", "\\|")
