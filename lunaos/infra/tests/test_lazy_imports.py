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
connections.openai.OpenAIError
print("openai" in sys.modules, "genai_prices" in sys.modules)
lazy_imports.import_all()
print(gc.get_threshold() == as_usual, gc.get_freeze_count() > 100_000)
print("genai_prices" in sys.modules, connections.openai.AsyncOpenAI is sys.modules["openai"].AsyncOpenAI)
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


FROM_BOTH_ENDS = """
import threading
from importlib import import_module
import agents.providers, aiohttp, httpx2
both = threading.Barrier(2)
def load(name):
    both.wait()
    import_module(name)
threads = [threading.Thread(target=load, args=(name,)) for name in ("openai", "agents.providers.transport")]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_two_threads_may_need_the_client_at_once() -> None:
    """The first request and `load`, right after a start."""
    done = subprocess.run(
        [sys.executable, "-c", FROM_BOTH_ENDS], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
