from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget

from billing.models import DisputeWaiver


class ReasonForm(forms.Form):
    button = "Restore"
    reason = forms.CharField(
        max_length=DisputeWaiver._meta.get_field("reason").max_length,
        widget=UnfoldAdminTextInputWidget,
        help_text="Stored in the audit trail, which the user can read too.",
    )
