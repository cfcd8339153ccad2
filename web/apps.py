from django.apps import AppConfig

from lunaos import garbage


class WebConfig(AppConfig):
    name = "web"

    def ready(self) -> None:
        """The last app, so the end of most imports."""
        garbage.resume()
