"""tools.ci.commit_subject, the commit-msg hook."""

from pathlib import Path

import pytest

from tools.ci import commit_subject


@pytest.mark.parametrize(
    "subject", ["Close streams whose credential ends", "A" * 72, "Pass keys on", "Merge branch x."]
)
def test_it_works(subject: str) -> None:
    assert commit_subject.faults(subject) == []


@pytest.mark.parametrize(
    ("subject", "fault"),
    [
        ("", "empty"),
        ("A" * 73, "73 characters"),
        ("close streams", "capital letter"),
        ("Close streams.", "full stop"),
        ("Closed streams", "'closed' is not an imperative"),
        ("Closes streams", "'closes' is not an imperative"),
        ("Closing streams", "'closing' is not an imperative"),
    ],
)
def test_a_fault_is_named(subject: str, fault: str) -> None:
    assert any(fault in each for each in commit_subject.faults(subject))


def test_comments_of_git_are_not_the_subject(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = tmp_path / "COMMIT_EDITMSG"
    message.write_text("# Please enter the message\nFixed it.\n\nBody\n")
    assert commit_subject.main(message) == 1
    assert capsys.readouterr().err.startswith("Commit subject 'Fixed it.': It ends with a full stop.\n")
