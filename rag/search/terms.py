"""How common each word is in a repository: PostgreSQL's own ranking does not know."""

from django.db import connection, transaction

from rag.models import Chunk, Repository, Term

MAX_DRIFT = 0.1  # of the chunks: weights are logarithms, and bear so much


def recount_terms(repository: Repository) -> None:
    """Count the repository's words anew, where it has grown or shrunk enough since the last time."""
    chunks = Chunk.objects.filter(repository=repository).count()
    if abs(chunks - repository.chunks) <= MAX_DRIFT * repository.chunks and repository.chunks:
        return
    with transaction.atomic(), connection.cursor() as cursor:
        # in the order in which a deletion takes them, or the two would wait for each other
        if not Repository.objects.select_for_update(no_key=True).filter(pk=repository.pk).exists():
            return
        Term.objects.filter(repository=repository).delete()
        cursor.execute(
            "INSERT INTO rag_term (repository_id, word, chunks) SELECT %s, word, ndoc FROM ts_stat(%s)",
            [repository.pk, f"SELECT terms FROM rag_chunk WHERE repository_id = {int(repository.pk)}"],  # noqa: S608 - a number
        )
        Repository.objects.filter(pk=repository.pk).update(chunks=chunks)
