"""A start without the model client, which is imported at its first use."""

import subprocess
import sys

from testing.servers import ROOT, environment

CODE = """
import gc, sys
as_usual = gc.get_threshold()
import django; django.setup()
import lunaos.urls
from agents.providers import connections
from lunaos.infra import lazy_imports
print(not {"openai", "aiohttp", "genai_prices", "pydantic"} & set(sys.modules))
connections.aiohttp.ClientSession
print("aiohttp" in sys.modules, "genai_prices" in sys.modules)
lazy_imports.import_all()
print(gc.get_threshold() == as_usual, gc.get_freeze_count() > 100_000)
print("genai_prices" in sys.modules, connections.aiohttp.ClientSession is sys.modules["aiohttp"].ClientSession)
"""


def test_it_works(database: None) -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.stdout.splitlines() == ["True", "True False", "True True", "True True"], done.stderr


WORKER = """
import sys
import django; django.setup()
import lunaos.celery
print(sorted({"daphne", "twisted.internet", "twisted.web"} & set(sys.modules)))
"""


def test_a_worker_does_not_import_the_web_server() -> None:
    done = subprocess.run([sys.executable, "-c", WORKER], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
