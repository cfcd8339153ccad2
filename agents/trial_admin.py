"""Admin form in which staff try an agent's prompt before they save it."""

from functools import partial
from typing import Any, cast

from django import forms
from django.http import HttpRequest, QueryDict
from django.http.response import HttpResponseBase
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from accounts.identity import access_of_session, staff_of
from agents import trial
from agents.models import MAX_PROMPT_CHARACTERS, Agent
from agents.versioned_admin import normalize_line_ends
from lunaos.api import ratelimit
from lunaos.api.exceptions import plain_response
from lunaos.api.request import ApiRequest
from lunaos.api.sse import EventStreamResponse
from lunaos.errors import LunaError, RateLimited, ValidationFailed


class TrialPaneForm(forms.Form):
    """Target and context of a trial."""

    target = forms.ChoiceField(label="Provider and model", widget=UnfoldAdminSelectWidget)
    context = forms.CharField(
        label="Context", max_length=50_000, strip=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 8})
    )

    max_answer_tokens = trial.MAX_ANSWER_TOKENS

    def __init__(self, data: QueryDict | None = None, **options: Any) -> None:
        super().__init__(data, auto_id="trial_%s", **options)
        self.targets = trial.available_targets()
        self.fields["target"].choices = [(name, name) for name in self.targets]  # type: ignore[attr-defined]


class TrialForm(TrialPaneForm):
    """Complete input of a trial, including the unsaved agent."""

    agent = forms.CharField(max_length=64, required=False)
    prompt = forms.CharField(max_length=MAX_PROMPT_CHARACTERS)
    temperature = forms.FloatField(min_value=0, max_value=2)
    max_tokens = forms.IntegerField(min_value=1)

    def clean(self) -> dict[str, Any]:
        return normalize_line_ends(super().clean() or {})


def trial_form(agent: Agent | None) -> TrialPaneForm:
    """Return the form for an agent or a new one, with a sample context."""
    chosen = agent.default_model if agent else ""
    return TrialPaneForm(initial={"target": chosen, "context": trial.sample_context(agent.category if agent else "")})


def stream_trial(request: HttpRequest) -> HttpResponseBase:
    """Stream an answer, or return the errors as JSON."""
    # The caller checks the permission.
    try:
        _check_rate(request)
        form = TrialForm(request.POST)
        if not form.is_valid():
            raise _invalid(form)
    except LunaError as e:
        return plain_response(e)
    cleaned = form.cleaned_data
    draft = Agent(
        slug=cleaned["agent"],
        prompt=cleaned["prompt"],
        temperature=cleaned["temperature"],
        max_tokens=cleaned["max_tokens"],
    )
    open_trial = partial(
        trial.Trial,
        by=staff_of(request),
        draft=draft,
        context=cleaned["context"],
        target=form.targets[cleaned["target"]],
    )
    cast(ApiRequest, request).access = access_of_session(request)
    return EventStreamResponse(open_trial, {}, is_opening_event=lambda line: True)


def _check_rate(request: HttpRequest) -> None:
    window = ratelimit.hit(request, scope="trial", subject=str(staff_of(request).pk), rate=trial.TRIAL_RATE)
    if window.exceeded:
        raise RateLimited(
            f"Only {window.limit} trials per minute are allowed. Try again in {window.seconds_left} seconds.",
            retry_after=window.seconds_left,
            limit=window.limit,
        )


def _invalid(form: forms.Form) -> ValidationFailed:
    field_errors = [
        {"field": name, "message": str(error["message"]), "code": error["code"]}
        for name, errors in form.errors.get_json_data().items()
        for error in errors
    ]
    return ValidationFailed(fields=field_errors)
