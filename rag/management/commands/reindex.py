"""`manage.py reindex`: move repositories to the configured embedding model."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from lunaos.errors import LunaError
from lunaos.infra.plurals import counted
from rag import services
from rag.models import Repository


class Command(BaseCommand):
    help = "Start reindex jobs for repositories of another embedding model; searches use the old model until they end."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", help="Only repositories of this email address.")
        parser.add_argument("--repository", help="Only repositories of this name.")

    def handle(self, *args: Any, **options: Any) -> None:
        filters = {"user__email": (options["user"] or "").lower(), "name": options["repository"]}
        repositories = Repository.objects.filter(**{name: value for name, value in filters.items() if value})
        stale = list(repositories.exclude(model=settings.EMBEDDINGS_MODEL))
        try:
            jobs = services.start_reindexing(stale)
        except LunaError as e:
            raise CommandError(str(e)) from e
        for job in jobs:
            self.stdout.write(f"{job.repository.name}: job {job.pk}")
        waiting = f"; {len(stale) - len(jobs)} have a running job already" if len(stale) > len(jobs) else ""
        self.stdout.write(f"{counted(len(jobs), 'repository', 'are moving to')} {settings.EMBEDDINGS_MODEL}{waiting}.")
