from io import StringIO
from typing import Any

from django.core.management import CommandError, call_command


def run_command(*words: Any) -> tuple[int, str, str]:
    """Run a command in this process; return exit code, output and error output."""
    out, err = StringIO(), StringIO()
    try:
        call_command(*map(str, words), stdout=out, stderr=err)
    except CommandError as e:
        return e.returncode, out.getvalue(), f"{err.getvalue()}CommandError: {e}\n"
    return 0, out.getvalue(), err.getvalue()
