from importlib import import_module

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"

    def ready(self) -> None:
        """Give the runs, which lie below, what they need of prompts and prices; models can be imported by now."""
        import_module("runs.metering.estimates").register(import_module("agents.estimates").estimate_broken_run)
