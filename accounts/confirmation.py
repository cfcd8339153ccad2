"""A page between an action of the admin and what it takes away."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

Action = Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponse | None]
SHOWN = 20


def confirmed(question: str, *, consequence: str) -> Callable[[Action], Action]:
    """Have an action asked for a second time, with a list of what it is about.

    Args:
        question: the page's title.
        consequence: what will be so afterwards.
    """

    def decorate(action: Action) -> Action:
        @wraps(action)
        def ask(page: Any, request: HttpRequest, chosen: QuerySet[Any]) -> HttpResponse | None:
            if "confirmed" in request.POST:
                return action(page, request, chosen)
            context = {
                **page.admin_site.each_context(request),
                "title": question,
                "consequence": consequence,
                "opts": page.opts,
                "action": action.__name__,
                "checkbox": ACTION_CHECKBOX_NAME,
                "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
                "across": request.POST.get("select_across", "0"),
                "count": chosen.count(),
                "chosen": chosen[:SHOWN],
            }
            return TemplateResponse(request, "admin/confirmation.html", context)

        return ask

    return decorate
