"""Responses that wait for a job without a thread."""

from datetime import UTC, datetime

from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase

from lunaos.api import json
from lunaos.api.streaming.deferred import DeferredResponse
from rag.indexing.progress import JobEventReader, job_error
from rag.models import IndexJob, JobStatus
from rag.serializers import IndexedSerializer, JobSerializer


class JobResponse(DeferredResponse):
    """The outcome of an index job."""

    # 202 with the job if it takes longer than RAG_WAIT_S seconds.

    def __init__(self, job: IndexJob) -> None:
        super().__init__()
        self._job = job

    async def open(self, within_s: float) -> HttpResponseBase:
        """Wait for the job on the event loop, or raise LunaError."""
        reader = JobEventReader(self._job.pk)
        try:
            return job_response(await reader.wait_for_end(max(0.0, settings.RAG_WAIT_S - self._waited_s())))
        finally:
            reader.close()

    def _waited_s(self) -> float:
        # The time that the request's thread took counts too.
        return (datetime.now(UTC) - self._job.created_at).total_seconds()


def job_response(job: IndexJob) -> HttpResponse:
    """Return the outcome of an ended job, or 202 with an unfinished job.

    Raises:
        LunaError: the job failed with this error.
    """
    if job.status == JobStatus.FAILED:
        raise job_error(job)
    if job.status == JobStatus.SUCCEEDED:
        return _json_response(200, IndexedSerializer(job).data)
    response = _json_response(202, JobSerializer(job).data)
    response["Location"] = f"/rag/jobs/{job.pk}"
    return response


def _json_response(status: int, data: object) -> HttpResponse:
    return HttpResponse(json.dumps({"data": data}), status=status, content_type="application/json")
