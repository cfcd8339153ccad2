from datetime import UTC, datetime, time, timedelta
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from billing import tiers
from billing.models import Grant


class DateInput(UnfoldAdminTextInputWidget):
    input_type = "date"


class TierForm(forms.Form):
    button = "Set tier"
    tier = forms.ChoiceField(
        choices=lambda: [("", "Choose a tier"), *((name, name) for name in tiers.names())],
        widget=UnfoldAdminSelectWidget,
        help_text=f"The tier {tiers.FREE} ends all grants.",
    )
    until = forms.DateField(
        required=False,
        label="Last day",
        widget=DateInput,
        help_text="The grant ends with this day (UTC). Empty: it does not end.",
    )
    reason = forms.CharField(
        max_length=Grant._meta.get_field("reason").max_length,
        widget=UnfoldAdminTextInputWidget,
        help_text="Stored with the grant and in the audit trail, which the user can read too.",
    )

    def clean_until(self) -> datetime | None:
        day = self.cleaned_data["until"]
        if day and day < datetime.now(UTC).date():
            raise forms.ValidationError("The day is in the past.")
        # The last day belongs to the grant, so it ends with the next day (UTC).
        return datetime.combine(day + timedelta(days=1), time(), UTC) if day else None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("tier") == tiers.FREE and cleaned.get("until"):
            self.add_error("until", f"The tier {tiers.FREE} has no end. Leave the day empty.")
        return cleaned
