"""The product's settings for tools that need no server: mypy, the list of names."""

import os

for name, value in {
    "DJANGO_DEBUG": "true",
    "DJANGO_SECRET_KEY": "offline",
    "DATABASE_URL": "postgres://offline",
    "REDIS_URL": "redis://offline",
}.items():
    os.environ.setdefault(name, value)

from lunaos.settings import *  # noqa: E402
