"""Confirmation page for actions of the admin."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote
from django.db.models import QuerySet
from django.db.models.options import Options
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

AdminAction = Callable[..., HttpResponse | None]
MAX_LISTED_OBJECTS = 20
RETURN_TO_OBJECT = "back_to_page"  # field of a form that was sent from an object's own page


def requires_confirmation(
    question: str, *, consequence: str, form: type[Form] | None = None
) -> Callable[[AdminAction], AdminAction]:
    """Decorate an action so that a page lists the objects and asks for confirmation first."""
    # The action gets the data of the page's form as the argument `cleaned`.

    def decorate(action: AdminAction) -> AdminAction:
        @wraps(action)
        def ask(page: Any, request: HttpRequest, chosen: QuerySet[Any]) -> HttpResponse | None:
            sent = "confirmed" in request.POST
            bound_form = form(request.POST if sent else None) if form else None
            if sent and (bound_form is None or bound_form.is_valid()):
                return action(page, request, chosen, **({"cleaned": bound_form.cleaned_data} if bound_form else {}))
            context = _context(page, request, chosen) | {
                "title": question,
                "consequence": consequence,
                "form": bound_form,
            }
            return TemplateResponse(request, "admin/confirmation.html", context | {"action": action.__name__})

        return ask

    return decorate


def _context(page: Any, request: HttpRequest, chosen: QuerySet[Any]) -> dict[str, Any]:
    selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
    back = RETURN_TO_OBJECT in request.POST
    return {
        **page.admin_site.each_context(request),
        "opts": page.opts,
        "checkbox": ACTION_CHECKBOX_NAME,
        "selected": selected,
        "across": request.POST.get("select_across", "0"),
        "count": chosen.count(),
        "chosen": chosen[:MAX_LISTED_OBJECTS],
        "back": RETURN_TO_OBJECT if back else "",
        "cancel_url": change_page_url(page.opts, selected) if back else request.get_full_path(),
    }


def change_page_url(opts: Options, selected: list[str]) -> str:
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[quote(selected[0])])
