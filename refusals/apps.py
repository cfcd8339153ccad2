from django.apps import AppConfig


class RefusalsConfig(AppConfig):
    name = "refusals"
