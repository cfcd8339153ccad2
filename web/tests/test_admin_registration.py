"""Each model has one page in the admin."""

import re
from pathlib import Path

from django.conf import settings
from django.contrib import admin

from accounts.models import User
from web.admin.users import UserAdmin

REGISTERS_USER = re.compile(r"\bregister\(\s*User\b")


def test_it_works() -> None:
    assert type(admin.site._registry[User]) is UserAdmin


def test_one_module_registers_users() -> None:
    modules = Path(settings.BASE_DIR).glob("*/admin/*.py"), Path(settings.BASE_DIR).glob("*/admin.py")
    registering = [path for paths in modules for path in paths if REGISTERS_USER.search(path.read_text())]
    assert [path.name for path in registering] == ["users.py"]
