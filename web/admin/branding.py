"""Files of the admin's looks, for UNFOLD in the settings, where static files are not known yet."""

from django.http import HttpRequest
from django.templatetags.static import static


def icon(request: HttpRequest) -> str:
    return static("admin_ui/icon.svg")


def stylesheet(request: HttpRequest) -> str:
    return static("admin_ui/admin.css")
