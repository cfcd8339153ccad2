"""The pane on an agent's page in which staff try its prompt before they save it."""

from functools import partial
from typing import Any, cast

from django import forms
from django.http import HttpRequest, QueryDict
from django.http.response import HttpResponseBase
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from accounts.identity import access_of_session, staff_of
from agents import trial
from agents.models import LONGEST_PROMPT, Agent
from agents.versioned_admin import plain_lines
from lunaos.api import ratelimit
from lunaos.api.exceptions import plain_response
from lunaos.api.request import ApiRequest
from lunaos.api.sse import EventStreamResponse
from lunaos.errors import LunaError, RateLimited, ValidationFailed


class PaneForm(forms.Form):
    """What the pane asks for beside the agent's own form."""

    target = forms.ChoiceField(label="Provider and model", widget=UnfoldAdminSelectWidget)
    context = forms.CharField(
        label="Context", max_length=50_000, strip=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 8})
    )

    most_tokens = trial.MOST_TOKENS

    def __init__(self, data: QueryDict | None = None, **options: Any) -> None:
        super().__init__(data, auto_id="trial_%s", **options)
        self.targets = trial.targets()
        self.fields["target"].choices = [(name, name) for name in self.targets]  # type: ignore[attr-defined]


class TrialForm(PaneForm):
    """What is sent: the pane, and the agent as it stands in its form."""

    agent = forms.CharField(max_length=64, required=False)
    prompt = forms.CharField(max_length=LONGEST_PROMPT)
    temperature = forms.FloatField(min_value=0, max_value=2)
    max_tokens = forms.IntegerField(min_value=1)

    def clean(self) -> dict[str, Any]:
        """With lines as they are saved."""
        return plain_lines(super().clean() or {})


def pane(agent: Agent | None) -> PaneForm:
    """The pane for an agent, or for a new one, with something to try it on."""
    chosen = agent.default_model if agent else ""
    return PaneForm(initial={"target": chosen, "context": trial.sample(agent.category if agent else "")})


def respond(request: HttpRequest) -> HttpResponseBase:
    """Stream an answer, or say as JSON what is wrong; to whom has the permission already."""
    try:
        _count(request)
        form = TrialForm(request.POST)
        if not form.is_valid():
            raise _invalid(form)
    except LunaError as e:
        return plain_response(e)
    sent = form.cleaned_data
    draft = Agent(
        slug=sent["agent"], prompt=sent["prompt"], temperature=sent["temperature"], max_tokens=sent["max_tokens"]
    )
    asked = partial(
        trial.Trial, by=staff_of(request), draft=draft, context=sent["context"], target=form.targets[sent["target"]]
    )
    cast(ApiRequest, request).access = access_of_session(request)
    return EventStreamResponse(asked, {}, is_opening_event=lambda line: True)


def _count(request: HttpRequest) -> None:
    window = ratelimit.hit(request, scope="trial", subject=str(staff_of(request).pk), rate=trial.RATE)
    if window.exceeded:
        raise RateLimited(
            "That was often enough for now; try again in a minute.",
            retry_after=window.seconds_left,
            limit=window.limit,
        )


def _invalid(form: forms.Form) -> ValidationFailed:
    told = [
        {"field": name, "message": str(error["message"]), "code": error["code"]}
        for name, errors in form.errors.get_json_data().items()
        for error in errors
    ]
    return ValidationFailed(fields=told)
