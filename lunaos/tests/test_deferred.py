"""lunaos.deferred: a start without the model client, which is there when it is asked for; lunaos.garbage: with no
collection, and with those that are usual afterwards."""

import subprocess
import sys

from testing.servers import ROOT, environment

CODE = """
import gc, sys
as_usual = gc.get_threshold()
import django; django.setup()
import lunaos.urls
from agents.providers import connections
from lunaos import deferred
print(not {"openai", "aiohttp", "genai_prices", "pydantic"} & set(sys.modules))
connections.openai.OpenAIError
print("openai" in sys.modules, "genai_prices" in sys.modules)
deferred.load()
print(gc.get_threshold() == as_usual, gc.get_freeze_count() > 100_000)
print("genai_prices" in sys.modules, connections.openai.AsyncOpenAI is sys.modules["openai"].AsyncOpenAI)
"""


def test_it_works(database: None) -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.stdout.splitlines() == ["True", "True False", "True True", "True True"], done.stderr
