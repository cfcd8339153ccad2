from importlib import import_module

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"

    def ready(self) -> None:
        """Register the cost estimate with `runs`, which must not import this app."""
        import_module("runs.metering.estimates").register(import_module("agents.estimates").estimate_broken_run)
