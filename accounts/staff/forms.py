"""Admin forms of an account."""

from typing import Any

from django.forms import ModelForm
from unfold.forms import UserChangeForm, UserCreationForm

from accounts.errors import LastSuperuser
from accounts.models import User
from accounts.staff import superusers
from accounts.validators import validate_single_line


class LowerCaseEmailForm(ModelForm):
    def clean_email(self) -> str:
        # Before Django looks for a duplicate.
        return str(self.cleaned_data["email"]).lower()


class AccountCreationForm(LowerCaseEmailForm, UserCreationForm):
    class Meta:
        model = User
        fields = ("email",)


class AccountForm(LowerCaseEmailForm, UserChangeForm):
    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        validate_single_line(name)
        return name

    def clean(self) -> Any:
        # The admin saves in the same transaction.
        cleaned = super().clean()
        if not all(self.cleaned_data.get(name, getattr(self.instance, name)) for name in superusers.SUPERUSER_FLAGS):
            try:
                superusers.require_another_superuser(self.instance.pk)
            except LastSuperuser as e:
                self.add_error(None, str(e))
        return cleaned
