"""What is asked before a user's tier is set by hand."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from billing import tiers
from billing.models import Grant


class DateInput(UnfoldAdminTextInputWidget):
    """The browser's own calendar."""

    input_type = "date"


class TierForm(forms.Form):
    """A tier, for how long, and why."""

    button = "Set tier"
    tier = forms.ChoiceField(
        choices=lambda: [("", "Choose one"), *((name, name) for name in tiers.names())],
        widget=UnfoldAdminSelectWidget,
        help_text=f"The {tiers.FREE} one takes back all that was granted.",
    )
    until = forms.DateField(
        required=False,
        label="Last day",
        widget=DateInput,
        help_text="It ends with this day, UTC. Empty: it stays until somebody changes it.",
    )
    reason = forms.CharField(
        max_length=Grant._meta.get_field("reason").max_length,
        widget=UnfoldAdminTextInputWidget,
        help_text="Kept with the grant and in the audit trail, which the user can read too.",
    )

    def clean_until(self) -> datetime | None:
        """The moment at which the day is over."""
        day = self.cleaned_data["until"]
        if day and day < datetime.now(UTC).date():
            raise forms.ValidationError("This day is past.")
        return datetime.combine(day + timedelta(days=1), time(), UTC) if day else None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("tier") == tiers.FREE and cleaned.get("until"):
            self.add_error("until", f"The {tiers.FREE} tier has no end: leave this empty.")
        return cleaned
