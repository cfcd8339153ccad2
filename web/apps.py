from django.apps import AppConfig

from lunaos.infra import gc_tuning


class WebConfig(AppConfig):
    name = "web"

    def ready(self) -> None:
        """Resume garbage collection: this is the last app, so most imports are done."""
        gc_tuning.resume()
