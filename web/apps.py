import gc

from django.apps import AppConfig

import lunaos


class WebConfig(AppConfig):
    name = "web"

    def ready(self) -> None:
        """The last app: from now on garbage is collected as usual."""
        gc.set_threshold(*lunaos.COLLECT_AFTER)
