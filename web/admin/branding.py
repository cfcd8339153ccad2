"""Icon and stylesheet of the admin."""

from django.http import HttpRequest
from django.templatetags.static import static


# Functions, because static files have no URLs yet while the settings load.
def icon(request: HttpRequest) -> str:
    return static("admin_ui/icon.svg")


def stylesheet(request: HttpRequest) -> str:
    return static("admin_ui/admin.css")
