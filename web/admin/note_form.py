from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts.models import UserNote


class NoteForm(forms.Form):
    button = "Add"
    text = forms.CharField(
        label="Note",
        max_length=UserNote._meta.get_field("text").max_length,
        widget=UnfoldAdminTextareaWidget,
        help_text="What the next colleague should know: no passwords, no card numbers.",
    )
