"""Send unfinished index jobs to workers again."""

from rag.indexing import jobs, queue, sizes
from rag.models import IndexJob


def requeue_unfinished() -> None:
    """Enqueue every repository that has an unfinished job, unless the queue still holds messages.

    Raises:
        OperationalError, RedisError, OSError: the queue cannot be reached.
    """
    # So a job whose worker died or whose message was lost continues. A second worker of a repository returns at once,
    # since the first one holds the lock.
    jobs.delete_old()
    sizes.measure_files()
    if queue.length():
        return
    waiting = IndexJob.objects.filter(status__in=jobs.UNFINISHED).values_list("repository_id", flat=True)
    for repository_id in waiting.order_by().distinct():
        queue.enqueue(repository_id)
