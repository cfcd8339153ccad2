from django.apps import AppConfig

from lunaos.infra import gc_tuning


class WebConfig(AppConfig):
    name = "web"

    def ready(self) -> None:
        # This is the last app, so most imports are done.
        gc_tuning.resume()
