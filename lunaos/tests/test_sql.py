"""Parameters of statements that several modules write together."""

import pytest

from lunaos.infra.sql import merge_parameters


def test_it_works() -> None:
    assert merge_parameters({"user_id": 1}, {"month": 2, "quota": 3}, {}) == {"user_id": 1, "month": 2, "quota": 3}


@pytest.mark.parametrize("value", [1, 2])
def test_a_name_that_two_modules_use_is_refused_whatever_its_values(value: int) -> None:
    with pytest.raises(ValueError, match="month, user_id"):
        merge_parameters({"user_id": 1, "month": 1}, {"quota": 3}, {"month": value, "user_id": value})
