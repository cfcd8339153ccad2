"""tools.ci.licences, the part of CI that knows what may be shipped."""

from typing import Any

import pytest

from tools.ci import licences


def test_it_works(capsys: Any) -> None:
    assert licences.main() == 0
    assert capsys.readouterr().out.endswith("packages looked at, 0 may not be shipped.\n")


@pytest.mark.parametrize("licence", ["AGPL-3.0-only", "MIT AND GPL-3.0-only", "UNKNOWN", "", "LGPL-3.0-only"])
def test_one_that_nobody_has_looked_at_fails(licence: str, capsys: Any) -> None:
    assert licences.judge({"django": "BSD-3-Clause", "new": licence}) == 1
    assert f"new is under {licence}: look at it" in capsys.readouterr().out


def test_a_package_that_changes_its_licence_fails() -> None:
    assert licences.judge({"psycopg": "LGPL-3.0-only"}) == 0
    assert licences.judge({"psycopg": "AGPL-3.0-only"}) == 1
