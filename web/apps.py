from django.apps import AppConfig

from lunaos.infra import gc_tuning


class WebConfig(AppConfig):
    name = "web"

    def ready(self) -> None:
        """The last app, so the end of most imports."""
        gc_tuning.resume()
