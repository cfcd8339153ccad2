"""tools.ci.licences: which packages may be shipped."""

import re
from typing import Any

import pytest

from testing.servers import ROOT
from tools.ci import licences


def test_it_works(capsys: Any) -> None:
    pytest.importorskip("piplicenses", reason="see requirements/ci.in")
    assert licences.main() == 0
    assert capsys.readouterr().out.endswith("packages checked, 0 may not be shipped.\n")


@pytest.mark.parametrize("licence", ["AGPL-3.0-only", "MIT AND GPL-3.0-only", "UNKNOWN", "", "LGPL-3.0-only"])
def test_an_unknown_licence_fails(licence: str, capsys: Any) -> None:
    assert licences.judge({"django": "BSD-3-Clause", "new": licence}) == 1
    assert f"new is under {licence}: review it" in capsys.readouterr().out


def test_a_package_that_changes_its_licence_fails() -> None:
    assert licences.judge({"psycopg": "LGPL-3.0-only"}) == 0
    assert licences.judge({"psycopg": "AGPL-3.0-only"}) == 1


def test_every_file_in_notice_exists() -> None:
    listed = re.findall(r"^(\w+/[\w./-]+)$", (ROOT / "NOTICE").read_text(), re.MULTILINE)
    assert len(listed) > 3 and all((ROOT / name).is_file() for name in listed)


def test_a_package_or_file_that_notice_does_not_name_is_found() -> None:
    assert list(licences.not_in_notice()) == []
    missing = set(licences.not_in_notice(""))
    assert missing >= {"psycopg", "web/static/admin_ui/alpine-csp.js", "web/static/web/hanken-grotesk.woff2"}
