"""Links between pages of the admin, for columns and fields."""

from typing import Any

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString


def to_object(page: str, pk: Any, text: object) -> SafeString:
    return _link(reverse(f"admin:{page}_change", args=[pk]), text)


def to_request(request_id: str) -> SafeString | str:
    """Return a link to all that is known of a request: its run, refusals and audit rows; a dash without an id."""
    if not request_id:
        return "-"
    return _link(reverse("admin-search", query={"q": request_id}), request_id)


def _link(url: str, text: object) -> SafeString:
    return format_html('<a href="{}" class="luna-link">{}</a>', url, text)
