"""Admin pages of repositories and index jobs."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from rag import services
from rag.models import Chunk, File, IndexJob, Repository, Upload
from rag.tests.conftest import source
from rag.tests.test_jobs import waiting_job
from testing.loopback.embeddings import EmbeddingsServer


@pytest.fixture
def staff_client(client: Any, make_user: Any, settings: Any) -> Any:
    settings.STAFF_SECOND_FACTOR = False
    client.force_login(make_user("staff", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def shop(alice: Any, embeddings: EmbeddingsServer) -> Repository:
    """Return a repository with one ended job."""
    services.index_files(user=alice, repository="shop", files=[source(1), source(2)])
    return Repository.objects.get()


def test_it_works(staff_client: Any, shop: Repository, alice: Any) -> None:
    job = IndexJob.objects.get()
    for path, expected in {
        "repository/": alice.email,
        "repository/?q=shop": alice.email,
        f"repository/{shop.pk}/change/": "all-minilm-l6-v2",
        "indexjob/": "succeeded",
        "indexjob/?q=shop": str(job.pk),
        f"indexjob/?q={job.pk}": str(job.pk),
        "indexjob/?status__exact=failed": "0 results",
        f"indexjob/{job.pk}/change/": "sent to the API",
    }.items():
        page = staff_client.get(f"/admin/rag/{path}")
        assert page.status_code == 200, path
        assert expected.lower() in page.content.decode().lower(), path


def test_a_jobs_page_shows_skipped_files_without_inline_styles(staff_client: Any, shop: Repository) -> None:
    """The Content-Security-Policy refuses the inline styles that unfold writes for JSON."""
    job = IndexJob.objects.get()
    for skipped, expected in ((list[Any](), ">none<"), ([{"path": "a<b>.bin", "reason": "binary"}], "a&lt;b&gt;.bin")):
        IndexJob.objects.filter(pk=job.pk).update(skipped=skipped)
        page = staff_client.get(f"/admin/rag/indexjob/{job.pk}/change/").content.decode()
        assert expected in page and ' style="' not in page


@pytest.mark.parametrize("page", ["repository", "indexjob"])
def test_nothing_can_be_added_or_changed(staff_client: Any, shop: Repository, page: str) -> None:
    pk = shop.pk if page == "repository" else IndexJob.objects.get().pk
    assert staff_client.get(f"/admin/rag/{page}/add/").status_code == 403
    assert staff_client.post(f"/admin/rag/{page}/{pk}/change/", {"name": "other"}).status_code == 403
    assert Repository.objects.get().name == "shop"


@pytest.mark.parametrize("page", ["repository", "indexjob"])
def test_number_of_queries_is_independent_of_rows(
    staff_client: Any, shop: Repository, bob: Any, carol: Any, page: str
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert staff_client.get(f"/admin/rag/{page}/").status_code == 200
        return len(captured)

    queries()  # the first request fills caches
    before = queries()
    for n in range(10):
        services.index_files(user=(bob, carol)[n % 2], repository=f"more-{n}", files=[source(n)])
    assert queries() == before


def test_deleting_a_repository_deletes_its_rows(staff_client: Any, shop: Repository, alice: Any) -> None:
    """Its jobs and their waiting files are deleted too."""
    waiting_job(alice, [source(3)], "shop")
    page = f"/admin/rag/repository/{shop.pk}/delete/"
    assert b"Yes, I" in staff_client.get(page).content
    assert staff_client.post(page, {"post": "yes"}).status_code == 302
    for model in (Repository, IndexJob, Upload, File, Chunk):
        assert not model._default_manager.exists()


def test_bulk_deletion(staff_client: Any, shop: Repository, alice: Any) -> None:
    services.index_files(user=alice, repository="other", files=[source(1)])
    chosen = [str(pk) for pk in Repository.objects.values_list("pk", flat=True)]
    form = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    assert staff_client.post("/admin/rag/repository/", form).status_code == 302
    assert not Repository.objects.exists() and not File.objects.exists()


def test_reindex_action_starts_jobs_for_repositories_of_another_model(
    staff_client: Any, shop: Repository, alice: Any
) -> None:
    services.index_files(user=alice, repository="current", files=[source(1)])
    Repository.objects.filter(pk=shop.pk).update(model="model-of-old")
    chosen = [str(pk) for pk in Repository.objects.values_list("pk", flat=True)]
    form = {"action": "reindex", "_selected_action": chosen}

    page = staff_client.post("/admin/rag/repository/", form, follow=True)

    assert "Started 1 reindex jobs for 2 repositories" in page.content.decode()
    assert IndexJob.objects.get(kind="reindex").repository == shop
    staff_client.post("/admin/rag/repository/", form)
    assert IndexJob.objects.filter(kind="reindex").count() == 1


def test_reindex_action_without_a_model_shows_the_error(staff_client: Any, shop: Repository, settings: Any) -> None:
    settings.EMBEDDINGS_BASE_URL = ""
    form = {"action": "reindex", "_selected_action": [str(shop.pk)]}
    page = staff_client.post("/admin/rag/repository/", form, follow=True)
    assert page.status_code == 200
    assert "No embedding model is set up" in page.content.decode()


def test_non_staff_users_are_redirected(client: Any, alice: Any, shop: Repository) -> None:
    client.force_login(alice)
    for page in ("repository/", "indexjob/", f"repository/{shop.pk}/delete/"):
        assert client.get(f"/admin/rag/{page}").status_code == 302
