"""Clients notice a deprecated operation by its headers, on errors too."""

from datetime import date
from typing import Any, ClassVar

import pytest
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from lunaos.api.deprecation import Deprecation
from lunaos.api.schema import EnvelopeSchema
from lunaos.api.views import ViewSet
from lunaos.errors import NotFound

pytestmark = pytest.mark.usefixtures("database")


class OldViewSet(ViewSet):
    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = ()
    deprecated: ClassVar = {"list": Deprecation(date(2026, 12, 1), date(2027, 6, 30), "GET /new")}

    def list(self, request: Request) -> Response:
        if "gone" in request.META["HTTP_X_REQUEST_ID"]:
            raise NotFound
        return Response({})

    def create(self, request: Request) -> Response:
        return Response({})


def answer(method: str, request_id: str) -> Any:
    view = OldViewSet.as_view({"get": "list", "post": "create"})
    return view(getattr(APIRequestFactory(), method)("/old", headers={"X-Request-Id": request_id}))


@pytest.mark.parametrize(("request_id", "status"), [("here", 200), ("gone", 404)])
def test_it_works(request_id: str, status: int) -> None:
    response = answer("get", request_id)
    assert response.status_code == status
    assert response["Deprecation"] == "@1796083200"
    assert response["Sunset"] == "Wed, 30 Jun 2027 00:00:00 GMT"
    assert response["Link"].endswith('/docs/api-changelog#deprecations>; rel="deprecation"')


def test_other_operations_say_nothing() -> None:
    assert not {"Deprecation", "Sunset", "Link"} & set(answer("post", "here").headers)


def test_the_document_marks_it() -> None:
    def is_deprecated(action: str) -> bool:
        schema = EnvelopeSchema()
        schema.view = OldViewSet(action=action)
        return schema.is_deprecated()

    assert is_deprecated("list") and not is_deprecated("create")


def test_six_months_are_kept() -> None:
    with pytest.raises(ValueError, match="six months"):
        Deprecation(date(2026, 12, 1), date(2027, 5, 1), "GET /new")
