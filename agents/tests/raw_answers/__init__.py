"""Raw answers of providers: the bytes of response bodies as servers of OpenAI's protocol send them.

The kinds are from public reports of other clients and gateways; the wording is this project's own.
"""

from agents.tests.raw_answers import characters, choices, contents, counts, endings, errors, framing

PARTS = (framing, contents, choices, characters, endings, errors, counts)
CASES = [case for part in PARTS for case in part.CASES]
