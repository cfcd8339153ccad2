"""Tests of the serializers: the cost of refusing a path."""

import pytest
from rest_framework import serializers

from lunaos.api.exceptions import body_and_headers
from rag.indexing import paths
from rag.serializers import SourceFileSerializer


@pytest.mark.parametrize("path", ["/" * 1_000_000, "a/" * 500_000])
def test_the_length_of_a_path_is_checked_first(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    seen = list[str]()
    monkeypatch.setattr(paths, "clean", seen.append)
    with pytest.raises(serializers.ValidationError) as caught:
        SourceFileSerializer(data={"path": path, "content": ""}).is_valid(raise_exception=True)
    assert [fault["code"] for fault in body_and_headers(caught.value)[1]["fields"]] == ["max_length"]
    assert seen == []
