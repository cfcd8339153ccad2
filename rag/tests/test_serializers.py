"""What a path in a request costs before it is refused."""

import pytest
from rest_framework import serializers

from lunaos.api.exceptions import body_and_headers
from rag.indexing import paths
from rag.serializers import SourceFileSerializer


@pytest.mark.parametrize("path", ["/" * 1_000_000, "a/" * 500_000])
def test_a_path_is_taken_apart_only_within_its_length(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    seen = list[str]()
    monkeypatch.setattr(paths, "clean", seen.append)
    with pytest.raises(serializers.ValidationError) as caught:
        SourceFileSerializer(data={"path": path, "content": ""}).is_valid(raise_exception=True)
    assert [fault["code"] for fault in body_and_headers(caught.value)[1]["fields"]] == ["max_length"]
    assert seen == []
