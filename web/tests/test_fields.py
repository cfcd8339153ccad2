"""Cost of a list in a request until it is refused."""

import ast
import importlib
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rest_framework import serializers

from lunaos.api.exceptions import body_and_headers, plain_response
from lunaos.api.fields import BoundedListField, NamedChoiceField
from lunaos.errors import MAX_ERROR_BYTES, MAX_FIELD_ERRORS, LunaError
from testing.client import Api, error

ROOT = Path(__file__).resolve().parents[2]
APPS = ("accounts", "agents", "apikeys", "billing", "chains", "rag", "refusals", "runs", "web")
ZEROS = [0] * 300_000  # of a body that the default limit lets through
PATHS = {"files": "/rag/index", "scopes": "/api-keys", "steps": "/chains/execute"}


class Counted(serializers.IntegerField):
    """A field that counts how often it is asked."""

    asked = 0

    def to_internal_value(self, data: Any) -> int:
        type(self).asked += 1
        return super().to_internal_value(data)


class Numbers(serializers.Serializer[Any]):
    numbers = BoundedListField(child=Counted(), min_length=2, max_length=50)


def faults(data: Any) -> list[dict[str, str]]:
    numbers = Numbers(data=data)
    Counted.asked = 0
    with pytest.raises(serializers.ValidationError) as caught:
        numbers.is_valid(raise_exception=True)
    return list(body_and_headers(caught.value)[1]["fields"])


def test_it_works() -> None:
    numbers = Numbers(data={"numbers": [1, 2, 3]})
    assert numbers.is_valid() and numbers.validated_data == {"numbers": [1, 2, 3]}


@pytest.mark.parametrize(("numbers", "code"), [([0] * 51, "max_length"), ([0], "min_length"), ("12", "not_a_list")])
def test_length_is_checked_before_items(numbers: Any, code: str) -> None:
    assert [(fault["field"], fault["code"]) for fault in faults({"numbers": numbers})] == [("numbers", code)]
    assert Counted.asked == 0


def test_validation_stops_at_the_last_fault_that_is_reported() -> None:
    assert len(faults({"numbers": ["x"] * 50})) == MAX_FIELD_ERRORS == Counted.asked


def input_serializers() -> Iterator[type[serializers.BaseSerializer[Any]]]:
    """Every serializer that a view of any app gives data of a request."""
    for app in APPS:
        for path in sorted((ROOT / app).rglob("*.py")):
            if "tests" in path.parts or "migrations" in path.parts:
                continue
            for call in ast.walk(ast.parse(path.read_text())):
                if isinstance(call, ast.Call) and any(word.arg == "data" for word in call.keywords):
                    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
                    found = getattr(module, getattr(call.func, "id", ""), None)
                    if inspect.isclass(found) and issubclass(found, serializers.BaseSerializer):
                        yield found


def fields_of(field: Any) -> Iterator[serializers.Field]:
    """Return a field and all below it."""
    yield field
    children = [*getattr(field, "fields", {}).values(), *filter(None, [getattr(field, "child", None)])]
    for child in children:
        yield from fields_of(child)


def test_every_list_of_a_request_is_bounded() -> None:
    found = {serializer.__name__: serializer for serializer in input_serializers()}
    assert len(found) > 12, "the walk does not find the views' serializers"
    fields = [(name, field) for name, serializer in found.items() for field in fields_of(serializer())]
    lists = [(name, field) for name, field in fields if hasattr(field, "child")]
    assert {name for name, _ in lists} >= {"IndexSerializer", "NewKeySerializer", "ExecuteChainSerializer"}
    assert not [name for name, field in lists if not isinstance(field, BoundedListField)]
    texts = [field for _, field in fields if type(field) in (serializers.JSONField, serializers.DictField)]
    assert not texts, "a field of any shape has no bound"


@pytest.mark.parametrize("member", PATHS)
def test_a_long_list_of_wrong_items(api: Api, alice: Any, member: str) -> None:
    response = api.post(PATHS[member], json={member: ZEROS, "context": "x"}, headers=api.as_(alice))
    assert error(response)[0] == 400
    assert len(response.content) < 1_000


def test_wrong_items_within_the_length(api: Api, alice: Any) -> None:
    response = api.post("/rag/index", json={"files": [0] * 100}, headers=api.as_(alice))
    assert error(response) == (400, "validation_error")
    assert len(response.json()["fields"]) == MAX_FIELD_ERRORS


def test_a_message_does_not_repeat_a_long_value(api: Api, alice: Any) -> None:
    response = api.post("/api-keys", json={"scopes": ["x" * 500_000] * 2}, headers=api.as_(alice))
    assert error(response) == (400, "validation_error")
    assert len(response.content) < 2_000


@pytest.mark.parametrize("exception", [LunaError("x" * 100_000), LunaError(available=["é" * 1_000] * 100)])
def test_no_error_answer_is_longer_than_the_limit(exception: LunaError) -> None:
    content = plain_response(exception).content
    assert len(content) <= MAX_ERROR_BYTES
    assert json.loads(content)["code"] == "internal_error"


@pytest.mark.parametrize("value", ["nope", 7, "{0}"])
def test_the_error_of_a_choice_names_what_there_is(value: Any) -> None:
    with pytest.raises(serializers.ValidationError) as e:
        NamedChoiceField(["wait", "cancel"]).run_validation(value)
    assert list(e.value.detail) == [f'"{value}" is not a valid choice. Choose one of wait, cancel.']
