"""`manage.py index_repository PATH --user EMAIL`: index a folder of this machine."""

import time
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from accounts.models import User
from lunaos.errors import LunaError
from lunaos.infra import visible_text
from rag import services
from rag.errors import RepositoryBusy
from rag.indexing import folders
from rag.indexing.indexer import Progress


class Command(BaseCommand):
    help = "Index the changed files of a folder, without the files that .gitignore excludes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path)
        parser.add_argument("--user", required=True, help="Email address of the repository's owner.")
        parser.add_argument("--force", action="store_true", help="Index files that look generated or minified, too.")
        parser.add_argument("--name", help="Name of the repository; by default the folder's name.")

    def handle(self, *args: Any, **options: Any) -> None:
        root = options["path"].resolve()
        user = User.objects.filter(email=options["user"].lower()).first()
        if user is None or not root.is_dir():
            raise CommandError(f"There is no user {options['user']}." if root.is_dir() else f"{root} is not a folder.")
        started, skipped = time.perf_counter(), list[tuple[str, str]]()
        found = list(folders.walk(root))
        with tqdm(total=len(found), unit=" files", file=self.stderr, disable=None) as bar:

            def on_progress(progress: Progress) -> None:
                skipped.extend(progress.skipped)
                bar.update(len(progress.paths))

            try:
                job, removed = services.index_folder(
                    user=user,
                    repository=options["name"] or root.name,
                    root=root,
                    found=found,
                    on_progress=on_progress,
                    force=options["force"],
                )
            except RepositoryBusy as e:
                raise CommandError("Another process is indexing this repository. Try again later.") from e
            except (LunaError, ValueError) as e:
                raise CommandError(str(e)) from e
        seconds = time.perf_counter() - started
        indexed = job.files_done - job.skipped_files
        self.stdout.write(
            f"{indexed} files ({job.unchanged} unchanged) with {job.chunks} chunks are in {job.repository.name}, "
            f"{removed} removed; {seconds:.1f} s, {job.files_done / seconds:.0f} files a second."
        )
        if skipped:
            counts = Counter(reason for _, reason in skipped)
            self.stdout.write("Skipped: " + ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items())) + ".")
            for path, reason in sorted(skipped):
                self.stdout.write(f"  {reason}: {visible_text.escape_invisible(path)}")
