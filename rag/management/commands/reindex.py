"""`manage.py reindex`: move repositories to the embedding model that the settings name now."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from lunaos.errors import LunaError
from lunaos.infra.plurals import counted
from rag import services
from rag.models import Repository


class Command(BaseCommand):
    help = (
        "Have workers index repositories anew with today's embedding model; searches go on with the old one meanwhile."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", help="Only this user's: an email address.")
        parser.add_argument("--repository", help="Only those of this name.")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = {"user__email": (options["user"] or "").lower(), "name": options["repository"]}
        repositories = Repository.objects.filter(**{name: value for name, value in wanted.items() if value})
        stale = list(repositories.exclude(model=settings.EMBEDDINGS_MODEL))
        try:
            jobs = services.start_reindexing(stale)
        except LunaError as e:
            raise CommandError(str(e)) from e
        for job in jobs:
            self.stdout.write(f"{job.repository.name}: job {job.pk}")
        waiting = f"; {len(stale) - len(jobs)} were on their way already" if len(stale) > len(jobs) else ""
        self.stdout.write(f"{counted(len(jobs), 'repository', 'are moving to')} {settings.EMBEDDINGS_MODEL}{waiting}.")
