"""Document frequencies of a repository's words, which PostgreSQL's ranking lacks."""

from django.db import connection, transaction

from rag.models import Chunk, Repository, Term

MAX_DRIFT = 0.1  # share of the chunks; weights are logarithms, so small changes do not matter


def recount_terms(repository: Repository) -> None:
    """Count the repository's words again if its number of chunks changed by MAX_DRIFT."""
    chunks = Chunk.objects.filter(repository=repository).count()
    if abs(chunks - repository.chunks) <= MAX_DRIFT * repository.chunks and repository.chunks:
        return
    with transaction.atomic(), connection.cursor() as cursor:
        # The same lock order as a deletion, or the two would deadlock.
        if not Repository.objects.select_for_update(no_key=True).filter(pk=repository.pk).exists():
            return
        Term.objects.filter(repository=repository).delete()
        cursor.execute(
            "INSERT INTO rag_term (repository_id, word, chunks) SELECT %s, word, ndoc FROM ts_stat(%s)",
            [repository.pk, f"SELECT terms FROM rag_chunk WHERE repository_id = {int(repository.pk)}"],  # noqa: S608 - a number
        )
        Repository.objects.filter(pk=repository.pk).update(chunks=chunks)
