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
from agents.providers import openai_compatible
from lunaos import deferred
print(not {{"openai", "aiohttp", "genai_prices", "pydantic"}} & set(sys.modules))
{then}
print(gc.get_threshold() == as_usual, gc.get_freeze_count() > 100_000)
print("openai" in sys.modules, openai_compatible.openai.AsyncOpenAI is sys.modules["openai"].AsyncOpenAI)
"""


def after(then: str) -> list[str]:
    command = [sys.executable, "-c", CODE.format(then=then)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")


def test_it_works(database: None) -> None:
    assert after("openai_compatible.openai.OpenAIError") == ["True", "True True", "True True", ""]


def test_all_can_be_loaded_beforehand(database: None) -> None:
    assert after("deferred.load()") == ["True", "True True", "True True", ""]
