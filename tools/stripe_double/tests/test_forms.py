"""Nested parameters in brackets."""

from typing import Any

import pytest

from tools.stripe_double import forms


def test_it_works() -> None:
    sent = "items[0][price]=price_1&items[0][quantity]=2&items[1][price]=price_2&metadata[user]=1&email=a%40b.c"
    assert forms.parse(sent) == {
        "items": [{"price": "price_1", "quantity": "2"}, {"price": "price_2"}],
        "metadata": {"user": "1"},
        "email": "a@b.c",
    }


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("", {}),
        ("a=", {"a": ""}),
        ("lookup_keys[]=a&lookup_keys[]=b", {"lookup_keys": ["a", "b"]}),
        ("l[10]=k&l[2]=c", {"l": ["c", "k"]}),
        ("metadata[a b]=c+d", {"metadata": {"a b": "c d"}}),
        ("a=1&a[b]=2", {"a": "1", "b": "2"}),
    ],
)
def test_other_forms(sent: str, found: dict[str, Any]) -> None:
    assert forms.parse(sent) == found


def test_a_parameters_name_in_brackets() -> None:
    assert forms.bracketed(("items", 0, "price")) == "items[0][price]"
    assert forms.bracketed(("email",)) == "email"
