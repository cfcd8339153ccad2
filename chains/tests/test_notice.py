"""A chain on the embedded model says at its start that the model demonstrates the stream."""

from agents.providers import LOCAL
from agents.runner import EMBEDDED_MODEL
from chains import events
from runs.models import Run


def test_it_works() -> None:
    started = events.chain_start(Run(steps=["code-review"], provider=LOCAL, model=EMBEDDED_MODEL))
    assert "demonstrates the stream and cannot review" in str(started["notice"])


def test_other_models_have_no_notice() -> None:
    assert "notice" not in events.chain_start(Run(steps=["code-review"], provider="deepseek", model="deepseek-chat"))
